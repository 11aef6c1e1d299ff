// What a device knows of its user's call.

import * as wire from "../wire/social.js";
import type { CallId, SocialEvent } from "./event.js";
import { callEvent } from "./event.js";

/** The call of this device's user. */
interface CurrentCall {
  readonly call: CallId;
  /** Whether the call still rings on this device. */
  readonly rings: boolean;
}

/** The call of this device's user, over all sessions. */
export class CallState {
  /** The call that was reported to the application. */
  #current: CurrentCall | undefined;
  /** The call that this device started or accepted. */
  #own: CallId | undefined;
  /** Whether the session was lost before the reply to a request that starts or accepts a call. */
  #isOwnUnknown = false;

  /** Returns whether this device started or accepted the call. */
  isOwn(call: CallId): boolean {
    return this.#own === call;
  }

  /** The current call. */
  get current(): CurrentCall | undefined {
    return this.#current;
  }

  /**
   * Begins a session whose server knows of `call`, 0 for none. Returns the end of the current
   * call, if it no longer exists.
   */
  begin(call: CallId): SocialEvent | undefined {
    this.#isOwnUnknown &&= call !== 0n;
    const before = this.#current;
    if (!before || before.call === call) {
      return undefined;
    }
    this.#current = undefined;
    const kind = before.rings ? "ringingEnded" : "ended";
    return { kind, call: before.call, code: undefined };
  }

  /** Handles the reply to a request about a call. */
  onReply(act: number, { code, call }: wire.CallReply): void {
    if (code !== 0) {
      return;
    }
    if (act === wire.CALL_START || act === wire.CALL_ACCEPT) {
      this.#own = call;
      this.#current = { call, rings: false };
    } else if (act === wire.CALL_REJECT || act === wire.CALL_CANCEL || act === wire.CALL_HANG_UP) {
      // This device receives no more events of the call.
      this.#current = undefined;
    }
  }

  /** Notes that no reply to a request will come. */
  onLoss(act: number): void {
    this.#isOwnUnknown ||= act === wire.CALL_START || act === wire.CALL_ACCEPT;
  }

  /** Handles an update of a call and returns the events for the application. */
  onUpdate(update: wire.CallUpdate): SocialEvent[] {
    const { call, kind } = update;
    const events: (SocialEvent | undefined)[] = [];
    if (kind === wire.CALL_INCOMING) {
      this.#current = { call, rings: true };
      this.#isOwnUnknown = false;
    } else if (kind === wire.CALL_CALLING || kind === wire.CALL_ACCEPTED) {
      if (this.#isOwnUnknown) {
        this.#isOwnUnknown = false;
        this.#own = call;
      }
      const before = this.#current;
      if (before?.rings && before.call === call && !this.isOwn(call)) {
        // Another device accepted the call while the session was lost.
        events.push({ kind: "ringingEnded", call, code: "answered" });
      }
      this.#current = { call, rings: false };
    } else if (kind === wire.CALL_RINGING_ENDED || kind === wire.CALL_ENDED) {
      if (this.#current?.call === call) {
        this.#current = undefined;
      }
    }
    events.push(callEvent(update, this.isOwn(call)));
    return events.filter((event) => event !== undefined);
  }
}
