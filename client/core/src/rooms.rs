//! Room selection: the options of a join that decide which room it finds, and how a new room is
//! created.

use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{self, Join, RoomField, filter, join_mode, room_flag, value};

use crate::state::Value;

/// A query for rooms: at most 8 conditions on the fields that rooms [list](RoomOptions::listed).
///
/// A room matches if all conditions hold. A condition on a field that the room does not list does
/// not hold.
///
/// ```
/// use nucleus_client_core::rooms::Query;
/// let query = Query::new().equals("map", "shipyard").between("level", 3, 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    filters: Vec<session::Filter>,
}

impl Query {
    /// Creates a query that every room matches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that the field has this value and type: 1 does not equal 1.0.
    pub fn equals(self, key: &str, value: impl Into<Value>) -> Self {
        self.one_of(key, [value.into()])
    }

    /// Requires that the field has one of these values, at most 16.
    pub fn one_of<V: Into<Value>>(self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| value.into().into()).collect();
        self.filter(key, filter::ONE_OF, values)
    }

    /// Requires that the field is a number, integer or float, from `low` to `high`, both included.
    pub fn between(self, key: &str, low: impl Into<Value>, high: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![low.into().into(), high.into().into()])
    }

    /// Requires that the field is a number not less than `low`.
    pub fn at_least(self, key: &str, low: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![low.into().into(), session::Value::default()])
    }

    /// Requires that the field is a number not greater than `high`.
    pub fn at_most(self, key: &str, high: impl Into<Value>) -> Self {
        self.filter(key, filter::RANGE, vec![session::Value::default(), high.into().into()])
    }

    fn filter(mut self, key: &str, kind: u8, values: Vec<session::Value>) -> Self {
        self.filters.push(session::Filter { key: key.as_bytes().to_vec(), kind, values });
        self
    }

    /// Checks the limits that the server enforces too. Returns a message about the first violation.
    ///
    /// # Errors
    /// The first limit that is not kept, as one line.
    pub fn validate(&self) -> Result<(), &'static str> {
        let is_valid = |filter: &session::Filter| {
            is_valid_key(&filter.key)
                && (1..=limits::MAX_FILTER_VALUES).contains(&filter.values.len())
                && filter.values.iter().all(|value| is_valid_for(filter.kind, value))
        };
        if self.filters.len() > limits::MAX_FILTERS {
            Err("a query must have at most 8 conditions")
        } else if !self.filters.iter().all(is_valid) {
            Err("a condition has a key of 1 to 64 bytes and 1 to 16 values; a range has numbers")
        } else if self.bytes() > MAX_BYTES {
            Err("a query must have at most 8 KiB")
        } else {
            Ok(())
        }
    }

    fn bytes(&self) -> usize {
        let filters = self.filters.iter().map(|filter| {
            17 + filter.key.len() + filter.values.iter().map(value_bytes).sum::<usize>()
        });
        filters.sum()
    }

    /// Returns the conditions in wire format.
    pub fn into_filters(self) -> Vec<session::Filter> {
        self.filters
    }
}

/// Options of a new room. Used if the join creates the room, ignored if the room exists.
///
/// ```
/// use std::time::Duration;
/// use nucleus_client_core::rooms::RoomOptions;
/// let options = RoomOptions::new()
///     .capacity(12)
///     .empty_ttl(Duration::from_secs(60))
///     .field("map", "shipyard")
///     .listed(["map"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomOptions {
    wire: session::RoomOptions,
}

impl RoomOptions {
    /// Creates options with the server's defaults: the room is open to all users and ends with its
    /// last peer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the capacity in peers. Default and maximum: the server's limit.
    pub fn capacity(mut self, capacity: u16) -> Self {
        self.wire.capacity = capacity;
        self
    }

    /// Hides the room from the lobby: the room is neither listed nor matched, and can only be
    /// joined by its name.
    pub fn hidden(self) -> Self {
        self.flag(room_flag::HIDDEN)
    }

    /// Locks the room from the start. Needs the right to moderate.
    pub fn locked(self) -> Self {
        self.flag(room_flag::LOCKED)
    }

