//! Users who are there, with their devices and what they are called.
//!
//! *Busy* says something about the user, *away* something about the device. So who chose busy on one
//! device is busy, whatever the others say; else one device that is online makes the user online. Who
//! is in a call or called is busy without choosing it.

use std::collections::{BTreeMap, HashMap, HashSet};

use nucleus_protocol::session::status;
use nucleus_protocol::time::Time;

use crate::ids::DeviceId;
use crate::limits;
use crate::rate::Bucket;

/// The role that neither watches nor calls.
const OBSERVER: &str = "observer";

/// A device that wants in; its token has been verified.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// One of [`status`], but not offline.
    pub status: u8,
}

/// A user who can be seen.
pub(super) struct User {
    pub(super) user: String,
    /// Name and role of the device that came first, until the last has gone.
    pub(super) name: String,
    pub(super) role: String,
    /// In the order of coming, each with the status chosen on it.
    devices: Vec<(DeviceId, u8)>,
    /// In a call, or called.
    engaged: bool,
    /// The status that was noted last; offline before the first.
    noted: u8,
    /// Calls that the user may start.
    starts: Bucket,
}

impl User {
    pub(super) fn status(&self) -> u8 {
        let online = self.devices.iter().any(|(_, chosen)| *chosen == status::ONLINE);
        if self.engaged || self.wants_no_calls() {
            status::BUSY
        } else if online {
            status::ONLINE
        } else {
            status::AWAY
        }
    }

    /// Busy by choice.
    pub(super) fn wants_no_calls(&self) -> bool {
        self.devices.iter().any(|(_, chosen)| *chosen == status::BUSY)
    }

    /// Somebody to show: who is in a call is it, even while no session of his is left.
    fn is_there(&self) -> bool {
        self.engaged || !self.devices.is_empty()
    }
}

/// Somebody who is gone, for those who watch.
pub(super) struct Gone {
    pub(super) moment: u64,
    pub(super) number: u64,
    pub(super) user: String,
    pub(super) role: String,
}

/// What happened since the watchers were last told.
#[derive(Default)]
pub(super) struct Changes {
    /// By [`Users::all`]'s number, and at which moment last.
    pub(super) changed: BTreeMap<u64, u64>,
    pub(super) gone: Vec<Gone>,
    since: Option<Time>,
}

/// All users who are there.
#[derive(Default)]
pub(super) struct Users {
    /// Everybody who is there by a number that counts on: whoever came first stands first.
    users: BTreeMap<u64, User>,
    by_user: HashMap<String, u64>,
    by_device: HashMap<DeviceId, u64>,
    /// Devices whose own token says so, whatever the user's others do.
    observers: HashSet<DeviceId>,
    next: u64,
    /// Counts the changes.
    moment: u64,
    changes: Changes,
}

impl Users {
    /// A device comes; gives the one that has to go for it, where its user has too many.
    pub(super) fn enter(
        &mut self,
        now: Time,
        device: DeviceId,
        visitor: Visitor,
    ) -> Option<DeviceId> {
        let Visitor { user, name, role, status } = visitor;
        if role == OBSERVER {
            self.observers.insert(device);
        }
        let number = self.number(now, user, name, role);
        self.by_device.insert(device, number);
        let user = self.users.get_mut(&number)?;
        user.devices.push((device, status));
        let oldest = user.devices.first().map(|(device, _)| *device);
        let too_many = user.devices.len() > limits::DEVICES;
        self.note(now, number);
        oldest.filter(|_| too_many)
    }

    /// A device goes; gives its user, and whether it was the last one.
    pub(super) fn part(&mut self, now: Time, device: DeviceId) -> Option<(String, bool)> {
        let number = self.by_device.remove(&device)?;
        self.observers.remove(&device);
        let user = self.users.get_mut(&number)?;
        user.devices.retain(|(other, _)| *other != device);
        let parted = (user.user.clone(), user.devices.is_empty());
        self.note(now, number);
        Some(parted)
    }

