/** The errors that an application sees, and those of a server that breaks the protocol. */

import { type CodeName, codeName } from "../wire/code.js";

/** Why an operation has failed, besides the codes of the protocol. */
export type LocalErrorCode =
  /** An option is outside its limits. Nothing was sent. */
  | "invalidOptions"
  /** There is no connection to the server. */
  | "notReachable"
  /** The connection broke before the server answered. */
  | "connectionLost"
  /** The server did not answer in time. */
  | "noServerAnswer"
  /** The server broke the protocol. */
  | "protocolError"
  /** The server refused, with a number that this version does not know. */
  | "unknownCode"
  /** The payload is too large. Nothing was sent. */
  | "tooLarge"
  /** The channel is reserved for the protocol. */
  | "reservedChannel"
  /** The type of an event or the method of a request is not 1 to 64 bytes of plain text. */
  | "invalidName"
  /** The event names too many peers. */
  | "tooManyPeers"
  /** Messages of the bulk lane are not kept for peers that join later. */
  | "notKept"
  /** The server, or this client, lacks the feature. */
  | "notOffered"
  /** A realtime message goes to the others, one peer, the host or a group. */
  | "invalidTarget"
  /** A pose, a voice packet or another argument has a value that cannot be sent. */
  | "invalidArgument"
  /** There is no capacity now. Try again later. */
  | "wouldBlock"
  /** The recipient is not in the room. */
  | "unknownPeer"
  /** The room or the social session is closed. */
  | "closed"
  /** The session was lost before the reply. It is unknown whether the request was carried out. */
  | "interrupted"
  /** The session is lost and not resumed yet. Nothing was sent. */
  | "notConnected"
  /** The application is too far behind with its events. Nothing was sent. */
  | "behind"
  /** Too many requests wait. Nothing was sent. */
  | "tooMany"
  /** A change of the state violates a limit. Nothing was sent. */
  | "invalidBatch"
  /** The callee's application reports a failure: see `number`, and the message. */
  | "rpcFault"
  /** The callee has no such method. */
  | "noSuchMethod"
  /** Too many requests wait at the callee. */
  | "peerBusy"
  /** No answer of the peer came in time. */
  | "rpcTimedOut"
  /** The callee left the room before its answer arrived. */
  | "peerLeft"
  /** A client does not send a request to itself. */
  | "toSelf"
  /** The request of a peer does not wait for an answer. */
  | "notWaiting"
  /** The code of an answer is reserved for the protocol. */
  | "reservedCode"
  /** The application's token provider failed, or gave no token: see `cause`. */
  | "noToken"
  /**
   * The browser does not encode or decode Opus, or the microphone has stopped. Such errors come
   * from a bundle of its own: recognise them by `name` or `code`, and not by `instanceof`.
   */
  | "noVoice";

/** Details of a {@link NucleusError}. */
export interface ErrorDetails {
  /** The number on the wire: of a refusal, or of a peer's failure. */
  number?: number;
  /** The shortest pause before another attempt, in ms, if the server named one. */
  retryAfterMs?: number;
  /** Other servers to try, each `host:port`. */
  endpoints?: string[];
  /** Whether a certificate that is not trusted may be the reason. */
  mayBeCertificate?: boolean;
  /** Index of the refused operation of a change, from 0. */
  operation?: number;
  /** Version of the state on which the server decided. */
  version?: bigint;
  /** The text of a peer's failure, as the peer wrote it. */
  text?: string;
  /** The application's own error that led to this one. */
  cause?: unknown;
}

/** An operation has failed. The message says what to do. */
export class NucleusError extends Error {
  /**
   * The reason: of this client, or the name of the protocol's code with which the server refused,
   * for example "roomFull".
   */
  readonly code: LocalErrorCode | CodeName;
  /** The number on the wire: of a refusal, or of a peer's failure. */
  readonly number: number | undefined;
  /** The shortest pause before another attempt, in ms, if the server named one. */
  readonly retryAfterMs: number | undefined;
  /** Other servers to try, each `host:port`; empty if the server named none. */
  readonly endpoints: readonly string[];
  /** Whether a certificate that is not trusted may be the reason. */
  readonly mayBeCertificate: boolean;
  /** Index of the refused operation of a change, from 0. */
  readonly operation: number | undefined;
  /** Version of the state on which the server decided. */
  readonly version: bigint | undefined;
  /** The text of a peer's failure, as the peer wrote it: hostile input. */
  readonly text: string | undefined;
  /** Whether the server refused. */
  readonly isRefusal: boolean;

  constructor(
    code: LocalErrorCode | CodeName,
    message: string,
    details: ErrorDetails = {},
    isRefusal = false,
  ) {
    super(message, "cause" in details ? { cause: details.cause } : undefined);
    this.name = "NucleusError";
    this.code = code;
    this.number = details.number;
    this.retryAfterMs = details.retryAfterMs;
    this.endpoints = details.endpoints ?? [];
    this.mayBeCertificate = details.mayBeCertificate ?? false;
    this.operation = details.operation;
    this.version = details.version;
    this.text = details.text;
    this.isRefusal = isRefusal;
  }
}

