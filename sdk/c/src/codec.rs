//! Opus: from samples to packets and back. Only with the feature `opus`, which builds libopus.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use opusic_c::{Application, Bitrate, Channels, Decoder, Encoder, ErrorCode, SampleRate};

use crate::failure::{Failure, Outcome};
use crate::types::NcResult;

/// Samples of a packet: 20 ms at 48 kHz, one channel.
pub(crate) const SAMPLES: usize = 960;
/// Bits a second of a voice: Opus' wideband speech is transparent to most listeners from here on
/// (RFC 7587, section 3.1.1 recommends 28 to 40 kbit/s for fullband speech).
const BITRATE: u32 = 32_000;
/// Largest packet: far above 20 ms at this rate.
const LARGEST_PACKET: usize = 800;
/// A packet that is not longer says that nothing need be sent (discontinuous transmission).
const SILENT_PACKET: usize = 2;
/// The loudness of a voice that is nearly silent, in -dBov. Noise of a quiet room is lower.
const SPEECH_LEVEL: u8 = 60;
/// Speakers whose decoders are kept, 27 KiB each: the last ones that spoke. By default a room lets 128 peers
/// speak at the same time.
const DECODERS: usize = 128;

/// A voice packet to send.
pub(crate) struct SpokenPacket {
    /// Loudness in -dBov.
    pub(crate) level: u8,
    pub(crate) speaking: bool,
    pub(crate) starts_spurt: bool,
    len: usize,
}

/// The encoder of the own voice.
struct Speech {
    encoder: Encoder,
    packet: [u8; LARGEST_PACKET],
    was_silent: bool,
}

/// The codecs of a room. The encoder and the decoders may be used by two threads.
#[derive(Default)]
pub(crate) struct Codecs {
    speech: Mutex<Option<Speech>>,
    decoders: Mutex<Decoders>,
}

/// The decoders of the last speakers.
#[derive(Default)]
struct Decoders {
    of: HashMap<u32, (u64, Decoder)>,
    /// Number of packets so far.
    uses: u64,
}

fn failure(error: ErrorCode) -> Failure {
    Failure::new(NcResult::Internal, format!("Opus: {error:?}"))
}

impl Speech {
    fn new() -> Result<Self, ErrorCode> {
        let mut encoder = Encoder::new(Channels::Mono, SampleRate::Hz48000, Application::Voip)?;
        encoder.set_bitrate(Bitrate::Value(BITRATE))?;
        encoder.set_dtx(true)?;
        Ok(Self { encoder, packet: [0; LARGEST_PACKET], was_silent: true })
    }

    fn encode(&mut self, samples: &[f32]) -> Result<Option<SpokenPacket>, ErrorCode> {
        let len = self.encoder.encode_float_to_slice(samples, &mut self.packet)?;
        if len <= SILENT_PACKET {
            self.was_silent = true;
            return Ok(None);
        }
        let level = level(samples);
        let starts_spurt = std::mem::take(&mut self.was_silent);
        Ok(Some(SpokenPacket { level, speaking: level <= SPEECH_LEVEL, starts_spurt, len }))
    }
}

/// Returns the loudness of samples from -1 to 1 in -dBov (RFC 6464): 0 is loudest, 127 is silence.
fn level(samples: &[f32]) -> u8 {
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
    // The loudest is a square wave of the largest samples. NaN counts as silence.
    let below = -10.0 * power.max(1e-13).log10();
    below.clamp(0.0, 127.0) as u8
}

impl Codecs {
    /// Encodes 20 ms, and passes the packet to `send`. Passes nothing in silence.
    pub(crate) fn speak(
        &self,
        samples: &[f32],
        send: impl FnOnce(&SpokenPacket, &[u8]) -> Outcome,
    ) -> Outcome {
        let mut speech = self.speech.lock().unwrap_or_else(PoisonError::into_inner);
        let speech = match &mut *speech {
            Some(speech) => speech,
            none => none.insert(Speech::new().map_err(failure)?),
        };
        match speech.encode(samples).map_err(failure)? {
            Some(packet) => send(&packet, &speech.packet[..packet.len]),
            None => Ok(()),
        }
    }

