//! The AEAD suites that this machine prefers.

use nucleus_protocol::link::Suite;

/// Returns the suites to offer, the best first.
pub fn offered_suites() -> [Suite; 2] {
    match best_suite() {
        Suite::Aes128Gcm => [Suite::Aes128Gcm, Suite::ChaCha20Poly1305],
        Suite::ChaCha20Poly1305 => [Suite::ChaCha20Poly1305, Suite::Aes128Gcm],
    }
}

/// Returns AES if the processor has instructions for it, and ChaCha20 otherwise. Without the
/// instructions, AES is slower than ChaCha20 and can leak its key through the cache.
pub(super) fn best_suite() -> Suite {
    if has_aes() { Suite::Aes128Gcm } else { Suite::ChaCha20Poly1305 }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
