// Groups: numbers that peers of a room subscribe to. A peer may send to a group without subscribing
// to it.

/** Number of groups in a room: 0 to 239. */
export const GROUPS = 240;
/** Bytes of a set of groups: group g is bit g modulo 8 of byte g / 8. */
export const GROUP_BYTES = GROUPS / 8;

/** Returns whether a number is a group. */
export function isGroup(group: number): boolean {
  return Number.isInteger(group) && group >= 0 && group < GROUPS;
}

/** Makes the bit set of groups. Ignores numbers that are no group. */
export function groupSet(groups: Iterable<number>): Uint8Array {
  const set = new Uint8Array(GROUP_BYTES);
  for (const group of groups) {
    if (isGroup(group)) {
      set[group >> 3]! |= 1 << (group & 7); // A group's byte is always in the set.
    }
  }
  return set;
}
