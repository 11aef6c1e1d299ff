// The audio context and its worklet.

import { SAMPLE_RATE } from "./format.js";
import { WORKLET_SOURCE } from "./worklet.js";

/** Where voice is captured or played. */
export interface AudioOptions {
  /**
   * The application's audio context. It stays open. Without one, a context of 48 kHz is made, and
   * closed again at the end.
   */
  context?: AudioContext;
  /**
   * Address of a file with `WORKLET_SOURCE`, for a page whose Content-Security-Policy allows no
   * scripts of `blob:`. Without it, the page's policy needs `script-src blob:`.
   */
  workletUrl?: string;
}

/** The contexts whose worklet is loaded. */
const loaded = new WeakMap<BaseAudioContext, Promise<void>>();

/** An audio context with the worklet. */
export interface OpenAudio {
  context: AudioContext;
  /** Closes the context, if it is not the application's. */
  close(): Promise<void>;
}

/**
 * Returns an audio context with the worklet.
 *
 * Rejects if the page's policy does not allow the worklet.
 */
export async function openAudio({ context: own, workletUrl }: AudioOptions): Promise<OpenAudio> {
  const context = own ?? new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
  const close = async (): Promise<void> => {
    if (own === undefined && context.state !== "closed") {
      await context.close();
    }
  };
  try {
    let ready = loaded.get(context);
    if (ready === undefined) {
      ready = addWorklet(context, workletUrl);
      loaded.set(context, ready);
    }
    await ready;
  } catch (error) {
    loaded.delete(context);
    await close();
    throw error;
  }
  return { context, close };
}

async function addWorklet(context: AudioContext, workletUrl: string | undefined): Promise<void> {
  if (workletUrl !== undefined) {
    await context.audioWorklet.addModule(workletUrl);
    return;
  }
  const url = URL.createObjectURL(new Blob([WORKLET_SOURCE], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}
