//! `Sheet`: rows that run in an image by themselves, verified, and where
//! everything lies there.

use core::mem::offset_of;

use super::table::{Memory, verify};
use super::{Block, Call, ROW, VerifyError, slot};

/// Where an image is loaded: its own bytes, from the first.
pub(crate) const BASE: u64 = 0x41_0000;

/// Where its rows begin, from the first byte; before them stand the header
/// and the code.
pub(crate) const ROWS: u64 = 0x400;

/// Where the number of the page's descriptor stands: 4 bytes.
pub(crate) const NUMBER: u64 = ROWS - 4;

/// Where it maps the page that it shares with the parent. The page begins
/// with the block. With pages of 4 KiB one table of the kernel's holds it
/// and the image.
pub(crate) const STATUS_PAGE: u64 = 0x40_0000;

// The assembly has these two.
const _: () = assert!(BASE + ROWS == 0x41_0400);
const _: () = assert!(STATUS_PAGE == 0x40_0000);

/// The address of a slot of the block, in the image.
const fn slot_at(n: u8) -> u64 {
    STATUS_PAGE + (offset_of!(Block, slots) + 8 * n as usize) as u64
}

/// The place where LISTEN_PID stands in the block, name and all.
pub(crate) const LISTEN_PID: u64 =
    slot_at(slot::DIGITS) - super::LISTEN.len() as u64;

/// Rows that an image may run: they keep the clauses of
/// [`Table`](super::Table), with the addresses that the image has.
#[derive(Clone, Copy)]
pub(crate) struct HelperTable<'a> {
    pub(crate) rows: &'a [Call],
    pub(crate) text: &'a [u8],
    pub(crate) lists: &'a [u64],
}

/// Where text and lists lie behind so many rows and so much text.
pub(crate) fn places(rows: usize, text: usize) -> (u64, u64) {
    let at = BASE + ROWS + rows as u64 * u64::from(ROW);
    (at, (at + text as u64).next_multiple_of(8))
}

impl<'a> HelperTable<'a> {
    /// The only constructor. The rows are counted from `first`; the text may
    /// be longer than what earlier rows use of it.
    pub(crate) fn new(
        rows: &'a [Call],
        first: u16,
        text: &'a [u8],
        lists: &'a [u64],
    ) -> Result<HelperTable<'a>, VerifyError> {
        if !matches!(text.last(), None | Some(0)) {
            return Err(VerifyError::Text);
        }
        let (text_at, lists_at) = places(rows.len(), text.len());
        let memory = Memory {
            text: (text_at, text.len() as u64),
            lists: (lists_at, 8 * lists.len() as u64),
            callbacks: (0, 0),
            private: true,
            also: Some(LISTEN_PID),
        };
        verify(rows, first, lists, &memory)?;
        Ok(HelperTable { rows, text, lists })
    }
}
