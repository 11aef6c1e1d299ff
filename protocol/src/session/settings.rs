//! What holds for a session: its rates, its largest sizes, and the options of its room after the
//! server has clamped them. `Joined` carries them as a list of [`SessionSetting`]s, so that a later
//! version can add settings.

use rkyv::{Archive, Deserialize, Serialize};

use crate::limits;

/// One setting of a session.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSetting {
    /// Which setting this is, as numbered in [`SessionSettings`]. A client ignores unknown keys.
    pub key: u16,
    /// The value, in the unit of the setting.
    pub value: u64,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident = $key:literal, $default:expr;)*) => {
        /// The settings of a session. A setting that the server does not name has its default.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct SessionSettings { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Default for SessionSettings {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl SessionSettings {
            /// Every key, in ascending order.
            pub const KEYS: &[u16] = &[$($key,)*];

            /// The keys that `Entered` tells: those of requests.
            pub const SOCIAL: &[u16] = &[20, 21];

            /// Reads a list. Ignores unknown keys; of one key the last value counts.
            pub fn from_list(list: &[SessionSetting]) -> Self {
                let mut settings = Self::default();
                for SessionSetting { key, value } in list {
                    match key {
                        $($key => settings.$name = *value,)*
                        _ => {}
                    }
                }
                settings
            }

            /// Returns the settings with these keys as a list, in the order of the keys.
            pub fn list_of(&self, keys: &[u16]) -> Vec<SessionSetting> {
                let wanted = |setting: &SessionSetting| keys.contains(&setting.key);
                self.to_list().into_iter().filter(wanted).collect()
            }

            /// Returns all settings as a list, in the order of their keys.
            pub fn to_list(&self) -> Vec<SessionSetting> {
                vec![$(SessionSetting { key: $key, value: self.$name },)*]
            }
        }
    };
}

settings! {
    /// Key 1: most peers of the room.
    capacity = 1, limits::MAX_ROOM_PEERS as u64;
    /// Key 2: how long the room outlives its last participant, ms.
    empty_ttl_ms = 2, 0;
    /// Key 3: how long a participant outlives a lost session, ms.
    peer_ttl_ms = 3, 30_000;
    /// Key 4: after this silence the roster shows a peer as away, ms.
    away_after_ms = 4, 10_000;
    /// Key 5: interval of the client's reports, ms.
    report_interval_ms = 5, 100;
    /// Key 6: most bytes of frames in one datagram, in both directions.
    max_body = 6, limits::MAX_BODY as u64;
    /// Key 7: largest payload of an event, bytes.
    max_event = 7, limits::MAX_EVENT_PAYLOAD as u64;
    /// Key 8: largest message of the bulk lane, bytes.
    max_bulk = 8, limits::MAX_BULK_MESSAGE as u64;
    /// Key 9: largest state of the room, encoded as a snapshot, bytes.
    max_state = 9, limits::MAX_STATE as u64;
    /// Key 10: most objects of the room.
    max_objects = 10, limits::MAX_STATE_OBJECTS as u64;
    /// Key 11: most objects of one user without the right to moderate, in all its peers of the room.
    max_user_objects = 11, limits::MAX_STATE_OWNED as u64;
    /// Key 12: events of this client a second, on average.
    events_per_s = 12, 200;
    /// Key 13: events of this client at once.
    event_burst = 13, 400;
    /// Key 14: bytes of this client's events a second, on average.
    event_bytes_per_s = 14, 64 << 10;
    /// Key 15: bytes of this client's events at once.
    event_bytes_burst = 15, 128 << 10;
    /// Key 16: pieces on the bulk lane a second, on average.
    bulk_per_s = 16, 50;
    /// Key 17: pieces on the bulk lane at once.
    bulk_burst = 17, 100;
    /// Key 18: bytes on the bulk lane a second, on average.
    bulk_bytes_per_s = 18, 64 << 10;
    /// Key 19: bytes on the bulk lane at once.
    bulk_bytes_burst = 19, 256 << 10;
    /// Key 20: requests a second, on average.
    requests_per_s = 20, 30;
    /// Key 21: requests at once.
    request_burst = 21, 32;
    /// Key 22: bytes of requests a second, on average.
    request_bytes_per_s = 22, 32 << 10;
    /// Key 23: bytes of requests at once.
    request_bytes_burst = 23, 128 << 10;
    /// Key 24: realtime messages of this client a second, on average.
    messages_per_s = 24, 1_000;
    /// Key 25: bytes of this client's realtime messages a second, on average.
    message_bytes_per_s = 25, 256 << 10;
    /// Key 26: most peers of the room that may speak at once.
    speakers = 26, 128;
    /// Key 27: most bits a second that the server sends to this client on the realtime plane.
    egress_bits_per_s = 27, 10_000_000;
    /// Key 28: how long from the join the ticket admits to another instance of the room, s.
    ticket_ttl_s = 28, 0;
    /// Key 29: bytes of this client's realtime messages at once.
    message_bytes_burst = 29, 16 << 10;
    /// Key 30: realtime messages of this client at once.
    message_burst = 30, 500;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_unknown_keys_are_ignored() {
        let settings = SessionSettings { max_event: 7, ..SessionSettings::default() };
        let mut list = settings.to_list();
        assert_eq!(list.len(), SessionSettings::KEYS.len());
        list.push(SessionSetting { key: 60_000, value: 1 });
        assert_eq!(SessionSettings::from_list(&list), settings);
    }

    #[test]
    fn a_missing_setting_has_its_default() {
        assert_eq!(SessionSettings::from_list(&[]), SessionSettings::default());
    }
}
