/** The events that a room delivers to the application. */

import type { CodeName } from "../wire/code.js";
import { POINTER, POSE, VOICE } from "../wire/frame.js";
import { THROTTLED, type ThrottledName } from "../wire/messaging.js";
import { type Pose } from "../wire/pose.js";
import { END_TO_END, parseVoice, SPURT_START } from "../wire/voice.js";
import { peerPose, type ReceivedMessage } from "../realtime/message.js";
import type { ConnectionQuality } from "../realtime/quality.js";
import type { StateChange } from "../state/change.js";
import type { Audit } from "./moderation.js";
import type { Peer, PeerId } from "./roster.js";

/** What all realtime messages have in common. */
interface Realtime {
  /** The sender. */
  readonly from: PeerId;
  /**
   * Time from the capture at the sender to the arrival at this client, in ms. `undefined` until the
   * clocks are synchronized, about one round trip after the join.
   */
  readonly ageMs: number | undefined;
  /**
   * Moment of the capture on the server's clock, in µs. It can be compared with `Room.serverTime`
   * and with the capture times of other peers. `undefined` until the clocks are synchronized.
   */
  readonly captured: number | undefined;
}

/** An Opus packet with the properties that are known without decoding it. */
export interface VoicePacket {
  /** Level in -dBov (RFC 6464): 0 is loudest, 127 is silence. */
  readonly level: number;
  /** Whether the sender's encoder detected a voice. */
  readonly speaking: boolean;
  /** Whether this is the first packet of a talk spurt. */
  readonly spurtStart?: boolean;
  /** Whether the Opus packet is encrypted end to end. */
  readonly endToEnd?: boolean;
  /** The Opus packet itself. */
  readonly opus: Uint8Array;
}

/**
 * An event in a room, returned by `Room.poll` and `Room.next`. A `code` is `undefined` if there is
 * none, or if this version does not know it. Later versions may add events.
 */
