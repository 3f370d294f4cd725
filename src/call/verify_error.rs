//! `VerifyError`: why a table is invalid.

use core::fmt;

/// Why a table is invalid: a bug of this crate, never of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    Empty,
    TooLong,
    Row(u16),
    End,
    Text,
    List,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Row(n) => {
                write!(f, "row {n} of the table is invalid")
            }
            VerifyError::TooLong => {
                f.write_str("the table has more than 65,534 rows")
            }
            VerifyError::Empty => f.write_str("the table is empty"),
            VerifyError::End => {
                f.write_str("the table does not end in exec or exit")
            }
            VerifyError::Text => f.write_str("the strings do not end in NUL"),
            VerifyError::List => {
                f.write_str("a list contains an unknown address")
            }
        }
    }
}
