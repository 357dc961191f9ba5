//! One correction to what the Parquet library writes, for readers that are in use.
//!
//! parquet 60 declares the order of float columns as `IEEE_754_TOTAL_ORDER` (PARQUET-2249), with no way to choose. A
//! Polars without pola-rs/polars#27896 refuses the whole file for it ("Invalid thrift: bad data"), 1.35 among them. The
//! tables hold neither NaN nor −0.0, so the minima and maxima are the same in either order and the declaration of old,
//! `TypeDefinedOrder`, is as true. Both take three bytes in the Thrift compact protocol, so the footer keeps its length.

use super::EncodeError;

/// Footer length and magic after the metadata.
const TRAILER_BYTES: usize = 8;
/// A struct field of id 1 in a union, that empty struct, and the end of the union.
const TYPE_DEFINED: [u8; 3] = [0x1C, 0, 0];
/// The same with id 2.
const IEEE_754_TOTAL: [u8; 3] = [0x2C, 0, 0];

/// What precedes the orders: field 7 (one after `created_by`), a list, of so many structs.
fn list_header(columns: usize) -> Vec<u8> {
    let mut header = vec![0x19];
    if columns < 15 {
        header.push((columns as u8) << 4 | 0x0C);
        return header;
    }
    header.push(0xFC);
    let mut rest = columns;
    while rest >= 0x80 {
        header.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    header.push(rest as u8);
    header
}

/// Declares the order of every column as `TypeDefinedOrder` in `file`, a Parquet file of so many flat columns.
///
/// # Errors
/// [`EncodeError::Footer`] when the metadata does not end as expected; nothing is changed then.
pub(super) fn declare_type_defined_orders(file: &mut [u8], columns: usize) -> Result<(), EncodeError> {
    // The orders are the last field of the metadata, followed by the end of its struct.
    let orders = || {
        let end = file.len().checked_sub(TRAILER_BYTES + 1)?;
        let start = end.checked_sub(columns * TYPE_DEFINED.len())?;
        let is_known = |order: &[u8]| order == TYPE_DEFINED || order == IEEE_754_TOTAL;
        let fits = file[end] == 0
            && file[..start].ends_with(&list_header(columns))
            && file[start..end].chunks(TYPE_DEFINED.len()).all(is_known);
        fits.then_some(start..end)
    };
    let orders = orders().ok_or(EncodeError::Footer)?;
    for order in file[orders].chunks_mut(TYPE_DEFINED.len()) {
        order.copy_from_slice(&TYPE_DEFINED);
    }
    Ok(())
}
