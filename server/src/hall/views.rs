//! Who sees whom: each device's view of the people, kept up to date by changes alone.
//!
//! A view shows the first so many that match in the order of coming, so a newcomer puts nobody out of
//! it; when one of them goes, the next in line comes in. So it needs no list of whom it shows, only up
//! to which number it does.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use nucleus_protocol::limits::{MAX_NAME, MAX_PEOPLE, MAX_WATCH_NAMES};
use nucleus_protocol::session::{self, Code, WatchPeople};

use super::Device;
use super::people::{Changes, People, Person};

/// Which people a view shows; both empty: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whoever has one of these roles ...
    pub roles: HashSet<String>,
    /// ... and these users.
    pub users: HashSet<String>,
}

impl Filter {
    /// What a client asks for; `None` where it breaks the limits.
    pub fn new(asked: &WatchPeople) -> Option<Self> {
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

struct View {
    request: u32,
    filter: Filter,
    /// What happened up to this moment it has shown, or never had.
    since: u64,
    /// Everybody up to this number who matches is shown.
    edge: u64,
    shown: usize,
    /// Everybody up to this number who matches is counted.
    newest: u64,
    total: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Views(BTreeMap<Device, View>);

impl Views {
    /// A device looks, in place of what it looked at before; gives all that it sees.
    pub(super) fn watch(
        &mut self,
        device: Device,
        (request, filter): (u32, Filter),
        people: &People,
    ) -> Bytes {
        let since = people.moment();
        let mut view = View { request, filter, since, edge: 0, shown: 0, newest: 0, total: 0 };
        let mut told = session::People { request, whole: 1, ..session::People::default() };
        view.fill(people, &mut told.people);
        view.count(people);
        told.total = view.total as u32;
        self.0.insert(device, view);
        session::encode(&told).into()
    }

    /// Answers one that may not look.
    pub(super) fn refuse(request: u32, code: Code) -> Bytes {
        let code = code as u16;
        session::encode(&session::People { request, code, ..session::People::default() }).into()
    }

    /// How many look.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn forget(&mut self, device: Device) {
        self.0.remove(&device);
    }

    /// What each device is told of the changes.
    pub(super) fn update(&mut self, changes: &Changes, people: &People) -> Vec<(Device, Bytes)> {
        let told =
            |(device, view): (&Device, &mut View)| Some((*device, view.update(changes, people)?));
        self.0.iter_mut().filter_map(told).collect()
    }
}

impl View {
    fn update(&mut self, changes: &Changes, people: &People) -> Option<Bytes> {
        let before = self.total;
        let mut told = session::People { request: self.request, ..session::People::default() };
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
        let changed = changed.filter_map(|(number, _)| people.numbered(*number));
        let matching = changed.filter(|person| self.filter.matches(&person.user, &person.role));
        told.people.extend(matching.map(wire));
        self.fill(people, &mut told.people);
        self.count(people);
        told.total = self.total as u32;
        let silent = told.people.is_empty() && told.gone.is_empty() && self.total == before;
        (!silent).then(|| session::encode(&told).into())
    }

    /// Shows those who are next in line, as far as there is room for them.
    fn fill(&mut self, people: &People, told: &mut Vec<session::Person>) {
        if self.shown >= MAX_PEOPLE {
            return;
        }
        for (number, person) in people.all(self.edge) {
            if self.filter.matches(&person.user, &person.role) {
                (self.shown, self.edge) = (self.shown + 1, number);
                told.push(wire(person));
                if self.shown >= MAX_PEOPLE {
                    return;
                }
            }
        }
        self.edge = people.newest();
    }

    fn count(&mut self, people: &People) {
        if self.edge >= people.newest() {
            (self.total, self.newest) = (self.shown, people.newest());
            return;
        }
        let new = people.all(self.newest);
        self.total += new.filter(|(_, p)| self.filter.matches(&p.user, &p.role)).count();
        self.newest = people.newest();
    }
}

fn wire(person: &Person) -> session::Person {
    session::Person {
        user: person.user.clone().into_bytes(),
        name: person.name.clone().into_bytes(),
        role: person.role.clone().into_bytes(),
        status: person.status(),
    }
}