    pub(super) fn set_status(&mut self, now: Time, device: DeviceId, chosen: u8) {
        let Some(number) = self.by_device.get(&device).copied() else { return };
        let devices = self.users.get_mut(&number).map(|user| &mut user.devices);
        let entry = devices.and_then(|all| all.iter_mut().find(|(other, _)| *other == device));
        if let Some((_, status)) = entry {
            *status = chosen;
            self.note(now, number);
        }
    }

    /// The user is in a call or called from now on, or no more.
    pub(super) fn set_engaged(&mut self, now: Time, user: &str, engaged: bool) {
        let Some(number) = self.by_user.get(user).copied() else { return };
        if let Some(user) = self.users.get_mut(&number) {
            user.engaged = engaged;
            self.note(now, number);
        }
    }

    /// Who sits at a device.
    pub(super) fn at(&self, device: DeviceId) -> Option<&User> {
        self.users.get(self.by_device.get(&device)?)
    }

    /// Whether a device neither watches nor calls.
    pub(super) fn observes(&self, device: DeviceId) -> bool {
        self.observers.contains(&device)
    }

    /// Whether the user at a device may start a call, or has started too many of late.
    pub(super) fn may_start(&mut self, now: Time, device: DeviceId) -> bool {
        self.starts(device).is_none_or(|starts| starts.available(now) > 0)
    }

    /// The user at a device has started a call.
    pub(super) fn started(&mut self, device: DeviceId) {
        if let Some(starts) = self.starts(device) {
            starts.take(1);
        }
    }

    fn starts(&mut self, device: DeviceId) -> Option<&mut Bucket> {
        let user = self.users.get_mut(self.by_device.get(&device)?)?;
        Some(&mut user.starts)
    }

    /// Who is there by that id.
    pub(super) fn user(&self, user: &str) -> Option<&User> {
        self.users.get(self.by_user.get(user)?)
    }

    /// The devices of a user, in the order of coming.
    pub(super) fn devices(&self, user: &str) -> impl Iterator<Item = DeviceId> {
        self.user(user).into_iter().flat_map(|user| user.devices.iter().map(|(at, _)| *at))
    }

    /// Every device.
    pub(super) fn every_device(&self) -> impl Iterator<Item = DeviceId> {
        self.users.values().flat_map(|user| user.devices.iter().map(|(at, _)| *at))
    }

    /// Everybody whose number is above `number`, in the order of coming.
    pub(super) fn all(&self, number: u64) -> impl Iterator<Item = (u64, &User)> {
        self.users.range(number + 1..).map(|(number, user)| (*number, user))
    }

    pub(super) fn numbered(&self, number: u64) -> Option<&User> {
        self.users.get(&number)
    }

    /// The number of whoever came last.
    pub(super) fn newest(&self) -> u64 {
        self.next
    }

    /// No device is left, nor anybody else.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Every change up to now has this number or a smaller one.
    pub(super) fn moment(&self) -> u64 {
        self.moment
    }

    /// Since when there is something to tell.
    pub(super) fn changed_since(&self) -> Option<Time> {
        self.changes.since
    }

    /// What the watchers are to be told.
    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    fn number(&mut self, now: Time, user: String, name: String, role: String) -> u64 {
        if let Some(number) = self.by_user.get(&user) {
            return *number;
        }
        self.next += 1;
        self.by_user.insert(user.clone(), self.next);
        let noted = status::OFFLINE;
        let starts = Bucket::new(now, limits::STARTS_RATE);
        let user = User { user, name, role, devices: Vec::new(), engaged: false, noted, starts };
        self.users.insert(self.next, user);
        self.next
    }

    /// Somebody may have changed, and is removed if that is the end of it.
    fn note(&mut self, now: Time, number: u64) {
        let Some(user) = self.users.get_mut(&number) else { return };
        let there = user.is_there();
        let status = if there { user.status() } else { status::OFFLINE };
        if std::mem::replace(&mut user.noted, status) == status {
            return;
        }
        self.moment += 1;
        self.changes.since.get_or_insert(now);
        if there {
            self.changes.changed.insert(number, self.moment);
        } else if let Some(User { user, role, .. }) = self.users.remove(&number) {
            self.by_user.remove(&user);
            self.changes.changed.remove(&number);
            self.changes.gone.push(Gone { moment: self.moment, number, user, role });
        }
    }
}
