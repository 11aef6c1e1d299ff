//! The rate of a room's reliable messages, as its sessions and its task share it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::limits::Limits;
use nucleus_core::room_rate::{DeliveryCost, RoomRate};
use nucleus_net::Clock;
use nucleus_protocol::time::Time;
use tokio::sync::Mutex as Turn;

/// The rate of a room's reliable messages, which its sessions wait for, and the room's task refunds.
///
/// Each message goes to all other peers. Without this limit, many senders within their own rates
/// would exceed what a peer with a slow network can receive, and the server would end that peer's
/// session.
///
/// While the room is over its rate, one message of each user waits for its turn, and the user's other
/// messages wait for that one. So a user with many sessions delays the others no more than a user
/// with one.
pub(super) struct SharedRate {
    rate: Mutex<RoomRate>,
    /// Number of joined sessions.
    pub(super) members: AtomicUsize,
    /// The users whose messages wait.
    waiting: Mutex<HashMap<String, UserTurn>>,
    clock: Clock,
}

impl SharedRate {
    pub(super) fn new(clock: Clock, limits: &Limits) -> Self {
        Self {
            rate: Mutex::new(RoomRate::new(Time::from_micros(clock.now()), limits)),
            members: AtomicUsize::new(0),
            waiting: Mutex::default(),
            clock,
        }
    }

    /// Waits until the rate allows a reliable message of `len` bytes of a user for at most so many
    /// recipients; `None`: for all members.
    pub(super) async fn admit(
        &self,
        user: &str,
        len: usize,
        recipients: Option<usize>,
    ) -> AdmittedMessage<'_> {
        let cost = self.cost(len, recipients);
        let admitted = |waited| AdmittedMessage { waited, len, cost, rate: Some(self) };
        if lock(&self.rate).try_take(self.now(), len, cost) {
            return admitted(false);
        }
        let waiting = WaitingUser::new(self, user);
        let _turn = waiting.turn.lock().await;
        let wait = lock(&self.rate).reserve(self.now(), len, cost);
        // From here on, dropping the message gives back what it has reserved.
        let message = admitted(true);
        tokio::time::sleep(wait).await;
        message
    }

    /// Admits a reliable message of `len` bytes for all members, if the rate allows it now.
    pub(super) fn try_admit(&self, len: usize) -> Option<AdmittedMessage<'_>> {
        let cost = self.cost(len, None);
        let is_within = lock(&self.rate).try_take(self.now(), len, cost);
        is_within.then(|| AdmittedMessage { waited: false, len, cost, rate: Some(self) })
    }

    fn cost(&self, len: usize, recipients: Option<usize>) -> DeliveryCost {
        let members = self.members.load(Ordering::Relaxed);
        DeliveryCost::of(len, recipients.map_or(members, |most| most.min(members)))
    }

    /// Gives back what messages have reserved and not needed.
    pub(super) fn refund(&self, unused: DeliveryCost) {
        lock(&self.rate).refund(unused);
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }
}

/// A message that the room's rate has admitted. If it is dropped without having been posted, the rate
/// gets back what it has reserved: a session that ends while its message waits costs the room nothing.
pub struct AdmittedMessage<'a> {
    /// Whether the message had to wait.
    pub waited: bool,
    len: usize,
    /// What the message may cost when it goes out.
    pub(super) cost: DeliveryCost,
    /// `None` once the message has been posted.
    rate: Option<&'a SharedRate>,
}

impl AdmittedMessage<'_> {
    /// Keeps what is reserved: the message has been posted.
    pub(super) fn posted(mut self) {
        self.rate = None;
    }
}

impl Drop for AdmittedMessage<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.rate.take() {
            lock(&shared.rate).give_back(self.len, self.cost);
        }
    }
}

/// The messages of a user that wait, or want to.
#[derive(Default)]
struct UserTurn {
    messages: usize,
    /// Held by the one of them that waits for the room's rate.
    turn: Arc<Turn<()>>,
}

/// A message of a user that waits, or wants to.
struct WaitingUser<'a> {
    shared: &'a SharedRate,
    user: &'a str,
    turn: Arc<Turn<()>>,
}

impl<'a> WaitingUser<'a> {
    fn new(shared: &'a SharedRate, user: &'a str) -> Self {
        let mut users = lock(&shared.waiting);
        let UserTurn { messages, turn } = users.entry(user.to_owned()).or_default();
        *messages += 1;
        Self { shared, user, turn: turn.clone() }
    }
}

