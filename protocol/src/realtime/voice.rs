//! A voice payload: two bytes that receivers' mixers and the server may read, then an opaque Opus
//! packet.

/// The packet starts a talk spurt.
pub const SPURT_START: u8 = 1;
/// The Opus packet is encrypted end to end, so that the server cannot read it.
pub const END_TO_END: u8 = 2;

/// The level of silence, in -dBov: the largest number of a level.
pub const LOWEST_LEVEL: u8 = 127;

/// A voice payload, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice<'a> {
    /// Loudness in -dBov, 0 (loudest) to 127 (silence), as in RFC 6464.
    pub level: u8,
    /// Whether the encoder detects voice (RFC 6464's V bit).
    pub speaking: bool,
    /// The bits [`SPURT_START`] and [`END_TO_END`]; others are reserved.
    pub flags: u8,
    /// The Opus packet.
    pub opus: &'a [u8],
}

/// Length in bytes of what stands in front of the Opus packet.
pub const VOICE_FIELDS_BYTES: usize = 2;

impl<'a> Voice<'a> {
    /// Reads a payload, or returns `None` if it is shorter than its two leading bytes.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let [level, flags, opus @ ..] = payload else { return None };
        Some(Voice { level: level & 0x7f, speaking: level & 0x80 != 0, flags: *flags, opus })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.level.min(LOWEST_LEVEL) | u8::from(self.speaking) << 7);
        out.push(self.flags);
        out.extend_from_slice(self.opus);
    }
}
