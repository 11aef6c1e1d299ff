// A pose in 15 to 33 bytes. The head's position is absolute in steps of 1 mm, the hands'
// positions are relative to it. A rotation is its three smallest components with 11 bits each.

import { Reader, Writer } from "./codec.js";

/** Steps of a position in a metre. */
const STEPS = 1_000;
/** Largest coordinate of the head in metres: 2^23 - 1 mm. */
export const HEAD_RANGE = 8_388.607;
/** Largest coordinate of a hand relative to the head in metres: 2^11 - 1 mm. */
export const HAND_RANGE = 2.047;
/** Steps of a rotation's component on either side of zero. */
const ROTATION_STEPS = 1_023;
/** The bits of a pose's flags: a left hand, a right hand, and extensions follow. */
const LEFT = 1;
const RIGHT = 2;
const EXTENSIONS = 4;
/** Length of a pose without hands, and of a hand, in bytes. */
export const POSE_BYTES = 15;
const HAND_BYTES = 9;

/** A position and a rotation. */
export interface Transform {
  /** Position in metres: x, y, z. */
  position: [number, number, number];
  /** Rotation as a quaternion: x, y, z, w. Its length need not be exactly 1. */
  rotation: [number, number, number, number];
}

/**
 * The head and hands of a peer, in the room's coordinates. Axes are those of OpenXR:
 * right-handed, y points up, and the identity rotation looks along -z.
 */
export interface Pose {
  /** The head, within `HEAD_RANGE`. */
  head: Transform;
  /** The left hand if it is tracked, within `HAND_RANGE` of the head. */
  left?: Transform | undefined;
  /** The right hand if it is tracked, within `HAND_RANGE` of the head. */
  right?: Transform | undefined;
}

/** Why a pose cannot be sent as it is. */
export type PoseError = "shape" | "notFinite" | "headOutOfRange" | "handOutOfRange" | "rotation";

/** Returns why `encodePose` would write another pose; `undefined` if it would not. */
export function checkPose(pose: Pose): PoseError | undefined {
  const hands = [pose.left, pose.right].filter((hand) => hand !== undefined);
  const parts = [pose.head, ...hands];
  // Without types, three angles look like a rotation.
  if (!parts.every((part) => part?.position?.length === 3 && part.rotation?.length === 4)) {
    return "shape";
  }
  if (!parts.every(({ position, rotation }) => [...position, ...rotation].every(Number.isFinite))) {
    return "notFinite";
  }
  if (pose.head.position.some((metres) => Math.abs(metres) > HEAD_RANGE)) {
    return "headOutOfRange";
  }
  // Two steps more: a hand that was read lies so far off at most, because of rounding.
  const reach = HAND_RANGE + 2 / STEPS;
  const head = pose.head.position;
  if (hands.some(({ position }) => position.some((m, i) => Math.abs(m - (head[i] ?? 0)) > reach))) {
    return "handOutOfRange";
  }
  return parts.every(({ rotation }) => hasDirection(lengthOf(rotation))) ? undefined : "rotation";
}

/**
 * Encodes a pose. Clamps coordinates to their ranges, and writes 0 for what is no number, and the
 * identity for a rotation without a direction. `checkPose` tells the caller before.
 */
export function encodePose(pose: Pose): Uint8Array {
  const out = new Writer();
  const { head, left, right } = pose;
  out.u8((left ? LEFT : 0) | (right ? RIGHT : 0));
  const mm = head.position.map((metres) => quantise(metres, HEAD_RANGE));
  mm.forEach((axis) => out.i24(axis));
  const bits = new Uint8Array(5);
  putRotation(bits, 0, head.rotation);
  out.bytes(bits);
  for (const hand of [left, right]) {
    if (hand) {
      out.bytes(packHand(hand, mm));
    }
  }
  return out.copy();
}

/**
 * Reads a pose from the front of a payload, and skips its extensions. `rest` is a view of the bytes
 * behind it, which belong to the application. Throws `WireError` if the payload is too short.
 */
