//! Codes of authenticator apps (TOTP, RFC 6238): six digits that change every 30 seconds.
//!
//! Authenticator apps agree on SHA-1 alone. Its weakness is that of collisions, on which HMAC does not rest.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use crate::id::NoRandomness;
use crate::timestamp::Timestamp;

/// Bytes of a secret: the length of the hash (RFC 4226, 4).
const SECRET: usize = 20;
/// Seconds of a time step.
const STEP: u64 = 30;
/// Steps before and after the present one whose codes are taken: clocks of phones differ by some seconds,
/// and people type for some.
const SKEW: u64 = 1;
/// Codes have six digits.
const CODES: u32 = 1_000_000;
/// The alphabet of Base32 (RFC 4648).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a person's authenticator app knows.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret")
    }
}

impl TotpSecret {
    /// Makes a secret.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`]
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut secret = Zeroizing::new(vec![0; SECRET]);
        rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self(secret))
    }

    /// Reads a secret as [`text`](Self::text) writes it. `None`: the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut bits, mut count) = (0_u32, 0);
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET));
        for byte in text.bytes() {
            let digit = BASE32.iter().position(|other| *other == byte)?;
            bits = (bits << 5) | u32::try_from(digit).ok()?;
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        (bytes.len() == SECRET && count == 0).then_some(Self(bytes))
    }

    /// Returns the secret in Base32, as people type it into their app.
    pub fn text(&self) -> Zeroizing<String> {
        // 20 bytes are four groups of five, of eight digits each.
        let group =
            |bytes: &[u8]| bytes.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let digits = self.0.chunks_exact(5).flat_map(|bytes| {
            let bits = group(bytes);
            (0..8).rev().map(move |at| char::from(BASE32[(bits >> (5 * at)) as usize % 32]))
        });
        Zeroizing::new(digits.collect())
    }

    /// Returns the address that an app reads from a picture. `account` is what the app shows.
    pub fn address(&self, account: &str) -> Zeroizing<String> {
        let mut encoded = String::new();
        for byte in account.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    encoded.push(char::from(byte));
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        let secret = self.text();
        Zeroizing::new(format!(
            "otpauth://totp/Nucleus:{encoded}?secret={}&issuer=Nucleus",
            secret.as_str()
        ))
    }

    /// Returns the time step of a code that is right at `now`; `None`: it is wrong, or its step is not
    /// behind `used`, the newest one of which a code was taken.
    pub fn verify(&self, code: &str, used: Option<i64>, now: Timestamp) -> Option<i64> {
        // Apps show the digits in groups, and people copy the spaces.
        let code: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|c| !c.is_whitespace()).take(16).collect());
        let present = now.seconds() / STEP;
        let steps = present.saturating_sub(SKEW)..=present.saturating_add(SKEW);
        let mut found = None;
        for step in steps {
            let right = self.code(step);
            if verify_slices_are_equal(right.as_bytes(), code.as_bytes()).is_ok() {
                found = i64::try_from(step).ok();
            }
        }
        found.filter(|step| used.is_none_or(|used| *step > used))
    }

    /// Returns the code of a time step.
    fn code(&self, step: u64) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or(0) & 15);
        let four =
            tag[offset..].iter().take(4).fold(0, |bits, byte| (bits << 8) | u32::from(*byte));
        Zeroizing::new(format!("{:06}", (four & 0x7fff_ffff) % CODES))
    }

    /// Returns the code at a time, for tests and for programs that play an app.
    pub fn code_at(&self, now: Timestamp) -> String {
        self.code(now.seconds() / STEP).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc() -> TotpSecret {
        TotpSecret(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    /// RFC 6238, appendix B, of which the last six digits count.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(rfc().code_at(Timestamp::from_seconds(seconds)), code);
        }
    }

    #[test]
    fn a_secret_is_written_and_read() {
        assert_eq!(rfc().text().as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let secret = TotpSecret::generate().unwrap();
        let read = TotpSecret::parse(&secret.text()).unwrap();
        assert_eq!(read.0, secret.0);
        for wrong in ["", "GEZD", "gezdgnbvgy3tqojqgezdgnbvgy3tqojq", "1".repeat(32).as_str()] {
            assert!(TotpSecret::parse(wrong).is_none(), "{wrong}");
        }
        let address = rfc().address("ada+1@example.com");
        assert!(address.starts_with("otpauth://totp/Nucleus:ada%2B1%40example.com?secret=GEZD"));
    }

    #[test]
    fn a_code_counts_once_and_for_a_minute_and_a_half() {
        let at = |seconds: u64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let code = rfc().code_at(at(0));
        let step = rfc().verify(&code, None, at(0)).unwrap();
        assert_eq!(rfc().verify(&code, Some(step), at(1)), None, "used");
        assert_eq!(rfc().verify(&code, Some(step - 1), at(1)), Some(step));
        assert_eq!(rfc().verify(&code, None, at(59)), Some(step), "typed slowly");
        assert_eq!(rfc().verify(&code, None, at(60)), None, "too late");
        assert_eq!(rfc().verify(&rfc().code_at(at(30)), None, at(0)), Some(step + 1));
        assert_eq!(rfc().verify(&rfc().code_at(at(60)), None, at(0)), None, "too early");
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        assert_eq!(rfc().verify(&spaced, None, at(0)), Some(step));
        for wrong in ["", "000000000", "abcdef", &code[..5]] {
            assert_eq!(rfc().verify(wrong, None, at(0)), None, "{wrong}");
        }
    }
}
