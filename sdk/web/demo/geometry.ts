/** The room's coordinates and the plan's: x to the right, z down, 100 px a metre, the origin in the middle. */

/** A place on the floor, in metres. */
export interface Place {
  x: number;
  z: number;
}

/** Pixels of the plan a metre. */
const SCALE = 100;
/** Half of the room's size, in metres. */
const HALF_X = 4.5;
const HALF_Z = 3;
/** How close a head comes to the wall, in metres. */
const MARGIN = 0.3;
/** Height of the eyes of a standing person, in metres, as the headsets of the examples have it. */
export const EYE_HEIGHT = 1.65;

/** Converts to the plan. */
export function toPlan(place: Place): [x: number, y: number] {
  return [(place.x + HALF_X) * SCALE, (place.z + HALF_Z) * SCALE];
}

/** Converts from the plan, and keeps the place within the room. */
export function fromPlan(x: number, y: number): Place {
  return within({ x: x / SCALE - HALF_X, z: y / SCALE - HALF_Z }, 0);
}

/** Returns the nearest place in the room. What is no number is the origin. */
export function within(place: Place, margin = MARGIN): Place {
  const limit = (value: number, half: number): number =>
    Number.isFinite(value) ? Math.min(half - margin, Math.max(margin - half, value)) : 0;
  return { x: limit(place.x, HALF_X), z: limit(place.z, HALF_Z) };
}

/** Returns the distance in metres. */
export function distance(a: Place, b: Place): number {
  return Math.hypot(a.x - b.x, a.z - b.z);
}

/** Returns the angle from one place to another: 0 along x, and clockwise in the plan. In radians. */
export function angleTo(from: Place, to: Place): number {
  return Math.atan2(to.z - from.z, to.x - from.x);
}

/** Returns the place at a distance in a direction, within the room. */
export function ahead(from: Place, angle: number, metres: number): Place {
  return within({ x: from.x + metres * Math.cos(angle), z: from.z + metres * Math.sin(angle) }, 0);
}

/** Returns the rotation of a head that looks along an angle of the plan. Without one it looks along -z. */
export function rotationOf(angle: number): [number, number, number, number] {
  const yaw = Math.atan2(-Math.cos(angle), -Math.sin(angle));
  return [0, Math.sin(yaw / 2), 0, Math.cos(yaw / 2)];
}

/** Returns the angle of the plan along which a head with this rotation looks. */
export function angleOf(rotation: ArrayLike<number>): number {
  const [x = 0, y = 0, z = 0, w = 1] = Array.from(rotation);
  const angle = Math.atan2(2 * (x * x + y * y) - 1, -2 * (x * z + w * y));
  return Number.isFinite(angle) ? angle : 0;
}
