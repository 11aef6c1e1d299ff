//! Payloads worked out once for all who hear them. A payload is a pure function of its sender and
//! number; in a room of 300 it would be worked out 299 times.

use crate::channel::Due;
use crate::payload::Source;

/// Messages of a sender's channel that are on their way to its listeners at the same time: a few even
/// at 90 Hz. One that has been pushed out is worked out again.
const PAYLOADS: usize = 8;

/// The newest payloads of one sender's channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    /// By number; the number tells whether it is the one.
    ring: [Option<(Due, Vec<u8>)>; PAYLOADS],
}

impl Remembered {
    /// What `source` says in the message `due`.
    pub(crate) fn payload(&mut self, source: Source, due: &Due) -> &[u8] {
        let place = &mut self.ring[due.number as usize % PAYLOADS];
        let (known, bytes) =
            place.get_or_insert_with(|| (*due, worked_out(source, due, Vec::new())));
        if known != due {
            *bytes = worked_out(source, due, std::mem::take(bytes));
            *known = *due;
        }
        bytes
    }
}

fn worked_out(source: Source, due: &Due, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    due.payload(source, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    #[test]
    fn gives_what_would_be_worked_out() {
        let source = Source { seed: 3, room: 1, sender: 2 };
        let mut remembered = Remembered::default();
        // Forwards, backwards, and one that differs in its time alone.
        for number in (0..40).chain([39, 12, 38, 12]) {
            for scheduled in [number * 50, number * 51] {
                let due = Due { channel: Channel::Pose, number, scheduled, first: false };
                assert_eq!(remembered.payload(source, &due), worked_out(source, &due, Vec::new()));
            }
        }
    }
}
