//! The present users with their devices, names and statuses.
//!
//! The status *busy* is about the user, *away* is about the device. A user who has chosen busy on
//! one device is therefore busy, whatever the statuses of the other devices. Otherwise one online
//! device makes the user online. A user who is in a call, or is being called, is busy without
//! having chosen it.

use std::collections::{BTreeMap, HashMap, HashSet};

use nucleus_protocol::session::status;
use nucleus_protocol::time::Time;

use crate::ids::DeviceId;
use crate::limits;

/// The role whose devices may neither watch users nor start calls.
const OBSERVER: &str = "observer";

/// The request of a device to enter. Its token has been verified.
#[derive(Clone, Debug)]
pub struct EnterRequest {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// The chosen status: one of [`status`], except offline.
    pub status: u8,
}

/// A user whom watchers can see.
pub(super) struct User {
    pub(super) id: String,
    /// The name that the first device gave. It stays until the last device has left.
    pub(super) name: String,
    /// The role of the first device. It stays until the last device has left.
    pub(super) role: String,
    /// The user's devices, in the order in which they entered.
    devices: Vec<Device>,
    /// Whether the user is in a call or is being called.
    engaged: bool,
    /// The status in the newest recorded change; offline before the first.
    recorded_status: u8,
}

struct Device {
    id: DeviceId,
    /// The status chosen on the device.
    status: u8,
}

impl User {
    pub(super) fn status(&self) -> u8 {
        let online = self.devices.iter().any(|device| device.status == status::ONLINE);
        if self.engaged || self.wants_no_calls() {
            status::BUSY
        } else if online {
            status::ONLINE
        } else {
            status::AWAY
        }
    }

    /// Returns true if the user has chosen to be busy.
    pub(super) fn wants_no_calls(&self) -> bool {
        self.devices.iter().any(|device| device.status == status::BUSY)
    }

    /// Returns true if watchers see the user. A user in a call is visible even without a device.
    fn is_visible(&self) -> bool {
        self.engaged || !self.devices.is_empty()
    }
}

/// A user who is not visible any more.
pub(super) struct RemovedUser {
    /// The version of [`Users`] with this change.
    pub(super) version: u64,
    /// The number that the user had in [`Users`].
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) role: String,
}

/// A device that was removed.
pub(super) struct RemovedDevice {
    pub(super) user: String,
    /// Whether the user has no other device.
    pub(super) was_last: bool,
}

/// The changes since the last update to the watchers.
#[derive(Default)]
pub(super) struct UserChanges {
    /// Users by number, each with the version of its newest change.
    pub(super) changed: BTreeMap<u64, u64>,
    pub(super) removed: Vec<RemovedUser>,
    /// When the first of these changes was made.
    since: Option<Time>,
}

/// All present users.
#[derive(Default)]
pub(super) struct Users {
    /// The users by a number that rises with each new user, so that the oldest user comes first.
    users: BTreeMap<u64, User>,
    by_user: HashMap<String, u64>,
    by_device: HashMap<DeviceId, u64>,
    /// Devices whose own token has the observer role. Other devices of the user do not matter.
    observers: HashSet<DeviceId>,
    /// The number of the newest user.
    newest: u64,
    /// Counts the changes of all users.
    version: u64,
    changes: UserChanges,
}

impl Users {
    /// Adds a device. If its user has too many devices now, returns the oldest one, which must be
    /// removed.
    pub(super) fn enter(
        &mut self,
        now: Time,
        device: DeviceId,
        enter: EnterRequest,
    ) -> Option<DeviceId> {
        let EnterRequest { user, name, role, status } = enter;
        if role == OBSERVER {
            self.observers.insert(device);
        }
        let number = self.find_or_add(user, name, role);
        self.by_device.insert(device, number);
        let user = self.users.get_mut(&number)?;
        user.devices.push(Device { id: device, status });
        let oldest = user.devices.first().map(|device| device.id);
        let too_many = user.devices.len() > limits::DEVICES;
        self.record(now, number);
        oldest.filter(|_| too_many)
    }