    /// Decodes the next packet of a speaker to 20 ms of samples; `None`: it is missing, and concealed.
    pub(crate) fn decode(&self, peer: u32, packet: Option<&[u8]>, samples: &mut [f32]) -> Outcome {
        let mut decoders = self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let decoder = decoders.of(peer).map_err(failure)?;
        samples.fill(0.0);
        let decoded = decoder.decode_float_to_slice(packet.unwrap_or_default(), samples, false);
        // A packet that is no Opus is as good as a missing one.
        if decoded.is_err() {
            let _ = decoder.decode_float_to_slice(&[], samples, false);
        }
        Ok(())
    }
}

impl Decoders {
    /// Returns the decoder of a speaker. Makes one if there is none.
    fn of(&mut self, peer: u32) -> Result<&mut Decoder, ErrorCode> {
        if !self.of.contains_key(&peer) && self.of.len() >= DECODERS {
            let oldest = self.of.iter().min_by_key(|(_, (used, _))| *used).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.of.remove(&oldest));
        }
        self.uses += 1;
        let (used, decoder) = match self.of.entry(peer) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert((0, Decoder::new(Channels::Mono, SampleRate::Hz48000)?))
            }
        };
        *used = self.uses;
        Ok(decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(at: usize, loudness: f32) -> Vec<f32> {
        let sample = |n: usize| (n as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin();
        (0..SAMPLES).map(|n| sample(at * SAMPLES + n) * loudness).collect()
    }

    #[test]
    fn a_voice_is_heard_and_silence_sends_nothing() {
        let (codecs, mut heard, mut sent, mut starts) = (Codecs::default(), 0.0_f32, 0, 0);
        let mut samples = [0.0; SAMPLES];
        for n in 0..200 {
            // A second of tone, a second of silence, and so on.
            let spoken = tone(n, if n / 50 % 2 == 0 { 0.5 } else { 0.0 });
            let mut opus = None;
            codecs
                .speak(&spoken, |packet, bytes| {
                    (sent, starts) = (sent + 1, starts + usize::from(packet.starts_spurt));
                    opus = Some(bytes.to_vec());
                    Ok(())
                })
                .unwrap();
            codecs.decode(7, opus.as_deref(), &mut samples).unwrap();
            heard = heard.max(samples.iter().fold(0.0, |most, sample| most.max(sample.abs())));
        }
        assert!((100..190).contains(&sent), "{sent} packets of 200");
        assert!(starts >= 2, "{starts}");
        assert!((0.4..0.7).contains(&heard), "{heard}");
    }

    #[test]
    fn levels_and_garbage() {
        assert_eq!(level(&[1.0; SAMPLES]), 0);
        assert_eq!(level(&[0.0; SAMPLES]), 127);
        assert_eq!(level(&[f32::NAN; SAMPLES]), 127);
        assert_eq!(level(&[f32::INFINITY; SAMPLES]), 0);
        assert!((42..=44).contains(&level(&tone(0, 0.01))));
        let (codecs, mut samples) = (Codecs::default(), [0.0; SAMPLES]);
        for peer in 0..1_000 {
            let garbage = vec![peer as u8; peer as usize];
            codecs.decode(peer, Some(&garbage), &mut samples).unwrap();
            assert!(samples.iter().all(|sample| sample.is_finite()));
        }
        let mut decoders = codecs.decoders.lock().unwrap();
        assert_eq!(decoders.of.len(), DECODERS);
        // The first ones are gone, and may speak again.
        assert!(!decoders.of.contains_key(&1) && decoders.of(1).is_ok());
        assert!(decoders.of.len() == DECODERS && decoders.of.contains_key(&999));
    }
}
