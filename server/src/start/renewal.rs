//! Renews the development certificate while the server runs. The schedule is that of
//! [`nucleus_core::certificates`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::limits::CERTIFICATE_CHECK;

use super::data_dir::{DataDir, DevelopmentCertificates, Pin};
use super::tls::{Identity, ServedCertificate};
use crate::token::CertificatePins;
use crate::unix_time::unix_now;

/// The certificate file of earlier versions.
const OLD_FILE: &str = "tls.pem";

/// The clock by which certificates are renewed.
#[derive(Clone)]
pub struct RenewalClock {
    /// Returns the time of day, in seconds since 1970. It may jump.
    pub now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How often the server looks at the clock.
    pub interval: Duration,
}

impl Default for RenewalClock {
    fn default() -> Self {
        Self { now: Arc::new(unix_now), interval: CERTIFICATE_CHECK }
    }
}

/// Puts each development certificate into service in its week.
pub(super) struct Renewal {
    certificates: DevelopmentCertificates,
    served: Arc<ServedCertificate>,
    served_pin: Pin,
    /// The pins that new tokens name.
    token_pins: CertificatePins,
    /// The error that was logged last. The same error is logged once.
    logged: Option<String>,
    old_file: PathBuf,
}

impl Renewal {
    /// Renews `served`, which is the certificate in service of `dir`.
    pub(super) fn new(dir: &DataDir, served: Arc<ServedCertificate>) -> Self {
        Self {
            certificates: dir.certificates().clone(),
            served,
            served_pin: dir.certificate_pin(),
            token_pins: CertificatePins::new(dir.certificates().token_pins()),
            logged: None,
            old_file: dir.path().join(OLD_FILE),
        }
    }

    /// Returns the pins that new tokens name. They follow the certificates.
    pub(super) fn token_pins(&self) -> CertificatePins {
        self.token_pins.clone()
    }

    /// Renews the certificate until the task is aborted.
    pub(super) async fn run(mut self, clock: RenewalClock) {
        if self.old_file.exists() {
            tracing::info!(
                "{} is no longer used and can be removed: the development certificate is now renewed \
                 every week, and join tokens from before the update no longer work",
                self.old_file.display()
            );
        }
        loop {
            let now = (clock.now)();
            if self.is_due(now) {
                // Writes files. A blocked disk must not block a thread of sessions.
                let checked = tokio::task::spawn_blocking(move || {
                    self.check(now);
                    self
                });
                // Fails only if the runtime is ending.
                let Ok(checked) = checked.await else { return };
                self = checked;
            }
            tokio::time::sleep(clock.interval).await;
        }
    }

    fn is_due(&self, now: u64) -> bool {
        self.certificates.is_due(now) || self.served_pin != self.certificates.in_service().pin()
    }

    /// Makes the certificates that are missing at `now`, and serves that of this week. If that
    /// fails, a certificate is served all the same, and the next call tries again.
    fn check(&mut self, now: u64) {
        if !self.is_due(now) {
            return;
        }
        let renewed = self.certificates.renew(now).map_err(|error| error.to_string());
        let served = self.serve().map_err(|error| error.to_string());
        self.token_pins.set(self.certificates.token_pins());
        let error = renewed.and(served).err();
        if error != self.logged {
            if let Some(error) = &error {
                tracing::warn!("the development certificate could not be renewed: {error}");
            }
            self.logged = error;
        }
    }