    /// Removes a device.
    pub(super) fn remove_device(&mut self, now: Time, device: DeviceId) -> Option<RemovedDevice> {
        let number = self.by_device.remove(&device)?;
        self.observers.remove(&device);
        let user = self.users.get_mut(&number)?;
        user.devices.retain(|other| other.id != device);
        let removed = RemovedDevice { user: user.id.clone(), was_last: user.devices.is_empty() };
        self.record(now, number);
        Some(removed)
    }

    /// Sets the status chosen on a device.
    pub(super) fn set_status(&mut self, now: Time, device: DeviceId, status: u8) {
        let Some(number) = self.by_device.get(&device).copied() else { return };
        let devices = self.users.get_mut(&number).map(|user| &mut user.devices);
        let entry = devices.and_then(|all| all.iter_mut().find(|other| other.id == device));
        if let Some(entry) = entry {
            entry.status = status;
            self.record(now, number);
        }
    }

    /// Sets whether the user is in a call or is being called.
    pub(super) fn set_engaged(&mut self, now: Time, user: &str, engaged: bool) {
        let Some(number) = self.by_user.get(user).copied() else { return };
        if let Some(user) = self.users.get_mut(&number) {
            user.engaged = engaged;
            self.record(now, number);
        }
    }

    /// Returns the user of a device.
    pub(super) fn user_of(&self, device: DeviceId) -> Option<&User> {
        self.users.get(self.by_device.get(&device)?)
    }

    /// Returns true if the device is an observer's, which may neither watch users nor start calls.
    pub(super) fn observes(&self, device: DeviceId) -> bool {
        self.observers.contains(&device)
    }

    /// Returns the present user with this id.
    pub(super) fn user(&self, user: &str) -> Option<&User> {
        self.users.get(self.by_user.get(user)?)
    }

    /// Returns the devices of a user, oldest first.
    pub(super) fn devices(&self, user: &str) -> impl Iterator<Item = DeviceId> {
        self.user(user).into_iter().flat_map(|user| user.devices.iter().map(|device| device.id))
    }

    /// Returns all devices.
    pub(super) fn all_devices(&self) -> impl Iterator<Item = DeviceId> {
        self.users.values().flat_map(|user| user.devices.iter().map(|device| device.id))
    }

    /// Returns the users with a number above `number`, oldest first.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &User)> {
        self.users.range(number + 1..).map(|(number, user)| (*number, user))
    }

    /// Returns the user with this number.
    pub(super) fn by_number(&self, number: u64) -> Option<&User> {
        self.users.get(&number)
    }

    /// Returns the number of the newest user, who may have left.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns true if no user is visible.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns the number of the newest change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the time of the first change that the watchers have not got yet.
    pub(super) fn changed_since(&self) -> Option<Time> {
        self.changes.since
    }

    /// Takes the changes that the watchers have not got yet.
    pub(super) fn take_changes(&mut self) -> UserChanges {
        std::mem::take(&mut self.changes)
    }

    /// Returns the number of a user. Adds the user if not present.
    fn find_or_add(&mut self, id: String, name: String, role: String) -> u64 {
        if let Some(number) = self.by_user.get(&id) {
            return *number;
        }
        self.newest += 1;
        self.by_user.insert(id.clone(), self.newest);
        let user = User {
            id,
            name,
            role,
            devices: Vec::new(),
            engaged: false,
            recorded_status: status::OFFLINE,
        };
        self.users.insert(self.newest, user);
        self.newest
    }

    /// Records a change if the status of the user has changed. Removes a user who is not visible
    /// any more.
    fn record(&mut self, now: Time, number: u64) {
        let Some(user) = self.users.get_mut(&number) else { return };
        let visible = user.is_visible();
        let status = if visible { user.status() } else { status::OFFLINE };
        if std::mem::replace(&mut user.recorded_status, status) == status {
            return;
        }
        self.version += 1;
        self.changes.since.get_or_insert(now);
        if visible {
            self.changes.changed.insert(number, self.version);
        } else if let Some(User { id, role, .. }) = self.users.remove(&number) {
            self.by_user.remove(&id);
            self.changes.changed.remove(&number);
            let version = self.version;
            self.changes.removed.push(RemovedUser { version, number, id, role });
        }
    }
}
