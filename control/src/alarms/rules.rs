//! Which alarms ring. The limits are those of `monitoring/alerts.yml`: change both, and the table in
//! `docs/OPERATIONS.md`.

use nucleus_core::validity::ValidityNotice;
use serde::Serialize;
use utoipa::ToSchema;

use super::facts::{AlarmFacts, CertificateKind, LicenceFacts};
use crate::store::SilentWebhook;
use crate::timestamp::Timestamp;

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;
/// From how many days on the end of a licence is worth an alarm.
pub const LICENCE_DAYS: i64 = 14;
/// How many days an ended licence is an alarm. Then it is no news.
pub const ENDED_DAYS: i64 = 30;
/// How far ahead ends are told, in days.
pub const AHEAD_DAYS: i64 = 56;
/// Largest share of a core of a shard.
pub const CPU: f64 = 0.8;
/// Largest share of the links on the fallback.
pub const FALLBACK: f64 = 0.25;
/// Fewest links of which a share says something.
pub const FALLBACK_LINKS: u64 = 20;
/// Largest share of joins that fail, before somebody should look.
pub const FAILED_JOINS: f64 = 0.1;
/// Largest share of joins that fail, before the server counts as broken. A refusal may be the client's fault.
pub const MOST_JOINS: f64 = 0.5;
/// Fewest joins of which a share says something.
pub const JOINS: f64 = 20.0;
/// Largest relay latency of 99 of 100 messages, in microseconds.
pub const RELAY_US: u64 = 50_000;
/// Largest number of datagrams that the kernel drops in a second.
pub const KERNEL_DROPS: f64 = 1.0;
/// Largest share of the sessions in use.
pub const SESSIONS: f64 = 0.9;
/// Least free space of the disk in bytes: the spool of the history alone may take 64 MiB.
pub const FREE_DISK: u64 = 1 << 30;
/// Most alarms of an answer. Licences and webhooks of many tenants may ring at once; nobody reads more.
pub const MAX_ALARMS: usize = 100;

/// What rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The server is not ready for sessions.
    NotReady,
    /// The certificate has ended, or has not begun.
    CertificateInvalid,
    /// The certificate ends soon.
    CertificateEnds,
    /// The server has made the certificate itself, and is no trial.
    CertificateOwn,
    /// The certificate or a key could not be read again.
    ReloadFailed,
    /// The database does not answer.
    DatabaseDown,
    /// Events of the history wait for the database.
    HistoryWaits,
    /// The disk is nearly full.
    DiskFull,
    /// Joins do not succeed.
    JoinsFail,
    /// Messages are in the server for too long.
    RelaySlow,
    /// A shard uses nearly all of a core.
    ShardBusy,
    /// The kernel drops datagrams.
    KernelDrops,
    /// Many headsets do not reach the realtime port.
    Fallback,
    /// Nearly all sessions are in use.
    NearlyFull,
    /// A licence has ended.
    LicenceEnded,
    /// A licence ends soon.
    LicenceEnds,
    /// The server has switched a webhook off.
    WebhookOff,
    /// The deliveries of a webhook fail.
    WebhookFails,
}

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmSeverity {
    /// Now: people are kept out, or something is lost.
    Critical,
    /// In the next days.
    Warning,
}

