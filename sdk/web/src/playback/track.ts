// The newest poses of one sender and key, and the pose between two of them. Times of this file are
// those of the server's clock in µs, unless they are called local.

import type { Pose, Transform } from "../wire/pose.js";
import { Lateness } from "./lateness.js";
import { SlewedTime } from "./slew.js";

/** Poses that are kept: those of 350 ms at 90 Hz, of a second at 30 Hz. */
const KEPT = 32;
/** Poses whose lateness is remembered: those of four seconds at 30 Hz, of two at 72 Hz. */
const REMEMBERED = 128;
/**
 * Longest time beyond the newest pose for which its movement goes on, in µs: a third of a stride.
 */
const LONGEST_EXTRAPOLATION = 200_000;
/**
 * The time after that, in µs, in which the shown pose goes back to the newest one: a peer that
 * sends nothing more stands still.
 */
const WAY_BACK = 300_000;
/** A longer time between two poses, in µs, says nothing about the way between them. */
const LONGEST_GAP = 1_000_000;
/**
 * A faster change of the head's position is a teleport, in metres per second. Nobody runs or throws
 * a hand faster than that.
 */
const TELEPORT_SPEED = 20;
/** A shorter change of the head's position is no teleport, in metres. */
const TELEPORT_DISTANCE = 0.5;
/**
 * How much faster or slower than real time a track is shown while its delay changes. People do not
 * notice it in movements.
 */
const SLEW = 0.1;
/** A quaternion of a smaller length has no direction. */
const LEAST_LENGTH = 1e-30;

/**
 * How a shown pose was found. "interpolated": it lies between two poses that the peer has sent.
 * "extrapolated": the next pose has not arrived, so the last movement goes on for 200 ms, and then
 * back to the newest pose. "held": it is a pose as the peer has sent it; nothing is known of a
 * movement.
 */
export type Certainty = "interpolated" | "extrapolated" | "held";

/** A pose and when it was captured. */
export interface Snapshot {
  captured: number;
  pose: Pose;
}

/** Space for a pose that is written again each frame, so that nothing is allocated. */
export class PoseSpace {
  readonly pose: Pose = { head: emptyTransform() };
  readonly left = emptyTransform();
  readonly right = emptyTransform();
}

function emptyTransform(): Transform {
  return { position: [0, 0, 0], rotation: [0, 0, 0, 1] };
}

/** The newest poses of one sender and key. */
export class PoseTrack {
  /** In the order of their capture times. */
  readonly #snapshots: Snapshot[] = [];
  readonly #lateness = new Lateness(REMEMBERED);
  readonly #time = new SlewedTime(SLEW, LONGEST_GAP);
  readonly #space = new PoseSpace();
  /** The moment that {@link show} has shown. */
  shown = 0;
  /** How {@link show} has found the pose. */
  certainty: Certainty = "held";

  /**
   * Adds a pose that arrived at the time `arrived`. A pose that is not newer than all others is
   * dropped.
   */
  add(captured: number, arrived: number, pose: Pose): void {
    const newest = this.#snapshots.at(-1);
    if (newest !== undefined) {
      if (captured <= newest.captured) {
        return;
      }
      // Until now only the pose before this one was there to show.
      if (captured - newest.captured < LONGEST_GAP) {
        this.#lateness.add(arrived - newest.captured);
      }
    }
    if (this.#snapshots.length === KEPT) {
      this.#snapshots.shift();
    }
    this.#snapshots.push({ captured, pose });
  }

  /** When the newest pose was captured; `undefined` while there is none. */
  get newest(): number | undefined {
    return this.#snapshots.at(-1)?.captured;
  }

