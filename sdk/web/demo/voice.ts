/** Voice: this tab's microphone, and the voices of the others. */

import type { Room } from "../src/index.js";
import { Microphone, Speaker } from "../src/voice/index.js";
import { byId, settle, setText, toast } from "./page.js";

/** The page's policy allows no scripts but its own files. */
const WORKLET = "/demo/voice-worklet.js";
/** The rate of the voices, in Hz. */
const SAMPLE_RATE = 48_000;
/** Packets come every 20 ms while somebody speaks. Without one for this time, it is silence; in ms. */
const SILENT_MS = 300;

/** What to do if the microphone cannot be used, by the name of the browser's error. */
const ADVICE: Readonly<Record<string, string>> = {
  NotAllowedError:
    "The browser may not use the microphone. Allow it beside the address, and press Unmute again.",
  NotFoundError: "There is no microphone. Connect one, and press Unmute again.",
  NotReadableError: "The microphone cannot be used. Another program may have it.",
};

/** The voice of this tab. */
export class Voice {
  /** One context for both, as long as the page lives: it is paused while the tab is in no room. */
  #context: AudioContext | undefined;
  #microphone: Microphone | undefined;
  #isStarting = false;
  #speaker: Promise<Speaker> | undefined;
  #spokeAt = -SILENT_MS;
  #wasSpeaking = false;
  #isChanged = false;
  readonly #button = byId<HTMLButtonElement>("mic");

  constructor(private readonly room: () => Room | undefined) {
    this.#button.addEventListener("click", () => void this.#toggle());
    // A browser plays no sound before the first click or key.
    for (const kind of ["pointerdown", "keydown"] as const) {
      document.addEventListener(kind, () => this.#listen(), { passive: true });
    }
  }

  /** Whether the microphone is on. */
  get isOn(): boolean {
    return this.#microphone !== undefined;
  }

  /** Whether this tab's person speaks. */
  get isSpeaking(): boolean {
    return performance.now() < this.#spokeAt + SILENT_MS;
  }

  /** Returns whether who speaks, or the microphone, has changed since the last call. */
  takeChange(): boolean {
    const isChanged = this.#isChanged || this.isSpeaking !== this.#wasSpeaking;
    this.#wasSpeaking = this.isSpeaking;
    this.#isChanged = false;
    return isChanged;
  }

  /** The tab is in a room. */
  arrive(): void {
    this.#button.disabled = false;
    this.#tellRoom();
  }

  /** The tab is in no room. The microphone goes on, for the next one. */
  drop(): void {
    this.#button.disabled = true;
  }

  /** The tab does not want to be in a room any more. */
  async stop(): Promise<void> {
    const speaker = this.#speaker;
    this.#speaker = undefined;
    await Promise.all([this.#mute(), speaker?.then((open) => open.close()).catch(() => {})]);
    if (!this.#speaker && !this.#microphone) {
      await this.#context?.suspend();
    }
  }

  /** Returns what the voices share. */
  #audio(): { context: AudioContext; workletUrl: string } {
    this.#context ??= new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    return { context: this.#context, workletUrl: WORKLET };
  }

  async #toggle(): Promise<void> {
    if (this.#isStarting) {
      return;
    }
    if (this.#microphone) {
      await this.#mute();
      return;
    }
    this.#isStarting = true;
    try {
      const microphone = await Microphone.start({
        ...this.#audio(),
        onPacket: (packet) => {
          if (packet.speaking) {
            this.#spokeAt = performance.now();
          }
          const room = this.room();
          if (room && !room.isClosed) {
            room.sendVoice(packet);
          }
        },
        onEnd: (error) => {
          void this.#mute();
          toast("microphone", `The microphone has stopped. ${error.message}`);
        },
      });
      if (this.room()) {
        this.#microphone = microphone;
        settle("microphone");
      } else {
        await microphone.close();
      }
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      toast("microphone", ADVICE[name] ?? `The microphone cannot be used. ${message}`);
    }
    this.#isStarting = false;
    this.#show();
  }

  async #mute(): Promise<void> {
    const microphone = this.#microphone;
    this.#microphone = undefined;
    this.#spokeAt = -SILENT_MS;
    this.#show();
    await microphone?.close();
  }

  #show(): void {
    this.#isChanged = true;
    this.#button.setAttribute("aria-pressed", String(this.isOn));
    setText(byId("mic-label"), this.isOn ? "Mute" : "Unmute");
    this.#tellRoom();
  }

  #tellRoom(): void {
    // A refusal means that the room is about to close, which is told by itself.
    this.room()
      ?.setMuted(!this.isOn)
      .catch(() => {});
  }

  /** Begins to play the voices of the others. */
  #listen(): void {
    if (!this.room()) {
      return;
    }
    this.#speaker ??= Speaker.start({
      ...this.#audio(),
      source: {
        speakers: () => this.room()?.peers().map(({ id }) => id) ?? [],
        playVoice: (peer) => this.room()?.playVoice(peer) ?? { kind: "silence" },
      },
    });
    this.#speaker.then(
      (speaker) => {
        settle("speaker");
        return speaker.resume();
      },
      (error: unknown) => {
        if (this.#speaker) {
          this.#speaker = undefined;
          toast("speaker", `The others cannot be heard. ${error instanceof Error ? error.message : ""}`);
        }
      },
    );
  }
}
