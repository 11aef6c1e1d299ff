//! Voice as samples, for a library with the feature `opus`. Without it these functions return
//! `NC_RESULT_NOT_OFFERED`, and an application brings its own codec to `nc_room_send_voice` and
//! `nc_room_voice`.

#[cfg(feature = "opus")]
use nucleus_client::{PeerId, SPURT_START, Voice, VoiceStep};

#[cfg(feature = "opus")]
use crate::client::ROOMS;
#[cfg(feature = "opus")]
use crate::codec::SAMPLES;
#[cfg(feature = "opus")]
use crate::entry_realtime::target;
use crate::failure::{Failure, counted, entry};
#[cfg(feature = "opus")]
use crate::input;
use crate::types::{NcResult, NcRoom, NcTarget};
#[cfg(feature = "opus")]
use crate::types_room::NcVoiceStep;

/// Speaks: encodes 20 ms of sound, and sends them if they are not silent. `samples` are 960 numbers from -1
/// to 1, one channel at 48 kHz. `to` may be NULL: to all others. May be called on the microphone's thread.
///
/// Errors: `NC_RESULT_NOT_OFFERED` in a library without Opus; `NC_RESULT_INVALID_ARGUMENT` if `count` is not
/// 960; otherwise as `nc_room_send_voice`.
///
/// # Safety
/// `to` must be NULL or point to a target, and `samples` to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_speak(
    room: NcRoom,
    to: *const NcTarget,
    samples: *const f32,
    count: u32,
) -> NcResult {
    #[cfg(not(feature = "opus"))]
    return entry(|| {
        let _ = (room, to, samples, count);
        Err(no_opus())
    });
    #[cfg(feature = "opus")]
    entry(|| {
        // SAFETY: the caller vouches for the target and the samples.
        let (to, samples) = unsafe { (target(to)?, input::list(samples, count, "samples")?) };
        if samples.len() != SAMPLES {
            return Err(Failure::argument(format!("{count} samples instead of {SAMPLES}")));
        }
        let room = ROOMS.get(room)?;
        let joined = room.joined()?;
        room.codecs.speak(samples, |packet, opus| {
            let flags = if packet.starts_spurt { SPURT_START } else { 0 };
            let voice = Voice { level: packet.level, speaking: packet.speaking, flags, opus };
            Ok(joined.send_voice_to(to, &voice)?)
        })
    })
}

/// Plays the next 20 ms of a speaker: writes 960 samples to `samples`, and how they were found to `step`
/// (`NcVoiceStep`). They are 0 while the speaker is silent. Returns 960. Call it for each speaker every
/// 20 ms, by the clock of the sound device; it may be called on the sound device's thread. `step` may be NULL.
///
/// Errors: `NC_RESULT_NOT_OFFERED` in a library without Opus; `NC_RESULT_BUFFER_TOO_SMALL` if `capacity` is
/// below 960; `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `samples` must point to memory for `capacity` numbers, and `step` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_play(
    room: NcRoom,
    peer: u32,
    samples: *mut f32,
    capacity: i32,
    step: *mut u32,
) -> i32 {
    #[cfg(not(feature = "opus"))]
    return counted(|| {
        let _ = (room, peer, samples, capacity, step);
        Err(no_opus())
    });
    #[cfg(feature = "opus")]
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let samples = unsafe { input::output(samples, capacity, "samples") }?;
        let Some(samples) = samples.get_mut(..SAMPLES) else {
            let text = format!("there is no room for {SAMPLES} samples");
            return Err(Failure::new(NcResult::BufferTooSmall, text));
        };
        let samples = input::zeroed(samples);
        let room = ROOMS.get(room)?;
        let joined = room.joined()?;
        let mut packet = room.packet.take();
        let next = joined.play_voice(PeerId(peer), &mut packet);
        let decode = |packet, samples| room.codecs.decode(peer, packet, samples);
        let (played, decoded) = match next {
            VoiceStep::Packet { is_encrypted: false } => {
                (NcVoiceStep::Packet, decode(Some(&packet[..]), samples))
            }
            // What is encrypted end to end cannot be decoded here.
            VoiceStep::Packet { .. } | VoiceStep::Conceal => {
                (NcVoiceStep::Conceal, decode(None, samples))
            }
            _ => (NcVoiceStep::Silence, Ok(())),
        };
        room.packet.give_back(packet);
        decoded?;
        if !step.is_null() {
            // SAFETY: the caller vouches for the memory.
            unsafe { input::write(step, played as u32, "step") }?;
        }
        Ok(SAMPLES)
    })
}

#[cfg(not(feature = "opus"))]
fn no_opus() -> Failure {
    Failure::new(NcResult::NotOffered, "this library was built without the feature `opus`")
}
