// What the application does, as the runner tells it.

import {
  Batch,
  type EntityId,
  NucleusError,
  type ObjectMode,
  type Room,
  type RoomFilter,
  type RoomOptions,
  type SelectionOptions,
  type Social,
  type Status,
  type To,
  type Value,
} from "../../src/index.js";
import { ANY_VERSION } from "../../src/wire/state.js";
import { JOIN_MODES, type JoinMode } from "../../src/wire/rooms.js";
import type { Json } from "./json.js";
import * as reports from "./reports.js";

export type { Json } from "./json.js";

const SOCIAL = [
  "watch_users",
  "set_status",
  "start_call",
  "accept",
  "reject",
  "cancel",
  "hang_up",
  "add",
  "leave_social",
];

export function isForRoom(call: string): boolean {
  return !SOCIAL.includes(call);
}

/** Which room a join asks for. */
export function roomChoice(call: Json): SelectionOptions {
  const modes = Object.keys(JOIN_MODES) as JoinMode[];
  return {
    mode: modes[call.number("mode")] ?? "joinOrCreate",
    version: call.text("version"),
    password: call.text("password"),
    expectedUsers: call.texts("expected"),
    options: roomOptions(call.get("options")),
    filters: call.list("filters").map(filter),
  };
}

function roomOptions(options: Json): RoomOptions {
  const flags = options.number("flags");
  const fields = options.list("fields").map((field) => {
    return [field.text("key"), value(field.get("value")) ?? false] as const;
  });
  return {
    capacity: options.number("capacity"),
    emptyTtlMs: options.number("empty_ttl_ms"),
    listed: options.texts("listed"),
    hidden: (flags & 1) !== 0,
    locked: (flags & 2) !== 0,
    kept: (flags & 4) !== 0,
    byInvitation: (flags & 8) !== 0,
    fields: Object.fromEntries(fields),
  };
}

function filter(filter: Json): RoomFilter {
  const key = filter.text("key");
  if (filter.has("one_of")) {
    const oneOf = filter.list("one_of").map(value);
    return { key, oneOf: oneOf.filter((value) => value !== undefined) };
  }
  const bound = (name: string) => value(filter.get(name)) as bigint | number | undefined;
  return { key, from: bound("low"), to: bound("high") };
}

export async function inRoom(room: Room, name: string, call: Json): Promise<object> {
  const to = recipients(call);
  const channel = call.number("channel");
  const payload = new TextEncoder().encode(call.text("payload"));
  switch (name) {
    case "peers":
      return { me: room.me, peers: reports.peers(room) };
    case "state":
      return reports.state(room);
    case "send_event":
      await room.sendEvent(to, channel, payload);
      return { code: 0 };
    case "send_bulk":
      await room.sendBulk(to, channel, payload);
      return { code: 0 };
    case "send_typed_event":
      await room.sendTypedEvent(to, call.text("type"), payload);
      return { code: 0 };
    case "rpc": {
      const timeoutMs = call.number("timeout_ms");
      const method = call.text("method");
      const answer = room.rpc(call.number("to"), method, payload, { timeoutMs });
      return answer.then(reports.rpcAnswer, reports.rpcFailure);
    }
    case "answer_rpc":
      return answerRpc(room, call, payload);
    case "send_message":
      room.sendUnreliable(payload, { to, channel, key: call.number("key") });
      return { code: 0 };
    case "change": {
      const version = await room.change(batch(call.list("operations"))).catch(refusedVersion);
      return typeof version === "bigint" ? { code: 0, version: Number(version) } : version;
    }
    case "subscribe":
      await room.subscribe(call.numbers("groups"));
      return { code: 0 };
    case "kick":
      await room.kick(call.number("peer"), { banS: call.number("seconds") });
      return { code: 0 };
    case "renew":
      await room.renew(call.text("token"));
      return { code: 0 };
    case "leave":
      await room.leave();
      return { code: 0 };
    default:
      return { why: "unknown call" };
  }
}

