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
/// Steps of a minute, of five minutes and of ten.
const STEPS: [usize; 3] = [6, 30, 60];

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

/// The newest report, and when it was made.
#[derive(Default)]
struct Newest {
    at: Option<Timestamp>,
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
            let facts = self.sources.facts(now).await;
            let alarms = newest.book.note(rules::alarms(&facts, now), now);
            newest.report = Arc::new(AlarmReport { alarms, ends: rules::ends(&facts, now) });
            newest.at = Some(now);
        }
        newest.report.clone()
    }
}

impl AlarmSources {
    async fn facts(&self, now: Timestamp) -> AlarmFacts {
        let around = &self.surroundings;
        let mut facts = AlarmFacts {
            not_ready: around.not_ready(),
            certificate: around.certificate(),
            is_production: around.is_production(),
            is_reloaded: around.is_reloaded(),
            licences: self.licences(now),
            database_answers: self.snapshot.is_answered(),
            history_waiting: around.history_waiting(),
            webhooks: self.webhooks().await,
            free_disk: around.free_disk(),
            ..AlarmFacts::default()
        };
        add_series(&mut facts, &self.series.lines(SeriesSpan::Hour, &NAMES).1);
        if let Ok(ControlReply::Server(status)) = self.planes.ask(ControlRequest::Server).await {
            facts.links = status.shards.iter().map(|shard| shard.links).sum();
            facts.on_fallback = status.shards.iter().map(|shard| shard.on_fallback).sum();
            facts.sessions = status.sessions;
            facts.max_sessions = status.max_sessions;
        }
        facts
    }

    /// Returns the webhooks that are told nothing. A database that does not answer is not asked: that rings by
    /// itself, and readers of the alarms must not wait for it.
    async fn webhooks(&self) -> Vec<SilentWebhook> {
        if !self.snapshot.is_answered() {
            return Vec::new();
        }
        webhooks::silent(&self.database, rules::MAX_ALARMS).await.unwrap_or_default()
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
const NAMES: [SeriesName; 5] = [
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
    for line in lines {
        match line.name {
            SeriesName::Joins => facts.joins.joined = sum(&line.values, ten),
            SeriesName::FailedJoins => facts.joins.failed = sum(&line.values, ten),
            SeriesName::RelayP99 => {
                // A step of which nothing is known was not slow.
                let all = known(&line.values, minute).count() == minute;
                let least = known(&line.values, minute).min().filter(|_| all);
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
}