impl Drop for WaitingUser<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut user) = lock(&self.shared.waiting).entry(self.user.to_owned()) {
            user.get_mut().messages -= 1;
            if user.get().messages == 0 {
                user.remove();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds a lock, so a poisoned lock is still consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_protocol::limits::MAX_EVENT_MESSAGE;

    use super::*;

    const LEN: usize = MAX_EVENT_MESSAGE;

    /// A room of a thousand that has used up its rate. A message to all needs 16 s.
    fn exhausted() -> Arc<SharedRate> {
        let limits = Limits { room_delivery_bytes_per_s: 1 << 20, ..Limits::default() };
        let shared = Arc::new(SharedRate::new(Clock::new(), &limits));
        shared.members.store(1_000, Ordering::Relaxed);
        while lock(&shared.rate).try_take(shared.now(), LEN, DeliveryCost::of(LEN, 1_000)) {}
        shared
    }

    /// How long a message to all would wait now.
    fn wait(shared: &SharedRate) -> Duration {
        lock(&shared.rate).clone().reserve(shared.now(), LEN, DeliveryCost::of(LEN, 1_000))
    }

    /// How long the rate needs for a message to all.
    fn one(shared: &SharedRate) -> Duration {
        let (now, cost) = (shared.now(), DeliveryCost::of(LEN, 1_000));
        let mut rate = lock(&shared.rate).clone();
        let first = rate.reserve(now, LEN, cost);
        rate.reserve(now, LEN, cost) - first
    }

    #[tokio::test]
    async fn a_message_that_is_given_up_costs_the_room_nothing() {
        let shared = exhausted();
        let before = wait(&shared);
        for n in 0..1_000 {
            let user = format!("user-{n}");
            tokio::select! {
                biased;
                _ = shared.admit(&user, LEN, None) => panic!("message {n} did not wait"),
                () = std::future::ready(()) => {}
            }
        }
        assert!(wait(&shared) <= before, "{:?}, before {before:?}", wait(&shared));
        assert!(lock(&shared.waiting).is_empty());
    }

    #[test]
    fn who_may_not_wait_is_refused_at_once() {
        let shared = exhausted();
        let before = wait(&shared);
        assert!((0..64).all(|_| shared.try_admit(LEN).is_none()));
        assert!(wait(&shared) <= before && lock(&shared.waiting).is_empty());
        let free = SharedRate::new(Clock::new(), &Limits::default());
        assert!(free.try_admit(LEN).is_some());
    }

    #[tokio::test]
    async fn a_user_with_many_sessions_waits_with_one_message() {
        let shared = exhausted();
        let (before, one) = (wait(&shared), one(&shared));
        let mut waiting = Vec::new();
        for n in 0..100 {
            let (shared, user) =
                (shared.clone(), if n < 97 { "crowd" } else { ["a", "b", "c"][n - 97] });
            waiting.push(tokio::spawn(async move { shared.admit(user, LEN, None).await.posted() }));
            tokio::task::yield_now().await;
        }
        // One message each of four users.
        let after = wait(&shared);
        assert!(after <= before + 4 * one, "{after:?} after {before:?} and four times {one:?}");
        assert_eq!(lock(&shared.waiting).len(), 4);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for task in waiting {
            let _aborted = task.await;
        }
        assert!(lock(&shared.waiting).is_empty());
        assert!(wait(&shared) <= before);
    }

    #[tokio::test]
    async fn messages_of_one_user_get_their_turns() {
        let limits = Limits { room_events_per_s: 200, ..Limits::default() };
        let shared = Arc::new(SharedRate::new(Clock::new(), &limits));
        let began = std::time::Instant::now();
        let all = (0..450).map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                let message = shared.admit("class", 100, Some(1)).await;
                let waited = message.waited;
                message.posted();
                waited
            })
        });
        let mut waited = 0;
        for task in all.collect::<Vec<_>>() {
            waited += u32::from(task.await.unwrap());
        }
        // A slow start of the tasks lets some find a turn that has come back.
        assert!((1..=50).contains(&waited), "behind a burst of 400: {waited}");
        assert!(began.elapsed() >= Duration::from_millis(240), "at 200 a second");
    }
}
