//! The exit codes.
//!
//! A run that is INVALID ends with [`NO_RESULT`] even if a rule held: its figures prove nothing, so
//! neither that the server kept a rule nor that it broke one. With `--allow-invalid` the rules alone
//! decide.

/// The exit code of a valid run in which a `--fail-if` condition held, or a figure of a scenario
/// exceeded its limit.
pub(crate) const FAILED: u8 = 1;
/// The exit code if there was no run, or one that is INVALID.
pub(crate) const NO_RESULT: u8 = 3;

/// The outcome of a run or a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Whether the figures prove anything.
    pub(crate) valid: bool,
    /// Whether no `--fail-if` condition held, and no figure exceeded its limit.
    pub(crate) passed: bool,
    /// Whether `--allow-invalid` was given.
    pub(crate) allow_invalid: bool,
}

impl Verdict {
    /// Returns the exit code.
    pub(crate) fn code(self) -> u8 {
        if !self.valid && !self.allow_invalid {
            NO_RESULT
        } else if self.passed {
            0
        } else {
            FAILED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_run_never_looks_like_a_success() {
        let code = |valid, passed, allow_invalid| Verdict { valid, passed, allow_invalid }.code();
        assert_eq!((code(true, true, false), code(true, false, false)), (0, 1));
        assert_eq!((code(false, true, false), code(false, false, false)), (3, 3));
        assert_eq!((code(false, true, true), code(false, false, true)), (0, 1));
        assert_eq!((code(true, true, true), code(true, false, true)), (0, 1));
    }
}
