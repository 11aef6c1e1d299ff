// What a tab has counted.

import { NucleusError, type Room } from "../../../src/index.js";
import type { Memory, Record } from "./memory.js";

/** The field of the room that everybody increases. */
export const COUNT = "count";
/** An error of a shown pose that is counted. Chords between poses of 60 Hz are much nearer. */
const LARGE_ERROR_MM = 60;

/** How the report names a failed request to a peer, by the code of the error. */
const FAILURES: { readonly [code: string]: string } = {
  rpcTimedOut: "timed_out",
  interrupted: "interrupted",
  peerLeft: "peer_left",
};

/** The counters of one tab, with the names of the report. */
export class Report {
  readonly numbers = {
    frames: 0,
    /** Longest time from one frame to the next. */
    longest_pause_ms: 0,
    /** Interpolated poses, which were compared with the truth. */
    compared: 0,
    over_60mm: 0,
    max_error_mm: 0,
    /** Frames in which a pose showed an earlier moment than in the frame before. */
    backwards: 0,
    /** Events that this run has sent. */
    sent: 0,
    gaps: 0,
    repeats: 0,
    asked: 0,
    answered: 0,
    wrong: 0,
    /** Changes of the count that came after one of another user. */
    conflicts: 0,
    change_failures: 0,
    /** How often the client came back as a new peer. */
    rejoined: 0,
  };
  isResumed = false;
  /** Shown poses by their user. */
  readonly seen = new Map<string, number>();
  /** Events by their sender's user. */
  readonly received = new Map<string, number>();
  /** Requests to peers that failed, by the kind of failure. */
  readonly askFailures = new Map<string, number>();

  /**
   * Checks that an event is the next one of its sender. A later run begins at 0; the end of a run
   * that was killed may be missing. `mayMiss`: events that were on their way to a server that ended
   * are lost.
   */
  checkEvent(record: Record, run: number, number: number, mayMiss: boolean): void {
    if (run > record.run) {
      record.run = run;
      record.next = 0;
    }
    if (run < record.run || number < record.next) {
      this.numbers.repeats += 1;
      return;
    }
    this.numbers.gaps += number > record.next && !mayMiss ? 1 : 0;
    record.next = number + 1;
  }

  /** Counts the distance of a shown head from the truth, in m. */
  checkPose(distance: number): void {
    const error = distance * 1_000;
    this.numbers.compared += 1;
    this.numbers.over_60mm += error > LARGE_ERROR_MM ? 1 : 0;
    this.numbers.max_error_mm = Math.max(this.numbers.max_error_mm, error);
  }

  countFailure(error: unknown): void {
    const code = error instanceof NucleusError ? error.code : String(error);
    add(this.askFailures, FAILURES[code] ?? code);
  }

  /** Returns the report as one line. */
  async toJson(room: Room, memory: Memory): Promise<string> {
    const version = Number(room.stateVersion);
    const count = Number(room.field("room", COUNT)?.value ?? 0n);
    const objects = room.objects().length;
    const digest = await room.stateDigest();
    const records = [...memory.records].map(([user, { run, next }]) => [user, [run, next]]);
    return JSON.stringify({
      user: room.peer(room.me)?.user,
      peer: room.me,
      run: memory.run,
      resumed: this.isResumed,
      ...this.numbers,
      seen: Object.fromEntries(this.seen),
      received: Object.fromEntries(this.received),
      records: Object.fromEntries(records),
      ask_failures: Object.fromEntries(this.askFailures),
      successes: memory.successes,
      objects,
      version,
      digest: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
      count,
      // A browser has no realtime port, so it cannot fall back.
      on_fallback: null,
    });
  }
}

/** Adds to a number of a user. */
export function add(numbers: Map<string, number>, key: string, much = 1): void {
  numbers.set(key, (numbers.get(key) ?? 0) + much);
}
