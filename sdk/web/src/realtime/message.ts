// Messages of the realtime plane as the application sends and receives them.

import type { MessageKind } from "../wire/frame.js";
import { MAX_PAYLOAD } from "../wire/limits.js";
import { type Pose, parsePose } from "../wire/pose.js";

/** A message to send. */
export interface OutgoingMessage {
  kind: MessageKind;
  /** Whether the message replaces older ones of the same kind, channel and key. */
  newestWins: boolean;
  /** The recipient's slot, the target of a group, or `TARGET_OTHERS`. */
  target: number;
  /** The application's channel. */
  channel: number;
  /** The application's key within the channel. */
  key: number;
  /**
   * At most `MAX_PAYLOAD` bytes, which must not change any more. Callers check the size; a larger
   * message is dropped and counted.
   */
  payload: Uint8Array;
}

/**
 * Identifies a stream of one sender's messages that share one sequence of numbers: kind, channel
 * and key in one number.
 */
export function streamOf(message: { kind: number; channel: number; key: number }): number {
  return (message.kind << 24) | (message.channel << 16) | message.key;
}

/** Returns whether a message takes the place of an older one that waits to be sent. */
export function replaces(message: OutgoingMessage, older: OutgoingMessage): boolean {
  return (
    message.newestWins &&
    older.newestWins &&
    message.target === older.target &&
    streamOf(message) === streamOf(older)
  );
}

/** Returns whether a message is too large to be sent. */
export function isTooLarge(message: OutgoingMessage): boolean {
  return message.payload.length > MAX_PAYLOAD;
}

/** A received message. */
export interface ReceivedMessage {
  /** The sender's peer id. */
  from: number;
  kind: MessageKind;
  /** The application's channel. */
  channel: number;
  /** The application's key within the channel. */
  key: number;
  /**
   * Sequence number of the sender's messages of this kind, channel and key. 65,535 is followed by
   * 0.
   */
  sequence: number;
  /**
   * Time from capture to arrival in ms, at most 2,000; `undefined` until the clocks are
   * synchronized.
   */
  age: number | undefined;
  /**
   * When the message was captured, in µs (a multiple of 1,000) on the server's clock, which is the
   * same for all peers of the room. `undefined` until the clocks are synchronized.
   */
  captured: number | undefined;
  /** When the message arrived, on the local clock in ms. */
  arrived: number;
  /** The application's data. */
  payload: Uint8Array;
}

/** The newest pose of a peer. */
export interface PeerPose {
  /** The sender's peer id. */
  from: number;
  /** The application's channel; 0 unless the sender chose another one. */
  channel: number;
  /** The application's key within the channel, for example a tracked body's number; usually 0. */
  key: number;
  /** Head and hands. */
  pose: Pose;
  /** Bytes that the sender added after the pose, for example buttons and fingers. */
  rest: Uint8Array;
  /** See {@link ReceivedMessage.captured}. It is free of the network's jitter. */
  captured: number | undefined;
  /** See {@link ReceivedMessage.arrived}. Tells how long the peer has been silent. */
  arrived: number;
  /**
   * Sequence number of the sender's poses of this channel and key. A pose with the same number as
   * in the last frame is the same pose.
   */
  sequence: number;
}

/** Reads a pose and the bytes behind it; `undefined` if the payload is shorter than the pose. */
export function readPose(payload: Uint8Array): { pose: Pose; rest: Uint8Array } | undefined {
  try {
    return parsePose(payload);
  } catch {
    return undefined;
  }
}

/** Reads the pose of a message; `undefined` if there is none. */
export function peerPose(message: ReceivedMessage): PeerPose | undefined {
  const { from, channel, key, captured, arrived, sequence } = message;
  const parsed = readPose(message.payload);
  return parsed && { from, channel, key, ...parsed, captured, arrived, sequence };
}

/** Counters of messages that were not delivered to the application or not sent, since the start. */
export interface RealtimeCounters {
  /** Received messages that were duplicates, or older than one that replaced them. */
  superseded: number;
  /** Received messages that were captured more than two seconds before. */
  tooOld: number;
  /** Received messages whose sender the roster did not name in time. */
  unknownSender: number;
  /**
   * Messages that were replaced by a newer one before they were sent, that did not fit into the
   * queue, that were too large, or for which there was no session.
   */
  unsent: number;
  /** Received datagrams that were malformed, or of another link. */
  rejected: number;
  /**
   * Received newest-wins messages that a newer one replaced before the application took them. This
   * is normal: an application that draws 72 frames a second takes no more poses than that.
   */
  replaced: number;
  /**
   * Received messages that were dropped because the application did not take them before their
   * queue was full: voice packets, keys of one sender, or other messages.
   */
  notTaken: number;
  /**
   * Received voice packets that were dropped because they had waited for more than 400 ms when the
   * application asked for them.
   */
  staleVoice: number;
}
