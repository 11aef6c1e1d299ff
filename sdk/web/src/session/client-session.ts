/**
 * `ClientSession`: all sessions of one client with its servers, one after the other. It joins, reads
 * and writes the streams, and comes back after a loss. Rooms and social sessions use it.
 */

import type { ConnectionEnd } from "../carrier/carrier.js";
import { CODES } from "../wire/code.js";
import { Ping } from "../wire/handshake.js";
import { MAX_CONTROL_MESSAGE } from "../wire/limits.js";
import { Joined, Leave } from "../wire/messages.js";
import type { Lane } from "../wire/messaging.js";
import { encodeMessage, type Schema } from "../wire/schema.js";
import { Entered } from "../wire/social.js";
import { localError, messageOf, NucleusError } from "./error.js";
import { IncomingStreams, type StreamSource } from "./incoming.js";
import { endpointsOf, expectAnswer, hello, welcome } from "./opening.js";
import { concat, OutgoingStreams } from "./outgoing.js";
import { joinErrorOf, LONGEST_PATIENCE_MS, mayReconnect, reasonOf } from "./reconnect.js";
import type {
  ClientOptions,
  SessionInput,
  SessionOutput,
  SessionPurpose,
  SessionStep,
} from "./step.js";
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
/**
 * Longest time from the end of one of the server's streams to the close that gives the reason, in
 * ms. The server sends both at once, so this allows for lost packets.
 */
const CLOSE_MS = 2_000;
/** Longest time that a leave waits for the server's confirmation, in ms. */
const LEAVE_MS = 1_000;

/** A join at one server, with one or more attempts. */
interface Joining {
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
type Phase =
  | { kind: "idle" | "running" | "closed" }
  | { kind: "pausing" | "leaving"; until: number }
  | Joining;

/** The streams of a connection. */
class SessionStreams {
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

/**
 * All sessions of one client with its servers.
 *
 * The owner passes what has arrived to `handle`, and calls `handleTimeout` at `deadline`. It carries
 * out the outputs of `pollOutput`, and applies the steps of `nextStep` to what it knows.
 */
export class ClientSession {
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

  /** Begins the first join. */
  start(now: number): void {
    if (this._phase.kind === "idle") {
      this._nextTry(now);
    }
  }

  /** Handles an input. */
  handle(now: number, input: SessionInput): void {
    const streams = this._streams;
    switch (input.kind) {
      case "connected":
        return this._connected(input.maxDatagramSize);
      case "notConnected":
        return this._attemptFailed(now, input.error);
      case "closed":
        return this._closed(now, input.end);
      case "ending":
        if (streams) {
          streams.isDraining ||= input.isFinal;
        }
        return;
    }
    if (!streams) {
      return;
    }
    const { incoming, outgoing } = streams;
    switch (input.kind) {
      case "streamOpened":
        incoming.open(input.number);
        break;
      case "bytes":
        incoming.push(input.source, input.bytes);
        break;
      case "streamEnded":
        incoming.end(input.source, input.isBroken);
        streams.isAnswerOver ||= input.source === "control" && !input.isBroken;
        break;
      case "written":
        outgoing.written(input.target);
        if (input.target !== "control") {
          this._steps.push({ kind: "written", lane: input.target });
        }
        break;
      case "finished":
        outgoing.finished(input.target);
        break;
      case "stopped":
        incoming.hasEndedStream = true;
        break;
    }
    this._readAnswer(now);
  }

  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void {
    const phase = this._phase;
    if (phase.kind === "joining" && phase.attempt !== "decided") {
      if (Math.min(this._tries.deadline(), phase.deadline) <= now) {
        this._giveUpAttempt(this._noAnswer());
      } else {
        this._attemptTimeout(now);
      }
    } else if (phase.kind === "pausing" && phase.until <= now) {
      this._nextTry(now);
    } else if (phase.kind === "leaving" && phase.until <= now) {
      this.close();
    } else if (phase.kind === "running" && this._isReading) {
      if (this._streams && this._streams.lostAt <= now) {
        this._streamEnded(now);
      }
    }
  }

  /** Returns when {@link handleTimeout} must be called next; `Infinity`: never. */
  deadline(): number {
    const phase = this._phase;
    switch (phase.kind) {
      case "pausing":
      case "leaving":
        return phase.until;
      case "joining":
        // The owner waits for a token, as long as the tries last.
        return phase.attempt === "decided"
          ? this._tries.deadline()
          : Math.min(phase.deadline, phase.until, this._tries.deadline());
      case "running":
        // While nothing is read, the close may wait behind other bytes.
        return this._isReading ? (this._streams?.lostAt ?? Infinity) : Infinity;
      default:
        return Infinity;
    }
  }