export type RoomEvent =
  /**
   * A peer joined. The peers that were in the room before this client are not reported: see
   * `Room.peers`.
   */
  | { kind: "peerJoined"; peer: Peer }
  /** A peer left. The peer is as it was last known. */
  | { kind: "peerLeft"; peer: Peer; code: CodeName | undefined }
  /** A peer became away or present. */
  | { kind: "presenceChanged"; peer: Peer }
  /**
   * A peer's mute, self-mute or right to moderate changed. Also reported for this client itself.
   */
  | { kind: "peerChanged"; peer: Peer }
  /**
   * A fresh token of the same user is wanted: hand it to `Room.renew`. Without one, a restart of
   * the server after the ticket's end would end this room for the client. `withinMs` is how long
   * the ticket still admits to another instance of the room; `undefined` if the client asks by
   * itself, because a quarter of that time is left. With a token provider this does not come.
   */
  | { kind: "tokenWanted"; withinMs: number | undefined }
  /**
   * A peer started or stopped speaking, as derived from the headers of its voice packets. `level`
   * is that of the newest packet in -dBov: 0 is loudest, 127 is silence.
   */
  | { kind: "speaking"; peer: PeerId; speaking: boolean; level: number }
  /**
   * A peer's pose; `rest` is what the sender added. An older pose is never returned after a newer
   * one. `Room.poll` leaves poses out: see `Room.shownPoses`.
   */
  | ({ kind: "pose"; pose: Pose; rest: Uint8Array } & Realtime)
  /**
   * A voice packet. Packets are returned in the order of arrival; a jitter buffer sorts them by
   * `sequence`. 65,535 is followed by 0.
   */
  | ({ kind: "voice"; voice: VoicePacket; sequence: number } & Realtime)
  /** A peer's pointer: channel and key are the application's. */
  | ({ kind: "pointer"; channel: number; key: number; payload: Uint8Array } & Realtime)
  /**
   * An unreliable message. `sequence` counts the sender's messages of this channel and key;
   * 65,535 is followed by 0.
   */
  | ({
      kind: "message";
      channel: number;
      key: number;
      payload: Uint8Array;
      sequence: number;
    } & Realtime)
  /**
   * A reliable event. Events are returned in the order in which the server took them. `sequence`
   * is the event's position in that order: two peers see the same numbers; numbers of events for
   * others are missing. They begin anew after "rejoined".
   */
  | { kind: "event"; sequence: bigint; from: PeerId; channel: number; payload: Uint8Array }
  /** A reliable event that names its type. Typed events are in one order with events. */
  | { kind: "typedEvent"; sequence: bigint; from: PeerId; type: string; payload: Uint8Array }
  /**
   * A peer asks this client for an answer: give it with `Room.answerRpc` or `Room.failRpc`.
   * Requests are in one order with events. `timeoutMs` is how long the caller still waits; the
   * time of the way is not counted. A request whose caller does not wait any more is not
   * returned.
   */
  | {
      kind: "rpcRequest";
      id: number;
      from: PeerId;
      method: string;
      payload: Uint8Array;
      timeoutMs: number;
    }
  /**
   * A complete message of the bulk lane, at most 64 KiB. Bulk messages are returned in the order in
   * which the server took their last pieces. An event may overtake a bulk message.
   */
  | { kind: "bulk"; from: PeerId; channel: number; payload: Uint8Array }
  /** A moderator has acted. A peer that is kicked receives this event before its session ends. */
  | { kind: "moderated"; audit: Audit }
  /**
   * The server delays or drops messages of this client. Reported at most once a second for each
   * kind.
   */
  | { kind: "throttled"; what: ThrottledName }
  /**
   * The room's shared state changed. Changes are returned in the order in which the server took
   * them. After the join, the existing state is reported as if it had just been created. State
   * changes and reliable events are not ordered among each other.
   */
  | { kind: "state"; change: StateChange }
  /**
   * The session was lost, and the client tries to resume it. Events that are sent in the meantime
   * are queued. "resumed", "rejoined" or "closed" follows.
   */
  | { kind: "interrupted"; code: CodeName | undefined; text: string }
  /**
   * The session was resumed, and this client is the same peer as before. The changes of the
   * roster, the missed events and the changes of the shared state follow. `missedEvents` says
   * whether some of the oldest missed events are lost, because the server no longer has them.
   */
  | { kind: "resumed"; missedEvents: boolean }
  /**
   * The room was joined again as a new peer, because the server no longer had this participant:
   * the client came back too late, or the server had restarted. The changes of the roster follow.
   * In a new instance of the room all peers have new ids: each earlier peer is reported as left
   * without a code, and the old shared state as deleted.
   */
  | { kind: "rejoined"; me: PeerId }
  /**
   * The server's clock is another one, because the server was started again or is another one.
   * Times from before cannot be compared with those from now on.
   */
  | { kind: "clockChanged" }
  /**
   * The connection became better or worse, for an indicator. `Room.connection` has the figures. Until
   * the first such event, take the connection for excellent.
   */
  | { kind: "quality"; quality: ConnectionQuality }
  /** The room is closed. This is the last event. */
  | { kind: "closed"; code: CodeName | undefined; text: string };

/**
 * Converts the number of a throttle. Returns `undefined` for one that this version does not know.
 */
export function throttleOf(what: number): ThrottledName | undefined {
  return THROTTLED[what - 1];
}

/** Converts a received message. Returns `undefined` for an invalid pose or voice packet. */
export function realtimeEvent(received: ReceivedMessage): RoomEvent | undefined {
  const { from, channel, key, sequence, age: ageMs, captured, payload } = received;
  const realtime = { from, ageMs, captured };
  switch (received.kind) {
    case POSE: {
      const parsed = peerPose(received);
      return parsed && { kind: "pose", pose: parsed.pose, rest: parsed.rest, ...realtime };
    }
    case VOICE: {
      const voice = parseVoice(payload);
      return voice && { kind: "voice", voice: packetOf(voice), sequence, ...realtime };
    }
    case POINTER:
      return { kind: "pointer", channel, key, payload, ...realtime };
    default:
      return { kind: "message", channel, key, payload, sequence, ...realtime };
  }
}

function packetOf({
  level,
  speaking,
  flags,
  opus,
}: ReturnType<typeof parseVoice> & {}): VoicePacket {
  return {
    level,
    speaking,
    spurtStart: (flags & SPURT_START) !== 0,
    endToEnd: (flags & END_TO_END) !== 0,
    opus,
  };
}
