//! Since when alarms ring.

use std::collections::HashMap;

use super::rules::{Alarm, AlarmKind};
use crate::timestamp::Timestamp;

/// How long rows of the history must wait before that is told, in microseconds: they wait for a moment whenever
/// the database is busy.
const HISTORY_TIME: i64 = 60_000_000;
/// How long the server must not be ready, in microseconds: it is not while it starts and while it stops.
const READY_TIME: i64 = 30_000_000;

/// Remembers when each alarm was seen first: at most one alarm for each tenant, shard and listed webhook, and one
/// of each other kind.
#[derive(Debug, Default)]
pub(super) struct AlarmBook(HashMap<(AlarmKind, Option<String>), Timestamp>);

impl AlarmBook {
    /// Takes the alarms that ring at `now`, sets since when, and forgets those that ring no more. Returns
    /// those that are told, the most severe first, then the newest.
    pub(super) fn note(&mut self, alarms: Vec<Alarm>, now: Timestamp) -> Vec<Alarm> {
        let mut seen = HashMap::with_capacity(alarms.len());
        let mut told = Vec::with_capacity(alarms.len());
        for mut alarm in alarms {
            let key = (alarm.kind, alarm.subject.clone());
            // A clock that was set back must not make an alarm begin in the future.
            let first = self.0.get(&key).copied().unwrap_or(alarm.since).min(alarm.since).min(now);
            seen.insert(key, first);
            alarm.since = first;
            if now.micros() - first.micros() >= hold(alarm.kind) {
                told.push(alarm);
            }
        }
        self.0 = seen;
        told.sort_by_key(|alarm| (alarm.severity, std::cmp::Reverse(alarm.since), alarm.kind));
        told
    }
}

fn hold(kind: AlarmKind) -> i64 {
    match kind {
        AlarmKind::HistoryWaits => HISTORY_TIME,
        AlarmKind::NotReady => READY_TIME,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::{AlarmFacts, rules};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn busy(shards: &[f64]) -> AlarmFacts {
        AlarmFacts {
            is_reloaded: true,
            database_answers: true,
            cpu: shards.iter().copied().map(Some).collect(),
            ..AlarmFacts::default()
        }
    }

    fn note(book: &mut AlarmBook, facts: &AlarmFacts, now: u64) -> Vec<(Option<String>, u64)> {
        let told = book.note(rules::alarms(facts, at(now)), at(now));
        told.into_iter().map(|alarm| (alarm.subject, alarm.since.seconds())).collect()
    }

    #[test]
    fn an_alarm_keeps_its_begin_until_it_ends() {
        let mut book = AlarmBook::default();
        let first = Some("1".to_owned());
        assert_eq!(note(&mut book, &busy(&[0.1, 0.9]), 100), [(first.clone(), 100)]);
        assert_eq!(note(&mut book, &busy(&[0.1, 0.95]), 160), [(first.clone(), 100)]);
        // The newest is the first.
        let both = [(Some("0".to_owned()), 200), (first.clone(), 100)];
        assert_eq!(note(&mut book, &busy(&[0.9, 0.9]), 200), both);
        assert_eq!(note(&mut book, &busy(&[0.1, 0.1]), 210), []);
        assert_eq!(note(&mut book, &busy(&[0.1, 0.9]), 220), [(first.clone(), 220)]);
        // The clock was set back by an hour.
        assert_eq!(note(&mut book, &busy(&[0.1, 0.9]), 20), [(first, 20)]);
    }

    #[test]
    fn what_passes_in_a_moment_is_no_alarm() {
        let mut book = AlarmBook::default();
        let waiting = AlarmFacts { history_waiting: 3, ..busy(&[]) };
        assert_eq!(note(&mut book, &waiting, 100), []);
        assert_eq!(note(&mut book, &busy(&[]), 130), []);
        assert_eq!(note(&mut book, &waiting, 150), []);
        assert_eq!(note(&mut book, &waiting, 210), [(None, 150)]);
        let starting = AlarmFacts { not_ready: Some("it starts".to_owned()), ..busy(&[]) };
        assert_eq!(note(&mut book, &starting, 300), []);
        assert_eq!(note(&mut book, &starting, 330), [(None, 300)]);
    }
}
