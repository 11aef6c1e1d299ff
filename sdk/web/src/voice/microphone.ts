// The own voice: from the microphone to Opus packets.

import { localError } from "../session/error.js";
import { type AudioOptions, type OpenAudio, openAudio } from "./context.js";
import { FRAME_SAMPLES, FRAME_US, levelOf, SAMPLE_RATE } from "./format.js";
import { CAPTURE } from "./worklet.js";

/**
 * Bits a second of a voice: Opus' wideband speech is transparent to most listeners from here on
 * (RFC 7587, section 3.1.1 recommends 28 to 40 kbit/s for fullband speech).
 */
const BITRATE = 32_000;
/** The loudness of a voice that is nearly silent, in -dBov. Noise of a quiet room is lower. */
const SPEECH_LEVEL = 60;
/**
 * Frames that are sent after the last one with a voice: 400 ms, longer than the gap between two
 * words. Opus' own silence detection is not used, because it sends the noise of most microphones,
 * and because browsers do not tell which packets it leaves out.
 */
const FRAMES_AFTER_VOICE = 20;
/** Frames that may wait for the encoder. More would only be late. */
const MAX_WAITING = 10;

/** A packet of the own voice. */
export interface MicrophonePacket {
  /** Loudness in -dBov: 0 is loudest, 127 is silence. */
  level: number;
  /** Whether the microphone hears a voice. */
  speaking: boolean;
  /** Whether this is the first packet after a silence. */
  spurtStart: boolean;
  /** The Opus packet, 20 ms of one channel. */
  opus: Uint8Array;
}

/** How to start a microphone. */
export interface MicrophoneOptions extends AudioOptions {
  /** Takes each packet: hand it to `Room.sendVoice`. Nothing comes in silence. */
  onPacket: (packet: MicrophonePacket) => void;
  /** The microphone has stopped by itself, for example because the device is gone. */
  onEnd?: (error: Error) => void;
  /** A stream of the application's, which stays open, in place of the user's microphone. */
  stream?: MediaStream;
  /** What the microphone should be and do. By default the browser cancels echo and noise. */
  constraints?: MediaTrackConstraints;
  /** Bits a second, 32,000 by default. */
  bitrate?: number;
}

/** A running microphone. */
export class Microphone {
  readonly #audio: OpenAudio;
  readonly #options: MicrophoneOptions;
  readonly #stream: MediaStream;
  readonly #source: MediaStreamAudioSourceNode;
  readonly #worklet: AudioWorkletNode;
  readonly #encoder: AudioEncoder;
  /** What is known of the frames in the encoder. */
  #encoding: { level: number; spurtStart: boolean }[] = [];
  /** Frames that were given to the encoder. */
  #frames = 0;
  /** Frames until nothing is sent; 0 in silence. */
  #framesLeft = 0;
  #isMuted = false;
  #isClosed = false;

  /**
   * Starts the microphone. The browser may ask its user for the permission now, and not before.
   *
   * The page needs a secure context, a Permissions-Policy that allows `microphone`, and for the
   * worklet what {@link AudioOptions.workletUrl} says. Call it in the handler of a click or a key,
   * because browsers start no sound by themselves.
   *
   * Rejects with "noVoice" if the browser does not encode Opus, and with the browser's error if the
   * user or the page's policy says no, or if there is no microphone.
   */
  static async start(options: MicrophoneOptions): Promise<Microphone> {
    const config = encoderConfig(options.bitrate ?? BITRATE);
    const isSupported =
      typeof AudioEncoder !== "undefined" &&
      (await AudioEncoder.isConfigSupported(config)).supported === true;
    if (!isSupported) {
      throw localError("noVoice", "this browser does not encode Opus");
    }
    const stream = options.stream ?? (await userMedia(options.constraints));
    try {
      const audio = await openAudio(options);
      try {
        return new Microphone(options, stream, audio, config);
      } catch (error) {
        await audio.close();
        throw error;
      }
    } catch (error) {
      stopStream(options, stream);
      throw error;
    }
  }