function refusedVersion(error: unknown): object {
  if (error instanceof NucleusError && error.isRefusal) {
    return { code: error.number, version: Number(error.version) };
  }
  throw error;
}

function answerRpc(room: Room, call: Json, payload: Uint8Array): object {
  const request = call.number("request");
  const code = call.number("code");
  if (code === 0) {
    room.answerRpc(request, payload);
  } else {
    const names = { 1: "noSuchMethod", 2: "busy" } as const;
    const name = code === 1 || code === 2 ? names[code] : code;
    room.failRpc(request, name, call.text("payload"));
  }
  return { code: 0 };
}

export async function inSocialSession(social: Social, name: string, call: Json): Promise<object> {
  const id = BigInt(call.number("call_id"));
  const done = async (work: Promise<void>) => {
    await work;
    return { code: 0 };
  };
  switch (name) {
    case "watch_users":
      return done(social.watchUsers(call.texts("roles"), call.texts("users")));
    case "set_status":
      social.setStatus(status(call.number("status")));
      return {};
    case "start_call": {
      const started = await social.startCall(call.texts("users"), call.text("text"));
      return { code: 0, call_id: Number(started) };
    }
    case "accept":
      return done(social.accept(id));
    case "reject":
      return done(social.reject(id));
    case "cancel":
      return done(social.cancel(id));
    case "hang_up":
      return done(social.hangUp(id));
    case "add":
      return done(social.add(id, call.text("user")));
    case "leave_social":
      return done(social.leave());
    default:
      return { why: "unknown call" };
  }
}

function recipients(call: Json): To {
  const to = call.get("to");
  const text = call.text("to");
  if (text !== "") {
    return text as To;
  }
  if (to.has("peers")) {
    return { peers: to.numbers("peers") };
  }
  if (to.has("peer")) {
    return { peers: [to.number("peer")] };
  }
  return to.has("group") ? { group: to.number("group") } : "others";
}

/**
 * Returns the operations that the runner names. Unknown ones are left out, so that the runner
 * sees a request that is not as expected.
 */
function batch(operations: Json[]): Batch {
  const batch = new Batch();
  for (const operation of operations) {
    const object = operation.bigint("id");
    const peer = operation.number("peer");
    switch (operation.text("kind")) {
      case "set":
        set(batch, operation);
        break;
      case "create":
        batch.create(object, mode(operation.number("mode")));
        break;
      case "delete":
        batch.delete(object);
        break;
      case "claim":
        batch.claim(object);
        break;
      case "give":
        batch.give(object, peer);
        break;
      case "host":
        batch.host(peer);
        break;
    }
  }
  return batch;
}

function set(batch: Batch, operation: Json): void {
  const scope = operation.number("scope");
  const entity: EntityId =
    scope === 0
      ? "room"
      : scope === 1
        ? { peer: operation.number("id") }
        : { object: operation.bigint("id") };
  const key = operation.text("key");
  const wanted = value(operation.get("value"));
  const expected = operation.has("expected") ? operation.bigint("expected") : ANY_VERSION;
  if (wanted === undefined) {
    batch.compareAndRemove(entity, key, expected);
  } else {
    batch.compareAndSet(entity, key, expected, wanted);
  }
}

function value(json: Json): Value | undefined {
  const [kind, content] = json.entries()[0] ?? [];
  switch (kind) {
    case "integer":
      return BigInt(Number(content));
    case "bytes":
      return new Uint8Array(Buffer.from(String(content), "hex"));
    case undefined:
      return undefined;
    default:
      return content as boolean | number | string;
  }
}

function mode(mode: number): ObjectMode {
  const ownership = (["fixed", "ask", "take"] as const)[mode & 0xf] ?? "take";
  return { ownership, withRoom: (mode & 0x10) !== 0 };
}

function status(number: number): Status {
  return number === 1 ? "online" : number === 2 ? "busy" : "away";
}
