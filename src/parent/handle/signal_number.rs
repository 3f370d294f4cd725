//! Numbers of signals that are sent.

use crate::parent::command::signal_set::NO_SIGNAL;
use crate::parent::error::{Error, Step};
use crate::parent::std::string::ToString;

/// Refuses what is no signal; the kernel takes 0 for a question.
pub(super) fn check_signal(number: i32) -> Result<(), Error> {
    match (1..=64).contains(&number) {
        true => Ok(()),
        false => {
            let error = Error::refused(Step::Kill, NO_SIGNAL);
            Err(error.with(number.to_string()))
        }
    }
}
