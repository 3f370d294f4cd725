//! Helper layout: the helper image, a static ELF file that is built in memory
//! and runs the rows after `exec_helper`.
//!
//! It has one segment, readable and executable, never writable: the header,
//! the walker's code, the rows, the text and the lists, at the addresses of
//! `call::helper_table`. It writes only to the status page, which it maps.

use crate::call::helper_table::{
    IMAGE_BASE, LISTEN_PID_ADDR, PAGE_FD_OFFSET, ROWS_OFFSET, addresses,
};
use crate::call::raw::RawCall;
use crate::call::{Call, HelperTable};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::{borrow::Cow, vec::Vec};

use super::{Plan, lower};

/// Header and program headers, then the code.
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const CODE: u64 = HEADER + 2 * PROGRAM_HEADER;

/// `e_machine` of the architecture.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };

/// Segments are aligned to the largest page size there is.
const ALIGN: u64 = 0x1_0000;

/// What the file has beside the code: rows with the addresses they have
/// there, text and lists, and the number of the status page's descriptor.
pub(crate) struct HelperLayout<'a> {
    rows: &'a [Call],
    text: Cow<'a, [u8]>,
    lists: Vec<u64>,
    page: u32,
    raw: &'a [RawCall],
}

/// What a file was written from; its rows were verified.
pub(crate) struct HelperContents {
    rows: Vec<Call>,
    text: Vec<u8>,
    lists: Vec<u64>,
    page: u32,
}

impl<'a> HelperLayout<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        rows: &'a mut [Call],
        page: u32,
    ) -> HelperLayout<'a> {
        let own = plan.strings.text();
        // The helper has no other memory of this process, so a shared
        // environment is copied.
        let shared = plan.strings.shared();
        let text = match shared {
            Some(shared) => Cow::Owned([own, shared.text()].concat()),
            None => Cow::Borrowed(own),
        };
        let (text_at, lists_at) = addresses(rows.len(), text.len());
        lower::relocate(rows, text_at, lists_at, 0);
        let mut lists = plan.strings.lists_for(text_at);
        if let Some(shared) = shared {
            lists.extend(shared.list_at(text_at + own.len() as u64));
        }
        if plan.listens {
            let envp = usize::try_from(plan.strings.envp() / 8);
            if let Some(entry) = lists.get_mut(envp.unwrap_or_default()) {
                *entry = LISTEN_PID_ADDR;
            }
        }
        HelperLayout { rows, text, lists, page, raw: &plan.raw }
    }

    /// Whether a file with this layout would have the same contents.
    pub(crate) fn is_of(&self, contents: &HelperContents) -> bool {
        self.page == contents.page
            && self.rows == contents.rows
            && self.lists == contents.lists
            && *self.text == *contents.text
    }

    pub(crate) fn to_contents(&self) -> HelperContents {
        let HelperLayout { lists, page, .. } = self;
        let (rows, text) = (self.rows.into(), self.text.to_vec());
        HelperContents { rows, text, lists: lists.clone(), page: *page }
    }

    /// Writes the file. The number of its first row is `first`, its code is
    /// `code`, the walker.
    pub(crate) fn write(
        &self,
        first: u16,
        code: &[u8],
        file: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let error = |error| Error::new(Step::Plan, Cause::VerifyError(error));
        let table = HelperTable::new(
            self.rows,
            first,
            &self.text,
            &self.lists,
            self.raw,
        );
        let table = table.map_err(error)?;
        let (_, lists_at) = addresses(table.rows.len(), table.text.len());
        let size = lists_at - IMAGE_BASE + 8 * table.lists.len() as u64;
        let narrow = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        file.clear();
        file.reserve_exact(narrow(size));
        header(file, size);
        file.extend_from_slice(code);
        file.resize(narrow(PAGE_FD_OFFSET), 0);
        file.extend_from_slice(&self.page.to_le_bytes());
        for row in table.rows {
            file.extend_from_slice(&row.bytes());
        }
        file.extend_from_slice(table.text);
        file.resize(narrow(lists_at - IMAGE_BASE), 0);
        for entry in table.lists {
            file.extend_from_slice(&entry.to_le_bytes());
        }
        Ok(())
    }
}

fn header(file: &mut Vec<u8>, size: u64) {
    let half = |file: &mut Vec<u8>, all: &[u16]| {
        all.iter().for_each(|n| file.extend_from_slice(&n.to_le_bytes()));
    };
    let word = |file: &mut Vec<u8>, all: &[u32]| {
        all.iter().for_each(|n| file.extend_from_slice(&n.to_le_bytes()));
    };
    let long = |file: &mut Vec<u8>, all: &[u64]| {
        all.iter().for_each(|n| file.extend_from_slice(&n.to_le_bytes()));
    };
    // ELFCLASS64, little-endian, version 1, ELFOSABI_NONE.
    file.extend_from_slice(&[0x7F, b'E', b'L', b'F', 2, 1, 1, 0]);
    long(file, &[0]);
    // ET_EXEC; the entry point is the code.
    half(file, &[2, MACHINE]);
    word(file, &[1]);
    long(file, &[IMAGE_BASE + CODE, HEADER, 0]);
    word(file, &[0]);
    half(file, &[64, 56, 2, 0, 0, 0]);
    // PT_LOAD, readable and executable: the whole file.
    word(file, &[1, 5]);
    long(file, &[0, IMAGE_BASE, IMAGE_BASE, size, size, ALIGN]);
    // PT_GNU_STACK, readable and writable: no executable stack.
    word(file, &[0x6474_E551, 6]);
    long(file, &[0, 0, 0, 0, 0, 16]);
}

const _: () =
    assert!(CODE < PAGE_FD_OFFSET && PAGE_FD_OFFSET + 4 == ROWS_OFFSET);
