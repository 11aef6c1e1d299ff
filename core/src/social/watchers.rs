//! Who watches whom: what each watching device is shown of the users, kept up to date by changes alone.
//!
//! A watcher is shown the first so many that match in the order of coming, so a newcomer puts nobody out of
//! it; when one of them goes, the next in line comes in. So it needs no list of whom it shows, only up
//! to which number it does.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use nucleus_protocol::limits::{MAX_NAME, MAX_USER_LIST, MAX_WATCH_NAMES};
use nucleus_protocol::session::{self, Code, WatchUsers};

use super::users::{Changes, User, Users};
use crate::ids::DeviceId;

/// Which users a watcher is shown; both empty: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Whoever has one of these roles ...
    pub roles: HashSet<String>,
    /// ... and these users.
    pub users: HashSet<String>,
}

impl UserFilter {
    /// What a client asks for; `None` where it breaks the limits.
    pub fn new(asked: &WatchUsers) -> Option<Self> {
        let read = |names: &[Vec<u8>]| -> Option<HashSet<String>> {
            let fits = |name: &&Vec<u8>| (1..=MAX_NAME).contains(&name.len());
            names.iter().map(|n| String::from_utf8(Some(n).filter(fits)?.clone()).ok()).collect()
        };
        let few = asked.roles.len() + asked.users.len() <= MAX_WATCH_NAMES;
        few.then_some(Self { roles: read(&asked.roles)?, users: read(&asked.users)? })
    }

    fn matches(&self, user: &str, role: &str) -> bool {
        let everybody = self.roles.is_empty() && self.users.is_empty();
        everybody || self.roles.contains(role) || self.users.contains(user)
    }
}

struct Watcher {
    request: u32,
    filter: UserFilter,
    /// What happened up to this moment it has shown, or never had.
    since: u64,
    /// Everybody up to this number who matches is shown.
    edge: u64,
    shown: usize,
    /// Everybody up to this number who matches is counted.
    newest: u64,
    total: usize,
}

/// All watchers.
#[derive(Default)]
pub(super) struct Watchers(BTreeMap<DeviceId, Watcher>);

impl Watchers {
    /// A device looks, in place of what it looked at before; gives all that it sees.
    pub(super) fn watch(
        &mut self,
        device: DeviceId,
        request: u32,
        filter: UserFilter,
        users: &Users,
    ) -> Bytes {
        let since = users.moment();
        let mut watcher =
            Watcher { request, filter, since, edge: 0, shown: 0, newest: 0, total: 0 };
        let mut told = session::UserList { request, whole: 1, ..session::UserList::default() };
        watcher.fill(users, &mut told.users);
        watcher.count(users);
        told.total = watcher.total as u32;
        self.0.insert(device, watcher);
        session::encode(&told).into()
    }

    /// Answers one that may not look.
    pub(super) fn refuse(request: u32, code: Code) -> Bytes {
        let code = code as u16;
        session::encode(&session::UserList { request, code, ..session::UserList::default() }).into()
    }

    /// How many look.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn forget(&mut self, device: DeviceId) {
        self.0.remove(&device);
    }

    /// What each device is told of the changes.
    pub(super) fn update(&mut self, changes: &Changes, users: &Users) -> Vec<(DeviceId, Bytes)> {
        let told = |(device, watcher): (&DeviceId, &mut Watcher)| {
            Some((*device, watcher.update(changes, users)?))
        };
        self.0.iter_mut().filter_map(told).collect()
    }
}

impl Watcher {
    fn update(&mut self, changes: &Changes, users: &Users) -> Option<Bytes> {
        let before = self.total;
        let mut told = session::UserList { request: self.request, ..session::UserList::default() };
        for gone in &changes.gone {
            if gone.moment <= self.since
                || gone.number > self.newest
                || !self.filter.matches(&gone.user, &gone.role)
            {
                continue;
            }
            self.total -= 1;
            if gone.number <= self.edge {
                self.shown -= 1;
                told.gone.push(gone.user.clone().into_bytes());
            }
        }
        let changed = changes.changed.range(..=self.edge);
        let changed = changed.filter(|(_, moment)| **moment > self.since);
        let changed = changed.filter_map(|(number, _)| users.numbered(*number));
        let matching = changed.filter(|user| self.filter.matches(&user.user, &user.role));
        told.users.extend(matching.map(wire));
        self.fill(users, &mut told.users);
        self.count(users);
        told.total = self.total as u32;
        let silent = told.users.is_empty() && told.gone.is_empty() && self.total == before;
        (!silent).then(|| session::encode(&told).into())
    }

    /// Shows those who are next in line, as far as there is room for them.
    fn fill(&mut self, users: &Users, told: &mut Vec<session::UserInfo>) {
        if self.shown >= MAX_USER_LIST {
            return;
        }
        for (number, user) in users.all(self.edge) {
            if self.filter.matches(&user.user, &user.role) {
                (self.shown, self.edge) = (self.shown + 1, number);
                told.push(wire(user));
                if self.shown >= MAX_USER_LIST {
                    return;
                }
            }
        }
        self.edge = users.newest();
    }

    fn count(&mut self, users: &Users) {
        if self.edge >= users.newest() {
            (self.total, self.newest) = (self.shown, users.newest());
            return;
        }
        let new = users.all(self.newest);
        self.total += new.filter(|(_, p)| self.filter.matches(&p.user, &p.role)).count();
        self.newest = users.newest();
    }
}

fn wire(user: &User) -> session::UserInfo {
    session::UserInfo {
        user: user.user.clone().into_bytes(),
        name: user.name.clone().into_bytes(),
        role: user.role.clone().into_bytes(),
        status: user.status(),
    }
}