    fn serve(&mut self) -> Result<(), super::tls::TlsError> {
        let certificate = self.certificates.in_service();
        if certificate.pin() != self.served_pin {
            self.served.replace(Identity::development(certificate)?)?;
            self.served_pin = certificate.pin();
            tracing::info!(
                file = %certificate.file().display(),
                pin = %certificate.pin(),
                "new sessions get the next development certificate"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::path::Path;

    use aws_lc_rs::digest;
    use nucleus_core::certificates::ServiceWeek;
    use nucleus_core::limits::DEVELOPMENT_CERTIFICATES;

    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    /// A week's first second, in December 2026.
    const START: u64 = 2_970 * WEEK;

    /// A server's renewal on a data directory, driven by hand.
    struct RenewedServer {
        dir: tempfile::TempDir,
        renewal: Renewal,
    }

    impl RenewedServer {
        fn start(now: u64) -> Self {
            Self::start_on(tempfile::tempdir().unwrap(), now)
        }

        fn start_on(dir: tempfile::TempDir, now: u64) -> Self {
            let data = DataDir::open_at(dir.path(), now).unwrap();
            let identity = Identity::development(data.certificates().in_service()).unwrap();
            let renewal = Renewal::new(&data, ServedCertificate::new(identity).unwrap());
            Self { dir, renewal }
        }

        /// Looks at the clock, and returns the pin of the certificate that is served then.
        fn served_at(&mut self, now: u64) -> [u8; 32] {
            self.renewal.check(now);
            let chain = self.renewal.served.chain();
            digest::digest(&digest::SHA256, &chain[0]).as_ref().try_into().unwrap()
        }

        /// The pins in a token that another process signs at `now`.
        fn token_at(&self, now: u64) -> Vec<[u8; 32]> {
            let data = DataDir::open_at(self.dir.path(), now).unwrap();
            data.certificates().pins().into_iter().map(Pin::bytes).collect()
        }

        fn files(&self) -> usize {
            let names = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name());
            names.filter(|name| name.to_str().unwrap().starts_with("tls-")).count()
        }
    }

    #[test]
    fn over_months_a_token_of_the_last_seven_days_names_what_is_served() {
        let mut server = RenewedServer::start(START);
        let mut tokens: Vec<(u64, Vec<[u8; 32]>)> = Vec::new();
        let mut weeks_of: HashMap<[u8; 32], Vec<u64>> = HashMap::new();
        for now in (START..START + 200 * DAY).step_by(6 * HOUR as usize) {
            // Signed at the same second by a process that sees the new week before the server does.
            tokens.push((now, server.token_at(now)));
            let served = server.served_at(now);
            let weeks = weeks_of.entry(served).or_default();
            weeks.push(now / WEEK);
            weeks.dedup();
            tokens.retain(|(signed, _)| signed + WEEK >= now);
            for (signed, pins) in &tokens {
                assert!(pins.contains(&served), "signed at {signed}, served at {now}");
            }
            let validity = ServiceWeek::at(now).validity();
            assert!(validity.contains(&(now + 3 * DAY)) && validity.contains(&(now - 3 * DAY)));
            assert!(server.files() <= DEVELOPMENT_CERTIFICATES);
        }
        assert!(weeks_of.values().all(|weeks| weeks.len() == 1) && weeks_of.len() == 29);
    }

    #[test]
    fn a_server_that_is_late_serves_what_new_tokens_name() {
        let mut server = RenewedServer::start(START);
        let before = server.served_at(START);
        let token = server.token_at(START + WEEK);
        assert_eq!((token.len(), token[2]), (3, before), "the last one stands at the end");
        assert_eq!(server.served_at(START + WEEK), token[0]);
    }

    #[test]
    fn the_clock_jumps_and_comes_back() {
        let mut server = RenewedServer::start(START);
        let token = server.token_at(START);
        let at_first = server.served_at(START);
        for away in [0, START - 300 * WEEK, START - WEEK, START + 40 * WEEK, u64::MAX] {
            let served = server.served_at(away);
            assert_ne!(served, at_first);
            assert!(server.token_at(away).contains(&served), "tokens that are signed meanwhile");
            assert_eq!(server.served_at(START + HOUR), at_first, "back from {away}");
            assert_eq!(server.token_at(START + HOUR)[..2], token[..2]);
            assert!(server.files() <= DEVELOPMENT_CERTIFICATES);
        }
    }

    #[test]
    fn a_server_that_was_off_for_weeks_starts_with_a_new_certificate() {
        let mut server = RenewedServer::start(START);
        let before = server.served_at(START);
        let mut server = RenewedServer::start_on(server.dir, START + 5 * WEEK);
        let served = server.served_at(START + 5 * WEEK);
        assert_ne!(served, before);
        assert_eq!(server.token_at(START + 5 * WEEK)[0], served);
    }

    #[test]
    fn the_long_lived_certificate_of_earlier_versions_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(OLD_FILE), "old").unwrap();
        let mut server = RenewedServer::start_on(dir, START);
        assert_eq!(server.token_at(START)[0], server.served_at(START));
        assert_eq!(fs::read(server.dir.path().join(OLD_FILE)).unwrap(), b"old");
    }

    /// Makes every write of week `week` fail, as a full disk would, for root too.
    fn block(dir: &Path, week: u64) {
        fs::create_dir(dir.join(format!("tls-{week}.pem"))).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_old_certificate_in_service() {
        let mut server = RenewedServer::start(START);
        let before = server.served_at(START);
        let week = START / WEEK;
        block(server.dir.path(), week + 2);
        let next = server.served_at(START + WEEK);
        assert_ne!(next, before, "the next one was made early");
        assert!(server.renewal.logged.is_some());
        for late in [0, DAY, 6 * DAY] {
            assert_eq!(server.served_at(START + 2 * WEEK + late), next);
            assert_eq!(server.token_at(START + 2 * WEEK + late)[0], next);
        }
        fs::remove_dir(server.dir.path().join(format!("tls-{}.pem", week + 2))).unwrap();
        let mended = server.served_at(START + 3 * WEEK - HOUR);
        assert_ne!(mended, next);
        assert!(server.renewal.logged.is_none());
        assert_eq!(server.token_at(START + 3 * WEEK - HOUR)[0], mended);
    }

    #[test]
    fn a_damaged_file_does_not_stop_a_running_server() {
        let mut server = RenewedServer::start(START);
        let before = server.served_at(START);
        let next = server.dir.path().join(format!("tls-{}.pem", START / WEEK + 1));
        // It was read when it was made, so the certificate after it is the one that is missed.
        fs::write(server.dir.path().join(format!("tls-{}.pem", START / WEEK + 2)), "x").unwrap();
        assert_ne!(server.served_at(START + WEEK), before);
        let served = server.served_at(START + WEEK + HOUR);
        assert_eq!(server.served_at(START + 2 * WEEK), served);
        assert!(server.renewal.logged.as_ref().unwrap().contains("not a certificate"));
        assert!(next.exists());
    }
}
