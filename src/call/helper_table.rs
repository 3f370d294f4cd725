//! `HelperTable`: verified rows that run in the helper, and the addresses of
//! everything there.

use core::mem::offset_of;

use super::raw::RawCall;
use super::table::{Memory, verify};
use super::{Block, Call, ROW, VerifyError, slot};

/// The address at which the helper image is loaded.
pub(crate) const IMAGE_BASE: u64 = 0x41_0000;

/// The offset of its rows in the image. The header and the code come before.
pub(crate) const ROWS_OFFSET: u64 = 0x400;

/// The offset of the status page's descriptor number: 4 bytes.
pub(crate) const PAGE_FD_OFFSET: u64 = ROWS_OFFSET - 4;

/// The address at which it maps the status page, which begins with the block.
/// With pages of 4 KiB one page table covers it and the image.
pub(crate) const STATUS_PAGE: u64 = 0x40_0000;

// The assembly contains these two numbers.
const _: () = assert!(IMAGE_BASE + ROWS_OFFSET == 0x41_0400);
const _: () = assert!(STATUS_PAGE == 0x40_0000);

/// Returns the address of a slot of the block in the helper.
const fn slot_address(n: u8) -> u64 {
    STATUS_PAGE + (offset_of!(Block, slots) + 8 * n as usize) as u64
}

/// The address of the variable `LISTEN_PID` in the helper's block.
pub(crate) const LISTEN_PID_ADDR: u64 =
    slot_address(slot::LISTEN_PID_DIGITS) - super::LISTEN_PID.len() as u64;

/// Rows that the helper may run: the clauses of [`Table`](super::Table) hold
/// for them at their addresses in the helper.
#[derive(Clone, Copy)]
pub(crate) struct HelperTable<'a> {
    pub(crate) rows: &'a [Call],
    pub(crate) text: &'a [u8],
    pub(crate) lists: &'a [u64],
}

/// Returns the addresses of the strings and the lists after so many rows and
/// bytes of strings.
pub(crate) fn addresses(rows: usize, text: usize) -> (u64, u64) {
    let at = IMAGE_BASE + ROWS_OFFSET + rows as u64 * u64::from(ROW);
    (at, (at + text as u64).next_multiple_of(8))
}

impl<'a> HelperTable<'a> {
    /// The only constructor. The rows are numbered from `first`; `text` may
    /// contain strings that these rows do not use.
    pub(crate) fn new(
        rows: &'a [Call],
        first: u16,
        text: &'a [u8],
        lists: &'a [u64],
        raw: &[RawCall],
    ) -> Result<HelperTable<'a>, VerifyError> {
        if !matches!(text.last(), None | Some(0)) {
            return Err(VerifyError::Text);
        }
        let (text_at, lists_at) = addresses(rows.len(), text.len());
        let memory = Memory {
            text: (text_at, text.len() as u64),
            lists: (lists_at, 8 * lists.len() as u64),
            entries: lists,
            callbacks: (0, 0),
            private: true,
            also: Some(LISTEN_PID_ADDR),
            raw,
        };
        verify(rows, first, &memory)?;
        Ok(HelperTable { rows, text, lists })
    }
}
