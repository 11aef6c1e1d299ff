// The watched users.

import { SizedMap, USERS } from "../session/held.js";
import { lossyText } from "../wire/codec.js";
import { encodeMessage } from "../wire/schema.js";
import { WatchUsers } from "../wire/social.js";
import type { UserList } from "../wire/social.js";
import type { SocialEvent, User } from "./event.js";
import { userFromWire } from "./event.js";

/** The request for users, which is kept over all sessions, and the current list. */
export class UserWatch {
  #watched: WatchUsers | undefined;
  readonly #users = new SizedMap<string, User>();

  /** Returns the request as a message, to be sent in a new session. */
  watchMessage(): Uint8Array | undefined {
    return this.#watched && encodeMessage(WatchUsers, this.#watched);
  }

  /** Replaces the request for users. */
  watch(watch: WatchUsers): void {
    this.#watched = watch;
  }

  /** Returns the users that are connected, in the order of their ids. */
  users(): User[] {
    return [...this.#users.entries.values()].sort((a, b) => (a.user < b.user ? -1 : 1));
  }

  /**
   * Applies a list of users, or changes of the list. Ignores those that answer an earlier
   * request, and refusals. Throws `ProtocolError` if the list grows without end.
   */
  take(list: UserList): SocialEvent | undefined {
    if (this.#watched?.request !== list.request || list.code !== 0) {
      return undefined;
    }
    const changed = list.users.map(userFromWire);
    const ids = new Set(changed.map(({ user }) => user));
    const gone = list.whole
      ? [...this.#users.entries.keys()].filter((user) => !ids.has(user))
      : list.gone.map(lossyText);
    gone.forEach((user) => this.#users.delete(user));
    this.#users.check(USERS, changed, "users");
    changed.forEach((user) => this.#users.set(user.user, user));
    return {
      kind: "users",
      changed,
      // A user that left and came back is not gone.
      gone: gone.filter((user) => !this.#users.entries.has(user)),
      total: list.total,
    };
  }
}
