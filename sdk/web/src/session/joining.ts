/** How a `ClientSession` joins: the attempts at one server, and the next server. */

import type { ConnectionEnd } from "../carrier/carrier.js";
import { CODES } from "../wire/code.js";
import { MAX_CONTROL_MESSAGE } from "../wire/limits.js";
import { Joined } from "../wire/messages.js";
import { Entered } from "../wire/social.js";
import { localError, messageOf, NucleusError } from "./error.js";
import { IncomingStreams } from "./incoming.js";
import { expectAnswer, welcome } from "./opening.js";
import { OutgoingStreams } from "./outgoing.js";
import { LONGEST_PATIENCE_MS } from "./reconnect.js";
import type { ClientOptions, SessionOutput, SessionPurpose, SessionStep } from "./step.js";
import { Tries } from "./tries.js";

/**
 * Longest time from the first packet to the server's answer, in ms. Allows for several lost packets
 * on a bad network, and ends before a user gives up.
 */
const JOIN_MS = 10_000;
/**
 * Longest time of one attempt to join, in ms. It has the look-up of the server's name in it, which
 * the browser does.
 */
const ATTEMPT_MS = 5_000;
/** Pause before the next attempt if the server still counts the abandoned one, in ms. */
const ABANDONED_JOIN_PAUSE_MS = 500;
/** A join at one server, with one or more attempts. */
export interface Joining {
  kind: "joining";
  server: string;
  /** When the join has failed. */
  deadline: number;
  /**
   * The attempt: the next one begins at `until`; there is no connection yet; the connection stands;
   * or the owner decides about the outcome.
   */
  attempt: "pausing" | "connecting" | "opening" | "decided";
  /** When the attempt ends. */
  until: number;
  /** The common set, if `Welcome` has come. */
  features: number | undefined;
  /** Whether an attempt was given up. The server may still count it as a participant. */
  hasAbandoned: boolean;
  /** Whether the room exists, most likely because the abandoned attempt created it. */
  mayHaveCreated: boolean;
}

/**
 * Where the client is: before the first join; between two tries, until a time; joining; in a
 * session; waiting for the close after its leave, until a time; closed for good.
 */
export type Phase =
  | { kind: "idle" | "running" | "closed" }
  | { kind: "pausing" | "leaving"; until: number }
  | Joining;

/** The streams of a connection. */
export class SessionStreams {
  readonly incoming = new IncomingStreams();
  readonly outgoing = new OutgoingStreams();
  /**
   * When the session counts as lost, because the server has ended a stream and does not close the
   * connection.
   */
  lostAt = Infinity;
  /** The end of the connection. What came before is handed on first. */
  end: ConnectionEnd | undefined;
  /** Whether everything that has arrived is read, because nothing else will come. */
  isDraining = false;
  /** Whether the server has ended the control stream in good order. */
  isAnswerOver = false;
}

/** The joining half of a `ClientSession`. */
export class SessionJoining {
  _purpose: SessionPurpose;
  _agent: string;
  _patienceMs: number;
  _random: () => number;
  _phase: Phase = { kind: "idle" };
  _tries: Tries;
  /** The server of the newest try. */
  _server: string;
  _streams: SessionStreams | undefined;
  /** Largest sequence that was handed on, by lane, at the end of the newest session. */
  _lastSequences: [bigint, bigint] = [0n, 0n];
  _isReading = true;
  _steps: SessionStep[] = [];
  _outputs: SessionOutput[] = [];

  /** Creates a client that is at no server yet. */
  constructor(purpose: SessionPurpose, server: string, agent: string, options: ClientOptions) {
    this._purpose = purpose;
    this._agent = agent;
    this._patienceMs = Math.min(options.patienceMs, LONGEST_PATIENCE_MS);
    this._random = options.random;
    this._tries = new Tries(server);
    this._server = server;
  }

  /** Answers the step "notJoined": the same server is asked again at once. */
  joinAgain(now: number): void {
    if (this._phase.kind === "joining") {
      // The owner may have waited for long before, for example for a token, so the time for the
      // join begins anew.
      this._phase.deadline = now + JOIN_MS;
      this._pauseAttempt(this._phase, now, 0);
    }
  }

  /**
   * Answers the step "notJoined": the join has failed, and a later try may help although the error
   * says otherwise.
   */
  joinFailedForNow(now: number, error: NucleusError): void {
    this._afterFailure(now, () => this._tries.failedForNow(now, error));
  }

  /** Answers the step "notJoined": the join at this server has failed. */
  joinFailed(now: number, error: NucleusError): void {
    this._afterFailure(now, () => this._tries.failed(now, error));
  }

  _afterFailure(now: number, note: () => void): void {
    // The owner may have closed the session while it waited for a token.
    if (this._phase.kind === "joining") {
      this._streams = undefined;
      note();
      this._nextTry(now);
    }
  }

