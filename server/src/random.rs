//! Randomness of the system's.

/// Fresh random bytes. Where the system gives none nothing is safe, and the process must not go on.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes; stopping");
        std::process::abort();
    }
    bytes
}
