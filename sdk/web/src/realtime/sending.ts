// The messages that wait for the next datagram.
//
// On a network with losses, voice is sent twice. The second time is a while after the first,
// because losses come in bursts. Recipients drop what they have: both messages have the same
// sequence number.

import { VOICE_AGAIN } from "../playback/voice.js";
import { VOICE } from "../wire/frame.js";
import { isTooLarge, type OutgoingMessage, replaces } from "./message.js";

/**
 * Messages that may wait to be sent: as many as the poses in eight full datagrams. When the queue
 * is full, the oldest message is dropped.
 */
const MAX_QUEUED = 256;
/** Voice that may wait to be sent again: a speaker sends three packets in that time. */
const MAX_AGAIN = 8;

/** A message that is sent again, with the numbers that it had. */
export interface SentMessage {
  /** When it is sent again, local, in ms. */
  due: number;
  sequence: number;
  /** The capture time as it was sent. */
  time: number | undefined;
  message: OutgoingMessage;
}

/** The messages that wait to be sent, oldest first. */
export class SendQueue {
  #waiting: OutgoingMessage[] = [];
  #again: SentMessage[] = [];
  /** Messages that are never sent. */
  dropped = 0;

  /** Adds a message. It takes the position of a waiting one that it replaces. */
  push(message: OutgoingMessage): void {
    if (isTooLarge(message)) {
      this.dropped += 1;
      return;
    }
    const older = this.#waiting.findIndex((older) => replaces(message, older));
    if (older >= 0) {
      this.#waiting[older] = message;
      this.dropped += 1;
      return;
    }
    if (this.#waiting.length >= MAX_QUEUED) {
      this.#waiting.shift();
      this.dropped += 1;
    }
    this.#waiting.push(message);
  }

  /** The first message that waits. */
  front(): OutgoingMessage | undefined {
    return this.#waiting[0];
  }

  /**
   * Removes the first message, which was sent at `now` with these numbers. Voice is kept to be sent
   * again, if the network has losses.
   */
  pop(now: number, sequence: number, time: number | undefined, isLossy: boolean): void {
    const message = this.#waiting.shift();
    if (message?.kind === VOICE && isLossy && this.#again.length < MAX_AGAIN) {
      this.#again.push({ due: now + VOICE_AGAIN, sequence, time, message });
    }
  }

  /** Returns when a message is to be sent again; `Infinity` if none is. */
  againAt(): number {
    return this.#again[0]?.due ?? Infinity;
  }

  /** Returns the message that is to be sent again by now. */
  dueAgain(now: number): SentMessage | undefined {
    return this.againAt() <= now ? this.#again[0] : undefined;
  }

  /** Removes the message that was sent again. */
  popAgain(): void {
    this.#again.shift();
  }

  /** Returns whether there is something to send now. */
  hasDue(now: number): boolean {
    return this.#waiting.length > 0 || this.againAt() <= now;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = [];
    this.#again = [];
  }
}
