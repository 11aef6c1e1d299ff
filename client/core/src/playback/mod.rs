//! Which moment of the others an application shows and plays. What arrives is late by a time that
//! varies, so it is shown a little later still, in even steps.

mod interpolation;
mod lateness;
mod slew;
#[cfg(test)]
mod tests;
mod track;
mod voice;
#[cfg(test)]
mod voice_tests;

pub use interpolation::{PoseInterpolator, ShownPose};
pub use slew::SlewedTime;
pub use track::Certainty;
pub use voice::{VOICE_AGAIN, VOICE_PACKET, VoicePlayer, VoiceStep};
