// The digest of a room's state.

import { utf8, Writer } from "../wire/codec.js";
import { type EntityId, modeToWire, partsOf } from "./entity.js";
import type { Replica, StateObject } from "./replica.js";
import { valueToWire } from "./value.js";

/**
 * Returns the SHA-256 digest of the state as it is now. All clients at the same version have the
 * same digest, in every language.
 *
 * The digest covers these values, in little-endian:
 * - version (u64) and chosen host (u32);
 * - for each object and each other entity with fields, in the order of scope and number: scope
 *   (u8), number (u64), owner (u32), mode (u8), number of fields (u32);
 * - for each field of that entity, in the order of the keys' bytes: length of the key (u32), key,
 *   type (u8), bits (u64), length of the bytes (u32), bytes, version (u64).
 */
export async function digestOf(replica: Replica): Promise<Uint8Array> {
  const out = new Writer();
  out.u64(replica.version);
  out.u32(replica._chosenHost ?? 0);
  const others = replica._othersWithFields().sort((a, b) => numberOf(a) - numberOf(b));
  others.forEach((entity) => putEntity(out, replica, entity));
  for (const object of replica.objects()) {
    putEntity(out, replica, { object: object.id }, object);
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(out.view())));
}

/** Returns the place of the room, or of a peer, among the two. */
function numberOf(entity: EntityId): number {
  return Number(partsOf(entity).id);
}

function putEntity(out: Writer, replica: Replica, entity: EntityId, object?: StateObject): void {
  const { scope, id } = partsOf(entity);
  const fields = replica.fields(entity).map(([key, field]) => ({ key: utf8(key), ...field }));
  out.u8(scope);
  out.u64(id);
  out.u32(object?.owner ?? 0);
  out.u8(object ? modeToWire(object.mode) : 0);
  out.u32(fields.length);
  // Texts compare by their UTF-16 units, which is another order.
  for (const { key, value, version } of fields.sort((a, b) => compareBytes(a.key, b.key))) {
    const { kind, bits, bytes } = valueToWire(value);
    out.u32(key.length);
    out.bytes(key);
    out.u8(kind);
    out.u64(bits);
    out.u32(bytes.length);
    out.bytes(bytes);
    out.u64(version);
  }
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? a.length - b.length : (a[at] ?? 0) - (b[at] ?? -1);
}