  /**
   * Returns the pose to show at the local time `now` in ms, which is `frame` by the server's clock.
   * It is valid until the next call. Sets {@link shown} and {@link certainty}. Returns `undefined`
   * while there is no pose.
   */
  show(now: number, frame: number): Pose | undefined {
    const snapshots = this.#snapshots;
    const newest = snapshots.at(-1);
    if (newest === undefined) {
      return undefined;
    }
    this.certainty = "held";
    if (!this.#lateness.isKnown) {
      this.shown = newest.captured;
      return newest.pose;
    }
    const shown = this.#time.at(now, frame - this.#lateness.usual);
    this.shown = shown;
    // The shown moment is usually a few poses ago.
    let after = snapshots.length;
    while (after > 0 && (snapshots[after - 1]?.captured ?? 0) > shown) {
      after -= 1;
    }
    const next = snapshots[after];
    if (next === undefined) {
      const before = snapshots.at(-2);
      const pose = before && beyond(before, newest, shown, this.#space);
      this.certainty = pose === undefined ? "held" : "extrapolated";
      return pose ?? newest.pose;
    }
    const before = snapshots[after - 1];
    if (before === undefined) {
      // The track begins later.
      return next.pose;
    }
    const pose = between(before, next, shown, this.#space);
    this.certainty = pose === undefined ? "held" : "interpolated";
    return pose ?? before.pose;
  }
}

/** Returns the pose at a time between two poses; `undefined` if there is no way between them. */
export function between(a: Snapshot, b: Snapshot, at: number, space: PoseSpace): Pose | undefined {
  return isMovement(a, b) ? mix(a.pose, b.pose, share(a, b, at), space) : undefined;
}

/** Returns the pose at a time after two poses, if their movement can go on. */
export function beyond(a: Snapshot, b: Snapshot, at: number, space: PoseSpace): Pose | undefined {
  const time = Math.max(at - b.captured, 0);
  const forward = Math.min(time, LONGEST_EXTRAPOLATION);
  const left = 1 - (time - forward) / WAY_BACK;
  if (time === 0 || left <= 0 || !isMovement(a, b)) {
    return undefined;
  }
  return mix(a.pose, b.pose, share(a, b, b.captured + forward * left), space);
}

/** Returns where a time lies between two poses: 0 at the first one, 1 at the second one. */
function share(a: Snapshot, b: Snapshot, at: number): number {
  return Math.max(at - a.captured, 0) / (b.captured - a.captured);
}

/** Returns whether the change from one pose to the other is a movement, and no teleport. */
function isMovement(a: Snapshot, b: Snapshot): boolean {
  const gap = b.captured - a.captured;
  const [ax, ay, az] = a.pose.head.position;
  const [bx, by, bz] = b.pose.head.position;
  const distance = Math.hypot(ax - bx, ay - by, az - bz);
  return (
    gap < LONGEST_GAP &&
    (distance < TELEPORT_DISTANCE || distance < (TELEPORT_SPEED * gap) / 1_000_000)
  );
}

/** Writes the pose at a share of the way from one pose to the other into `space`. */
export function mix(a: Pose, b: Pose, share: number, space: PoseSpace): Pose {
  const pose = space.pose;
  mixTransforms(a.head, b.head, share, pose.head);
  pose.left = mixHands(a, b, a.left, b.left, share, pose.head, space.left);
  pose.right = mixHands(a, b, a.right, b.right, share, pose.head, space.right);
  return pose;
}

function mixHands(
  a: Pose,
  b: Pose,
  inA: Transform | undefined,
  inB: Transform | undefined,
  share: number,
  head: Transform,
  out: Transform,
): Transform | undefined {
  if (inA !== undefined && inB !== undefined) {
    mixTransforms(inA, inB, share, out);
    return out;
  }
  // A hand that is tracked in only one of the poses moves with the head.
  const hand = share < 1 ? inA : inB;
  const own = share < 1 ? a.head.position : b.head.position;
  if (hand === undefined) {
    return undefined;
  }
  for (let i = 0; i < 3; i += 1) {
    out.position[i] = at(hand.position, i) - at(own, i) + at(head.position, i);
  }
  for (let i = 0; i < 4; i += 1) {
    out.rotation[i] = at(hand.rotation, i);
  }
  return out;
}

/**
 * Mixes positions along the straight line, and rotations by the normalized sum of the quaternions:
 * for the small angles between two poses that is as good as a slerp.
 */
export function mixTransforms(a: Transform, b: Transform, share: number, out: Transform): void {
  for (let i = 0; i < 3; i += 1) {
    const from = at(a.position, i);
    out.position[i] = from + (at(b.position, i) - from) * share;
  }
  let dot = 0;
  for (let i = 0; i < 4; i += 1) {
    dot += at(a.rotation, i) * at(b.rotation, i);
  }
  // A quaternion and its negative are the same rotation. Take the shorter way.
  const sign = dot < 0 ? -1 : 1;
  let square = 0;
  for (let i = 0; i < 4; i += 1) {
    const part = at(a.rotation, i) * (1 - share) + sign * at(b.rotation, i) * share;
    out.rotation[i] = part;
    square += part * part;
  }
  const length = Math.sqrt(square);
  const isDirection = length > LEAST_LENGTH && Number.isFinite(length);
  for (let i = 0; i < 4; i += 1) {
    out.rotation[i] = isDirection ? at(out.rotation, i) / length : at(b.rotation, i);
  }
}

/** Returns a part of a vector whose length the caller knows. */
function at(vector: readonly number[], index: number): number {
  return vector[index] ?? 0;
}
