//! `Resource` and `Rlimit`: the resource limits of a process.

/// A resource that [`getrlimit(2)`] describes, by the kernel's name
/// (`RLIMIT_NOFILE` is [`Resource::NoFile`]).
///
/// [`getrlimit(2)`]: https://man7.org/linux/man-pages/man2/getrlimit.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// CPU time in seconds; SIGXCPU at the soft limit, SIGKILL at the hard
    /// one.
    Cpu = 0,
    /// The size of a file that is written, in bytes; SIGXFSZ or EFBIG beyond.
    FileSize = 1,
    /// The size of the data segment, in bytes.
    Data = 2,
    /// The size of the stack of the first thread, in bytes. execve gives a
    /// quarter of it to arguments and environment.
    Stack = 3,
    /// The size of a core file, in bytes; 0 for none.
    Core = 4,
    /// The resident set, in bytes. Linux does not enforce it.
    Rss = 5,
    /// The number of processes and threads of the real user.
    NProc = 6,
    /// One more than the highest number of a descriptor.
    NoFile = 7,
    /// The size of locked memory, in bytes.
    MemLock = 8,
    /// The size of the address space, in bytes.
    AddressSpace = 9,
    /// The number of locks. Linux does not enforce it.
    Locks = 10,
    /// The number of queued signals of the real user.
    SigPending = 11,
    /// The size of POSIX message queues of the real user, in bytes.
    MsgQueue = 12,
    /// The lowest nice value, as 20 minus that value.
    Nice = 13,
    /// The highest real-time priority.
    RtPrio = 14,
    /// CPU time that a real-time thread may use without a blocking system
    /// call, in microseconds.
    RtTime = 15,
}

impl Resource {
    /// The kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "RLIMIT_CPU",
            Resource::FileSize => "RLIMIT_FSIZE",
            Resource::Data => "RLIMIT_DATA",
            Resource::Stack => "RLIMIT_STACK",
            Resource::Core => "RLIMIT_CORE",
            Resource::Rss => "RLIMIT_RSS",
            Resource::NProc => "RLIMIT_NPROC",
            Resource::NoFile => "RLIMIT_NOFILE",
            Resource::MemLock => "RLIMIT_MEMLOCK",
            Resource::AddressSpace => "RLIMIT_AS",
            Resource::Locks => "RLIMIT_LOCKS",
            Resource::SigPending => "RLIMIT_SIGPENDING",
            Resource::MsgQueue => "RLIMIT_MSGQUEUE",
            Resource::Nice => "RLIMIT_NICE",
            Resource::RtPrio => "RLIMIT_RTPRIO",
            Resource::RtTime => "RLIMIT_RTTIME",
        }
    }
}

/// A soft and a hard limit. The kernel enforces the soft limit; the program
/// may change it up to the hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rlimit {
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

impl Rlimit {
    /// No limit (`RLIM_INFINITY`).
    pub const INFINITY: u64 = u64::MAX;

    /// A soft and a hard limit.
    #[must_use]
    pub const fn new(soft: u64, hard: u64) -> Rlimit {
        Rlimit { soft, hard }
    }
}

/// Both limits.
impl From<u64> for Rlimit {
    fn from(both: u64) -> Rlimit {
        Rlimit::new(both, both)
    }
}
