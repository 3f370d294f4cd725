//! `Rusage`: what a child has used.

use core::time::Duration;

use crate::sys::abi;

/// What a child, and the descendants that it has waited for, have used
/// ([`getrusage(2)`]). Counts end at 4,294,967,295.
///
/// # Examples
///
/// ```
/// let mut child = offshoot::Command::new("true").spawn()?;
/// let (status, usage) = child.wait_usage()?;
/// assert!(status.success());
/// println!("{:?} in user mode", usage.user_time());
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`getrusage(2)`]: https://man7.org/linux/man-pages/man2/getrusage.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rusage {
    /// In microseconds.
    user: u64,
    system: u64,
    /// In KiB.
    max_rss: u64,
    faults: [u32; 2],
    blocks: [u32; 2],
    switches: [u32; 2],
}

impl Rusage {
    pub(crate) fn new(raw: &abi::Rusage) -> Rusage {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        // Small, as a `Child` has it.
        let small = |n: i64| u32::try_from(n.max(0)).unwrap_or(u32::MAX);
        let pair = |[a, b]: [i64; 2]| [small(a), small(b)];
        let time = |[seconds, microseconds]: [i64; 2]| {
            count(seconds) * 1_000_000 + count(microseconds)
        };
        Rusage {
            user: time(raw.user),
            system: time(raw.system),
            max_rss: count(raw.max_rss),
            faults: pair([raw.minor_faults, raw.major_faults]),
            blocks: pair([raw.blocks_in, raw.blocks_out]),
            switches: pair([raw.voluntary_switches, raw.involuntary_switches]),
        }
    }

    /// CPU time in user mode.
    #[must_use]
    pub fn user_time(&self) -> Duration {
        Duration::from_micros(self.user)
    }

    /// CPU time in the kernel.
    #[must_use]
    pub fn system_time(&self) -> Duration {
        Duration::from_micros(self.system)
    }

    /// The largest resident set of the child or one of these descendants, in
    /// bytes.
    ///
    /// It is not below that of this process at the spawn: the kernel counts
    /// the memory that the child had before exec. A child that shared this
    /// process's memory ([`Engine::Suspended`]) counts its peak, also if it
    /// has been freed since; a copied one counts what is resident.
    ///
    /// [`Engine::Suspended`]: crate::Engine::Suspended
    #[must_use]
    pub fn max_rss(&self) -> u64 {
        self.max_rss.saturating_mul(1024)
    }

    /// Page faults without input or output.
    #[must_use]
    pub fn minor_faults(&self) -> u64 {
        self.faults[0].into()
    }

    /// Page faults that had to read.
    #[must_use]
    pub fn major_faults(&self) -> u64 {
        self.faults[1].into()
    }

    /// How often the file system had to read.
    #[must_use]
    pub fn blocks_in(&self) -> u64 {
        self.blocks[0].into()
    }

    /// How often the file system had to write.
    #[must_use]
    pub fn blocks_out(&self) -> u64 {
        self.blocks[1].into()
    }

    /// How often it has given up the CPU, to wait for something.
    #[must_use]
    pub fn voluntary_switches(&self) -> u64 {
        self.switches[0].into()
    }

    /// How often another thread was given its CPU.
    #[must_use]
    pub fn involuntary_switches(&self) -> u64 {
        self.switches[1].into()
    }
}
