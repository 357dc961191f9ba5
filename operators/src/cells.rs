//! KPI cells: arrangements with the sums in the difference, and their roll-ups.
//!
//! A level of cells is a differential collection from [`Cell`] to tally. The finest level is fed by the conversations; every
//! coarser one by the changes of a finer one, never by a second look at the events.

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{Cell, Group};
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{KeyBatcher, KeySpine, ValBatcher, ValSpine};
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Exchange;

use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// Trace of a level of cells.
pub type CellTrace = TraceAgent<KeySpine<Cell, Epoch, TallyDiff>>;
/// Arrangement of a level of cells.
pub type ArrangedCells<'scope> = Arranged<'scope, CellTrace>;
/// Trace of rows by the day of their partition.
pub type RowTrace<D> = TraceAgent<ValSpine<i32, D, Epoch, isize>>;

/// Worker hash of a day: everything of a partition lives on one worker, which writes it.
pub fn day_hash(day: i32) -> u64 {
    mix(day as u64 ^ 0x5EED)
}

/// Arranges contributions, routed by the day of their window.
pub fn arrange_cells<'scope>(
    contributions: VecCollection<'scope, Epoch, Cell, TallyDiff>,
    name: &str,
) -> ArrangedCells<'scope> {
    let stream = contributions.map(|cell| (cell, ())).inner;
    let route = Exchange::new(|((cell, ()), _, _): &((Cell, ()), Epoch, TallyDiff)| day_hash(cell.day));
    arrange_core(stream, route, name, KeyBatcher::new)
}

/// The cell of a group in the window of one width that holds a time.
pub fn cell_of(windows: &Windows, window: Window, time_ms: TimeMs, group: Group) -> Cell {
    let window_start_ms = windows.start_ms(window, time_ms);
    Cell { day: windows.day_of(window_start_ms), window_start_ms, group }
}

/// Arranges rows by the day of their partition, on the worker that writes the partition.
pub fn arrange_rows<'scope, D: ExchangeData>(
    rows: VecCollection<'scope, Epoch, D, isize>,
    day: fn(&D) -> i32,
    name: &str,
) -> Arranged<'scope, RowTrace<D>> {
    let stream = rows.map(move |row| (day(&row), row)).inner;
    let route = Exchange::new(|((day, _), _, _): &((i32, D), Epoch, isize)| day_hash(*day));
    arrange_core(stream, route, name, ValBatcher::new)
}

/// Arranges `(key, value)` rows by a hash of the key that is the same in every process.
pub fn arrange_keyed<'scope, K: ExchangeData, V: ExchangeData, R: ExchangeData + Semigroup>(
    rows: VecCollection<'scope, Epoch, (K, V), R>,
    hash: fn(&K) -> u64,
    name: &str,
) -> Arranged<'scope, TraceAgent<ValSpine<K, V, Epoch, R>>> {
    let route = Exchange::new(move |((key, _), _, _): &((K, V), Epoch, R)| hash(key));
    arrange_core(rows.inner, route, name, ValBatcher::new)
}
