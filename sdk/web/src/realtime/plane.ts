// The realtime plane of one room: which messages are sent, and which of the received ones are
// delivered.
//
// Sent messages get sequence numbers. Received messages are dropped if they are duplicates, or if
// they are older than one that replaces them. A message is delivered only when the roster names its
// sender. It then waits in an inbox until the application takes it.
//
// The caller passes datagrams to `datagram`, calls `handleTimeout` at `deadline`, and after each of
// these and after `send` calls `takeDatagram` until it returns nothing. The application takes
// messages when it wants to, for example once a frame:
//
// | call | returns |
// |---|---|
// | `pop` | each message once, in the order of arrival |
// | `popVoice` | each voice packet of one speaker once, for a jitter buffer |
// | `poses` | the newest pose of everyone, as often as the application asks |
// | `shownPoses` | the pose of everyone to show in this frame, interpolated |
// | `playVoice` | what to play for the next 20 ms of a speaker |

import { PoseInterpolator, type ShownPose } from "../playback/interpolation.js";
import { VoicePlayer, type VoiceStep } from "../playback/voice.js";
import { Writer } from "../wire/codec.js";
import { type Message, messageBytes, NEWEST_WINS, POSE, putMessage, VOICE } from "../wire/frame.js";
import {
  CAPTURE_IN_FUTURE,
  LINK_ID,
  RECEIVED_AGE,
  UNKNOWN_SLOT_FRAMES,
  UNKNOWN_SLOT_HOLD,
} from "../wire/limits.js";
import { parseVoice } from "../wire/voice.js";
import { type JoinedClock, ServerClock } from "./clock.js";
import { Inbox } from "./inbox.js";
import { Link, type LinkOptions } from "./link.js";
import {
  type OutgoingMessage,
  type PeerPose,
  type RealtimeCounters,
  readPose,
  type ReceivedMessage,
  streamOf,
} from "./message.js";
import { type ConnectionFigures, type PacketCounts, QualityMeter } from "./quality.js";
import { RecentMap } from "./recent.js";
import { type RealtimeReport, RealtimeReports } from "./reports.js";
import { SendQueue } from "./sending.js";
import { continued, type SentSequences, sentSequences, type SentStream } from "./sent.js";
import { SenderHistory } from "./sequences.js";

/** Smallest number of streams of this client whose next sequence is kept. */
const OWN_STREAMS = 16_384;

/** What a session has brought for the realtime plane. */
export interface GrantedLink {
  /** `undefined`: the carrier has no datagrams, so nothing is sent or received. */
  link: LinkOptions | undefined;
  clock: JoinedClock;
}

/** A message that waits until the roster names its sender. */
interface HeldMessage {
  slot: number;
  /** Until when, local, in ms. */
  until: number;
  newestWins: boolean;
  /** Its `from` is not set yet. */
  message: ReceivedMessage;
}

/** The realtime plane of one room, without network and clock. Local times are in ms. */
export class RealtimePlane {
  #link: Link | undefined;
  readonly #senders = new Map<number, SenderHistory>();
  readonly #sent = new RecentMap<number, SentStream>(OWN_STREAMS);
  /** Messages sent so far. */
  #sentCount = 0;
  readonly #queue = new SendQueue();
  #held: HeldMessage[] = [];
  readonly #inbox = new Inbox();
  /** `undefined` until the application asks for interpolated poses. */
  #interpolator: PoseInterpolator | undefined;
  /** `undefined` until the application asks for voice to play. */
  #voicePlayer: VoicePlayer | undefined;
  /** `undefined` before the first session. */
  #clock: ServerClock | undefined;
  readonly #reports = new RealtimeReports();
  readonly #quality = new QualityMeter();
  #isConnected = false;
  readonly #counters = { superseded: 0, tooOld: 0, unknownSender: 0 };
  /** Datagrams that earlier links rejected. */
  #earlierRejected = 0;
  readonly #out = new Writer();

  /** Creates the plane. `sent` is what an earlier page has sent in this session. */
  constructor(sent: SentSequences = []) {
    for (const [stream, next] of sent) {
      this.#sent.getOr(stream, () => ({ next: continued(next), lastUse: 0 }));
    }
  }

  /**
   * Continues with the link of a new session. The sequence numbers of sent messages continue, so
   * that recipients do not drop the messages as old. If the room instance is another one
   * (`sameRoom` is false), the slots belong to other peers, so everything that contains a slot is
   * dropped.
   */
  granted(now: number, { link, clock }: GrantedLink, sameRoom: boolean): void {
    this.#earlierRejected += this.#link?.rejected ?? 0;
    this.#link = link && new Link(now, link);
    if (this.#clock === undefined) {
      this.#clock = new ServerClock(clock);
    } else {
      this.#clock.rejoin(clock);
    }
    this.#isConnected = true;
    this.#quality.relink();
    if (!sameRoom) {
      this.#reports.forgetAll();
      this.#senders.clear();
      this.#held = [];
      this.#queue.clear();
      this.#inbox.clear();
      this.#interpolator?.clear();
      this.#voicePlayer?.clear();
    }
  }

