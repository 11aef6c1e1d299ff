// Features: the parts of the protocol that an end may lack, as a set of bits. A message of a
// feature that one end lacks is never sent.

/** The shared state: requests to change it, and the state stream. */
export const STATE = 1;
/** Messages that only inform: `Throttled` and `Audit`. */
export const NOTICES = 2;
/** Fresh tokens in mid-session: `Renew`, `Renewed` and `TokenWanted`. */
export const RENEW = 4;
/** Reserved: `Moved`. */
export const MOVED = 8;
/** Reserved: `SettingsUpdate`. */
export const SETTINGS = 16;
/** Reserved: `Probe` and `ProbeGrant`. */
export const PROBE = 32;
/** Every feature that this client has. */
export const SUPPORTED = STATE | NOTICES | RENEW;

/** Reads a set of features of any length. Ignores bits of later versions. */
export function parseFeatures(bytes: Uint8Array): number {
  return bytes[0] ?? 0;
}

/** Returns the bytes of a set, without zeros at its end. */
export function featureBytes(features: number): Uint8Array {
  return features === 0 ? new Uint8Array(0) : new Uint8Array([features]);
}
