/** The streams that the client writes. */

import { BULK, EVENTS, type Lane, LANE_STREAMS } from "../wire/messaging.js";

/** Both lanes, the more urgent one first. */
export const LANES = [EVENTS, BULK] as const;

/**
 * Messages that may wait for the control stream. Only callers that drop their requests at once can
 * reach it: otherwise the requests without a reply are bounded.
 */
const MAX_CONTROL = 32;

/** A stream on which the client writes: its half of the control stream, or a lane's. */
export type StreamTarget = "control" | Lane;

/**
 * What is to be done with a stream on which the client writes: write these bytes, or end it. The
 * first write to a lane opens its stream; the bytes begin with the stream's type.
 */
export interface StreamAction {
  target: StreamTarget;
  /** `undefined`: end the stream. */
  bytes: Uint8Array | undefined;
}

/**
 * The state of a stream: nothing was written; everything is written; the caller writes; the stream
 * was ended, and the server has not confirmed that it has everything; ended.
 */
type StreamState = "new" | "idle" | "writing" | "ending" | "ended";

/** Returns the parts as one byte string. */
export function concat(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The client's streams of one session. */
export class OutgoingStreams {
  _control: Uint8Array[] = [];
  /** The message of each lane that is to be written next. */
  _lanes: [Uint8Array | undefined, Uint8Array | undefined] = [undefined, undefined];
  _states: Record<StreamTarget, StreamState> = { control: "new", 0: "new", 1: "new" };
  /** The `Leave` that is due when the server has everything on the lanes. */
  _leave: Uint8Array | undefined;
  _isLeaving = false;

  /** Returns whether few enough messages wait. */
  canPushControl(): boolean {
    return this._control.length < MAX_CONTROL;
  }

  /** Sends a message on the control stream. */
  pushControl(message: Uint8Array): void {
    this._control.push(message);
  }

  /** Returns whether a message may be written to a lane now. */
  canWrite(lane: Lane): boolean {
    const state = this._states[lane];
    return (state === "new" || state === "idle") && !this._lanes[lane] && !this._isLeaving;
  }

  /** Writes a message to a lane that {@link canWrite} says is free. */
  write(lane: Lane, message: Uint8Array): void {
    const isNew = this._states[lane] === "new";
    this._lanes[lane] = isNew ? concat(Uint8Array.of(LANE_STREAMS[lane]), message) : message;
  }

  /** Sends `message`, a `Leave`, after everything else has arrived, and ends the streams. */
  leave(message: Uint8Array): void {
    if (!this._isLeaving) {
      this._isLeaving = true;
      this._leave = message;
    }
  }

  /** Notes that the newest write to a stream is complete. */
  written(target: StreamTarget): void {
    this._states[target] = "idle";
  }

  /** Notes that the server has everything on a stream that was ended. */
  finished(target: StreamTarget): void {
    this._states[target] = "ended";
  }

  /** Returns the next thing to do. */
  poll(): StreamAction | undefined {
    const state = this._states.control;
    if ((state === "new" || state === "idle") && this._control.length > 0) {
      return this._begin("control", this._control.shift());
    }
    for (const lane of LANES) {
      const bytes = this._lanes[lane];
      if (bytes) {
        this._lanes[lane] = undefined;
        return this._begin(lane, bytes);
      }
    }
    return this._isLeaving ? this._pollLeave() : undefined;
  }

  _begin(target: StreamTarget, bytes: Uint8Array | undefined): StreamAction {
    this._states[target] = bytes ? "writing" : "ending";
    return { target, bytes };
  }

  _pollLeave(): StreamAction | undefined {
    const idle = LANES.find((lane) => this._states[lane] === "idle");
    if (idle !== undefined) {
      return this._begin(idle, undefined);
    }
    const isOver = (lane: Lane) => ["new", "ended"].includes(this._states[lane]);
    if (!LANES.every(isOver) || this._states.control !== "idle") {
      return undefined;
    }
    const leave = this._leave;
    this._leave = undefined;
    return this._begin("control", leave);
  }
}

/** Priority of a lane's stream: bulk messages come after everything else. */
export function priorityOf(lane: Lane): number {
  return lane === EVENTS ? 0 : -1;
}