  /** Notes that the session is lost. {@link granted} follows, or nothing. */
  disconnect(): void {
    this.#isConnected = false;
    this.#queue.clear();
    this.#reports.setQuality(this.#quality.disconnect());
  }

  /** Notes that this machine's network has changed. The link then sends at once. */
  networkChanged(): void {
    this.#link?.networkChanged();
  }

  /** Takes the counts of the session's packets, if the carrier knows them. */
  packetCounts(now: number, counts: PacketCounts): void {
    this.#quality.takeCounts(now, counts);
  }

  /** Adds a peer of the roster and delivers the messages that waited for it. */
  addPeer(now: number, slot: number, peer: number): void {
    const earlier = this.#senders.get(slot);
    this.#senders.set(slot, new SenderHistory(peer));
    if (earlier !== undefined && earlier.peer !== peer) {
      this.#forgetPeer(earlier.peer);
    }
    this.#dropOverdue(now);
    const known = this.#held.filter((held) => held.slot === slot);
    this.#held = this.#held.filter((held) => held.slot !== slot);
    for (const { newestWins, message } of known) {
      this.#receive(now, slot, newestWins, message);
    }
  }

  /**
   * Removes a peer that left, unless its slot already belongs to another peer. Its poses and
   * waiting messages are removed too, and not counted.
   */
  removePeer(slot: number, peer: number): void {
    if (this.#senders.get(slot)?.peer === peer) {
      this.#senders.delete(slot);
      this.#forgetPeer(peer);
    }
  }