/** Returns the error of an operation that this client does not carry out. */
export function localError(
  code: LocalErrorCode,
  message: string,
  details?: ErrorDetails,
): NucleusError {
  return new NucleusError(code, message, details);
}

/** Returns the error of a refusal by the server. `text` is the server's explanation. */
export function refusal(number: number, text: string, details: ErrorDetails = {}): NucleusError {
  const code = codeName(number);
  const name = code ?? `code ${number}`;
  const seconds = Math.ceil((details.retryAfterMs ?? 0) / 1_000);
  const retry = seconds > 0 ? ` Try again in ${seconds} s.` : "";
  const advice = (code && ADVICE[code]) ?? "";
  const message = `the server refused (${name}): ${text || reasonOf(number)}.${advice}${retry}`;
  return new NucleusError(code ?? "unknownCode", message, { ...details, number }, true);
}

/** Returns the meaning of a code with which a server refuses without a text. */
export function reasonOf(number: number): string {
  const code = codeName(number);
  return code ? REASONS[code] : "no reason given";
}

/** The meanings of the codes, for a refusal without a text. The Rust client has the same. */
const REASONS: Readonly<Record<CodeName, string>> = {
  left: "the client left",
  leaving: "the client left",
  version: "client and server have no version of the protocol in common",
  malformed: "a message was invalid",
  joinTimeout: "the join did not arrive in time",
  tokenMalformed: "the token is not complete",
  tokenAlgorithm: "the server does not take tokens of this algorithm",
  tokenSignature: "the signature of the token is wrong",
  tokenExpired: "the token has expired",
  tokenNotYetValid: "the token is not valid yet",
  tokenAudience: "the token is for another server",
  roomNotAllowed: "the token does not permit this room",
  badName: "the name is against the rules",
  roomFull: "the room is full",
  suite: "client and server have no encryption in common",
  alreadyJoined: "the user is in the room with another device",
  joinRate: "the user does this too often",
  roomLocked: "the room is locked",
  roomExists: "there is a room of this name",
  noSuchRoom: "there is no such room",
  incompatible: "the room is for another version of the application",
  serverFull: "the server is full",
  shuttingDown: "the server is shutting down",
  internal: "the server failed",
  wrongPassword: "the password is wrong",
  notInvited: "the user is not invited",
  tenantFull: "there are too many sessions",
  tenantRooms: "there are too many rooms",
  userSessions: "the user has too many sessions",
  tenantCalls: "there are too many calls",
  moved: "another server takes the join",
  eventTooLarge: "an event was too large, or named too many peers",
  slowConsumer: "the client reads too slowly",
  timedOut: "nothing was received for too long",
  eventRate: "the client sends too many events",
  replaced: "another session has replaced this one",
  kicked: "a moderator removed the user",
  roomEnded: "a moderator ended the room",
  actRate: "the moderators of the room act too fast",
  forbidden: "the role and the grants in the token do not allow it",
  noSuchEntity: "there is no such peer, object or call",
  conflict: "the field has another version, or the object another owner",
  badState: "a name, a value or a number is against the rules",
  stateFull: "the state of the room is full",
  roomObjects: "the room has too many objects",
  peerObjects: "the user has too many objects",
  entityFields: "there are too many fields",
  busy: "the user is in a call, or wants none",
  unreachable: "the user is not connected",
  noAnswer: "nobody accepted the call in time",
  declined: "the user rejected the call",
  cancelled: "the caller cancelled the call",
  answered: "the call was accepted already",
};

/** What a person can do about a refusal. */
const ADVICE: Readonly<Partial<Record<CodeName, string>>> = {
  version: " Update the client or the server, whichever is older.",
  tokenMalformed: " Use the complete token, as `nucleus token` printed it.",
  tokenExpired: " Get a new token.",
  tokenNotYetValid: " Check the clocks of both machines.",
  tokenAlgorithm: " Get a token for this server.",
  tokenSignature: " Get a token for this server.",
  tokenAudience: " Get a token for this server.",
  roomNotAllowed: " Get a token for this room, or join the room that the token names.",
  roomFull: " Choose another room.",
  roomExists: " Choose another name, or join the room.",
  noSuchRoom: " Create a room, or use fewer conditions.",
  incompatible: " Update the older application.",
  wrongPassword: " Ask the creator of the room.",
  notInvited: " Ask for an invitation.",
  alreadyJoined: " Leave the room on the other device first.",
  serverFull: " Try again later or on another server.",
  shuttingDown: " Try again later or on another server.",
};

/** The server broke the protocol. Ends the session with the code "malformed". */
export class ProtocolError extends Error {}

/** Returns the message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