  /** Returns the next output. */
  pollOutput(): SessionOutput | undefined {
    const output = this._outputs.shift();
    if (output || !this._streams) {
      return output;
    }
    const number = this._streams.incoming.takeRefused();
    if (number !== undefined) {
      return { kind: "refuse", number };
    }
    const action = this._streams.outgoing.poll();
    return action && { kind: "stream", ...action };
  }

  /** Returns the next step. The owner must apply each step before it asks for the next one. */
  nextStep(now: number): SessionStep | undefined {
    const waiting = this._steps.shift();
    const streams = this._streams;
    if (waiting || !streams || !(this.isRunning() || this.isLeaving())) {
      return waiting;
    }
    // What is not read comes again with the resume.
    if (this._reads()) {
      try {
        const item = streams.incoming.next();
        if (item) {
          return { kind: "received", item };
        }
      } catch (error) {
        this.fail(error);
        return this._steps.shift();
      }
      if (streams.incoming.hasEndedStream) {
        streams.lostAt = Math.min(streams.lostAt, now + CLOSE_MS);
      }
    }
    if (streams.end) {
      const { code, text } = reasonOf(streams.end);
      this._lost(now, code, text);
    }
    return this._steps.shift();
  }

  /**
   * Sets whether messages are wanted. Otherwise they stay at the server, and the carrier's flow
   * control makes the senders wait.
   */
  setReading(isReading: boolean): void {
    this._isReading = isReading;
  }

  /** Returns whether bytes of the stream are wanted now. The caller reads a stream only then. */
  wants(source: StreamSource): boolean {
    if (!this._streams) {
      return false;
    }
    return this._phase.kind === "joining"
      ? source === "control"
      : this._reads() && this._streams.incoming.wants(source);
  }

  /** Returns whether the caller should accept a stream that the server opens. */
  wantsStream(): boolean {
    return this._reads() && (this._streams?.incoming.wantsStream() ?? false);
  }

  _reads(): boolean {
    const { kind } = this._phase;
    const isDraining = this._streams?.isDraining ?? false;
    return this._isReading || isDraining || kind === "joining" || kind === "leaving";
  }

  /** Answers the step "open" with the encoded `Join` or `Enter`. */
  open(message: Uint8Array): void {
    this._streams?.outgoing.pushControl(concat(hello(this._agent), message));
  }

  /**
   * Answers the step "answered": the session has begun. `lastSequences` are those of earlier
   * sessions, by lane; 0 for a new peer. `entries` is where clients enter again.
   */
  begin(
    features: number,
    rosterVersion: number,
    lastSequences: readonly [bigint, bigint],
    entries: readonly Uint8Array[],
  ): void {
    this._phase = { kind: "running" };
    this._tries.joined(endpointsOf(entries));
    if (this._streams) {
      const { incoming } = this._streams;
      incoming.features = features;
      incoming.rosterVersion = rosterVersion;
      incoming.lastSequences = [...lastSequences];
    }
  }

  /** Closes the session for good, because the server has broken the protocol. */
  fail(error: unknown): void {
    this.end(CODES.malformed, messageOf(error));
  }

  /** Closes the session for good, with a reason for the server and the application. */
  end(code: number, text: string): void {
    this._close(code, text, code, text);
  }

  /**
   * Closes the session for good, because the application does not take its events. `code` is the
   * server's reason for the loss before.
   */
  endUntaken(code: number | undefined): void {
    this.end(code ?? CODES.slowConsumer, "the application takes no events");
  }

  /** Leaves by closing the connection at once, without waiting for an answer. */
  close(): void {
    this._close(CODES.leaving, "", CODES.left, "closed by this client");
  }

  _close(sent: number, sentText: string, code: number, text: string): void {
    if (!this.isClosed()) {
      this._outputs.push({ kind: "close", code: sent, text: sentText });
      this._steps.push({ kind: "closed", code, text });
      this._endSession({ kind: "closed" });
    }
  }

  /** Drops the streams, and keeps how far the events were handed on. */
  _endSession(next: Phase): void {
    this._lastSequences = this.lastSequences();
    this._phase = next;
    this._streams = undefined;
  }

  /** Leaves: what was written before still arrives. The step "closed" follows within 1 s. */
  leave(now: number): void {
    if (this.isRunning() && this._streams) {
      this._streams.outgoing.leave(encodeMessage(Leave, { code: CODES.left }));
      this._phase = { kind: "leaving", until: now + LEAVE_MS };
    } else if (!this.isLeaving()) {
      this.close();
    }
  }

  /** Tries at once, if the client waits for its next try: the network may be back. */
  tryNow(now: number): void {
    if (this._phase.kind === "pausing") {
      this._phase.until = now;
    }
  }