  #forgetPeer(peer: number): void {
    this.#inbox.removePeer(peer);
    this.#interpolator?.removePeer(peer);
    this.#voicePlayer?.removePeer(peer);
    this.#reports.forget(peer);
  }

  /**
   * Queues a message for the next datagram. The message takes the position of a queued one that it
   * replaces. Without a session it is dropped: it would be late.
   */
  send(message: OutgoingMessage): void {
    if (this.#isConnected && this.#link !== undefined) {
      this.#queue.push(message);
    } else {
      this.#queue.dropped += 1;
    }
  }

  /** Handles a datagram of the session. */
  datagram(now: number, datagram: Uint8Array): void {
    const link = this.#isConnected ? this.#link : undefined;
    const serverTime = link?.serverTime(now);
    const messages = link?.handleInput(now, datagram);
    if (link === undefined || messages === undefined) {
      return;
    }
    // Capture times wrap after 65 s, so a datagram that waited for longer would look new.
    if ((link.datagramAge(now) ?? 0) > RECEIVED_AGE) {
      this.#counters.tooOld += messages.length;
      return;
    }
    for (const message of messages) {
      const newestWins = (message.flags & NEWEST_WINS) !== 0;
      this.#take(now, message.peer, newestWins, arrived(message, now, serverTime));
    }
  }

  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void {
    this.#dropOverdue(now);
    this.#reports.handleTimeout(now);
    this.#evaluate(now);
  }

  /**
   * Returns when {@link handleTimeout} and {@link takeDatagram} must be called next: in the past if
   * a message waits to be sent, `Infinity` if nothing is due.
   */
  deadline(): number {
    const own = Math.min(this.#held[0]?.until ?? Infinity, this.#reports.speaking.deadline());
    if (!this.#isConnected || this.#link === undefined) {
      return own;
    }
    const queue = this.#queue.front() === undefined ? this.#queue.againAt() : -Infinity;
    return Math.min(own, queue, this.#link.deadline());
  }

  /** Takes the next datagram to send; `undefined` if there is none. */
  takeDatagram(now: number): Uint8Array | undefined {
    const link = this.#link;
    if (!this.#isConnected || link === undefined) {
      return undefined;
    }
    const out = this.#out;
    out.clear();
    // Application messages come first, because the link's control frames fit into the same
    // datagram.
    if (this.#queue.hasDue(now)) {
      this.#flush(now, link, out);
      return out.copy();
    }
    if (link.pollOutput(now, out)) {
      return out.copy();
    }
    this.#evaluate(now);
    return undefined;
  }

  /** Takes the next report for the application. */
  takeReport(): RealtimeReport | undefined {
    return this.#reports.take();
  }

  /** Whether a report or a message waits for the application. */
  get hasEvent(): boolean {
    return !this.#reports.isEmpty || this.#inbox.waiting > 0;
  }

  /** Returns what is known of the connection. */
  connection(): ConnectionFigures {
    return { ...this.#quality.figures };
  }

  /** Returns the peers that are speaking and their levels, in the order in which they started. */
  speaking(): { peer: number; level: number }[] {
    return this.#reports.speaking.speakers();
  }

  /**
   * Takes the next received message, in the order of arrival.
   *
   * A newest-wins message takes the position of the waiting one that it replaces, so only the
   * newest pose of a key is returned. Voice packets that have waited for more than 400 ms are
   * dropped and counted.
   */
  pop(now: number): ReceivedMessage | undefined {
    return this.#inbox.pop(now);
  }

  /**
   * Takes the oldest waiting voice packet of one speaker, as {@link pop} would. At most the last 16
   * packets of each speaker wait, in the order of arrival.
   */
  popVoice(now: number, speaker: number): ReceivedMessage | undefined {
    return this.#inbox.popVoice(now, speaker);
  }

  /**
   * Returns the newest pose of each sender, channel and key, in no particular order. {@link pop}
   * does not remove poses from here.
   *
   * The pose of a silent peer stays until the peer leaves: `arrived` tells how old it is. Poses
   * that were sent without "newest wins", and malformed ones, are left out.
   */
  poses(): PeerPose[] {
    return this.#inbox.poses();
  }

  /**
   * Returns the poses of everybody to show in the frame of this moment, in no particular order:
   * interpolated, evenly in time, and a little later than they arrive. They are kept from the first
   * call on. The list and its objects are the same at each call, and are written again.
   */
  shownPoses(now: number): readonly ShownPose[] {
    this.#interpolator ??= new PoseInterpolator();
    const frame = this.#playbackTime(now);
    return frame === undefined ? [] : this.#interpolator.posesAt(now, frame);
  }

  /**
   * Returns what to play for the next 20 ms of a speaker. From the first call on, voice of channel
   * 0 and key 0 is kept here, and {@link pop} does not return it. Silence until the clocks are
   * synchronized.
   */
  playVoice(now: number, speaker: number): VoiceStep {
    this.#voicePlayer ??= new VoicePlayer();
    return this.#voicePlayer.play(speaker, this.#playbackTime(now) ?? 0);
  }

  /**
   * Returns the peers whose voice is kept for {@link playVoice}, also those that are silent now.
   * Nobody's voice is kept before the first call of {@link playVoice}.
   */
  speakers(): Iterable<number> {
    return this.#voicePlayer?.speakers() ?? [];
  }

  /**
   * Returns the server's time in µs for the application: it is known from the join on, never goes
   * backwards, and makes up for errors of its estimate without jumps. `undefined` before the join.
   */
  serverTime(now: number): number | undefined {
    const time = this.#clock?.at(now, this.#link?.serverTime(now));
    return time === undefined ? undefined : Math.floor(time);
  }

  /** Number of messages that wait for {@link pop}, stale voice included. */
  get waiting(): number {
    return this.#inbox.waiting;
  }

  /** Returns the counters of dropped messages. */
  counters(): RealtimeCounters {
    const rejected = this.#earlierRejected + (this.#link?.rejected ?? 0);
    const unsent = this.#queue.dropped;
    return { ...this.#counters, ...this.#inbox.counters, rejected, unsent };
  }

  /** Returns what another page must know to continue the sequences of sent messages. */
  sentSequences(): SentSequences {
    return sentSequences(this.#sent.entries());
  }

  /** Returns the server's time as messages are dated by it. What plays them evens out its jumps. */
  #playbackTime(now: number): number | undefined {
    const even = this.serverTime(now);
    return this.#link?.serverTime(now) ?? even;
  }

  /** Evaluates the quality of the connection, if it is time. */
  #evaluate(now: number): void {
    if (this.#isConnected && this.#link !== undefined) {
      if (this.#link.takeLoss(now)) {
        this.#quality.noteLoss(now);
      }
      const roundTrip = this.#link.isSilent(now) ? undefined : this.#link.roundTrip;
      this.#reports.setQuality(this.#quality.evaluate(now, roundTrip));
    }
  }

  /** Writes a datagram with as many queued messages as fit, and those that are sent again. */
  #flush(now: number, link: Link, out: Writer): void {
    const serverTime = link.serverTime(now);
    const time = serverTime === undefined ? undefined : wireMillis(serverTime);
    const isLossy = this.#quality.isLossy(now);
    link.begin(now, out);
    const end = LINK_ID + link.maxBody;
    const fits = (message: OutgoingMessage): boolean =>
      out.length + messageBytes(message.payload.length) <= end;
    for (let message; (message = this.#queue.front()) !== undefined && fits(message);) {
      const stream = this.#sent.getOr(streamOf(message), () => ({ next: 0, lastUse: 0 }));
      const sequence = stream.next;
      this.#sentCount += 1;
      stream.next = (sequence + 1) & 0xffff;
      stream.lastUse = this.#sentCount;
      put(out, message, sequence, time);
      this.#queue.pop(now, sequence, time, isLossy);
    }
    for (let sent; (sent = this.#queue.dueAgain(now)) !== undefined && fits(sent.message);) {
      put(out, sent.message, sent.sequence, sent.time);
      this.#queue.popAgain();
    }
    link.finish(now);
  }

  /**
   * Handles a received message. If its sender is unknown, the message waits: the roster update that
   * names the sender may still be on its way.
   */
  #take(now: number, slot: number, newestWins: boolean, message: ReceivedMessage): void {
    // It waited in a buffer while this page, the server or the network stood still.
    if ((message.age ?? 0) > RECEIVED_AGE) {
      this.#counters.tooOld += 1;
      return;
    }
    if (this.#senders.has(slot)) {
      this.#receive(now, slot, newestWins, message);
      return;
    }
    if (this.#held.length >= UNKNOWN_SLOT_FRAMES) {
      this.#held.shift();
      this.#counters.unknownSender += 1;
    }
    const kept = { ...message, payload: message.payload.slice() };
    this.#held.push({ slot, until: now + UNKNOWN_SLOT_HOLD, newestWins, message: kept });
  }

  #receive(now: number, slot: number, newestWins: boolean, message: ReceivedMessage): void {
    const sender = this.#senders.get(slot);
    if (sender === undefined) {
      return;
    }
    const { kind, channel, key, sequence, captured, age, payload } = message;
    if (!sender.isFresh(now, newestWins, streamOf(message), sequence)) {
      this.#counters.superseded += 1;
      return;
    }
    const { peer } = sender;
    const arrived = (captured ?? 0) + (age ?? 0) * 1_000;
    const voice = kind === VOICE ? parseVoice(payload) : undefined;
    if (voice !== undefined) {
      this.#reports.onVoice(now, peer, voice);
      const player = channel === 0 && key === 0 ? this.#voicePlayer : undefined;
      if (player !== undefined && captured !== undefined) {
        player.add(peer, sequence, captured, arrived, voice);
        return;
      }
    }
    if (kind === POSE && newestWins && captured !== undefined) {
      const pose = this.#interpolator && readPose(payload)?.pose;
      if (pose !== undefined) {
        this.#interpolator?.add(peer, channel, key, captured, arrived, pose);
      }
    }
    // A copy: a small message must not keep the memory of its datagram.
    this.#inbox.deliver(newestWins, { ...message, from: peer, payload: payload.slice() });
  }

  /** Drops the messages whose sender the roster has not named in time. */
  #dropOverdue(now: number): void {
    // All messages wait equally long, so they are in the order of their deadlines.
    while ((this.#held[0]?.until ?? Infinity) <= now) {
      this.#held.shift();
      this.#counters.unknownSender += 1;
    }
  }
}

/** Writes a queued message to a datagram. */
function put(
  out: Writer,
  { kind, newestWins, target, channel, key, payload }: OutgoingMessage,
  sequence: number,
  time: number | undefined,
): void {
  const flags = newestWins ? NEWEST_WINS : 0;
  putMessage(out, { kind, flags, peer: target, channel, key, sequence, time, payload });
}

/** Returns a server's time in µs as ms modulo 2^16: the capture time in a frame. */
function wireMillis(serverTime: number): number {
  return Math.floor(serverTime / 1_000) % 0x1_0000;
}

/** Returns a message of a datagram that arrived at `now`. Its `from` is not set yet. */
function arrived(
  { kind, channel, key, sequence, time, payload }: Message,
  now: number,
  serverTime: number | undefined,
): ReceivedMessage {
  let age: number | undefined;
  let captured: number | undefined;
  if (serverTime !== undefined && time !== undefined) {
    age = (wireMillis(serverTime) - time) & 0xffff;
    // Clocks differ a little, and a claim must not make a message younger than its arrival.
    age = age > 0xffff - CAPTURE_IN_FUTURE ? 0 : age;
    // From whole milliseconds, as the age: then it is the time that the sender wrote, whenever the
    // message arrives.
    captured = (Math.floor(serverTime / 1_000) - age) * 1_000;
  }
  return { from: 0, kind, channel, key, sequence, age, captured, arrived: now, payload };
}
