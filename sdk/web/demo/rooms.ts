/** Which room this tab is in: joining, coming back after a reload, leaving, and going to a call's room. */

import { connect, type Room } from "../src/index.js";
import { explain, explainError, mayHeal, showConnection } from "./badge.js";
import { displayName, type Identity, keepTicket, takeTicket } from "./identity.js";
import { byId, isolated, setText, toast } from "./page.js";
import type { Tokens } from "./token.js";

/** Pauses between two tries to join, in ms: the first, and the longest. */
const RETRY_MS = [1_000, 8_000] as const;
/** Longest name of a room in the address. A room's name has at most 128 bytes. */
const LONGEST_NAME = 128;

/** What the page does when the room changes. */
export interface RoomActions {
  /** The tab is in a room. */
  arrived(room: Room): void;
  /** The tab is in no room. */
  dropped(): void;
  /** The tab does not try to be in a room any more, until the person joins again. */
  stopped(): Promise<void>;
}

/** Returns the room that the address names. */
export function home(): string {
  const named = new URLSearchParams(location.hash.slice(1)).get("room");
  return named?.slice(0, LONGEST_NAME) || "demo";
}

/** Writes the address for a second tab to the clipboard. */
export function copyLink(): void {
  const link = new URL(`#${new URLSearchParams({ room: home() })}`, location.href).href;
  navigator.clipboard.writeText(link).then(
    () => toast("link", "Copied. Open the link in a second tab."),
    () => toast("link", `Open this address in a second tab: ${link}`),
  );
}

/** The room of this tab. */
export class Rooms {
  /** The room, or `undefined` while the tab is in none. */
  room: Room | undefined;
  /** Whether the session is lost, and the client tries to come back. */
  isInterrupted = false;
  /** Whether no datagrams of the server arrive. */
  isUnheard = false;
  /** The room where the tab wants to be; `undefined` after it has left. */
  #target: string | undefined;
  /** Counts the joins, so that an old one does not disturb the newest. */
  #join = 0;
  /** The leave before the next join: the server counts both. */
  #leaving: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly identity: Identity,
    private readonly tokens: Tokens,
    private readonly actions: RoomActions,
  ) {}

  /** Whether the tab is in a room, or tries to be. */
  get wantsRoom(): boolean {
    return this.#target !== undefined;
  }

  /** Says that the tab is about to join. */
  begin(): void {
    this.#target = "";
    setText(byId("leave"), "Leave");
    showConnection("idle", "Connecting…");
  }

  /** Leaves the room where the tab is, and joins this one. Tries until it works or is refused. */
  async go(name: string): Promise<void> {
    if (this.#target === name) {
      return;
    }
    const join = (this.#join += 1);
    this.#target = name;
    this.#release();
    await this.#leaving;
    let pause: number = RETRY_MS[0];
    while (join === this.#join) {
      const error = await this.#try(name, join);
      if (!error || join !== this.#join) {
        return;
      }
      showConnection("bad", explainError(error));
      if (!mayHeal(error)) {
        await this.#stop();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, RETRY_MS[1]);
    }
  }

  /** Joins once. Returns the error. */
  async #try(name: string, join: number): Promise<unknown> {
    try {
      const server = await this.tokens.server();
      setText(byId("carrier"), `WebTransport on UDP ${server.split(":").pop() ?? ""}`);
      const room = await connect({
        server,
        token: this.tokens.provide,
        room: name,
        name: displayName(this.identity),
        ticket: takeTicket(name),
        patienceMs: Number.POSITIVE_INFINITY,
      });
      if (join === this.#join) {
        this.#arrive(room, name);
      } else {
        await room.leave();
      }
      return undefined;
    } catch (error) {
      return error ?? new Error("The join failed.");
    }
  }

  #arrive(room: Room, name: string): void {
    this.room = room;
    this.isInterrupted = this.isUnheard = false;
    const title = name === "demo" ? "Demo room" : `Room ${isolated(name)}`;
    setText(byId("title"), name === home() ? title : "A call");
    this.showQuality();
    this.keepTicket();
    this.actions.arrived(room);
  }

  /** Leaves for good. */
  async leave(): Promise<void> {
    this.#release();
    const stopped = this.#stop();
    showConnection("idle", "Left");
    await Promise.all([this.#leaving, stopped]);
  }

  /** The room has ended. In a call's room, the tab goes back to where it was. */
  closed(code: string | undefined, text: string): void {
    const isHome = this.#target === home();
    this.#forget();
    showConnection("bad", explain(code, text));
    if (isHome) {
      void this.#stop();
    } else {
      void this.go(home());
    }
  }

  /** Leaves the room where the tab is, if any. */
  #release(): void {
    const room = this.room;
    if (room) {
      this.#forget();
      // A failed leave is a lost session, which ends by itself.
      this.#leaving = room.leave().catch(() => {});
    }
  }

  #forget(): void {
    if (this.room) {
      keepTicket(this.room.name, undefined);
    }
    this.room = undefined;
    this.actions.dropped();
  }

  async #stop(): Promise<void> {
    this.#join += 1;
    this.#target = undefined;
    setText(byId("leave"), "Join again");
    await this.actions.stopped();
  }

  /** Shows how the connection is. */
  showQuality(): void {
    if (!this.room) {
      return;
    }
    if (this.isInterrupted) {
      showConnection("warn", "Reconnecting…");
      return;
    }
    const { roundTrip, quality } = this.room.connection();
    const time = roundTrip === undefined ? "" : `, ${Math.max(1, Math.round(roundTrip))} ms`;
    if (quality === "poor") {
      showConnection("warn", `Poor connection${time}`);
    } else if (this.isUnheard) {
      showConnection("warn", "Connected, but poses and voices do not arrive");
    } else {
      showConnection("good", `Connected${time}`);
    }
  }

  /** Keeps the ticket, with which a reload comes back as the same peer. */
  keepTicket(): void {
    const ticket = this.room?.ticket();
    if (this.room && ticket) {
      keepTicket(this.room.name, ticket);
    }
  }
}
