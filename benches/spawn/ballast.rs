//! Ballast: memory that makes the parent large, in small pages, each touched.

/// Pages of 4 KiB, all of them resident.
pub(crate) struct Ballast(Vec<u8>);

const PAGE: usize = 4096;

impl Ballast {
    pub(crate) fn new(mib: usize) -> Ballast {
        let mut pages: Vec<u8> = Vec::with_capacity(mib << 20);
        let at = pages.as_mut_ptr().cast::<libc::c_void>();
        let slack = at.align_offset(PAGE);
        // SAFETY: advises on whole pages inside the vector's own memory.
        unsafe {
            libc::madvise(
                at.wrapping_byte_add(slack),
                (mib << 20) - PAGE,
                libc::MADV_NOHUGEPAGE,
            )
        };
        pages.resize(mib << 20, 0);
        for page in pages.chunks_mut(PAGE) {
            page[0] = 1;
        }
        Ballast(pages)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        assert_eq!(self.0.first(), Some(&1), "the pages were touched");
    }
}