  /** Gives a client that comes back more time, because the program stood still for so many ms. */
  extend(ms: number): void {
    this._tries.extend(ms);
    if (this._phase.kind === "joining") {
      this._phase.deadline += ms;
      this._phase.until += ms;
    }
  }

  /** Returns whether the time to come back after a loss is over. */
  isReturnOver(now: number): boolean {
    return this._tries.deadline() <= now;
  }

  /** Returns whether there is a session, and no leave of it. */
  isRunning(): boolean {
    return this._phase.kind === "running";
  }

  /** Returns whether the client has said that it leaves, and waits for the close. */
  isLeaving(): boolean {
    return this._phase.kind === "leaving";
  }

  /** Returns whether the session is closed for good. */
  isClosed(): boolean {
    return this._phase.kind === "closed";
  }

  /** Returns whether a message of this schema may travel in this session. */
  allows(schema: Schema): boolean {
    return (schema.feature & ~(this._streams?.incoming.features ?? 0)) === 0;
  }

  /** Sets the version of the roster. Events that waited for it are handed on. */
  setRosterVersion(version: number): void {
    if (this._streams) {
      this._streams.incoming.rosterVersion = version;
    }
  }

  /**
   * Returns the largest sequence of an event that was handed on in this session or those that it
   * resumes, by lane. Without a session, those of the newest one.
   */
  lastSequences(): [bigint, bigint] {
    const hasSession = this.isRunning() || this.isLeaving();
    return [...((hasSession && this._streams?.incoming.lastSequences) || this._lastSequences)];
  }

  /** Returns whether few enough messages wait for the control stream. */
  canSend(): boolean {
    return this.isRunning() && (this._streams?.outgoing.canPushControl() ?? false);
  }

  /** Sends a message on the control stream, after all earlier ones, see {@link canSend}. */
  send(message: Uint8Array): void {
    if (this.isRunning()) {
      this._streams?.outgoing.pushControl(message);
    }
  }

  /** Keeps the session alive, for a client without datagrams. */
  ping(): void {
    if (this.canSend()) {
      this.send(encodeMessage(Ping, {}));
    }
  }

  /** Returns whether a message may be written to a lane now. */
  canWrite(lane: Lane): boolean {
    return this.isRunning() && (this._streams?.outgoing.canWrite(lane) ?? false);
  }

  /** Writes a message to a lane. The step "written" follows. */
  write(lane: Lane, message: Uint8Array): void {
    this._streams?.outgoing.write(lane, message);
  }

  /** Handles the end of a connection. */
  _closed(now: number, end: ConnectionEnd): void {
    // The answer may have come together with the end.
    this._readAnswer(now);
    if (this._phase.kind === "joining" && this._phase.attempt === "opening") {
      this._attemptFailed(now, joinErrorOf(end));
    } else if (this._streams) {
      this._streams.end = end;
    }
  }

  /** Handles a stream that the server has ended without closing the connection in time. */
  _streamEnded(now: number): void {
    const { code, text } = reasonOf(
      this._streams?.end ?? {
        kind: "lost",
        text: "the server ended a stream without closing the session",
      },
    );
    // To the server, a close with code 0 is a lost session, so the client can resume.
    this._outputs.push({ kind: "close", code: CODES.left, text });
    this._lost(now, code, text);
  }

  /** Handles the end of a session. */
  _lost(now: number, code: number | undefined, text: string): void {
    const isLeaving = this.isLeaving();
    this._endSession({ kind: "closed" });
    if (isLeaving || !mayReconnect(code) || this._patienceMs <= 0) {
      this._steps.push({ kind: "closed", code, text });
      return;
    }
    this._tries.beginReturn(now, this._patienceMs, this._noAnswer());
    this._steps.push({ kind: "lost", code, text });
    this._nextTry(now);
  }

  /** Answers the step "notJoined": the same server is asked again at once. */
  joinAgain(now: number): void {
    if (this._phase.kind === "joining") {
      // The owner may have waited for long before, for example for a token, so the time for the join
      // begins anew.
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
      // On a bad network a join can take longer than the five seconds that the server allows. And the
      // server may still count the abandoned attempt as a participant.
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
      `no answer from ${this._server}: is the server running, and its UDP port open on the way to it?`,
    );
  }
}

/** Returns what was thrown while the answer was read: a refusal, or an invalid answer. */
function invalidAnswer(error: unknown): NucleusError {
  if (error instanceof NucleusError) {
    return error;
  }
  const text = `the server's answer is invalid: ${messageOf(error)}`;
  return localError("protocolError", `${text}. Are client and server versions compatible?`);
}
