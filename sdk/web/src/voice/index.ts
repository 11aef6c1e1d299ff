// Voice in browsers: the microphone and the speaker.

export { type AudioOptions } from "./context.js";
export { Microphone, type MicrophoneOptions, type MicrophonePacket } from "./microphone.js";
export { Speaker, type SpeakerOptions, type VoiceSource } from "./speaker.js";
export { WORKLET_SOURCE } from "./worklet.js";
