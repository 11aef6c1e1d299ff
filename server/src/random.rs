//! Random bytes from the operating system.

/// Returns random bytes. Aborts the process if the system gives none, because keys would not be
/// safe then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes: aborting the process");
        std::process::abort();
    }
    bytes
}
