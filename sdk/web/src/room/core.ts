/** What a client in a room knows: the state of a `RoomClient`, and how it queues events. */

import type { Joined } from "../wire/messages.js";
import { Replica } from "../state/replica.js";
import { Rpcs } from "../rpc/rpcs.js";
import type { GrantedLink } from "../realtime/plane.js";
import type { SentSequences } from "../realtime/sent.js";
import { EventBacklog } from "../session/backlog.js";
import { ClientSession } from "../session/client-session.js";
import type { NucleusError } from "../session/error.js";
import { ROOM_EVENTS } from "../session/held.js";
import { JoinToken } from "../session/join-token.js";
import { EventQueue } from "../session/queue.js";
import type { ClientOptions } from "../session/step.js";
import { noTicket, type ReturnTicket } from "../session/ticket.js";
import { BulkAssembly } from "./assembly.js";
import { Desired } from "./desired.js";
import type { RoomEvent } from "./event.js";
import type { RoomJoin } from "./join.js";
import { TokenRenewal } from "./renewal.js";
import { RoomRequests } from "./requests.js";
import { type PeerId, Roster } from "./roster.js";
import { type LanePosition, TakenEvents } from "./taken.js";

/** An output of a `RoomClient`, besides those of its session. */
export type RoomOutput =
  /**
   * There is a new session, and with it a new link of the realtime plane. The slots of another
   * instance of the room belong to other peers.
   */
  | { kind: "link"; link: GrantedLink; isSameRoom: boolean }
  /** The session is lost, and with it its link. */
  | { kind: "linkLost" }
  /** The roster names a peer. The application's event about it waits already. */
  | { kind: "peerJoined"; slot: number; peer: PeerId }
  /** A peer has left. */
  | { kind: "peerLeft"; slot: number; peer: PeerId }
  /** A fresh token is wanted: call `takeToken`. */
  | { kind: "tokenWanted" };

/** An event that waits for the application. */
interface WaitingEvent {
  event: RoomEvent;
  /** `undefined` if the event did not come on a lane. */
  position: LanePosition | undefined;
}

/** The state of a client in a room, over all of its sessions. */
export class RoomCore {
  /** The session, to ask what it wants. */
  readonly session: ClientSession;
  /** The peers of the room, this client included. */
  readonly roster = new Roster(0, []);
  /** This client's copy of the shared state. */
  readonly replica = new Replica();
  /** This client's peer id. */
  me: PeerId = 0;
  /** Whether so many events wait for the application that the session is not read. */
  isBehind = false;
  /** The error of the first join, if it has failed for good. */
  failure: NucleusError | undefined;
  /**
   * Events that were dropped because the client came back to a server that takes only smaller
   * ones.
   */
  tooLargeEvents = 0;
  readonly rpcs: Rpcs;
  _join: RoomJoin;
  _token: JoinToken;
  /** What resumes the newest session. */
  _ticket: ReturnTicket;
  /** When a fresh token is asked for. */
  _tokenWantedAt = Infinity;
  /** The largest body of the newest connection; 0: it has no realtime plane. */
  _largestBody = 0;
  /** `undefined` before the first session. */
  _instance: Uint8Array | undefined;
  /** Names the server's clock; `undefined` before the first session. */
  _clockEpoch: Joined["clockEpoch"] | undefined;
  /** Whether this session carries the shared state. */
  _hasState = false;
  /** The host as last reported to the application. */
  _host: PeerId | undefined;
  /** Largest event that the server takes, in bytes; 0: not known. */
  _maxEvent = 0;
  _outbox = new EventBacklog();
  _requests = new RoomRequests();
  _renewal = new TokenRenewal();
  _muted = new Desired<boolean>();
  _groups = new Desired<Uint8Array>();
  _bulk = new BulkAssembly();
  /** Number of the next object that this client creates. */
  _nextObject = 1;
  _events = new EventQueue<WaitingEvent>(ROOM_EVENTS);
  _taken: TakenEvents;
  /**
   * Largest sequence that a join as this peer has named, by lane. The server does not send the
   * events up to this one again.
   */
  _claimed: [bigint, bigint] = [0n, 0n];
  /** When a leave stops waiting for events that are not written. */
  _leavesAt = Infinity;
  _outputs: RoomOutput[] = [];

