//! The budgets of a session's streams. They belong to the user: what a session has used up is missing
//! to the next session of the same user, so that leaving and coming back gains nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::time::Time;

use crate::limits::{self, Limits};
use crate::rate::{Bucket, MessageRate};
use crate::stream_rates::StreamRates;

/// The budgets of one session.
#[derive(Clone, Debug)]
pub struct SessionBudgets {
    /// Events.
    pub events: MessageRate,
    /// Pieces of the bulk lane.
    pub bulk: MessageRate,
    /// Requests in a room.
    pub requests: MessageRate,
    /// Requests outside rooms.
    pub social: Bucket,
    /// Fresh tokens.
    pub renewals: Bucket,
    /// Realtime datagrams inside the session.
    pub datagrams: Bucket,
}

impl SessionBudgets {
    /// Creates full budgets.
    pub fn full(now: Time, limits: &Limits) -> Self {
        let rate = |rates: StreamRates| MessageRate::new(now, rates.messages, rates.bytes);
        Self {
            events: rate(StreamRates::events(limits)),
            bulk: rate(StreamRates::bulk(limits)),
            requests: rate(StreamRates::requests(limits)),
            social: Bucket::new(now, limits::SOCIAL_REQUESTS_RATE),
            renewals: Bucket::new(now, limits::RENEWALS),
            datagrams: Bucket::new(now, limits::datagram_rate(limits)),
        }
    }

    /// Returns how long it takes until all budgets are full.
    fn full_in(&mut self, now: Time) -> Duration {
        let Self { events, bulk, requests, social, renewals, datagrams } = self;
        let waits = [
            events.full_in(now),
            bulk.full_in(now),
            requests.full_in(now),
            social.full_in(now),
            renewals.full_in(now),
            datagrams.full_in(now),
        ];
        waits.into_iter().max().unwrap_or_default()
    }
}

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The tenant.
    pub tenant: String,
    /// The user id.
    pub user: String,
}

/// The budgets of sessions that have ended, until they are full again. Each is handed to one session
/// of the same user, so a user has as many budgets as sessions.
#[derive(Default)]
pub struct EndedBudgets {
    kept: HashMap<UserKey, Vec<KeptBudgets>>,
    /// When kept budgets are full again, in the order in which they ended. Entries of budgets that
    /// were handed out stay until their time.
    full_at: VecDeque<(Time, UserKey)>,
}

struct KeptBudgets {
    budgets: SessionBudgets,
    full_at: Time,
}

impl EndedBudgets {
    /// Returns the budgets for a new session of a user: those of a session that has ended, the
    /// emptiest first, or full ones.
    pub fn take(&mut self, now: Time, user: &UserKey, limits: &Limits) -> SessionBudgets {
        self.forget_full(now);
        let Some(kept) = self.kept.get_mut(user) else { return SessionBudgets::full(now, limits) };
        let emptiest = (0..kept.len()).max_by_key(|at| kept[*at].full_at);
        let budgets = emptiest.map(|at| kept.swap_remove(at).budgets);
        if kept.is_empty() {
            self.kept.remove(user);
        }
        budgets.unwrap_or_else(|| SessionBudgets::full(now, limits))
    }

    /// Keeps the budgets of a session that has ended.
    pub fn put(&mut self, now: Time, user: UserKey, mut budgets: SessionBudgets) {
        self.forget_full(now);
        let full_in = budgets.full_in(now);
        if full_in.is_zero() {
            return;
        }
        let full_at = now + full_in;
        self.full_at.push_back((full_at, user.clone()));
        self.kept.entry(user).or_default().push(KeptBudgets { budgets, full_at });
    }

    /// Forgets what is full. Looks only at the sessions that ended first: the others follow within
    /// seconds.
    fn forget_full(&mut self, now: Time) {
        while let Some((_, user)) = self.full_at.pop_front_if(|(at, _)| *at <= now) {
            if let Some(kept) = self.kept.get_mut(&user) {
                kept.retain(|kept| kept.full_at > now);
                if kept.is_empty() {
                    self.kept.remove(&user);
                }
            }
        }
    }

    /// Returns how many budgets are kept.
    pub fn len(&self) -> usize {
        self.kept.values().map(Vec::len).sum()
    }

    /// Returns whether no budget is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserKey {
        UserKey { tenant: "acme".to_owned(), user: name.to_owned() }
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// Returns how many events a session may send at once.
    fn send_all(budgets: &mut SessionBudgets, now: Time) -> usize {
        let mut sent = 0;
        while budgets.events.wait_for(now, 1).is_zero() {
            budgets.events.take(1);
            sent += 1;
        }
        sent
    }

    #[test]
    fn coming_back_gains_nothing() {
        let (limits, mut ended) = (Limits::default(), EndedBudgets::default());
        let mut sent = 0;
        for _ in 0..100 {
            let mut budgets = ended.take(at(0), &user("ada"), &limits);
            sent += send_all(&mut budgets, at(0));
            ended.put(at(0), user("ada"), budgets);
        }
        assert_eq!(sent, limits::EVENTS_BURST as usize);
        let mut other = ended.take(at(0), &user("bob"), &limits);
        assert_eq!(send_all(&mut other, at(0)), limits::EVENTS_BURST as usize, "another user");
        let mut later = ended.take(at(1_000), &user("ada"), &limits);
        assert_eq!(send_all(&mut later, at(1_000)), limits.peer_events_per_s as usize);
    }

    /// A class signs all its headsets in as one user.
    #[test]
    fn several_sessions_of_a_user_have_a_budget_each() {
        let (limits, mut ended) = (Limits::default(), EndedBudgets::default());
        let mut class: Vec<_> =
            (0..30).map(|_| ended.take(at(0), &user("class"), &limits)).collect();
        for budgets in &mut class {
            assert_eq!(send_all(budgets, at(0)), limits::EVENTS_BURST as usize);
        }
        // All lose their sessions and come back, with one more.
        class.into_iter().for_each(|budgets| ended.put(at(0), user("class"), budgets));
        let back: usize =
            (0..31).map(|_| send_all(&mut ended.take(at(0), &user("class"), &limits), at(0))).sum();
        assert_eq!(back, limits::EVENTS_BURST as usize, "only the one more");
    }

    #[test]
    fn what_is_full_again_is_forgotten() {
        let (limits, mut ended) = (Limits::default(), EndedBudgets::default());
        for n in 0..1_000 {
            let name = user(&format!("user-{n}"));
            let mut budgets = ended.take(at(n), &name, &limits);
            if n % 2 == 0 {
                send_all(&mut budgets, at(n));
            }
            ended.put(at(n), name, budgets);
        }
        assert_eq!(ended.len(), 500, "unused ones are not kept");
        let _full = ended.take(at(10_000), &user("nobody"), &limits);
        assert!(ended.is_empty() && ended.full_at.is_empty());
    }
}
