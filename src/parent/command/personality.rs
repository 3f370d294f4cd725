//! `Personality`: the execution domain of a process.

bitflags::bitflags! {
    /// Flags of [`personality(2)`] for a program of Linux.
    ///
    /// [`personality(2)`]: https://man7.org/linux/man-pages/man2/personality.2.html
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Personality: u32 {
        /// `uname` reports a version 2.6.
        const UNAME26 = 0x2_0000;
        /// Addresses are not randomized (no ASLR).
        const ADDR_NO_RANDOMIZE = 0x4_0000;
        /// Page 0 is mapped and readable.
        const MMAP_PAGE_ZERO = 0x10_0000;
        /// mmap allocates upwards, as before Linux 2.6.
        const ADDR_COMPAT_LAYOUT = 0x20_0000;
        /// What is readable is executable too.
        const READ_IMPLIES_EXEC = 0x40_0000;
        /// `uname` reports a 32-bit machine.
        const LINUX32 = 0x8;
    }
}