    /// Keeps the room when it is empty, until a moderator ends the room or the server stops. Needs
    /// the right to moderate.
    pub fn kept(self) -> Self {
        self.flag(room_flag::KEPT)
    }

    /// Admits only this user and the users that the join
    /// expects (`ConnectOptions::expect_users`).
    pub fn by_invitation(self) -> Self {
        self.flag(room_flag::BY_INVITATION)
    }

    /// Sets how long the room and its state stay after the last peer has left. The server has a
    /// maximum (5 min by default).
    pub fn empty_ttl(mut self, ttl: Duration) -> Self {
        self.wire.empty_ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Adds keys of the room's fields that the lobby lists and that a [`Query`] can use; at most 8.
    /// A text or byte string of more than 256 bytes is not listed.
    pub fn listed<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.wire.listed.extend(keys.into_iter().map(|key| key.as_bytes().to_vec()));
        self
    }

    /// Adds a field that the room has from the start; at most 16.
    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        let field = RoomField { key: key.as_bytes().to_vec(), value: value.into().into() };
        self.wire.fields.push(field);
        self
    }

    fn flag(mut self, flag: u8) -> Self {
        self.wire.flags |= flag;
        self
    }
}

/// How a join selects its room, apart from the name. The default joins the named room and creates
/// it if it does not exist.
#[derive(Clone, Default, PartialEq)]
pub struct RoomSelection {
    /// How the room is found, a number of [`join_mode`].
    pub mode: u8,
    /// The application's version, at most 32 bytes. Clients with different versions are never in
    /// the same room.
    pub version: String,
    /// The password of the room to join or create, at most 64 bytes.
    pub password: String,
    /// Users for whom seats are reserved for a minute, at most 16.
    pub expected: Vec<String>,
    /// The options of the room, used if this join creates it.
    pub options: RoomOptions,
    /// The conditions that a matching room must meet.
    pub query: Query,
}

/// Largest size of fields, conditions and expected users together, in bytes.
const MAX_BYTES: usize = 8 << 10;

impl RoomSelection {
    /// Returns the default selection with a capacity for a new room; 0 means the server's default.
    pub fn capacity(capacity: u16) -> Self {
        Self { options: RoomOptions::new().capacity(capacity), ..Self::default() }
    }

    /// Returns whether the join looks for any matching room instead of a named one.
    pub fn matches(&self) -> bool {
        matches!(self.mode, join_mode::MATCH | join_mode::MATCH_OR_CREATE)
    }

    /// Returns the selection for joining again by name a room that this client was in.
    ///
    /// If the room no longer exists, the first client that comes back creates it again, unless that
    /// client joined with `join_only`.
    pub fn for_rejoin(&self) -> Self {
        let mode = match self.mode {
            join_mode::JOIN => join_mode::JOIN,
            _ => join_mode::JOIN_OR_CREATE,
        };
        let is_private = self.options.wire.flags & room_flag::BY_INVITATION != 0;
        let expected = if is_private { self.expected.clone() } else { Vec::new() };
        Self { mode, expected, query: Query::new(), ..self.clone() }
    }

    /// Checks the limits that the server enforces too. Returns a message about the first violation.
    ///
    /// # Errors
    /// The first limit that is not kept, as one line.
    pub fn validate(&self) -> Result<(), &'static str> {
        let options = &self.options.wire;
        if self.version.len() > limits::MAX_APPLICATION_VERSION {
            Err("the version must have at most 32 bytes")
        } else if self.password.len() > limits::MAX_PASSWORD {
            Err("the password must have at most 64 bytes")
        } else if self.expected.len() > limits::MAX_EXPECTED {
            Err("at most 16 users can be expected")
        } else if options.listed.len() > limits::MAX_LISTED {
            Err("at most 8 fields can be listed")
        } else if options.fields.len() > limits::MAX_FIRST_FIELDS {
            Err("a room can be created with at most 16 fields")
        } else if !options.fields.iter().all(is_valid_field) {
            Err("a field has a key of 1 to 64 bytes, a value of at most 4 KiB, and is not NaN")
        } else if !options.listed.iter().all(|key| is_valid_key(key)) {
            Err("a listed key has 1 to 64 bytes")
        } else {
            self.query.validate()?;
            if self.bytes() > MAX_BYTES {
                Err("fields, conditions and expected users must have at most 8 KiB together")
            } else {
                Ok(())
            }
        }
    }

    fn bytes(&self) -> usize {
        let RoomOptions { wire: session::RoomOptions { listed, fields, .. } } = &self.options;
        let names = self.expected.iter().map(|user| 8 + user.len());
        let keys = listed.iter().map(|key| 8 + key.len());
        let fields = fields.iter().map(|field| 8 + field.key.len() + value_bytes(&field.value));
        names.chain(keys).chain(fields).sum::<usize>() + self.query.bytes()
    }

    /// Returns a `Join` message with the fields that this selection sets.
    pub fn into_join(self) -> Join {
        Join {
            mode: self.mode,
            version: self.version.into_bytes(),
            password: self.password.into_bytes(),
            expected: self.expected.into_iter().map(String::into_bytes).collect(),
            options: self.options.wire,
            filters: self.query.filters,
            ..Join::default()
        }
    }
}

