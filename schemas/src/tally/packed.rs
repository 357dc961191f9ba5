//! The packed form of a tally: runs, ascending by KPI and kind.
//!
//! A run begins with its key, the KPI (12 bits) and the kind (4 bits), as two bytes, the higher first. A count or a sum
//! follows as one number. Any other run has its length in bytes, then its entries: how much the payload is greater than
//! the one before, with a low bit that says whether the number is 1, and the number where it is not. All are integers of
//! seven bits per byte, the lowest first (LEB128); numbers have their sign in the lowest bit.

use super::{KpiId, PAYLOAD_BITS, PAYLOAD_MASK, Slot, SlotKind};

const KIND_BITS: u32 = 4;
const KIND_MASK: u16 = (1 << KIND_BITS) - 1;

/// The entries of one KPI and kind.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    key: u16,
    /// Key, and length where there is one, included.
    bytes: &'a [u8],
    /// Its number or its entries.
    body: &'a [u8],
}

fn is_single(key: u16) -> bool {
    key & KIND_MASK <= SlotKind::Sum as u16
}

impl<'a> Run<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<2>()?;
        let key = u16::from_be_bytes(*key);
        let (start, length) = if is_single(key) {
            (2, rest.iter().take_while(|byte| **byte >= 0x80).count() + 1)
        } else {
            let mut after = rest;
            let length = take(&mut after) as usize;
            (2 + rest.len() - after.len(), length)
        };
        Some(Run { key, bytes: &bytes[..start + length], body: &bytes[start..start + length] })
    }

    pub(super) fn kpi(&self) -> KpiId {
        self.key >> KIND_BITS
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn unpack_into(&self, entries: &mut Vec<(Slot, i64)>) {
        let slot = |payload| Slot((u64::from(self.key) << PAYLOAD_BITS) | payload);
        let mut body = self.body;
        if is_single(self.key) {
            entries.push((slot(0), take_signed(&mut body)));
            return;
        }
        let mut payload = 0;
        while let Some(number) = next_entry(&mut body, &mut payload) {
            entries.push((slot(payload), number));
        }
    }
}

/// The runs of a packed tally.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let run = Run::first(bytes)?;
        bytes = &bytes[run.bytes.len()..];
        Some(run)
    })
}

/// Appends entries that ascend by slot and have no zeros.
pub(super) fn pack(entries: &[(Slot, i64)], out: &mut Vec<u8>) {
    let key_of = |slot: Slot| (slot.0 >> PAYLOAD_BITS) as u16;
    let mut body = Vec::new();
    for run in entries.chunk_by(|(left, _), (right, _)| key_of(*left) == key_of(*right)) {
        let key = key_of(run[0].0);
        if is_single(key) {
            debug_assert!(run.len() == 1 && run[0].0.payload() == 0, "counts and sums have no payload");
            push_single(key, run[0].1, out);
            continue;
        }
        body.clear();
        let mut last = 0;
        for &(slot, number) in run {
            push_entry(slot.0 & PAYLOAD_MASK, number, &mut last, &mut body);
        }
        push_run(key, &body, out);
    }
}

/// Appends the sum of two packed tallies.
pub(super) fn add(left: &[u8], right: &[u8], out: &mut Vec<u8>) {
    out.reserve(left.len() + right.len());
    let mut body = Vec::new();
    let (mut left, mut right) = (left, right);
    let (mut one, mut other) = (Run::first(left), Run::first(right));
    while let (Some(a), Some(b)) = (one, other) {
        match a.key.cmp(&b.key) {
            std::cmp::Ordering::Less => {
                out.extend_from_slice(a.bytes);
                one = step(&mut left, a);
            }
            std::cmp::Ordering::Greater => {
                out.extend_from_slice(b.bytes);
                other = step(&mut right, b);
            }
            std::cmp::Ordering::Equal => {
                add_runs(a, b, &mut body, out);
                one = step(&mut left, a);
                other = step(&mut right, b);
            }
        }
    }
    out.extend_from_slice(left);
    out.extend_from_slice(right);
}

/// Goes past the first run of `bytes`; gives the next one.
fn step<'a>(bytes: &mut &'a [u8], run: Run<'a>) -> Option<Run<'a>> {
    *bytes = &bytes[run.bytes.len()..];
    Run::first(bytes)
}

/// Appends the sum of two runs of one key.
fn add_runs(a: Run, b: Run, body: &mut Vec<u8>, out: &mut Vec<u8>) {
    let (mut left, mut right) = (a.body, b.body);
    if is_single(a.key) {
        let sum = take_signed(&mut left) + take_signed(&mut right);
        if sum != 0 {
            push_single(a.key, sum, out);
        }
        return;
    }
    body.clear();
    let (mut last, mut left_payload, mut right_payload) = (0, 0, 0);
    let mut one = next_entry(&mut left, &mut left_payload);
    let mut other = next_entry(&mut right, &mut right_payload);
    loop {
        let order = match (one, other) {
            (Some(_), Some(_)) => left_payload.cmp(&right_payload),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => break,
        };
        let (payload, number) = match order {
            std::cmp::Ordering::Less => (left_payload, one.unwrap_or(0)),
            std::cmp::Ordering::Greater => (right_payload, other.unwrap_or(0)),
            std::cmp::Ordering::Equal => (left_payload, one.unwrap_or(0) + other.unwrap_or(0)),
        };
        if number != 0 {
            push_entry(payload, number, &mut last, body);
        }
        if order.is_le() {
            one = next_entry(&mut left, &mut left_payload);
        }
        if order.is_ge() {
            other = next_entry(&mut right, &mut right_payload);
        }
    }
    if !body.is_empty() {
        push_run(a.key, body, out);
    }
}

fn push_single(key: u16, number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&key.to_be_bytes());
    push_signed(number, out);
}

fn push_run(key: u16, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&key.to_be_bytes());
    push(body.len() as u64, out);
    out.extend_from_slice(body);
}

fn push_entry(payload: u64, number: i64, last: &mut u64, out: &mut Vec<u8>) {
    let step = (payload - *last) << 1;
    *last = payload;
    if number == 1 {
        push(step | 1, out);
    } else {
        push(step, out);
        push_signed(number, out);
    }
}

fn next_entry(bytes: &mut &[u8], payload: &mut u64) -> Option<i64> {
    if bytes.is_empty() {
        return None;
    }
    let step = take(bytes);
    *payload += step >> 1;
    Some(if step & 1 == 1 { 1 } else { take_signed(bytes) })
}

fn push(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn push_signed(value: i64, out: &mut Vec<u8>) {
    push(((value << 1) ^ (value >> 63)) as u64, out);
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    value
}

fn take_signed(bytes: &mut &[u8]) -> i64 {
    let value = take(bytes);
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