  _connected(maxDatagramSize: number): void {
    const phase = this._phase;
    if (phase.kind === "joining" && phase.attempt === "connecting") {
      phase.attempt = "opening";
      phase.features = undefined;
      this._streams = new SessionStreams();
      const { mayHaveCreated } = phase;
      this._steps.push({ kind: "open", maxDatagramSize, mayHaveCreated });
    }
  }

  /** Reads the server's answers to the join. */
  _readAnswer(now: number): void {
    const phase = this._phase;
    const streams = this._streams;
    if (phase.kind !== "joining" || phase.attempt !== "opening" || !streams) {
      return;
    }
    const { control } = streams.incoming;
    let body: Uint8Array | undefined;
    try {
      phase.features ??= welcome(control);
      if (phase.features !== undefined) {
        const due = this._purpose === "room" ? Joined : Entered;
        body = expectAnswer(control, due, MAX_CONTROL_MESSAGE);
      }
    } catch (error) {
      return this._attemptFailed(now, invalidAnswer(error));
    }
    if (body && phase.features !== undefined) {
      phase.attempt = "decided";
      this._steps.push({ kind: "answered", features: phase.features, body });
    } else if (streams.isAnswerOver) {
      const ended = new Error("the stream ended in the middle of a message");
      this._attemptFailed(now, invalidAnswer(ended));
    }
  }

  /** Handles the failure of an attempt: another one may help within the same join. */
  _attemptFailed(now: number, error: NucleusError): void {
    const phase = this._phase;
    if (phase.kind !== "joining" || phase.attempt === "decided") {
      return;
    }
    const { joinTimeout, roomFull, alreadyJoined, roomExists } = CODES;
    const code = error.isRefusal ? error.number : undefined;
    const isCounted = code === roomFull || code === alreadyJoined;
    if (code === joinTimeout || (phase.hasAbandoned && isCounted)) {
      // On a bad network a join can take longer than the five seconds that the server allows. And
      // the server may still count the abandoned attempt as a participant.
      this._pauseAttempt(phase, now, ABANDONED_JOIN_PAUSE_MS);
    } else if (phase.hasAbandoned && code === roomExists && !phase.mayHaveCreated) {
      // Most likely the abandoned attempt created the room.
      phase.mayHaveCreated = true;
      this._pauseAttempt(phase, now, 0);
    } else {
      this._giveUpAttempt(error);
    }
  }

  _pauseAttempt(phase: Joining, now: number, ms: number): void {
    this._streams = undefined;
    phase.attempt = "pausing";
    phase.until = now + ms;
    this._attemptTimeout(now);
  }

  /** Ends the join with an error, about which the owner decides. */
  _giveUpAttempt(error: NucleusError): void {
    if (this._phase.kind === "joining") {
      this._phase.attempt = "decided";
      this._streams = undefined;
      this._steps.push({ kind: "notJoined", error });
    }
  }

  /** Begins the next attempt, if it is time. */
  _attemptTimeout(now: number): void {
    const phase = this._phase;
    if (phase.kind === "joining" && phase.attempt !== "decided" && phase.until <= now) {
      // The server may have taken the join.
      phase.hasAbandoned ||= phase.attempt === "opening";
      phase.attempt = "connecting";
      phase.until = now + ATTEMPT_MS;
      this._server = phase.server;
      this._outputs.push({ kind: "connect", server: phase.server });
      this._streams = undefined;
    }
  }

  /** Does what comes next to get a session. */
  _nextTry(now: number): void {
    const step = this._tries.next(now, this._random());
    switch (step.kind) {
      case "join":
        this._phase = {
          kind: "joining",
          server: step.server,
          deadline: now + JOIN_MS,
          attempt: "pausing",
          until: now,
          features: undefined,
          hasAbandoned: false,
          mayHaveCreated: false,
        };
        return this._attemptTimeout(now);
      case "pause":
        this._phase = { kind: "pausing", until: now + step.ms };
        return;
      case "giveUp":
        return this._giveUp(step.error);
    }
  }

  _giveUp(error: NucleusError): void {
    this._phase = { kind: "closed" };
    this._streams = undefined;
    this._outputs.push({ kind: "close", code: CODES.left, text: "" });
    const code = error.isRefusal ? error.number : undefined;
    this._steps.push(
      this._tries.isReturn
        ? { kind: "closed", code, text: error.message }
        : { kind: "failed", error },
    );
  }

  _noAnswer(): NucleusError {
    return localError(
      "noServerAnswer",
      `no answer from ${this._server}: is the server running, and UDP open on the way to it?`,
    );
  }
}

/** Returns what was thrown while the answer was read: a refusal, or an invalid answer. */
export function invalidAnswer(error: unknown): NucleusError {
  if (error instanceof NucleusError) {
    return error;
  }
  const text = `the server's answer is invalid: ${messageOf(error)}`;
  return localError("protocolError", `${text}. Are client and server versions compatible?`);
}
