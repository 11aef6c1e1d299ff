//! Gathers the facts, and keeps the newest alarms.

use std::sync::Arc;
use std::time::Duration;

use nucleus_core::control::{ControlReply, ControlRequest};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::book::AlarmBook;
use super::facts::{AlarmFacts, CertificateFacts, LicenceFacts};
use super::rules::{self, Alarm, DAY, EndingThing};
use crate::database::Database;
use crate::planes::PlanesHandle;
use crate::series::{SeriesLine, SeriesName, SeriesSpan, SeriesStore, Values};
use crate::snapshot::SnapshotKeeper;
use crate::store::{SilentWebhook, Tenant, webhooks};
use crate::timestamp::Timestamp;

/// How often the facts are gathered: the series has a new value as often.
const EVERY: Duration = Duration::from_secs(10);
/// How long a fact that cannot be read again counts as it was: planes or a database that are busy for a moment end
/// no alarm. Later its alarms end, because nobody knows any more.
const KEPT: Duration = Duration::from_secs(60);
/// Steps of a minute, of five minutes and of ten.
const STEPS: [usize; 3] = [6, 30, 60];

/// Most webhooks that are looked at. Each tenant's first ones are: a tenant has no more than 8.
const SILENT_WEBHOOKS: usize = 10_000;

/// What only the program around the control plane knows.
pub trait ServerSurroundings: Send + Sync {
    /// Returns why the server is not ready for sessions; `None`: it is.
    fn not_ready(&self) -> Option<String>;
    /// Returns the served certificate; `None`: it cannot be read.
    fn certificate(&self) -> Option<CertificateFacts>;
    /// Whether operators have given the server keys of their own, so that it is no trial.
    fn is_production(&self) -> bool;
    /// Whether the certificate and the keys could be read when they were read last.
    fn is_reloaded(&self) -> bool;
    /// Returns the number of events of the history that wait for the database.
    fn history_waiting(&self) -> u64;
    /// Returns the free bytes of the disk that has the data directory; `None`: they are not known.
    fn free_disk(&self) -> Option<u64>;
}

/// Where the facts come from.
pub struct AlarmSources {
    /// The database.
    pub database: Database,
    /// The newest snapshot of it.
    pub snapshot: Arc<SnapshotKeeper>,
    /// The session and realtime planes.
    pub planes: PlanesHandle,
    /// How the server's figures ran.
    pub series: Arc<SeriesStore>,
    /// The program around the control plane.
    pub surroundings: Arc<dyn ServerSurroundings>,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What rings, and what ends next.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct AlarmReport {
    /// The alarms, the most severe first, then the newest. An answer has 100 at most.
    pub alarms: Vec<Alarm>,
    /// The certificate, then the licences that end in the next eight weeks, the first end first.
    pub ends: Vec<EndingThing>,
}

impl AlarmReport {
    /// Returns what somebody of a tenant may know, at most [`rules::MAX_ALARMS`] of each; `None`: of the whole
    /// server. The limit counts for each reader, so that other tenants' alarms hide none of one's own.
    pub fn seen_by(&self, tenant: Option<&str>) -> Self {
        let sees = |of: &Option<String>| tenant.is_none() || of.as_deref() == tenant;
        let most = rules::MAX_ALARMS;
        Self {
            alarms: self
                .alarms
                .iter()
                .filter(|alarm| sees(&alarm.tenant))
                .take(most)
                .cloned()
                .collect(),
            ends: self
                .ends
                .iter()
                .filter(|thing| sees(&thing.tenant))
                .take(most)
                .cloned()
                .collect(),
        }
    }
}

/// A fact, and when it was read.
#[derive(Debug)]
struct KeptFact<T>(Option<(Timestamp, T)>);

impl<T> Default for KeptFact<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone + Default> KeptFact<T> {
    /// Takes what was read at `now`; `None`: it could not be read. Returns the newest that is not older than
    /// [`KEPT`], or else nothing.
    fn newest(&mut self, now: Timestamp, read: Option<T>) -> T {
        if let Some(read) = read {
            self.0 = Some((now, read));
        }
        let is_kept = |at: Timestamp| {
            (0..=KEPT.as_micros() as i64).contains(&now.micros().saturating_sub(at.micros()))
        };
        let kept = self.0.as_ref().filter(|(at, _)| is_kept(*at));
        kept.map(|(_, fact)| fact.clone()).unwrap_or_default()
    }
}

/// The facts that are asked for, and may get no answer.
#[derive(Debug, Default)]
struct KeptFacts {
    use_of_server: KeptFact<UseOfServer>,
    webhooks: KeptFact<Vec<SilentWebhook>>,
}

/// What the planes tell of their sessions.
#[derive(Clone, Copy, Debug, Default)]
struct UseOfServer {
    links: u64,
    on_fallback: u64,
    sessions: u64,
    max_sessions: u64,
}

/// The newest report, and when it was made.
#[derive(Default)]
struct Newest {
    at: Option<Timestamp>,
    kept: KeptFacts,
    book: AlarmBook,
    report: Arc<AlarmReport>,
}

/// Watches over the server.
pub struct AlarmWatch {
    sources: AlarmSources,
    newest: Mutex<Newest>,
}

impl AlarmWatch {
    /// Makes a watch.
    pub fn new(sources: AlarmSources) -> Self {
        Self { sources, newest: Mutex::default() }
    }

