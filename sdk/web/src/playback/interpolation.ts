// The poses of everybody at one moment.

import type { Pose } from "../wire/pose.js";
import { type Certainty, PoseTrack } from "./track.js";

/** Senders and keys whose poses are kept, at some 10 KiB each: more than a room has peers. */
const MAX_TRACKS = 4_096;
/**
 * Keys of one sender whose poses are kept: a body and the things that it moves. Without this limit,
 * one sender could take the tracks of all others.
 */
const MAX_SENDER_TRACKS = 64;

/**
 * A pose as it is to be shown. The object is written again by the next frame: copy what you keep.
 */
export interface ShownPose {
  /** The sender's peer id. */
  readonly from: number;
  /** The application's channel. */
  readonly channel: number;
  /** The application's key within the channel. */
  readonly key: number;
  /** Head and hands at {@link shown}. */
  pose: Pose;
  /**
   * The moment that the pose shows, by the server's clock in µs. Never earlier than in the frame
   * before.
   */
  shown: number;
  /**
   * When the newest pose of this sender and key was captured, by the server's clock in µs. Tells
   * how long the peer has been silent.
   */
  newest: number;
  /** How the pose was found. */
  certainty: Certainty;
}

/** The poses of one sender, channel and key. */
interface KeyTrack {
  /** Poses that the interpolator had been given at the newest one. */
  used: number;
  track: PoseTrack;
  shown: ShownPose;
}

/**
 * The poses of everybody, evenly in time.
 *
 * A pose is known to be the newest until the next one arrives. The time from its capture to that
 * arrival is measured, and poses are shown later by as much as nearly all of these times. That
 * delay changes slowly.
 *
 * Of each sender, the 64 keys are kept that were used last. If all 4,096 tracks are in use, a new
 * sender takes a track of the sender that has the most.
 */
export class PoseInterpolator {
  /** By sender, and then by channel and key. No inner map is empty. */
  readonly #senders = new Map<number, Map<number, KeyTrack>>();
  readonly #all: ShownPose[] = [];
  /** Tracks of all senders. */
  #count = 0;
  /** Poses that were added so far. */
  #added = 0;

  /** Adds a pose that was captured and has arrived at these times of the server's clock, in µs. */
  add(
    from: number,
    channel: number,
    key: number,
    captured: number,
    arrived: number,
    pose: Pose,
  ): void {
    this.#added += 1;
    const tracks = this.#senders.get(from);
    const body = channel * 0x10000 + key;
    let known = tracks?.get(body);
    if (known === undefined) {
      const own = tracks?.size ?? 0;
      if (own === MAX_SENDER_TRACKS || this.#count === MAX_TRACKS) {
        const loser = own > 0 ? tracks : this.#largestSender();
        if (loser === undefined) {
          return;
        }
        this.#dropLeastRecent(loser);
      }
      known = {
        used: 0,
        track: new PoseTrack(),
        shown: { from, channel, key, pose, shown: captured, newest: captured, certainty: "held" },
      };
      if (tracks === undefined) {
        this.#senders.set(from, new Map([[body, known]]));
      } else {
        tracks.set(body, known);
      }
      this.#count += 1;
    }
    known.used = this.#added;
    known.track.add(captured, arrived, pose);
  }

  /** Returns the sender with the most tracks; `undefined` if each sender has only one. */
  #largestSender(): Map<number, KeyTrack> | undefined {
    let largest: Map<number, KeyTrack> | undefined;
    for (const tracks of this.#senders.values()) {
      if (tracks.size > (largest?.size ?? 1)) {
        largest = tracks;
      }
    }
    return largest;
  }

  /** Forgets the key of a sender that was used least recently. */
  #dropLeastRecent(tracks: Map<number, KeyTrack>): void {
    let [least, leastUsed] = [0, Infinity];
    for (const [body, { used }] of tracks) {
      if (used < leastUsed) {
        [least, leastUsed] = [body, used];
      }
    }
    this.#count -= tracks.delete(least) ? 1 : 0;
  }

  /**
   * Returns the poses to show at the local time `now` in ms, which is `frame` µs by the server's
   * clock, in no particular order. Both must not be earlier than in the frame before. The list and
   * its objects are the same at each call, so nothing is allocated.
   */
  posesAt(now: number, frame: number): readonly ShownPose[] {
    let count = 0;
    for (const tracks of this.#senders.values()) {
      for (const { track, shown } of tracks.values()) {
        const pose = track.show(now, frame);
        if (pose === undefined) {
          continue;
        }
        shown.pose = pose;
        shown.shown = track.shown;
        shown.newest = track.newest ?? track.shown;
        shown.certainty = track.certainty;
        this.#all[count] = shown;
        count += 1;
      }
    }
    this.#all.length = count;
    return this.#all;
  }

  /** Forgets the poses of a peer that has left. */
  removePeer(peer: number): void {
    this.#count -= this.#senders.get(peer)?.size ?? 0;
    this.#senders.delete(peer);
  }

  /** Forgets all poses. */
  clear(): void {
    this.#senders.clear();
    this.#count = 0;
  }
}
