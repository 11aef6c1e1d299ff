/** The badge that says how the connection is, and what to do if there is none. */

import { NucleusError } from "../src/index.js";
import { byId, setAttribute, setText } from "./page.js";

/** What a person can do, by the code of the protocol. */
const ADVICE: Readonly<Record<string, string>> = {
  version: "The server is of another age than this page. Reload it.",
  tokenSignature: "The server was started with another data directory. Reload the page.",
  tokenAudience: "The server was started with another data directory. Reload the page.",
  tokenExpired: "The clocks of server and browser differ.",
  roomFull: "The room is full. Choose another one behind #room= in the address.",
  roomLocked: "A moderator has locked the room.",
  wrongPassword: "The room has a password, and this page knows none.",
  notInvited: "The room is by invitation.",
  badName: "The room's name behind #room= in the address is not allowed.",
  kicked: "A moderator has removed you.",
  roomEnded: "A moderator has ended the room.",
  replaced: "This person is in the room in another tab.",
  serverFull: "The server is full. Try again later.",
  userSessions: "There are too many tabs. Close one.",
  shuttingDown: "The server stops. Start it again.",
};

/** How the connection is. */
export type ConnectionState = "good" | "warn" | "bad" | "idle";

/** Shows the state of the connection. */
export function showConnection(state: ConnectionState, text: string): void {
  const badge = byId("connection");
  setAttribute(badge, "class", `badge ${state}`);
  setText(badge, text);
}

/** Returns what to tell a person about the end of a room. */
export function explain(code: string | undefined, text: string): string {
  const found = (code && ADVICE[code]) || text || "The connection was lost.";
  return found.charAt(0).toUpperCase() + found.slice(1);
}

/** Returns what to tell a person about an error. */
export function explainError(error: unknown): string {
  const isKnown = error instanceof NucleusError;
  const text = explain(isKnown ? error.code : "", error instanceof Error ? error.message : "");
  return isKnown && error.isRefusal ? `Refused: ${text}` : text;
}

/** Returns whether the same may work a little later, without a change by a person. */
export function mayHeal(error: unknown): boolean {
  return !(error instanceof NucleusError) || !error.isRefusal || error.code in HEALING;
}

/** Refusals that end by themselves. */
const HEALING: Readonly<Record<string, true>> = {
  shuttingDown: true,
  serverFull: true,
  tenantFull: true,
  userSessions: true,
  alreadyJoined: true,
  roomFull: true,
  tokenSignature: true,
  tokenAudience: true,
  internal: true,
};
