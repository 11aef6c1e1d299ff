//! The budgets of a participant's streams, lent to the participant as long as it is in its room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::limits::Limits;
use nucleus_core::session_budgets::{EndedBudgets, SessionBudgets, UserKey};
use nucleus_net::Clock;
use nucleus_protocol::time::Time;

/// The budgets of sessions that have ended. Locked when a session begins or ends.
pub struct BudgetStore {
    ended: Mutex<EndedBudgets>,
    limits: Limits,
    clock: Clock,
}

impl BudgetStore {
    /// Creates a store for sessions with these limits.
    pub fn new(limits: Limits, clock: Clock) -> Arc<Self> {
        Arc::new(Self { ended: Mutex::default(), limits, clock })
    }

    /// Lends budgets to a new session of a user.
    pub(crate) fn lend(self: &Arc<Self>, tenant: &str, user: &str) -> Arc<LentBudgets> {
        let user = UserKey { tenant: tenant.to_owned(), user: user.to_owned() };
        let budgets = lock(&self.ended).take(self.now(), &user, &self.limits);
        let budgets = Mutex::new(Some(Box::new(budgets)));
        Arc::new(LentBudgets { budgets, user, store: self.clone() })
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }
}

/// The budgets of one participant, over all its sessions, or of one session outside rooms. When this
/// is dropped, the user's next participant or session gets what is left.
pub struct LentBudgets {
    /// `None` only while this is dropped.
    budgets: Mutex<Option<Box<SessionBudgets>>>,
    user: UserKey,
    store: Arc<BudgetStore>,
}

impl LentBudgets {
    /// Returns the user's id.
    pub(crate) fn user(&self) -> &str {
        &self.user.user
    }

    /// Returns the server's time.
    pub(crate) fn now(&self) -> Time {
        self.store.now()
    }

    /// Uses the budgets at the current time.
    pub(crate) fn with<R>(&self, act: impl FnOnce(Time, &mut SessionBudgets) -> R) -> R {
        let (now, mut budgets) = (self.store.now(), lock(&self.budgets));
        let limits = &self.store.limits;
        act(now, budgets.get_or_insert_with(|| Box::new(SessionBudgets::full(now, limits))))
    }
}

impl Drop for LentBudgets {
    fn drop(&mut self) {
        if let Some(budgets) = lock(&self.budgets).take() {
            let user = UserKey {
                tenant: std::mem::take(&mut self.user.tenant),
                user: std::mem::take(&mut self.user.user),
            };
            lock(&self.store.ended).put(self.store.now(), user, *budgets);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds a lock, so a poisoned lock is still consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
