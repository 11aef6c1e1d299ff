/** Calls from one tab to another, through the tab's social session. */

import { enter, type Social, type SocialEvent } from "../src/index.js";
import { explain, explainError } from "./badge.js";
import { displayName, type Identity, renumber, visitorNumbers } from "./identity.js";
import { byId, html, isolated, nameElement, settle, setText, short, toast } from "./page.js";
import type { Tokens } from "./token.js";

/** A social session that was closed is entered again after this time, in ms. */
const AGAIN_MS = 5_000;
/** The list of users comes so soon, or the tab goes on without it, in ms. */
const LIST_MS = 1_500;
/** People to choose from. */
const MOST_CHOICES = 50;

/** Somebody in the room who can be called. */
export interface Callable {
  user: string;
  name: string;
}

/** What the page has to do. */
export interface CallActions {
  /** Both go to this room. */
  meet(room: string): void;
  /** The call is over: back to the room of before. */
  goBack(): void;
  /** The people in the room. */
  people(): Callable[];
}

type Phase =
  | { kind: "none" }
  | { kind: "calling"; call: bigint | undefined; users: readonly string[] }
  | { kind: "ringing"; call: bigint; name: string }
  | { kind: "open"; call: bigint; members: readonly string[] };

/** The social session of this tab, and the call that it is in. */
export class Calls {
  #social: Social | undefined;
  #phase: Phase = { kind: "none" };
  /** Counts the sessions, so that an old one does not disturb the newest. */
  #session = 0;
  #candidates: Callable[] = [];
  readonly #button = byId<HTMLButtonElement>("call");
  readonly #ring = byId<HTMLDialogElement>("ring");
  readonly #choose = byId<HTMLDialogElement>("choose");
  /** Names of users, for those who are not in the room. */
  readonly #names = new Map<string, string>();

  constructor(
    private readonly identity: Identity,
    private readonly tokens: Tokens,
    private readonly actions: CallActions,
  ) {
    this.#button.addEventListener("click", () => this.#press());
    byId("accept").addEventListener("click", () => this.#answer(true));
    byId("reject").addEventListener("click", () => this.#answer(false));
    this.#ring.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#answer(false);
    });
  }

  /**
   * Enters, and takes another number if somebody elsewhere has this one. Returns when the tab's name
   * is known. Without a social session the tab goes on: then nobody can call it.
   */
  async begin(): Promise<void> {
    const session = (this.#session += 1);
    try {
      await this.#enter(session);
      const taken = visitorNumbers(this.#otherNames());
      if (taken.has(this.identity.number)) {
        await renumber(this.identity, taken);
        await this.#forget();
        await this.#enter(session);
      }
    } catch (error) {
      this.#again(session, error);
    }
  }

  /** Whether the tab is in a call, and so in the call's room. */
  get isInCall(): boolean {
    return this.#phase.kind === "open";
  }

  /** Leaves the social session. A call ends with it. */
  async end(): Promise<void> {
    this.#session += 1;
    this.#setPhase({ kind: "none" });
    await this.#forget();
  }

  async #forget(): Promise<void> {
    const social = this.#social;
    this.#social = undefined;
    await social?.leave();
  }

  async #enter(session: number): Promise<void> {
    const social = await enter({
      server: await this.tokens.server(),
      token: this.tokens.provide,
      name: displayName(this.identity),
      patienceMs: Number.POSITIVE_INFINITY,
    });
    if (session !== this.#session) {
      await social.leave();
      return;
    }
    this.#social = social;
    settle("social");
    const isListed = social.watchUsers([], []);
    await Promise.race([isListed, new Promise((resolve) => setTimeout(resolve, LIST_MS))]);
    isListed.catch(() => {});
  }

