use nucleus_core::validity::Validity;

use super::*;
use crate::alarms::{CertificateFacts, JoinFacts};

const NOW: u64 = 1_800_000_000;
const DAY_S: u64 = 86_400;

fn well() -> AlarmFacts {
    let validity = Validity { start: NOW - 30 * DAY_S, end: NOW + 60 * DAY_S };
    AlarmFacts {
        certificate: Some(CertificateFacts { kind: CertificateKind::Files, validity }),
        is_production: true,
        is_reloaded: true,
        database_answers: true,
        kernel_drops: Some(0.1),
        cpu: vec![Some(0.79), None],
        relay_p99_us: Some(6_800),
        joins: JoinFacts { joined: 100.0, failed: 11.0 },
        links: 100,
        on_fallback: 25,
        sessions: 90,
        max_sessions: 100,
        free_disk: Some(FREE_DISK),
        ..AlarmFacts::default()
    }
}

fn ring(change: impl FnOnce(&mut AlarmFacts)) -> Vec<(AlarmKind, AlarmSeverity)> {
    let mut facts = well();
    change(&mut facts);
    let alarms = alarms(&facts, Timestamp::from_seconds(NOW));
    alarms.into_iter().map(|alarm| (alarm.kind, alarm.severity)).collect()
}

fn certificate(kind: CertificateKind, from: i64, to: i64) -> Option<CertificateFacts> {
    let at = |days: i64| NOW.saturating_add_signed(days * DAY_S as i64);
    Some(CertificateFacts { kind, validity: Validity { start: at(from), end: at(to) } })
}

#[test]
fn a_server_that_is_well_rings_nothing() {
    assert_eq!(ring(|_| {}), []);
    // Nothing is known of a server that has just begun.
    let fresh = |facts: &mut AlarmFacts| {
        *facts = AlarmFacts { is_reloaded: true, database_answers: true, ..AlarmFacts::default() };
    };
    assert_eq!(ring(fresh), []);
}

#[test]
fn each_limit_rings_above_it() {
    use AlarmKind::*;
    use AlarmSeverity::{Critical, Warning};
    type Change = fn(&mut AlarmFacts);
    let cases: [(Change, AlarmKind, AlarmSeverity); 15] = [
        (|f| f.not_ready = Some("shard 0 hangs".to_owned()), NotReady, Critical),
        (|f| f.is_reloaded = false, ReloadFailed, Warning),
        (|f| f.database_answers = false, DatabaseDown, Critical),
        (|f| f.history_waiting = 1, HistoryWaits, Warning),
        (|f| f.free_disk = Some(FREE_DISK - 1), DiskFull, Critical),
        (|f| f.joins.failed = 12.0, JoinsFail, Warning),
        (|f| f.joins.failed = 101.0, JoinsFail, Critical),
        (|f| f.relay_p99_us = Some(50_001), RelaySlow, Critical),
        (|f| f.cpu = vec![None, Some(0.81)], ShardBusy, Warning),
        (|f| f.kernel_drops = Some(1.1), KernelDrops, Warning),
        (|f| f.on_fallback = 26, Fallback, Warning),
        (|f| f.sessions = 91, NearlyFull, Warning),
        (
            |f| f.certificate = certificate(CertificateKind::Files, -80, 10),
            CertificateEnds,
            Warning,
        ),
        (
            |f| f.certificate = certificate(CertificateKind::Acme, -91, -1),
            CertificateInvalid,
            Critical,
        ),
        (|f| f.certificate = certificate(CertificateKind::Own, -7, 7), CertificateOwn, Warning),
    ];
    for (change, kind, severity) in cases {
        assert_eq!(ring(change), [(kind, severity)]);
    }
}

#[test]
fn few_joins_and_few_headsets_prove_nothing() {
    assert_eq!(ring(|f| f.joins = JoinFacts { joined: 0.0, failed: 20.0 }), []);
    assert_eq!(ring(|f| (f.links, f.on_fallback) = (19, 19)), []);
    assert_eq!(ring(|f| (f.sessions, f.max_sessions) = (0, 0)), []);
    // A trial has a certificate of its own making.
    let trial = |f: &mut AlarmFacts| {
        f.is_production = false;
        f.certificate = certificate(CertificateKind::Own, -7, 7);
    };
    assert_eq!(ring(trial), []);
}

fn licence(number: u32, days: i64) -> LicenceFacts {
    let ends_at = Timestamp::from_seconds(NOW.saturating_add_signed(days * DAY_S as i64));
    LicenceFacts { tenant: format!("t{number}"), name: format!("Tenant {number}"), ends_at }
}

#[test]
fn a_licence_rings_before_its_end_and_for_a_while_after() {
    let mut facts = well();
    facts.licences = vec![licence(1, -31), licence(2, -3), licence(3, 13), licence(4, 15)];
    let rung = alarms(&facts, Timestamp::from_seconds(NOW));
    let seen: Vec<_> =
        rung.iter().map(|a| (a.kind, a.tenant.as_deref(), a.since.seconds())).collect();
    assert_eq!(
        seen,
        [
            (AlarmKind::LicenceEnded, Some("t2"), NOW - 3 * DAY_S),
            (AlarmKind::LicenceEnds, Some("t3"), NOW - DAY_S),
        ]
    );
    assert!(rung[1].what.contains("13 days"), "{rung:?}");
    let ends = ends(&facts, Timestamp::from_seconds(NOW));
    let ends: Vec<_> = ends.iter().map(|thing| thing.tenant.as_deref()).collect();
    assert_eq!(ends, [None, Some("t3"), Some("t4")]);
}

#[test]
fn a_webhook_rings_for_its_tenant() {
    let webhook = |id: &str, off_reason: Option<&str>| SilentWebhook {
        id: id.to_owned(),
        tenant: Some("t1".to_owned()),
        name: "Booking".to_owned(),
        off_reason: off_reason.map(str::to_owned),
    };
    let mut facts = well();
    facts.webhooks =
        vec![webhook("w1", Some("its address has answered 410 Gone")), webhook("w2", None)];
    let rung = alarms(&facts, Timestamp::from_seconds(NOW));
    assert_eq!(
        rung.iter().map(|a| a.kind).collect::<Vec<_>>(),
        [AlarmKind::WebhookOff, AlarmKind::WebhookFails]
    );
    assert!(
        rung[0].what.contains("410 Gone") && rung.iter().all(|a| a.tenant.as_deref() == Some("t1"))
    );
}

#[test]
fn many_tenants_hide_no_alarm_of_the_server() {
    let rung = ring(|facts| {
        facts.licences = (0..500).map(|number| licence(number, 3)).collect();
        facts.database_answers = false;
        facts.cpu = vec![Some(0.99)];
    });
    assert_eq!(rung.len(), 502);
    assert_eq!(rung[0].0, AlarmKind::DatabaseDown);
    assert_eq!(rung[1].0, AlarmKind::ShardBusy);
}