fn is_valid_key(key: &[u8]) -> bool {
    (1..=limits::MAX_STATE_KEY).contains(&key.len())
}

fn is_valid_field(RoomField { key, value }: &RoomField) -> bool {
    let is_nan = value.kind == value::FLOAT && f64::from_bits(value.bits).is_nan();
    is_valid_key(key) && value.bytes.len() <= limits::MAX_STATE_VALUE && !is_nan
}

fn value_bytes(value: &session::Value) -> usize {
    17 + value.bytes.len()
}

fn is_valid_for(kind: u8, value: &session::Value) -> bool {
    let is_number = match value.kind {
        value::NONE | value::INTEGER => true,
        value::FLOAT => !f64::from_bits(value.bits).is_nan(),
        _ => false,
    };
    (is_number || kind != filter::RANGE && value.kind != value::FLOAT)
        && value.bytes.len() <= limits::MAX_STATE_VALUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_back_looks_for_no_other_room() {
        let selection = RoomSelection {
            mode: join_mode::MATCH_OR_CREATE,
            version: "1".into(),
            password: "x".into(),
            expected: vec!["ada".into()],
            options: RoomOptions::new().capacity(3),
            query: Query::new().equals("k", 1),
        };
        let back = selection.for_rejoin();
        assert_eq!((back.mode, back.matches()), (join_mode::JOIN_OR_CREATE, false));
        assert!(back.expected.is_empty() && back.query == Query::new());
        assert!(back.version == selection.version && back.options == selection.options);
        assert!(back.password == selection.password);
        let visitor = RoomSelection { mode: join_mode::JOIN, ..selection };
        assert_eq!(visitor.for_rejoin().mode, join_mode::JOIN);
    }

    #[test]
    fn what_is_too_much_is_not_sent() {
        let of = |options| RoomSelection { options, ..RoomSelection::default() };
        let keys = ["k"; 9];
        assert!(of(RoomOptions::new().listed(keys[..8].iter().copied())).validate().is_ok());
        assert!(of(RoomOptions::new().listed(keys)).validate().is_err());
        let text = "x".repeat(4_000);
        let two = RoomOptions::new().field("a", text.as_str()).field("b", text.as_str());
        assert!(of(two.clone()).validate().is_ok());
        assert!(of(two.field("c", text.as_str())).validate().is_err());
        for value in [f64::INFINITY, -0.0, 1e300] {
            assert!(of(RoomOptions::new().field("a", value)).validate().is_ok());
        }
        assert!(of(RoomOptions::new().field("a", f64::NAN)).validate().is_err());
        assert!(of(RoomOptions::new().field("", 1)).validate().is_err());
        assert!(of(RoomOptions::new().field("a", "x".repeat(4_097))).validate().is_err());
        assert!(of(RoomOptions::new().listed(["x".repeat(65).as_str()])).validate().is_err());
        for query in [Query::new().equals("a", f64::NAN), Query::new().at_least("a", f64::NAN)] {
            assert!(query.validate().is_err());
        }
        let version = "x".repeat(33);
        assert!(RoomSelection { version, ..RoomSelection::default() }.validate().is_err());
    }
}
