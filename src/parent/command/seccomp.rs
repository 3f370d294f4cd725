//! `SeccompFilter`: a program that decides about system calls. Plain data.

use core::fmt;

use crate::parent::std::vec::Vec;

/// An instruction of a [`SeccompFilter`]: `struct sock_filter`
/// ([`bpf(4)`] has the instructions, [`seccomp(2)`] those that a filter may
/// have).
///
/// The fields are those of `libc::sock_filter` and of
/// `seccompiler::sock_filter`, and the layout is the kernel's.
///
/// # Examples
///
/// ```
/// use offshoot::SockFilter;
///
/// // `return SECCOMP_RET_ALLOW`.
/// let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x7FFF_0000 };
/// let allow = SockFilter::new(allow.code, allow.jt, allow.jf, allow.k);
/// assert_eq!(allow, SockFilter::from((6, 0, 0, 0x7FFF_0000)));
/// ```
///
/// [`bpf(4)`]: https://man.freebsd.org/cgi/man.cgi?bpf(4)
/// [`seccomp(2)`]: https://man7.org/linux/man-pages/man2/seccomp.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SockFilter {
    /// The operation.
    pub code: u16,
    /// How many instructions a jump skips if its condition is true.
    pub jt: u8,
    /// How many instructions a jump skips if its condition is false.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

impl SockFilter {
    /// Creates an instruction.
    #[must_use]
    pub const fn new(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    /// The two words of an instruction, as they are in memory.
    pub(crate) fn words(self) -> [u32; 2] {
        let [low, high] = self.code.to_le_bytes();
        [u32::from_le_bytes([low, high, self.jt, self.jf]), self.k]
    }
}

impl From<(u16, u8, u8, u32)> for SockFilter {
    fn from((code, jt, jf, k): (u16, u8, u8, u32)) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }
}

/// A seccomp filter for [`Command::seccomp`]: a program in classic BPF, of at
/// most 4,096 instructions.
///
/// It is made from instructions in any collection, or from bytes. Nothing is
/// validated before a plan is compiled.
///
/// # Examples
///
/// A filter that libseccomp or the crate seccompiler has made is converted by
/// its fields:
///
/// ```
/// use offshoot::SeccompFilter;
///
/// # mod seccompiler {
/// #     pub struct sock_filter { pub code: u16, pub jt: u8, pub jf: u8, pub k: u32 }
/// #     pub type BpfProgram = Vec<sock_filter>;
/// # }
/// # let allow = seccompiler::sock_filter { code: 6, jt: 0, jf: 0, k: 0x7FFF_0000 };
/// # let program: seccompiler::BpfProgram = vec![allow];
/// // let program: seccompiler::BpfProgram = filter.try_into()?;
/// let filter: SeccompFilter =
///     program.iter().map(|it| (it.code, it.jt, it.jf, it.k)).collect();
/// assert_eq!(filter.instructions().len(), 1);
/// ```
///
/// [`Command::seccomp`]: crate::Command::seccomp
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SeccompFilter {
    pub(crate) program: Vec<SockFilter>,
    /// Bytes after the last whole instruction.
    pub(crate) rest: usize,
    pub(crate) log: bool,
    pub(crate) speculation: bool,
}

impl SeccompFilter {
    /// Creates a filter from the bytes of its `struct sock_filter`s, as
    /// `seccomp_export_bpf` of libseccomp writes them and bubblewrap reads
    /// them.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{SeccompFilter, SockFilter};
    ///
    /// let bytes = [6, 0, 0, 0, 0, 0, 0xFF, 0x7F];
    /// let filter = SeccompFilter::from_bytes(&bytes);
    /// let allow = SockFilter::new(6, 0, 0, 0x7FFF_0000);
    /// assert_eq!(filter.instructions(), [allow]);
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> SeccompFilter {
        let whole = bytes.chunks_exact(8);
        let rest = whole.remainder().len();
        let instruction = |bytes: &[u8]| {
            let [a, b, jt, jf, c, d, e, f] = *bytes.first_chunk()?;
            let (code, k) = ([a, b], [c, d, e, f]);
            let (code, k) = (u16::from_le_bytes(code), u32::from_le_bytes(k));
            Some(SockFilter { code, jt, jf, k })
        };
        let program = whole.filter_map(instruction).collect();
        SeccompFilter { program, rest, ..SeccompFilter::default() }
    }

    /// Sets whether the kernel logs the actions of this filter, all but
    /// `SECCOMP_RET_ALLOW` (`SECCOMP_FILTER_FLAG_LOG`, Linux 4.14).
    #[must_use]
    pub fn log(mut self, log: bool) -> SeccompFilter {
        self.log = log;
        self
    }

    /// Sets whether the kernel leaves out its protection against Speculative
    /// Store Bypass (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`, Linux 4.17). From
    /// Linux 5.16 on a filter enables that protection by itself only if the
    /// kernel was booted so.
    #[must_use]
    pub fn allow_speculation(mut self, allow: bool) -> SeccompFilter {
        self.speculation = allow;
        self
    }

    /// Returns the instructions.
    #[must_use]
    pub fn instructions(&self) -> &[SockFilter] {
        &self.program
    }
}

impl<I: Into<SockFilter>> FromIterator<I> for SeccompFilter {
    fn from_iter<T: IntoIterator<Item = I>>(all: T) -> SeccompFilter {
        let program = all.into_iter().map(I::into).collect();
        SeccompFilter { program, ..SeccompFilter::default() }
    }
}

impl<I: Into<SockFilter>> From<Vec<I>> for SeccompFilter {
    fn from(all: Vec<I>) -> SeccompFilter {
        all.into_iter().collect()
    }
}

impl<I: Into<SockFilter>, const N: usize> From<[I; N]> for SeccompFilter {
    fn from(all: [I; N]) -> SeccompFilter {
        all.into_iter().collect()
    }
}

/// Prints the number of instructions.
impl fmt::Debug for SeccompFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("SeccompFilter");
        all.field("instructions", &self.program.len());
        for (name, is_set) in
            [("log", self.log), ("allow_speculation", self.speculation)]
        {
            if is_set {
                all.field(name, &true);
            }
        }
        all.finish()
    }
}