  constructor(server: string, join: RoomJoin, options: ClientOptions) {
    this.session = new ClientSession("room", server, join.agent, options);
    this._token = new JoinToken(join.token, options.hasTokenProvider);
    this._join = { ...join, token: "" };
    this._ticket = join.ticket ?? noTicket();
    this._taken = new TakenEvents(this._ticket.lastSequences);
    const random = () => Math.floor(options.random() * 2 ** 32);
    this.rpcs = new Rpcs(random());
    if (join.ticket) {
      // The page before has created objects as this peer, and may have deleted them since: begin
      // where it has hardly been.
      this._nextObject = random();
    }
  }

  /** Whether the client has left, or is closed for good. */
  get isClosed(): boolean {
    return this.session.isClosed() || this._leavesAt < Infinity;
  }

  /** Whether the client has had a session. */
  get hasJoined(): boolean {
    return this._instance !== undefined;
  }

  /** The room's name. The server may have chosen it. */
  get roomName(): string {
    return this._join.room;
  }

  /** The token of the next join. */
  get joinToken(): string {
    return this._renewal.newest ?? this._token.newest;
  }

  /** How many messages of the bulk lane could not be assembled. */
  get bulkDropped(): number {
    return this._bulk.dropped;
  }

  /** The host of the room. */
  get host(): PeerId | undefined {
    return this.replica.host(this.roster);
  }

  /**
   * Returns what resumes this session, for example in another page, after the events that the
   * application has taken. Hand it out only when this client no longer uses it: the server gives
   * the session to whoever comes last.
   */
  ticket(sent: SentSequences): ReturnTicket | undefined {
    const lastSequences = this._taken.lastSequences();
    const isClaimed = this._claimed.some((named, lane) => named > (lastSequences[lane] ?? 0n));
    // The pieces before the last message that was taken do not come again.
    const isBegun = this._bulk.hasBegunBy(lastSequences[1]);
    const isPartial = isClaimed || isBegun || this._ticket.isPartial;
    return this._ticket.ticket.length > 0
      ? { ...this._ticket, sent, lastSequences, isPartial }
      : undefined;
  }

  /** Asks for a fresh token. `withinMs` is how long the ticket still admits to another instance. */
  _askForToken(withinMs: number | undefined): void {
    this._tokenWantedAt = Infinity;
    if (this._token.hasProvider) {
      this._token.ask();
    } else {
      this._push({ kind: "tokenWanted", withinMs });
    }
  }

  /** Ends the requests that wait for replies. */
  _endRequests(): void {
    this._requests.endAll();
    this._settleDesired();
  }

  /** Passes the results of desired settings on. */
  _settleDesired(): void {
    this._muted.settle(this._requests);
    this._groups.settle(this._requests);
  }

  /**
   * Queues an event for the application. `isFree` says that it does not count towards the limit:
   * events that describe a whole roster or state occur once a session, and their number is
   * bounded by the room's peers, objects and fields. If they counted, a client that joins a large
   * room would not receive the reply to its first request.
   */
  _push(event: RoomEvent, isFree = false, position?: LanePosition): void {
    this._taken.queue(event.kind, position);
    this._events.push({ event, position }, isFree);
  }

  /** Takes the next event, and leaves out requests that do not wait for an answer any more. */
  _popEvent(now: number): RoomEvent | undefined {
    for (;;) {
      const waiting = this._events.pop();
      if (!waiting) {
        return undefined;
      }
      const { event, position } = waiting;
      this._taken.take(event.kind, position);
      if (event.kind !== "rpcRequest") {
        return event;
      }
      const timeoutMs = this.rpcs.timeLeft(now, event.id);
      if (timeoutMs !== undefined) {
        return { ...event, timeoutMs };
      }
    }
  }
}
