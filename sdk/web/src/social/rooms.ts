// The watched rooms of the lobby.

import { ROOMS, SizedMap } from "../session/held.js";
import type { Value } from "../state/value.js";
import { valueFromWire } from "../state/value.js";
import { lossyText } from "../wire/codec.js";
import { ROOM_LOCKED, ROOM_PASSWORD, WatchRooms } from "../wire/rooms.js";
import type { RoomInfo, RoomList } from "../wire/rooms.js";
import { encodeMessage } from "../wire/schema.js";
import type { SocialEvent } from "./event.js";

/** A room as the lobby lists it. */
export interface ListedRoom {
  /** The room's name, to join it. */
  readonly name: string;
  /** Number of taken seats. */
  readonly peers: number;
  /** Capacity in peers. */
  readonly capacity: number;
  /** Whether a moderator has locked the room. */
  readonly locked: boolean;
  /** Whether the room has a password. */
  readonly password: boolean;
  /** The fields that the room lists, by their keys. */
  readonly fields: ReadonlyMap<string, Value>;
}

function roomFromWire({ room, peers, capacity, flags, fields }: RoomInfo): ListedRoom {
  const values = new Map<string, Value>();
  for (const field of fields) {
    const value = knownValue(field.value);
    if (value !== undefined) {
      values.set(lossyText(field.key), value);
    }
  }
  return {
    name: lossyText(room),
    peers,
    capacity,
    locked: (flags & ROOM_LOCKED) !== 0,
    password: (flags & ROOM_PASSWORD) !== 0,
    fields: values,
  };
}

/** Reads a value; `undefined` for one of a kind that this version does not know. */
function knownValue(wire: RoomInfo["fields"][number]["value"]): Value | undefined {
  try {
    return valueFromWire(wire);
  } catch {
    return undefined;
  }
}

/** The request for rooms, which is kept over all sessions, and the current list. */
export class RoomWatch {
  #watched: WatchRooms | undefined;
  readonly #rooms = new SizedMap<string, ListedRoom>();

  /** Returns the request as a message, to be sent in a new session. */
  watchMessage(): Uint8Array | undefined {
    return this.#watched && encodeMessage(WatchRooms, this.#watched);
  }

  /** Replaces the request for rooms. */
  watch(watch: WatchRooms): void {
    this.#watched = watch;
  }

  /** Returns the rooms in the order of their names. */
  rooms(): ListedRoom[] {
    return [...this.#rooms.entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Applies a list of rooms, or changes of the list. Ignores those that answer an earlier request.
   * Throws `ProtocolError` if the list grows without end.
   */
  take(list: RoomList): SocialEvent | undefined {
    if (this.#watched?.request !== list.request) {
      return undefined;
    }
    const rooms = list.rooms.map(roomFromWire);
    const names = new Set(rooms.map(({ name }) => name));
    const gone = list.whole
      ? [...this.#rooms.entries.keys()].filter((name) => !names.has(name))
      : list.gone.map(lossyText);
    gone.forEach((name) => this.#rooms.delete(name));
    this.#rooms.check(ROOMS, rooms, "rooms");
    rooms.forEach((room) => this.#rooms.set(room.name, room));
    return {
      kind: "rooms",
      changed: rooms.map(({ name }) => name),
      // A room of the same name that was created in the meantime is not gone.
      gone: gone.filter((name) => !this.#rooms.entries.has(name)),
      total: list.total,
    };
  }
}
