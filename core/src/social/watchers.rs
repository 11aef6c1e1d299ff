//! The watching devices and the users that each of them sees.
//!
//! A watcher gets the whole list once and only changes afterwards. It sees the oldest users that
//! match its filter, up to a fixed number, so a new user displaces nobody. When one of the users
//! leaves, the next one that matches takes the free position. A watcher therefore keeps no list of
//! the users it sees. It keeps one user number, `shown_up_to`, and sees every matching user whose
//! number is at most this.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use nucleus_protocol::limits::{MAX_NAME, MAX_USER_LIST, MAX_WATCH_NAMES};
use nucleus_protocol::session::{self, Code, WatchUsers};

use super::users::{User, UserChanges, Users};
use crate::ids::DeviceId;
use crate::text::nfc;

/// The users that a watcher wants to see: those with one of the roles, and those with one of the
/// ids. All users if both sets are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Roles of the users.
    pub roles: HashSet<String>,
    /// Ids of the users.
    pub users: HashSet<String>,
}

impl UserFilter {
    /// Reads the filter of a client; `None` if it is invalid.
    pub fn new(request: &WatchUsers) -> Option<Self> {
        let read = |names: &[Vec<u8>]| -> Option<HashSet<String>> {
            let fits = |name: &&Vec<u8>| (1..=MAX_NAME).contains(&name.len());
            let name = |n| Some(nfc(std::str::from_utf8(Some(n).filter(fits)?).ok()?));
            names.iter().map(name).collect()
        };
        let few = request.roles.len() + request.users.len() <= MAX_WATCH_NAMES;
        few.then_some(Self { roles: read(&request.roles)?, users: read(&request.users)? })
    }

    fn matches(&self, user: &str, role: &str) -> bool {
        let all = self.roles.is_empty() && self.users.is_empty();
        all || self.roles.contains(role) || self.users.contains(user)
    }
}

struct Watcher {
    request: u32,
    filter: UserFilter,
    /// The version of [`Users`] in the first list. The watcher ignores changes up to this version.
    since: u64,
    /// The watcher sees every matching user whose number is at most this.
    shown_up_to: u64,
    /// Number of users that the watcher sees.
    shown: usize,
    /// `total` counts every matching user whose number is at most this.
    counted_up_to: u64,
    /// Number of matching users up to `counted_up_to`.
    total: usize,
}

/// All watchers.
#[derive(Default)]
pub(super) struct Watchers(BTreeMap<DeviceId, Watcher>);

impl Watchers {
    /// Makes a device a watcher, in place of what it watched before. Returns its first list.
    pub(super) fn watch(
        &mut self,
        device: DeviceId,
        request: u32,
        filter: UserFilter,
        users: &Users,
    ) -> Bytes {
        let mut watcher = Watcher {
            request,
            filter,
            since: users.version(),
            shown_up_to: 0,
            shown: 0,
            counted_up_to: 0,
            total: 0,
        };
        let mut list = session::UserList { request, whole: 1, ..session::UserList::default() };
        watcher.fill(users, &mut list.users);
        watcher.count(users);
        list.total = watcher.total as u32;
        self.0.insert(device, watcher);
        session::encode(&list).into()
    }

    /// Returns the reply to a device that may not watch.
    pub(super) fn refuse(request: u32, code: Code) -> Bytes {
        let code = code as u16;
        session::encode(&session::UserList { request, code, ..session::UserList::default() }).into()
    }

    /// Returns the number of watchers.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes a watcher.
    pub(super) fn remove(&mut self, device: DeviceId) {
        self.0.remove(&device);
    }

    /// Returns the updates of all watchers that see a change.
    pub(super) fn update(
        &mut self,
        changes: &UserChanges,
        users: &Users,
    ) -> Vec<(DeviceId, Bytes)> {
        let update = |(device, watcher): (&DeviceId, &mut Watcher)| {
            Some((*device, watcher.update(changes, users)?))
        };
        self.0.iter_mut().filter_map(update).collect()
    }
}

impl Watcher {
    /// Returns the update for this watcher; `None` if nothing that it sees has changed.
    fn update(&mut self, changes: &UserChanges, users: &Users) -> Option<Bytes> {
        let old_total = self.total;
        let mut list = session::UserList { request: self.request, ..session::UserList::default() };
        for removed in &changes.removed {
            if removed.version <= self.since
                || removed.number > self.counted_up_to
                || !self.filter.matches(&removed.id, &removed.role)
            {
                continue;
            }
            self.total -= 1;
            if removed.number <= self.shown_up_to {
                self.shown -= 1;
                list.gone.push(removed.id.clone().into_bytes());
            }
        }
        let changed = changes.changed.range(..=self.shown_up_to);
        let changed = changed.filter(|(_, version)| **version > self.since);
        let changed = changed.filter_map(|(number, _)| users.by_number(*number));
        let matching = changed.filter(|user| self.filter.matches(&user.id, &user.role));
        list.users.extend(matching.map(to_wire));
        self.fill(users, &mut list.users);
        self.count(users);
        list.total = self.total as u32;
        let unchanged = list.users.is_empty() && list.gone.is_empty() && self.total == old_total;
        (!unchanged).then(|| session::encode(&list).into())
    }

    /// Appends the next matching users to `list`, as long as there are free positions.
    fn fill(&mut self, users: &Users, list: &mut Vec<session::UserInfo>) {
        if self.shown >= MAX_USER_LIST {
            return;
        }
        for (number, user) in users.after(self.shown_up_to) {
            if self.filter.matches(&user.id, &user.role) {
                (self.shown, self.shown_up_to) = (self.shown + 1, number);
                list.push(to_wire(user));
                if self.shown >= MAX_USER_LIST {
                    return;
                }
            }
        }
        self.shown_up_to = users.newest();
    }

    /// Adds the new matching users to `total`.
    fn count(&mut self, users: &Users) {
        if self.shown_up_to >= users.newest() {
            (self.total, self.counted_up_to) = (self.shown, users.newest());
            return;
        }
        let new = users.after(self.counted_up_to);
        self.total += new.filter(|(_, user)| self.filter.matches(&user.id, &user.role)).count();
        self.counted_up_to = users.newest();
    }
}

fn to_wire(user: &User) -> session::UserInfo {
    session::UserInfo {
        user: user.id.clone().into_bytes(),
        name: user.name.clone().into_bytes(),
        role: user.role.clone().into_bytes(),
        status: user.status(),
    }
}