export function parsePose(payload: Uint8Array): { pose: Pose; rest: Uint8Array } {
  const reader = new Reader(payload);
  const flags = reader.u8();
  const mm: [number, number, number] = [reader.i24(), reader.i24(), reader.i24()];
  const position = mm.map((axis) => axis / STEPS) as Transform["position"];
  const head = { position, rotation: readRotation(reader.bytes(5), 0) };
  const hand = (bit: number): Transform | undefined =>
    flags & bit ? unpackHand(reader.bytes(HAND_BYTES), mm) : undefined;
  const pose = { head, left: hand(LEFT), right: hand(RIGHT) };
  for (let count = flags & EXTENSIONS ? reader.u8() : 0; count > 0; count -= 1) {
    reader.u8();
    reader.bytes(reader.u8());
  }
  return { pose, rest: reader.rest() };
}

function lengthOf(rotation: readonly number[]): number {
  return Math.hypot(...rotation);
}

/** Returns whether a quaternion of this length can be scaled to unit length. */
function hasDirection(length: number): boolean {
  return Number.isFinite(length) && length > 1e-6;
}

function clamp(value: number, limit: number): number {
  return Math.min(Math.max(value, -limit), limit);
}

/** Returns whole steps, 0 for what is no number. */
function quantise(metres: number, range: number): number {
  return Math.round(clamp(metres, range) * STEPS) || 0;
}

/** Reads up to 16 bits behind the first `at` bits. */
function readBits(bytes: Uint8Array, at: number, count: number): number {
  const i = at >> 3;
  const wide = (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16);
  return (wide >> (at & 7)) & ((1 << count) - 1);
}

/**
 * Sets up to 16 bits, which are 0, behind the first `at` bits. Ignores higher bits of the value.
 */
function putBits(bytes: Uint8Array, at: number, count: number, value: number): void {
  const wide = (value & ((1 << count) - 1)) << (at & 7);
  for (let i = at >> 3, rest = wide; rest !== 0; i += 1, rest >>>= 8) {
    bytes[i] = (bytes[i] ?? 0) | (rest & 0xff);
  }
}

/** Packs a hand: x, y, z relative to the head in mm with 12 bits each, then the rotation. */
function packHand(hand: Transform, head: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(HAND_BYTES);
  hand.position.forEach((metres, i) => {
    const relative = quantise(metres, HEAD_RANGE + HAND_RANGE) - (head[i] ?? 0);
    putBits(bytes, 12 * i, 12, clamp(relative, 2_047));
  });
  putRotation(bytes, 36, hand.rotation);
  return bytes;
}

function unpackHand(bytes: Uint8Array, head: readonly [number, number, number]): Transform {
  const position = head.map(
    (axis, i) => (axis + ((readBits(bytes, 12 * i, 12) << 20) >> 20)) / STEPS,
  ) as Transform["position"];
  return { position, rotation: readRotation(bytes, 36) };
}

/**
 * Puts a rotation behind the first `at` bits: the index of the largest component with 2 bits,
 * then the other three in order as steps of 1 / (1023 sqrt 2), above -1 / sqrt 2. The sign is
 * chosen so that the largest component is positive.
 */
function putRotation(bytes: Uint8Array, at: number, rotation: Transform["rotation"]): void {
  const length = lengthOf(rotation);
  const unit = hasDirection(length) ? rotation.map((part) => part / length) : [0, 0, 0, 1];
  const size = (i: number): number => Math.abs(unit[i] ?? 0);
  const largest = [1, 2, 3].reduce((best, i) => (size(i) > size(best) ? i : best), 0);
  const scale = (unit[largest] ?? 0) < 0 ? -Math.SQRT2 : Math.SQRT2;
  putBits(bytes, at, 2, largest);
  let position = at + 2;
  unit.forEach((part, i) => {
    if (i !== largest) {
      const steps = clamp(Math.round(part * scale * ROTATION_STEPS), ROTATION_STEPS);
      putBits(bytes, position, 11, steps + ROTATION_STEPS);
      position += 11;
    }
  });
}

function readRotation(bytes: Uint8Array, at: number): Transform["rotation"] {
  const largest = readBits(bytes, at, 2);
  const rotation: Transform["rotation"] = [0, 0, 0, 0];
  let rest = 1;
  let position = at + 2;
  for (let i = 0; i < 4; i += 1) {
    if (i !== largest) {
      const steps = readBits(bytes, position, 11) - ROTATION_STEPS;
      const part = steps / (ROTATION_STEPS * Math.SQRT2);
      rotation[i] = part;
      rest -= part * part;
      position += 11;
    }
  }
  rotation[largest] = Math.sqrt(Math.max(rest, 0));
  return rotation;
}
