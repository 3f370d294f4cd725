//! Listen: the variables by which a program finds its listening sockets.

use crate::call::{Call, Check, local, slot};
use crate::parent::command::Options;
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Operand, PlanBuilder, StringTable, local_row, row,
};
use crate::parent::std::{
    ffi::OsStr,
    string::{String, ToString},
};

/// The first descriptor of the protocol (`SD_LISTEN_FDS_START`).
pub(super) const START: i32 = 3;

/// The name that `sd_listen_fds_with_names` returns for a socket without one.
const UNKNOWN: &str = "unknown";

/// The variables of the protocol. None of them is inherited.
const VARIABLES: [&str; 4] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

pub(crate) fn is_variable(key: &OsStr) -> bool {
    VARIABLES.iter().any(|name| key == *name)
}

/// Puts the variables first; the child writes the value of LISTEN_PID.
pub(crate) fn environment(
    strings: &mut StringTable,
    options: &Options,
    names: &[Option<String>],
) -> Result<(), Error> {
    // Removing one is no conflict: the inherited value is not passed on.
    let vars = options.environment.vars.iter();
    let mut set = vars.filter(|(_, value)| value.is_some());
    if let Some((key, _)) = set.find(|(key, _)| is_variable(key)) {
        let why = "env sets that variable too";
        return Err(Error::refused(Step::ListenFds, why).with(key));
    }
    let mut list = String::new();
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            list.push(':');
        }
        list.push_str(valid(name.as_deref().unwrap_or(UNKNOWN))?);
    }
    let count = names.len().to_string();
    let named = names.iter().any(Option::is_some);
    let all: [(&[u8], &[u8], bool); 3] = [
        (b"LISTEN_PID", b"", true),
        (b"LISTEN_FDS", count.as_bytes(), true),
        (b"LISTEN_FDNAMES", list.as_bytes(), named),
    ];
    for (name, value, _) in all.into_iter().filter(|(.., set)| *set) {
        let put = strings.inherited(name, value);
        put.map_err(|why| why.of(Step::ListenFds, ""))?;
    }
    Ok(())
}

/// Validates a name as systemd does (`fdname_is_valid`).
fn valid(name: &str) -> Result<&str, Error> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b':';
    let why = match name.as_bytes() {
        all if all.len() > 255 => "a name has at most 255 bytes",
        all if !all.iter().copied().all(plain) => {
            "a name is printable ASCII without a colon"
        }
        _ => return Ok(name),
    };
    Err(Error::refused(Step::ListenFds, why).with(name))
}

/// `getpid()`, written as decimal digits into the variable LISTEN_PID.
pub(crate) fn listen_pid(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if plan.options().descriptors.listen.is_none() {
        return Ok(());
    }
    // The slot holds the number first, then its digits.
    let store = slot::LISTEN_PID_DIGITS;
    let pid = Call { store, ..row(libc::SYS_getpid, &[]) };
    let digits = local_row(local::DECIMAL, &[Arg::Slot(store)]);
    let digits = Call { store, check: Check::May, ..digits };
    plan.step(Step::ListenFds, Operand::Label("LISTEN_PID"))
        .row(pid)
        .row(digits)
        .shown_as("getpid")
        .note("listen_fds");
    Ok(())
}
