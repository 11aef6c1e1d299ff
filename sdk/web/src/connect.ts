/** `connect`: connects to a server and joins a room. */

import type { Carrier } from "./carrier/carrier.js";
import { WebTransportCarrier } from "./carrier/webtransport.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.js";
import type { DriverOptions } from "./driver.js";
import { FIRST_TOKEN_MS, provide, type TokenProvider } from "./provider.js";
import { Room } from "./room.js";
import { RoomClient } from "./room/client.js";
import { checkJoin, type RoomJoin } from "./room/join.js";
import { forRejoin, isMatch, selectionOf, type SelectionOptions } from "./room/selection.js";
import { addressOf } from "./session/address.js";
import type { NucleusError } from "./session/error.js";
import { check } from "./session/opening.js";
import type { ClientOptions } from "./session/step.js";
import { ticketFromText } from "./session/ticket.js";
import { roomIn, trimmed } from "./session/token.js";

/** The room to join if neither the options nor the token name one. */
const DEFAULT_ROOM = "demo";
/**
 * How long the client tries to resume a lost session, in ms, unless the application sets another
 * time. Covers a restart of the server, or a walk through a building without Wi-Fi.
 */
const DEFAULT_PATIENCE_MS = 120_000;
/** Name and version of this package, as the server's operator sees them. */
const AGENT = "nucleus-client-web/0.1.0";

/** The options that rooms and social sessions have in common. */
export interface ServerOptions {
  /** The server, `host:port`; without a port, 5055 is used. */
  server: string;
  /**
   * The join token, from the application's backend or from `nucleus token`; or a function that
   * returns one. A function is asked again before the session's ticket ends, when a server
   * refuses the token during a return, and when the server's certificate may have been renewed.
   */
  token: string | TokenProvider;
  /** Display name, at most 128 bytes. Default: the name in the token. */
  name?: string;
  /** Name and version of the application for the server's operator, at most 128 bytes. */
  agent?: string;
  /**
   * How long the client tries to come back after a lost session, in ms. 0: not at all. Default: two
   * minutes.
   */
  patienceMs?: number;
  /**
   * SHA-256 digests of the server's certificates that are trusted. Default: those that the newest
   * two tokens name; without any, the browser's roots decide. So take tokens only from where you
   * trust.
   */
  pins?: readonly Uint8Array[];
  /**
   * Gives up when it aborts before the session stands: rejects with the signal's reason. Later
   * aborts have no effect.
   */
  signal?: AbortSignal;
  /** What moves the bytes. Default: WebTransport. */
  carrier?: Carrier;
  /** The clock. Default: the browser's. */
  clock?: Clock;
}

/** Options of {@link connect}: the server, the token, and which room to join. */
export interface ConnectOptions extends ServerOptions, SelectionOptions {
  /** The room's name, 1 to 128 bytes. Default: the room that the token names, else "demo". */
  room?: string;
  /**
   * Resumes the session of a ticket that `Room.ticket` exported, for example before the page was
   * loaded again. The room is the ticket's, whatever the other options say. If the server no
   * longer has the participant, the client joins the room as a new peer. The event "resumed"
   * tells that the session was resumed. A text that is no ticket is ignored, and so is
   * `null`, which `sessionStorage` returns for a key that is not there. Use a ticket once.
   */
  ticket?: string | null;
}

/** What a room and a social session begin with. */
export interface Opening {
  server: string;
  token: string;
  name: string;
  agent: string;
  client: ClientOptions;
  driver: DriverOptions;
}

/** Longest part of a wrong address that an error repeats. */
const SHOWN_CHARACTERS = 60;

function serverProblem(server: string): string {
  const shown = JSON.stringify(server.slice(0, SHOWN_CHARACTERS));
  return (
    `the server ${shown} is no address. Write host:port, for example "example.com:5055", ` +
    "without https:// and without a path"
  );
}

/** Checks the options, gets the first token, and returns what the client and its driver need. Throws. */
export async function openingOf(options: ServerOptions): Promise<Opening> {
  const server = String(options.server ?? "").trim();
  check(addressOf(server) !== undefined, serverProblem(server));
  const clock = options.clock ?? SYSTEM_CLOCK;
  const provider = typeof options.token === "function" ? options.token : undefined;
  const given = typeof options.token === "string" ? trimmed(options.token) : undefined;
  const patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
  check(!Number.isNaN(Number(patienceMs)), "patienceMs must be a number");
  options.signal?.throwIfAborted();
  const token = provider
    ? await provide(clock, provider, FIRST_TOKEN_MS, options.signal)
    : (given ?? "");
  return {
    server,
    token,
    name: options.name ?? "",
    agent: options.agent ?? AGENT,
    client: {
      patienceMs: Math.max(patienceMs, 0),
      hasTokenProvider: provider !== undefined,
      random: Math.random,
    },
    driver: {
      carrier: options.carrier ?? new WebTransportCarrier(),
      clock,
      pins: options.pins,
      provider,
    },
  };
}

/**
 * Connects to a server and joins a room. If the server refuses the join and names other servers,
 * tries these, for at most 30 s.
 *
 * Rejects with a {@link NucleusError}: the name of the code with which the server refused;
 * "invalidOptions", before the first packet, also if `server` is no address or `token` no token;
 * "noToken", with what the token provider threw as its `cause`; or "notReachable",
 * "noServerAnswer", "connectionLost" or "protocolError".
 */
export async function connect(options: ConnectOptions): Promise<Room> {
  const selection = selectionOf(options);
  const { server, token, name, agent, client, driver } = await openingOf(options);
  const ticket = ticketFromText(options.ticket ?? "");
  const named = isMatch(selection.mode)
    ? (options.room ?? "")
    : (options.room ?? roomIn(token) ?? DEFAULT_ROOM);
  const join: RoomJoin = ticket
    ? { token, name, agent, room: ticket.room, selection: forRejoin(selection), ticket }
    : { token, name, agent, room: named, selection, ticket };
  checkJoin(join);
  const roomClient = new RoomClient(driver.clock.now(), server, join, client);
  return Room._join(roomClient, driver, ticket?.sent, options.signal);
}

export type { NucleusError };