  #otherNames(): string[] {
    const others = this.#social?.users().filter(({ user }) => user !== this.identity.user) ?? [];
    return others.map(({ name }) => name);
  }

  /** Enters again after a pause, unless the tab has left. */
  #again(session: number, error: unknown): void {
    if (session === this.#session) {
      toast("social", `Nobody can call you for the moment. ${explainError(error)}`);
      setTimeout(() => session === this.#session && void this.begin(), AGAIN_MS);
    }
  }

  /** Takes the events of the social session, and shows the button. Called in each frame. */
  step(): void {
    for (const event of this.#social?.poll() ?? []) {
      this.#take(event);
    }
    this.#showBadge();
    this.#showButton();
  }

  #take(event: SocialEvent): void {
    switch (event.kind) {
      case "users":
        event.changed.forEach(({ user, name }) => this.#names.set(user, name));
        event.gone.forEach((user) => this.#names.delete(user));
        break;
      case "incoming":
        this.#names.set(event.from, event.name);
        this.#setPhase({ kind: "ringing", call: event.call, name: event.name });
        break;
      case "calling":
        this.#setPhase({ kind: "calling", call: event.call, users: event.users });
        break;
      case "accepted":
        this.#open(event.call, event.room, event.members);
        break;
      case "ringingEnded":
        this.#finish(event.call, "");
        break;
      case "passed":
      case "memberLeft":
        break;
      case "ended":
        this.#finish(event.call, END[event.code ?? "left"] ?? explain(event.code, "The call is over."));
        break;
      case "closed":
        this.#social = undefined;
        this.#setPhase({ kind: "none" });
        this.#again(this.#session, new Error(event.text));
        break;
      default:
        break;
    }
  }

  #open(call: bigint, room: string, members: readonly string[]): void {
    this.#setPhase({ kind: "open", call, members: members.filter((user) => user !== this.identity.user) });
    this.actions.meet(room);
  }

  /** A call is over, or does not ring any more. */
  #finish(call: bigint, text: string): void {
    const phase = this.#phase;
    const isOther = phase.kind === "none" || (phase.call !== undefined && phase.call !== call);
    if (isOther) {
      return;
    }
    this.#setPhase({ kind: "none" });
    if (text) {
      toast("call", text);
    }
    if (phase.kind === "open") {
      this.actions.goBack();
    }
  }

  #setPhase(phase: Phase): void {
    this.#phase = phase;
    if (phase.kind !== "none") {
      settle("call");
    }
    if (phase.kind === "ringing") {
      byId("ring-title").replaceChildren(nameElement(short(phase.name)), " calls you");
      if (!this.#ring.open) {
        this.#choose.close();
        this.#ring.showModal();
      }
    } else if (this.#ring.open) {
      this.#ring.close();
    }
    this.#showBadge();
  }

  /** Shows who is in the call. Names may come later than the call, for example after a reload. */
  #showBadge(): void {
    const phase = this.#phase;
    const badge = byId("in-call");
    badge.hidden = phase.kind !== "open" && phase.kind !== "calling";
    if (phase.kind === "open") {
      setText(badge, `In a call with ${this.#namesOf(phase.members)}`);
    } else if (phase.kind === "calling") {
      setText(badge, `Calling ${this.#namesOf(phase.users)}…`);
    }
  }

  /** Returns the names of users. A user id says nothing to a person. */
  #namesOf(users: readonly string[]): string {
    const people = new Map(this.actions.people().map(({ user, name }) => [user, name]));
    const names = users.map((user) => this.#names.get(user) ?? people.get(user));
    const known = names.filter((name) => name !== undefined).slice(0, 3).map(isolated);
    return known.join(", ") || "somebody";
  }

  #answer(isAccepted: boolean): void {
    const phase = this.#phase;
    if (phase.kind !== "ringing" || !this.#social) {
      return;
    }
    const { call } = phase;
    const done = isAccepted ? this.#social.accept(call) : this.#social.reject(call);
    this.#ring.close();
    if (!isAccepted) {
      this.#setPhase({ kind: "none" });
    }
    done.catch((error: unknown) => {
      if (isAccepted) {
        this.#finish(call, `The call is over. ${explainError(error)}`);
      }
    });
  }

  #press(): void {
    const phase = this.#phase;
    switch (phase.kind) {
      case "none":
        this.#chooseOne();
        break;
      case "calling":
      case "open": {
        const { call } = phase;
        this.#setPhase({ kind: "none" });
        if (call !== undefined) {
          this.#social?.hangUp(call).catch(() => {});
        }
        if (phase.kind === "open") {
          this.actions.goBack();
        }
        break;
      }
      default:
        break;
    }
  }

  #chooseOne(): void {
    const [first, ...rest] = this.#candidates;
    if (first && rest.length === 0) {
      this.#start(first);
      return;
    }
    const buttons = this.#candidates.slice(0, MOST_CHOICES).map((callable) => {
      const button = html("button", "btn");
      button.append(nameElement(callable.name, "cut"));
      button.addEventListener("click", () => this.#start(callable));
      return button;
    });
    byId("choices").replaceChildren(...buttons);
    this.#choose.showModal();
  }

  #start({ user, name }: Callable): void {
    const social = this.#social;
    if (!social || this.#phase.kind !== "none") {
      return;
    }
    this.#names.set(user, name);
    const calling: Phase = { kind: "calling", call: undefined, users: [user] };
    this.#setPhase(calling);
    social.startCall([user], "").then(
      (call) => {
        if (this.#phase === calling) {
          calling.call = call;
        } else if (this.#phase.kind === "none") {
          // It was cancelled before the server knew of it.
          social.cancel(call).catch(() => {});
        }
      },
      (error: unknown) => {
        if (this.#phase === calling) {
          this.#setPhase({ kind: "none" });
        }
        toast("call", explainError(error));
      },
    );
  }

  #showButton(): void {
    const { kind } = this.#phase;
    let [label, isEnabled] = ["Nobody to call", false];
    if (kind === "open" || kind === "calling") {
      [label, isEnabled] = [kind === "open" ? "Hang up" : "Cancel the call", true];
    } else {
      const online = new Set(
        this.#social
          ?.users()
          .filter(({ status }) => status === "online")
          .map(({ user }) => user),
      );
      const people = this.actions.people();
      this.#candidates = people.filter(({ user }) => user !== this.identity.user && online.has(user));
      const [first, ...rest] = this.#candidates;
      if (first && this.#social) {
        [label, isEnabled] = [rest.length > 0 ? "Call…" : `Call ${isolated(first.name)}`, true];
      }
    }
    setText(byId("call-label"), label);
    this.#button.disabled = !isEnabled;
  }
}

/** What to tell the caller at the end of a call. */
const END: Readonly<Record<string, string>> = {
  left: "The call is over.",
  declined: "The call was rejected.",
  noAnswer: "Nobody answered.",
  cancelled: "The call was cancelled.",
  unreachable: "The call is over: the other one is not there any more.",
  timedOut: "The call is over: the other one is not there any more.",
};