    /// Looks again and again, so that each alarm has its begin also while nobody asks. Never returns.
    pub async fn run(&self) {
        loop {
            self.newest().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Returns a report that is at most ten seconds old. Who asks while another one looks waits for it.
    pub async fn newest(&self) -> Arc<AlarmReport> {
        let now = (self.sources.now)();
        let mut newest = self.newest.lock().await;
        let age = newest.at.map(|at| now.micros() - at.micros());
        let is_fresh = age.is_some_and(|age| (0..EVERY.as_micros() as i64).contains(&age));
        if !is_fresh {
            let facts = self.sources.facts(now, &mut newest.kept).await;
            let alarms = newest.book.note(rules::alarms(&facts, now), now);
            newest.report = Arc::new(AlarmReport { alarms, ends: rules::ends(&facts, now) });
            newest.at = Some(now);
        }
        newest.report.clone()
    }
}

impl AlarmSources {
    async fn facts(&self, now: Timestamp, kept: &mut KeptFacts) -> AlarmFacts {
        let around = &self.surroundings;
        let mut facts = AlarmFacts {
            not_ready: around.not_ready(),
            certificate: around.certificate(),
            is_production: around.is_production(),
            is_reloaded: around.is_reloaded(),
            licences: self.licences(now),
            database_answers: self.snapshot.is_answered(),
            history_waiting: around.history_waiting(),
            webhooks: kept.webhooks.newest(now, self.webhooks().await),
            free_disk: around.free_disk(),
            ..AlarmFacts::default()
        };
        add_series(&mut facts, &self.series.lines(SeriesSpan::Hour, &NAMES).1);
        let used = kept.use_of_server.newest(now, self.use_of_server().await);
        let UseOfServer { links, on_fallback, sessions, max_sessions } = used;
        AlarmFacts { links, on_fallback, sessions, max_sessions, ..facts }
    }

    /// Asks the planes; `None`: they are busy.
    async fn use_of_server(&self) -> Option<UseOfServer> {
        let reply = self.planes.ask(ControlRequest::Server).await;
        let Ok(ControlReply::Server(status)) = reply else { return None };
        Some(UseOfServer {
            links: status.shards.iter().map(|shard| shard.links).sum(),
            on_fallback: status.shards.iter().map(|shard| shard.on_fallback).sum(),
            sessions: status.sessions,
            max_sessions: status.max_sessions,
        })
    }

    /// Returns the webhooks that are told nothing; `None`: the database is busy or away. One that does not answer
    /// is not asked: that rings by itself, and readers of the alarms must not wait for it.
    async fn webhooks(&self) -> Option<Vec<SilentWebhook>> {
        if !self.snapshot.is_answered() {
            return None;
        }
        webhooks::silent(&self.database, SILENT_WEBHOOKS).await.ok()
    }

    fn licences(&self, now: Timestamp) -> Vec<LicenceFacts> {
        let wanted = -rules::ENDED_DAYS * DAY..rules::AHEAD_DAYS * DAY;
        let snapshot = self.snapshot.newest();
        let licence = |tenant: &Tenant| {
            let ends_at = tenant.ends_at.filter(|_| tenant.active)?;
            let is_near = wanted.contains(&(ends_at.micros() - now.micros()));
            is_near.then(|| LicenceFacts {
                tenant: tenant.id.clone(),
                name: tenant.name.clone(),
                ends_at,
            })
        };
        let mut licences: Vec<_> = snapshot.tenants.values().filter_map(licence).collect();
        licences.sort_by(|a, b| (a.ends_at, &a.tenant).cmp(&(b.ends_at, &b.tenant)));
        licences
    }
}

/// The figures over time of which alarms are made.
const NAMES: [SeriesName; 6] = [
    SeriesName::Headsets,
    SeriesName::Joins,
    SeriesName::FailedJoins,
    SeriesName::RelayP99,
    SeriesName::KernelDrops,
    SeriesName::Cpu,
];

/// Takes the facts from the newest values of [`NAMES`].
fn add_series(facts: &mut AlarmFacts, lines: &[SeriesLine]) {
    let [minute, five, ten] = STEPS;
    let step = SeriesSpan::Hour.step().as_secs_f64();
    let headsets = lines.iter().find(|line| line.name == SeriesName::Headsets);
    let not_read = headsets.map_or(0, |line| steps_without_reading(&line.values, minute));
    for line in lines {
        match line.name {
            SeriesName::Joins => facts.joins.joined = sum(&line.values, ten),
            SeriesName::FailedJoins => facts.joins.failed = sum(&line.values, ten),
            SeriesName::RelayP99 => {
                // A step without messages was not slow. One that was not read says nothing, but half of
                // the minute must be known.
                let steps = known(&line.values, minute).count();
                let is_known = steps + not_read >= minute && 2 * steps >= minute;
                let least = known(&line.values, minute).min().filter(|_| is_known);
                facts.relay_p99_us = least.map(u64::from);
            }
            SeriesName::KernelDrops => {
                facts.kernel_drops = mean(&line.values, five).map(|drops| drops / step);
            }
            SeriesName::Cpu => facts.cpu.push(mean(&line.values, five).map(|ppm| ppm / 1e6)),
            _ => {}
        }
    }
}

/// Returns the number of the last steps whose rates cannot be known: the server was too busy to be read at their
/// begin or their end. The number of headsets is known of each step that was read.
fn steps_without_reading(headsets: &Values, count: usize) -> usize {
    let newest = headsets.iter().rev();
    let ends = newest.clone().zip(newest.skip(1)).take(count);
    ends.filter(|(end, begin)| end.is_none() || begin.is_none()).count()
}

/// The known ones of the last values.
fn known(values: &Values, count: usize) -> impl Iterator<Item = u32> {
    values.iter().rev().take(count).flatten().copied()
}

fn sum(values: &Values, count: usize) -> f64 {
    known(values, count).map(f64::from).sum()
}

fn mean(values: &Values, count: usize) -> Option<f64> {
    let steps = known(values, count).count();
    (steps > 0).then(|| sum(values, count) / steps as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::JoinFacts;

    #[test]
    fn the_newest_steps_make_the_facts() {
        let line = |name, shard, old: u32, new: &[Option<u32>]| {
            let mut values = vec![Some(old); 360 - new.len()];
            values.extend(new);
            SeriesLine { name, shard, values }
        };
        let ten: Vec<_> = (0..60).map(|step| (step != 7).then_some(2)).collect();
        let lines = [
            line(SeriesName::Joins, None, 900, &ten),
            line(SeriesName::FailedJoins, None, 900, &[Some(1); 60]),
            line(
                SeriesName::RelayP99,
                None,
                1,
                &[70_000, 90_000, 80_000, 60_000, 70_000, 90_000].map(Some),
            ),
            line(SeriesName::KernelDrops, None, 0, &[Some(25); 30]),
            line(SeriesName::Cpu, Some(0), 1, &[Some(900_000); 30]),
            line(SeriesName::Cpu, Some(1), 1, &[None; 30]),
        ];
        let mut facts = AlarmFacts::default();
        add_series(&mut facts, &lines);
        assert_eq!(facts.joins, JoinFacts { joined: 118.0, failed: 60.0 });
        assert_eq!(facts.relay_p99_us, Some(60_000));
        let idle = [None, None, Some(900_000), None, None, None];
        let mut quiet = AlarmFacts::default();
        add_series(&mut quiet, &[line(SeriesName::RelayP99, None, 1, &idle)]);
        assert_eq!(quiet.relay_p99_us, None, "one slow step of an idle server rings nothing");
        assert_eq!((facts.kernel_drops, facts.cpu), (Some(2.5), vec![Some(0.9), None]));
    }

    #[test]
    fn a_reading_that_is_missing_does_not_end_a_slow_minute() {
        let p99 = |late: [Option<u32>; 6], read: [Option<u32>; 7]| {
            let line = |name, values: &[Option<u32>]| {
                let values = [&[Some(1); 9], values].concat();
                SeriesLine { name, shard: None, values }
            };
            let mut facts = AlarmFacts::default();
            let lines = [line(SeriesName::RelayP99, &late), line(SeriesName::Headsets, &read)];
            add_series(&mut facts, &lines);
            facts.relay_p99_us
        };
        let late = Some(90_000);
        let one_missing = [Some(5), Some(5), Some(5), None, Some(5), Some(5), Some(5)];
        assert_eq!(p99([late, late, None, None, late, late], one_missing), late.map(u64::from));
        let idle = [late, late, None, None, late, late];
        assert_eq!(p99(idle, [Some(5); 7]), None, "nothing was relayed");
        let only_two = [Some(5), Some(5), Some(5), None, None, None, None];
        assert_eq!(
            p99([late, late, None, None, None, None], only_two),
            None,
            "too little is known"
        );
    }

    #[test]
    fn a_fact_that_cannot_be_read_stays_for_a_minute() {
        let mut fact = KeptFact::default();
        let at = Timestamp::from_seconds;
        assert_eq!(fact.newest(at(100), None), 0);
        assert_eq!(fact.newest(at(110), Some(7)), 7);
        assert_eq!(fact.newest(at(170), None), 7);
        assert_eq!(fact.newest(at(171), None), 0);
        assert_eq!(fact.newest(at(180), Some(8)), 8);
        assert_eq!(fact.newest(at(100), None), 0, "the clock was set back");
    }
}
