// What the application sees, as JSON lines.

import {
  type Audit,
  CODES,
  type CodeName,
  type EntityId,
  NucleusError,
  type Peer,
  type Room,
  type RoomEvent,
  type SocialEvent,
  type StateChange,
  type User,
  type Value,
} from "../../src/index.js";
import { THROTTLED } from "../../src/wire/messaging.js";
import { Json } from "./json.js";

export function json(value: unknown): Json {
  return new Json(value);
}

export function joined(room: Room): object {
  return { sees: "joined", me: room.me, room: room.name, peers: peers(room) };
}

/** Returns all peers of a room, this client included, in the order of their ids. */
export function peers(room: Room): object[] {
  const me = room.peer(room.me);
  const all = [...room.peers(), ...(me ? [me] : [])];
  return all.sort((a, b) => a.id - b.id).map(peer);
}

export function refused(kind: string, error: unknown): object {
  const isRefusal = error instanceof NucleusError && error.isRefusal;
  return { sees: kind, code: isRefusal ? error.number : null, why: String(error) };
}

export function roomEvent(event: RoomEvent): object | undefined {
  switch (event.kind) {
    case "peerJoined":
      return { sees: "peer_joined", ...peer(event.peer) };
    case "peerLeft":
      return { sees: "peer_left", peer: event.peer.id, code: number(event.code) };
    case "presenceChanged":
      return { sees: "presence", peer: event.peer.id, away: event.peer.away };
    case "peerChanged":
      return { sees: "peer_changed", ...peer(event.peer) };
    case "tokenWanted":
      return { sees: "token_wanted", within_ms: event.withinMs ?? null };
    case "event":
    case "bulk":
      return message(event.kind, event);
    case "typedEvent": {
      const payload = text(event.payload);
      return { sees: "typed_event", from: event.from, type: event.type, payload };
    }
    case "rpcRequest":
      return {
        sees: "rpc_request",
        request: event.id,
        from: event.from,
        method: event.method,
        payload: text(event.payload),
        timeout_ms: Math.ceil(event.timeoutMs),
      };
    case "message":
      return { ...message("message", event), key: event.key };
    case "moderated":
      return moderated(event.audit);
    case "throttled":
      return { sees: "throttled", what: THROTTLED.indexOf(event.what) + 1 };
    case "state":
      return stateChange(event.change);
    case "resumed":
      return { sees: "resumed", missed: event.missedEvents };
    case "rejoined":
      return { sees: "rejoined", me: event.me };
    case "interrupted":
    case "closed":
      return { sees: event.kind, code: number(event.code), why: event.text };
    default:
      // No dialogue needs the others.
      return undefined;
  }
}

export function rpcAnswer(payload: Uint8Array): object {
  return { end: "answered", code: 0, payload: text(payload) };
}

/** Returns how a request to a peer has ended. */
export function rpcFailure(error: unknown): object {
  if (!(error instanceof NucleusError)) {
    throw error;
  }
  const failed = (code: number | undefined, payload = "") => ({ end: "failed", code, payload });
  const ends: Record<string, string> = {
    rpcTimedOut: "timed_out",
    peerLeft: "peer_left",
    interrupted: "interrupted",
    closed: "closed",
  };
  switch (error.code) {
    case "noSuchMethod":
      return failed(1);
    case "peerBusy":
      return failed(2);
    case "rpcFault":
      return failed(error.number, error.text);
    default:
      // Otherwise nothing was sent.
      return { end: ends[error.code] ?? "refused", code: null, payload: "", why: error.message };
  }
}

export function socialEvent(event: SocialEvent): object {
  const call = "call" in event ? { call: Number(event.call) } : {};
  const code = "code" in event ? { code: number(event.code) } : {};
  const kinds: Record<string, string> = {
    ringingEnded: "ringing_ended",
    memberJoined: "member_joined",
    memberLeft: "member_left",
    interrupted: "social_interrupted",
    closed: "social_closed",
  };
  const sees = kinds[event.kind] ?? event.kind;
  if (event.kind === "users") {
    return { sees, changed: event.changed.map(user), gone: event.gone, total: event.total };
  }
  if (event.kind === "accepted") {
    const { room, members, thisDevice } = event;
    return { sees, ...call, room, members, this_device: thisDevice };
  }
  if (event.kind === "interrupted" || event.kind === "closed") {
    return { sees, ...code, why: event.text };
  }
  const { kind: _, ...fields } = event;
  return { sees, ...fields, ...call, ...code };
}

/** Returns the room's state as the application can read it. */
export function state(room: Room): object {
  const known = [...room.peers().map((peer) => peer.id), room.me].sort((a, b) => a - b);
  const entities: EntityId[] = [
    "room",
    ...known.map((peer) => ({ peer })),
    ...room.objects().map(({ id }) => ({ object: id })),
  ];
  const fields = entities.flatMap((entity) =>
    room.fields(entity).map(([key, field]) => {
      return { ...parts(entity), key, value: value(field.value) };
    }),
  );
  const objects = room.objects().map((object) => {
    return { id: Number(object.id), owner: object.owner ?? 0, mode: mode(object.mode) };
  });
  const host = room.host ?? null;
  return { version: Number(room.stateVersion), host, objects, fields };
}

/** Returns a code's number; null if this client does not know the code, or if there is none. */
function number(code: CodeName | undefined): number | null {
  return code === undefined ? null : CODES[code];
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function peer({ id, slot: _, ...fields }: Peer): object {
  const { selfMuted, ...rest } = fields;
  return { peer: id, ...rest, self_muted: selfMuted };
}

function message(
  kind: string,
  { from, channel, payload }: { from: number; channel: number; payload: Uint8Array },
): object {
  return { sees: kind, from, channel, payload: text(payload) };
}

function moderated(audit: Audit): object {
  const { number: act, by, peer = 0, user, banS: seconds } = audit;
  return { sees: "moderated", act, by, peer, user, seconds };
}

function stateChange(change: StateChange): object {
  switch (change.kind) {
    case "field": {
      const { entity, key } = change;
      const now = change.value === undefined ? null : value(change.value);
      return { sees: "field", ...parts(entity), key, value: now };
    }
    case "created": {
      const { object, owner = 0 } = change;
      return { sees: "created", id: Number(object), owner, mode: mode(change.mode) };
    }
    case "deleted":
      return { sees: "deleted", ...parts(change.entity) };
    case "owner":
      return { sees: "owner", id: Number(change.object), owner: change.owner ?? 0 };
    case "claimed":
      return { sees: "claimed", id: Number(change.object), by: change.by };
    case "host":
      return { sees: "host", host: change.host ?? null };
  }
}

function parts(entity: EntityId): { scope: number; id: number } {
  if (entity === "room") {
    return { scope: 0, id: 0 };
  }
  return "peer" in entity ? { scope: 1, id: entity.peer } : { scope: 2, id: Number(entity.object) };
}

function value(value: Value): object {
  switch (typeof value) {
    case "boolean":
      return { bool: value };
    case "bigint":
      return { integer: Number(value) };
    case "number":
      return { float: value };
    case "string":
      return { text: value };
    default:
      return { bytes: Buffer.from(value).toString("hex") };
  }
}

function mode({ ownership, withRoom }: { ownership: string; withRoom: boolean }): number {
  return ["fixed", "ask", "take"].indexOf(ownership) | (withRoom ? 0x10 : 0);
}

function user({ user, name, role, status }: User): object {
  return { user, name, role, status: ["online", "busy", "away"].indexOf(status) + 1 };
}
