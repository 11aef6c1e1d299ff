//! The frozen header in front of every session message.

/// Bytes of a [`MessageHeader`].
pub const MESSAGE_HEADER: usize = 8;

/// How a message's body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Field by field, as docs/PROTOCOL.md lists them.
    Plain = 0,
    /// rkyv 0.8, little-endian, unaligned, 32-bit offsets.
    Archive = 1,
}

/// What a message is. A released schema never changes; a successor gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Schema {
    /// [`super::Hello`]
    Hello = 1,
    /// [`super::Welcome`]
    Welcome = 2,
    /// [`super::Refuse`]
    Refuse = 3,
    /// [`super::Join`]
    Join = 16,
    /// [`super::Joined`]
    Joined = 17,
    /// [`super::Leave`]
    Leave = 18,
    /// [`super::RosterUpdate`]
    RosterUpdate = 19,
    /// [`super::Enter`]
    Enter = 20,
    /// [`super::Entered`]
    Entered = 21,
    /// [`super::EventUp`]
    EventUp = 32,
    /// [`super::EventDown`]
    EventDown = 33,
    /// [`super::Subscribe`]
    Subscribe = 36,
    /// [`super::Throttled`]
    Throttled = 37,
    /// [`super::StateRequest`]
    StateRequest = 48,
    /// [`super::StateReply`]
    StateReply = 49,
    /// [`super::StateSnapshot`]
    StateSnapshot = 50,
    /// [`super::StateUpdate`]
    StateUpdate = 51,
    /// [`super::Moderate`]
    Moderate = 52,
    /// [`super::Audit`]
    Audit = 53,
    /// [`super::WatchRooms`]
    WatchRooms = 64,
    /// [`super::RoomList`]
    RoomList = 65,
    /// [`super::WatchUsers`]
    WatchUsers = 72,
    /// [`super::SetStatus`]
    SetStatus = 73,
    /// [`super::People`]
    UserList = 74,
    /// [`super::CallRequest`]
    CallRequest = 80,
    /// [`super::CallReply`]
    CallReply = 81,
    /// [`super::CallUpdate`]
    CallUpdate = 82,
}

impl Schema {
    const ALL: [Schema; 27] = [
        Schema::Hello,
        Schema::Welcome,
        Schema::Refuse,
        Schema::Join,
        Schema::Joined,
        Schema::Leave,
        Schema::RosterUpdate,
        Schema::Enter,
        Schema::Entered,
        Schema::EventUp,
        Schema::EventDown,
        Schema::Subscribe,
        Schema::Throttled,
        Schema::StateRequest,
        Schema::StateReply,
        Schema::StateSnapshot,
        Schema::StateUpdate,
        Schema::Moderate,
        Schema::Audit,
        Schema::WatchRooms,
        Schema::RoomList,
        Schema::WatchUsers,
        Schema::SetStatus,
        Schema::UserList,
        Schema::CallRequest,
        Schema::CallReply,
        Schema::CallUpdate,
    ];

    /// How this schema's bodies are encoded.
    pub fn encoding(self) -> Encoding {
        match self {
            Schema::Hello | Schema::Welcome | Schema::Refuse => Encoding::Plain,
            _ => Encoding::Archive,
        }
    }
}

/// Length of the body in bytes and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Bytes of the body.
    pub len: u32,
    /// What the body is.
    pub schema: Schema,
}

/// The version of every schema of today.
const SCHEMA_VERSION: u8 = 1;

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// No such schema, not in that version, or not so encoded.
    #[error("unknown schema {schema}, version {version}, encoding {encoding}")]
    Unknown {
        /// The schema's number.
        schema: u16,
        /// Its version.
        version: u8,
        /// Its encoding.
        encoding: u8,
    },
    /// Longer than the reader takes.
    #[error("a message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes announced.
        len: u32,
        /// Bytes allowed.
        limit: usize,
    },
}

impl MessageHeader {
    /// Reads a header, refusing bodies of more than `limit` bytes.
    pub fn parse(bytes: [u8; MESSAGE_HEADER], limit: usize) -> Result<Self, BadHeader> {
        let [l0, l1, l2, l3, encoding, s0, s1, version] = bytes;
        let number = u16::from_le_bytes([s0, s1]);
        let known = Schema::ALL.into_iter().find(|s| *s as u16 == number);
        let schema = known
            .filter(|s| version == SCHEMA_VERSION && s.encoding() as u8 == encoding)
            .ok_or(BadHeader::Unknown { schema: number, version, encoding })?;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        if len as usize > limit {
            return Err(BadHeader::TooLong { len, limit });
        }
        Ok(Self { len, schema })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; MESSAGE_HEADER] {
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [s0, s1] = (self.schema as u16).to_le_bytes();
        [l0, l1, l2, l3, self.schema.encoding() as u8, s0, s1, SCHEMA_VERSION]
    }
}
