/**
 * The inputs, outputs and steps of a `ClientSession`, and the contract by which a shell drives
 * it.
 */

import type { ConnectionEnd } from "../carrier/carrier.js";
import type { Lane } from "../wire/messaging.js";
import type { NucleusError } from "./error.js";
import type { ReceivedItem, StreamSource } from "./incoming.js";
import type { StreamAction, StreamTarget } from "./outgoing.js";

/** What a client joins: a room, or the users outside rooms. */
export type SessionPurpose = "room" | "social";

/** How a client behaves, whatever it joins. */
export interface ClientOptions {
  /** How long the client tries to come back after a loss, in ms. */
  patienceMs: number;
  /** Whether the caller provides fresh tokens. The application is not asked for them then. */
  hasTokenProvider: boolean;
  /** Returns a random number from 0 to 1, which must differ between clients. */
  random: () => number;
}

/** An input of a `ClientSession`. */
export type SessionInput =
  /** The connection that was asked for stands. Its datagrams hold so many bytes; 0: none. */
  | { kind: "connected"; maxDatagramSize: number }
  /** There is no connection. */
  | { kind: "notConnected"; error: NucleusError }
  /** The server has opened a stream. The number is the caller's choice. */
  | { kind: "streamOpened"; number: number }
  /** Bytes of a stream have come. */
  | { kind: "bytes"; source: StreamSource; bytes: Uint8Array }
  /** A stream of the server has ended. A broken one may lack bytes. */
  | { kind: "streamEnded"; source: StreamSource; isBroken: boolean }
  /** The newest bytes for this stream are written. */
  | { kind: "written"; target: StreamTarget }
  /** The server has everything on a stream that was ended. */
  | { kind: "finished"; target: StreamTarget }
  /** The server reads a stream no longer. The close that says why should follow. */
  | { kind: "stopped"; target: StreamTarget }
  /**
   * The connection has ended, but the caller can still read what has arrived. The caller goes on to
   * read what is wanted; "closed" follows when that is read. A final end is one after which the
   * client does not come back: then all of it is wanted, also for an application that is behind.
   */
  | { kind: "ending"; isFinal: boolean }
  /** The connection has ended. No further input of this connection may follow. */
  | { kind: "closed"; end: ConnectionEnd };

/** An output of a `ClientSession`. */
export type SessionOutput =
  /**
   * Drop the connection, if there is one, or the try to connect. Connect to this server,
   * `host:port`, and open the control stream.
   */
  | { kind: "connect"; server: string }
  /**
   * Write to a stream, or end it. No further action for the stream follows before "written" or
   * "finished".
   */
  | ({ kind: "stream" } & StreamAction)
  /** Stop a stream that the server has opened, with the code "malformed". */
  | { kind: "refuse"; number: number }
  /** Close the connection, if there is one. */
  | { kind: "close"; code: number; text: string };

/** What the owner of a `ClientSession` applies to what it knows. */
export type SessionStep =
  /** A connection stands: call `open`. */
  | { kind: "open"; maxDatagramSize: number; mayHaveCreated: boolean }
  /** The server's answer to the join: call `begin` or `fail`. */
  | { kind: "answered"; features: number; body: Uint8Array }
  /** A join has failed: call `joinFailed`, `joinFailedForNow` or `joinAgain`. */
  | { kind: "notJoined"; error: NucleusError }
  /** A message has come. */
  | { kind: "received"; item: ReceivedItem }
  /** The bytes for a lane are written. */
  | { kind: "written"; lane: Lane }
  /** The session is lost, and the client comes back. `code` is the server's reason. */
  | { kind: "lost"; code: number | undefined; text: string }
  /** The first join has failed for good. */
  | { kind: "failed"; error: NucleusError }
  /** The session is closed for good. This is the last step. */
  | { kind: "closed"; code: number | undefined; text: string };