  private constructor(
    options: MicrophoneOptions,
    stream: MediaStream,
    audio: OpenAudio,
    config: AudioEncoderConfig,
  ) {
    this.#options = options;
    this.#stream = stream;
    this.#audio = audio;
    this.#encoder = new AudioEncoder({
      output: (chunk) => this.#takePacket(chunk),
      error: (error) => this.#end(error),
    });
    this.#encoder.configure(config);
    this.#worklet = new AudioWorkletNode(audio.context, CAPTURE, { numberOfOutputs: 0 });
    this.#worklet.port.onmessage = ({ data }: MessageEvent<Float32Array>) => this.#takeFrame(data);
    this.#source = audio.context.createMediaStreamSource(stream);
    this.#source.connect(this.#worklet);
    for (const track of stream.getAudioTracks()) {
      track.addEventListener("ended", this.#onEnded);
    }
    // Without a click it may wait for one.
    audio.context.resume().catch(() => {});
  }

  readonly #onEnded = (): void => this.#end(localError("noVoice", "the microphone has stopped"));

  /** Whether nothing is sent. The server knows it by `Room.setMuted`. */
  get muted(): boolean {
    return this.#isMuted;
  }

  set muted(muted: boolean) {
    this.#isMuted = muted;
  }

  /** Stops the microphone, and frees everything. No packet comes any more. */
  async close(): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    for (const track of this.#stream.getAudioTracks()) {
      track.removeEventListener("ended", this.#onEnded);
    }
    this.#source.disconnect();
    this.#worklet.port.postMessage(0);
    this.#worklet.port.close();
    if (this.#encoder.state !== "closed") {
      this.#encoder.close();
    }
    stopStream(this.#options, this.#stream);
    await this.#audio.close();
  }

  #end(error: Error): void {
    if (!this.#isClosed) {
      void this.close();
      this.#options.onEnd?.(error);
    }
  }

  #takeFrame(samples: Float32Array): void {
    if (this.#isClosed || this.#isMuted || this.#encoder.encodeQueueSize > MAX_WAITING) {
      this.#framesLeft = 0;
      return;
    }
    const level = levelOf(samples);
    const spurtStart = this.#framesLeft === 0;
    this.#framesLeft =
      level <= SPEECH_LEVEL ? FRAMES_AFTER_VOICE : Math.max(this.#framesLeft - 1, 0);
    if (this.#framesLeft === 0) {
      return;
    }
    if (this.#encoding.length > 2 * MAX_WAITING) {
      // This browser's encoder leaves packets out.
      this.#encoding.shift();
    }
    this.#encoding.push({ level, spurtStart });
    const frame = new AudioData({
      format: "f32-planar",
      sampleRate: SAMPLE_RATE,
      numberOfFrames: FRAME_SAMPLES,
      numberOfChannels: 1,
      timestamp: this.#frames * FRAME_US,
      data: samples as Float32Array<ArrayBuffer>,
    });
    this.#frames += 1;
    this.#encoder.encode(frame);
    frame.close();
  }

  #takePacket(chunk: EncodedAudioChunk): void {
    // The encoder makes a packet of each frame, in their order.
    const known = this.#encoding.shift();
    if (this.#isClosed || this.#isMuted || known === undefined) {
      return;
    }
    const { level, spurtStart } = known;
    const opus = new Uint8Array(chunk.byteLength);
    chunk.copyTo(opus);
    this.#options.onPacket({ level, speaking: level <= SPEECH_LEVEL, spurtStart, opus });
  }
}

function encoderConfig(bitrate: number): AudioEncoderConfig {
  const opus = { frameDuration: FRAME_US, application: "voip", signal: "voice" };
  return {
    codec: "opus",
    sampleRate: SAMPLE_RATE,
    numberOfChannels: 1,
    bitrate,
    // TypeScript does not know all of the codec's options.
    opus: opus as OpusEncoderConfig,
  };
}

function userMedia(constraints: MediaTrackConstraints = {}): Promise<MediaStream> {
  const audio = {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
    channelCount: 1,
    ...constraints,
  };
  return navigator.mediaDevices.getUserMedia({ audio });
}

/** Stops the tracks of the user's microphone. Those of the application stay. */
function stopStream(options: MicrophoneOptions, stream: MediaStream): void {
  if (options.stream === undefined) {
    stream.getTracks().forEach((track) => track.stop());
  }
}
