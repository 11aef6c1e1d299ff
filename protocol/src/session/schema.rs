//! The table of session messages: each message has its number and its encoding here, and nowhere
//! else.
//!
//! To add a message, write its struct in one of the sibling modules, give it a row in
//! [`session_messages!`](crate::session_messages), and add its test vectors and its description in
//! docs/PROTOCOL.md. [`Schema`], its [`Encoding`], [`ArchivedMessage`] and the tests that go over
//! every message are generated from the table.

/// Calls the macro `$each` with the table of session messages.
///
/// `$each` gets `plain { Name = number, ... } archive { Name = number, ... }`, where every name is
/// a struct and a [`Schema`](crate::session::Schema). Code that treats every message alike, such as
/// a test of all decoders, is written as such a macro, so that it covers every message.
#[macro_export]
macro_rules! session_messages {
    ($each:ident) => {
        $each! {
            plain {
                Hello = 1,
                Welcome = 2,
                Refuse = 3,
                Ping = 4,
            }
            archive {
                Join = 16,
                Joined = 17,
                Leave = 18,
                RosterUpdate = 19,
                Enter = 20,
                Entered = 21,
                Renew = 22,
                Renewed = 23,
                TokenWanted = 24,
                Moved = 26,
                Probe = 27,
                ProbeGrant = 28,
                EventUp = 32,
                EventDown = 33,
                EventAck = 34,
                Subscribe = 36,
                Throttled = 37,
                SettingsUpdate = 38,
                StateRequest = 48,
                StateReply = 49,
                StateSnapshot = 50,
                StateUpdate = 51,
                Moderate = 52,
                Audit = 53,
                WatchRooms = 64,
                RoomList = 65,
                WatchUsers = 72,
                SetStatus = 73,
                UserList = 74,
                CallRequest = 80,
                CallReply = 81,
                CallUpdate = 82,
            }
        }
    };
}

/// How a message's body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Encoded field by field, as docs/PROTOCOL.md lists the fields.
    Plain = 0,
    /// An archive of rkyv 0.8: little-endian, unaligned, 32-bit offsets.
    Archive = 1,
}

/// A struct that is sent as an archive, with its schema.
pub trait ArchivedMessage {
    /// The schema that the header names.
    const SCHEMA: Schema;
}

/// Derives [`Schema`] and the implementations of [`ArchivedMessage`] from the table.
macro_rules! define_schemas {
    (
        plain { $($plain:ident = $plain_number:literal,)* }
        archive { $($archive:ident = $archive_number:literal,)* }
    ) => {
        /// The type of a message. A released schema never changes; a successor gets a new number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Schema {
            $(
                #[doc = concat!("The message [`super::", stringify!($plain), "`].")]
                $plain = $plain_number,
            )*
            $(
                #[doc = concat!("The message [`super::", stringify!($archive), "`].")]
                $archive = $archive_number,
            )*
        }

        impl Schema {
            /// Every schema, in the order of the table.
            pub const ALL: &[Schema] = &[$(Schema::$plain,)* $(Schema::$archive,)*];

            /// Returns how bodies of this schema are encoded.
            pub fn encoding(self) -> Encoding {
                match self {
                    $(Schema::$plain => Encoding::Plain,)*
                    $(Schema::$archive => Encoding::Archive,)*
                }
            }
        }

        $(
            impl ArchivedMessage for super::$archive {
                const SCHEMA: Schema = Schema::$archive;
            }
        )*
    };
}
session_messages!(define_schemas);
