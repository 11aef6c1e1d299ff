//! Which passwords are taken. Length decides, not the kinds of characters (NIST SP 800-63B).

use std::ops::RangeInclusive;

use nucleus_core::text;
use zeroize::Zeroizing;

/// How many characters a password may have. The upper end bounds the time of a request, not the strength.
const CHARACTERS: RangeInclusive<usize> = 12..=128;
/// Most bytes that are looked at: four for each character, and as much again for texts that become shorter
/// in NFC.
const BYTES: usize = 1_024;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It has fewer than 12 characters.
    #[error("the password is too short: it must have 12 characters or more")]
    Short,
    /// It has more than 128 characters.
    #[error("the password is too long: it may have 128 characters")]
    Long,
    /// It is the email address, or contains it.
    #[error("the password contains the email address: choose another one")]
    Email,
}

/// Checks a new password of the person with this email address, and returns it in the form that is hashed.
///
/// # Errors
///
/// [`PasswordFault`]
pub fn check_password(password: &str, email: &str) -> Result<Zeroizing<String>, PasswordFault> {
    let password = normal_form(password).ok_or(PasswordFault::Long)?;
    let count = password.chars().count();
    if count < *CHARACTERS.start() {
        return Err(PasswordFault::Short);
    }
    if count > *CHARACTERS.end() {
        return Err(PasswordFault::Long);
    }
    if Zeroizing::new(password.to_lowercase()).contains(email) {
        return Err(PasswordFault::Email);
    }
    Ok(password)
}

/// Returns a password in the form that is hashed: keyboards write the same character in several ways.
/// `None`: it is longer than any password.
pub(super) fn normal_form(password: &str) -> Option<Zeroizing<String>> {
    (password.len() <= BYTES).then(|| Zeroizing::new(text::nfc(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_decides() {
        let check = |password: &str| check_password(password, "ada@example.com").map(drop);
        assert_eq!(check("elevenchars"), Err(PasswordFault::Short));
        assert_eq!(check("twelve chars"), Ok(()));
        assert_eq!(check(&"ä".repeat(128)), Ok(()));
        assert_eq!(check(&"ä".repeat(129)), Err(PasswordFault::Long));
        assert_eq!(check(&"a".repeat(2_000)), Err(PasswordFault::Long));
        assert_eq!(check("my ADA@example.com"), Err(PasswordFault::Email));
    }

    #[test]
    fn one_text_in_two_encodings_is_one_password() {
        let composed = check_password("caf\u{e9} caf\u{e9} caf\u{e9}", "a@b").unwrap();
        let decomposed = check_password("cafe\u{301} cafe\u{301} cafe\u{301}", "a@b").unwrap();
        assert_eq!(composed, decomposed);
    }
}