/// An alarm that rings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alarm {
    /// What rings.
    pub kind: AlarmKind,
    /// How soon somebody should look.
    pub severity: AlarmSeverity,
    /// Since when it rings. What was before the start of the server is not known.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The id of the tenant or of the webhook, or the number of the shard; absent: the server.
    pub subject: Option<String>,
    /// The name of the tenant or of the webhook, which people choose.
    pub name: Option<String>,
    /// The id of the tenant that sees the alarm too; absent: only those who see the whole server.
    pub tenant: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Something that ends at a known time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndingThing {
    /// The id of the tenant whose licence ends; absent: the certificate of the server ends.
    pub tenant: Option<String>,
    /// The name of the tenant, which people choose.
    pub name: Option<String>,
    /// The end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

/// Returns the alarms that ring at `now`, the most severe first. `since` of each is `now`, or earlier if
/// the facts tell it.
pub fn alarms(facts: &AlarmFacts, now: Timestamp) -> Vec<Alarm> {
    let mut found = RungAlarms { now, alarms: Vec::new() };
    found.of_process(facts);
    found.of_certificate(facts);
    found.of_storage(facts);
    found.of_sessions(facts);
    found.of_shards(facts);
    facts.licences.iter().for_each(|licence| found.of_licence(licence));
    facts.webhooks.iter().for_each(|webhook| found.of_webhook(webhook));
    found.alarms.sort_by_key(|alarm| alarm.severity);
    found.alarms
}

/// Returns what ends in the next [`AHEAD_DAYS`] days, the first end first: the certificate, then licences.
pub fn ends(facts: &AlarmFacts, now: Timestamp) -> Vec<EndingThing> {
    let latest = now.micros().saturating_add(AHEAD_DAYS * DAY);
    let certificate = facts.certificate.map(|certificate| EndingThing {
        tenant: None,
        name: None,
        ends_at: Timestamp::from_seconds(certificate.validity.end),
    });
    let licences = facts.licences.iter().map(|licence| EndingThing {
        tenant: Some(licence.tenant.clone()),
        name: Some(licence.name.clone()),
        ends_at: licence.ends_at,
    });
    let is_near = |thing: &EndingThing| (now.micros()..latest).contains(&thing.ends_at.micros());
    let mut licences: Vec<_> = licences.filter(is_near).collect();
    licences.sort_by_key(|thing| thing.ends_at);
    // Whether the certificate is well is a question at any time.
    certificate.into_iter().chain(licences).collect()
}

struct RungAlarms {
    now: Timestamp,
    alarms: Vec<Alarm>,
}

impl RungAlarms {
    fn add(
        &mut self,
        kind: AlarmKind,
        severity: AlarmSeverity,
        what: impl Into<String>,
        remedy: &str,
    ) -> &mut Alarm {
        let at = self.alarms.len();
        self.alarms.push(Alarm {
            kind,
            severity,
            since: self.now,
            subject: None,
            name: None,
            tenant: None,
            what: what.into(),
            remedy: remedy.to_owned(),
        });
        &mut self.alarms[at]
    }

    fn of_process(&mut self, facts: &AlarmFacts) {
        use AlarmSeverity::{Critical, Warning};
        if let Some(why) = &facts.not_ready {
            let what = format!("The server is not ready for sessions: {why}");
            self.add(AlarmKind::NotReady, Critical, what, "Read the log: it says what is missing.");
        }
        if !facts.is_reloaded {
            let what = "A certificate or a key could not be read again; the old one is in use";
            let remedy = "The log names the file and the reason. Mend it, then send SIGHUP.";
            self.add(AlarmKind::ReloadFailed, Warning, what, remedy);
        }
    }

    fn of_certificate(&mut self, facts: &AlarmFacts) {
        use AlarmSeverity::{Critical, Warning};
        let Some(certificate) = facts.certificate else { return };
        let end = Timestamp::from_seconds(certificate.validity.end);
        let renew = match certificate.kind {
            CertificateKind::Files => "Put a new one into its file, then send SIGHUP.",
            CertificateKind::Own | CertificateKind::Acme => {
                "The server renews it by itself: the log says why it did not."
            }
        };
        match certificate.validity.notice(self.now.seconds()) {
            None => {}
            Some(ValidityNotice::Ended) => {
                let what = "The certificate has ended: clients refuse the server";
                self.add(AlarmKind::CertificateInvalid, Critical, what, renew).since = end;
            }
            Some(ValidityNotice::NotYetValid) => {
                let what = "The certificate has not begun: clients refuse the server";
                let remedy = "Look at the clock of the machine, or at the certificate.";
                self.add(AlarmKind::CertificateInvalid, Critical, what, remedy);
            }
            Some(ValidityNotice::EndsSoon) => {
                let what = format!("The certificate ends in {}", days(days_until(end, self.now)));
                self.add(AlarmKind::CertificateEnds, Warning, what, renew);
            }
        }
        if certificate.kind == CertificateKind::Own && facts.is_production {
            let what = "The certificate is of this server's own making: clients must pin it";
            let remedy = "Set [tls] or [acme] in the configuration.";
            self.add(AlarmKind::CertificateOwn, Warning, what, remedy);
        }
    }

    fn of_storage(&mut self, facts: &AlarmFacts) {
        use AlarmSeverity::{Critical, Warning};
        if !facts.database_answers {
            let what = "The database does not answer: sessions go on, changes do not arrive";
            let remedy = "Look at its service, its address and its disk.";
            self.add(AlarmKind::DatabaseDown, Critical, what, remedy);
        }
        if facts.history_waiting > 0 {
            let what =
                format!("{} of the history wait for the database", events(facts.history_waiting));
            let remedy = "Look at the database. They are written once it answers.";
            self.add(AlarmKind::HistoryWaits, Warning, what, remedy);
        }
        if let Some(free) = facts.free_disk.filter(|free| *free < FREE_DISK) {
            let what = format!("The disk of the data directory has {} MiB left", free >> 20);
            let remedy = "Make room: the history and bans are lost when it is full.";
            self.add(AlarmKind::DiskFull, Critical, what, remedy);
        }
    }

    fn of_sessions(&mut self, facts: &AlarmFacts) {
        use AlarmSeverity::{Critical, Warning};
        let all = facts.joins.joined + facts.joins.failed;
        let failed = facts.joins.failed / all;
        if all > JOINS && failed > FAILED_JOINS {
            let severity = if failed > MOST_JOINS { Critical } else { Warning };
            let what = format!("{} of the joins of ten minutes did not succeed", percent(failed));
            let remedy = "The outcomes of nucleus_session_joins_total and the log say why: keys, clocks, limits.";
            self.add(AlarmKind::JoinsFail, severity, what, remedy);
        }
        let used = facts.sessions as f64 / facts.max_sessions as f64;
        if facts.max_sessions > 0 && used > SESSIONS {
            let what = format!("{} of the sessions are in use", percent(used));
            let remedy = "Raise `sessions` of the configuration, or add a server.";
            self.add(AlarmKind::NearlyFull, Warning, what, remedy);
        }
        let share = facts.on_fallback as f64 / facts.links as f64;
        if facts.links >= FALLBACK_LINKS && share > FALLBACK {
            let what = format!("{} of the headsets do not reach the realtime port", percent(share));
            let remedy = "A firewall lets nothing through: send its administrator the port table.";
            self.add(AlarmKind::Fallback, Warning, what, remedy);
        }
    }

    fn of_shards(&mut self, facts: &AlarmFacts) {
        use AlarmSeverity::{Critical, Warning};
        if let Some(late) = facts.relay_p99_us.filter(|late| *late > RELAY_US) {
            let what = format!("One message in a hundred is in the server for {} ms", late / 1_000);
            let remedy = "Look at the CPU of the shards below, and at other programs.";
            self.add(AlarmKind::RelaySlow, Critical, what, remedy);
        }
        if let Some(drops) = facts.kernel_drops.filter(|drops| *drops > KERNEL_DROPS) {
            let what = format!("The kernel drops {drops:.0} datagrams a second");
            let remedy = "Make the receive buffer of the system larger, or use more shards.";
            self.add(AlarmKind::KernelDrops, Warning, what, remedy);
        }
        for (number, cpu) in facts.cpu.iter().enumerate() {
            if let Some(cpu) = cpu.filter(|cpu| *cpu > CPU) {
                let what = format!("Shard {number} uses {} of a core", percent(cpu));
                let remedy = "Use more shards, or another server. One room is on one shard.";
                self.add(AlarmKind::ShardBusy, Warning, what, remedy).subject =
                    Some(number.to_string());
            }
        }
    }

    fn of_licence(&mut self, licence: &LicenceFacts) {
        let left = licence.ends_at.micros().saturating_sub(self.now.micros());
        if left < -ENDED_DAYS * DAY {
            return;
        }
        let alarm = if left <= 0 {
            let remedy = "Its users cannot join. Renew the licence, or switch the tenant off.";
            self.add(AlarmKind::LicenceEnded, AlarmSeverity::Warning, "A licence has ended", remedy)
        } else if left < LICENCE_DAYS * DAY {
            let what = format!("A licence ends in {}", days(left / DAY));
            let remedy = "Then its users cannot join. Renew the licence, or tell the tenant.";
            self.add(AlarmKind::LicenceEnds, AlarmSeverity::Warning, what, remedy)
        } else {
            return;
        };
        let begin = if left <= 0 { 0 } else { LICENCE_DAYS * DAY };
        alarm.since = Timestamp::from_micros(licence.ends_at.micros().saturating_sub(begin));
        alarm.subject = Some(licence.tenant.clone());
        alarm.name = Some(licence.name.clone());
        alarm.tenant = Some(licence.tenant.clone());
    }

    fn of_webhook(&mut self, webhook: &SilentWebhook) {
        let alarm = match &webhook.off_reason {
            Some(reason) => {
                let what = format!("A webhook was switched off: {reason}");
                let remedy = "Look at its address, then switch it on again.";
                self.add(AlarmKind::WebhookOff, AlarmSeverity::Warning, what, remedy)
            }
            None => {
                let what = "The deliveries of a webhook fail";
                let remedy = "Its deliveries say what its receiver answers.";
                self.add(AlarmKind::WebhookFails, AlarmSeverity::Warning, what, remedy)
            }
        };
        alarm.subject = Some(webhook.id.clone());
        alarm.name = Some(webhook.name.clone());
        alarm.tenant.clone_from(&webhook.tenant);
    }
}

/// Returns the whole days until `end`, at least 0.
fn days_until(end: Timestamp, now: Timestamp) -> i64 {
    (end.micros().saturating_sub(now.micros()) / DAY).max(0)
}

fn days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
