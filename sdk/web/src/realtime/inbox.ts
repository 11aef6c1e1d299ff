// The received messages that wait for the application.
//
// An application takes messages once a frame, and sometimes not for seconds. The inbox then keeps
// what is still worth something:
//
// | class | messages | kept |
// |---|---|---|
// | newest | with the flag "newest wins", except voice | the newest of each sender and stream |
// | voice | voice packets | the last 16 of each speaker |
// | other | all others | the last 2,048 of the room |
//
// A stream is a kind, a channel and a key.
//
// All classes share one order, that of arrival. A message that replaces a waiting one takes its
// position, so a sender with a high rate does not delay others and is not delayed itself.
//
// The newest pose of each key is kept after it was taken, for `poses`.
//
// The order of every list is the order of insertion of a `Set`. Senders cannot make the inbox
// larger than the limits below: 900 bytes and some three hundred for each message, so 10 MB for 50
// hostile peers.

import { POSE, VOICE } from "../wire/frame.js";
import { type PeerPose, peerPose, type ReceivedMessage, streamOf } from "./message.js";
import { KEYS_PER_SENDER } from "./sequences.js";

/**
 * Newest-wins messages of one sender that are kept whatever other senders do: a pose, a pointer and
 * two more.
 */
const OWN_KEYS_PER_SENDER = 4;
/**
 * Newest-wins messages that all senders together may keep beyond {@link OWN_KEYS_PER_SENDER}. That
 * many keys take 340 ms to arrive in the largest room (12,000 messages a second), and an
 * application that takes messages every frame leaves only poses here.
 */
const SHARED_KEYS = 4_096;
/**
 * Waiting voice packets of one speaker: 320 ms in packets of 20 ms. A jitter buffer of an ordinary
 * network is shorter, so an older packet would only delay the newer ones.
 */
const VOICE_PACKETS = 16;
/**
 * Waiting voice packets of all speakers: full queues of 256, twice as many speakers as a server
 * lets speak by default.
 */
const ALL_VOICE_PACKETS = 256 * VOICE_PACKETS;
/**
 * Longest time that a voice packet waits for the application, in ms. After a longer hitch the
 * listener hears a gap instead of the past. Longer than {@link VOICE_PACKETS} of 20 ms; the limit
 * is for speakers with longer packets, and for a network that stopped together with the
 * application.
 */
const VOICE_WAIT = 400;
/**
 * Other messages that wait: those of 170 ms in the largest room (12,000 messages a second), and of
 * two seconds of one sender at the rate to which a server limits it.
 */
const OTHER_MESSAGES = 2_048;

/** How messages of a kind wait. */
const NEWEST = 0;
const VOICES = 1;
const OTHER = 2;
type MessageClass = typeof NEWEST | typeof VOICES | typeof OTHER;

/** The most messages of one sender, by class. */
const LIMIT_PER_SENDER = [KEYS_PER_SENDER, VOICE_PACKETS, OTHER_MESSAGES] as const;
/** The most messages that all senders share, by class. */
const SHARED_LIMIT = [SHARED_KEYS, ALL_VOICE_PACKETS, OTHER_MESSAGES] as const;

function classOf(newestWins: boolean, kind: number): MessageClass {
  // Every voice packet is a part of the sound, whatever the sender's flag says.
  return kind === VOICE ? VOICES : newestWins ? NEWEST : OTHER;
}

/** A message that is kept. */
interface StoredMessage {
  message: ReceivedMessage;
  readonly class: MessageClass;
  /** Whether the message counts towards the shared limit of its class. */
  readonly isShared: boolean;
}

function isNewestPose(stored: StoredMessage): boolean {
  return stored.class === NEWEST && stored.message.kind === POSE;
}

/** For each class, messages in the order in which they arrived or were replaced. */
type Lists = readonly [Set<StoredMessage>, Set<StoredMessage>, Set<StoredMessage>];

function emptyLists(): Lists {
  return [new Set(), new Set(), new Set()];
}

/** The stored messages of one sender. */
interface SenderMessages {
  readonly lists: Lists;
  /** The messages of the class `NEWEST`, by stream. */
  readonly newest: Map<number, StoredMessage>;
  /** Messages of the class `NEWEST` that are not shared. */
  ownKeys: number;
}

/** The received messages that wait for the application, and the newest poses. */
export class Inbox {
  /** The messages that the application has not taken, in the order of arrival. */
  readonly #waiting = new Set<StoredMessage>();
  readonly #senders = new Map<number, SenderMessages>();
  readonly #shared = emptyLists();
  readonly #poses = new Set<StoredMessage>();
  /** Messages that the application did not take. */
  readonly counters = { replaced: 0, notTaken: 0, staleVoice: 0 };

  /** Stores a message, which has no older sequence number than the stored one of its key. */
  deliver(newestWins: boolean, message: ReceivedMessage): void {
    const of = classOf(newestWins, message.kind);
    const sender = this.#sender(message.from);
    const stored = of === NEWEST ? sender.newest.get(streamOf(message)) : undefined;
    if (stored !== undefined) {
      this.#replace(sender, stored, message);
    } else {
      this.#store(of, sender, message);
    }
  }

  /** Takes the next message in the order of arrival. */
  pop(now: number): ReceivedMessage | undefined {
    return this.#takeFirst(now, this.#waiting);
  }

  /** Takes the oldest voice packet of one speaker. */
  popVoice(now: number, speaker: number): ReceivedMessage | undefined {
    const list = this.#senders.get(speaker)?.lists[VOICES];
    return list && this.#takeFirst(now, list);
  }

  /** Returns the newest pose of each sender, channel and key. */
  poses(): PeerPose[] {
    const poses: PeerPose[] = [];
    for (const { message } of this.#poses) {
      const pose = peerPose(message);
      if (pose !== undefined) {
        poses.push(pose);
      }
    }
    return poses;
  }

  /** Number of messages that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Removes the messages of a peer. */
  removePeer(peer: number): void {
    for (const list of this.#senders.get(peer)?.lists ?? []) {
      for (const stored of list) {
        this.#remove(stored);
      }
    }
    this.#senders.delete(peer);
  }

  /** Removes all messages. The counters stay. */
  clear(): void {
    for (const list of [this.#waiting, this.#poses, ...this.#shared]) {
      list.clear();
    }
    this.#senders.clear();
  }

  #sender(peer: number): SenderMessages {
    let sender = this.#senders.get(peer);
    if (sender === undefined) {
      sender = { lists: emptyLists(), newest: new Map(), ownKeys: 0 };
      this.#senders.set(peer, sender);
    }
    return sender;
  }

  /** Takes the first message of a list, and drops voice that has waited for too long. */
  #takeFirst(now: number, list: Set<StoredMessage>): ReceivedMessage | undefined {
    for (const stored of list) {
      const { message } = stored;
      if (stored.class === VOICES && now - message.arrived > VOICE_WAIT) {
        this.counters.staleVoice += 1;
        this.#remove(stored);
        continue;
      }
      // Only a newest pose stays stored.
      if (isNewestPose(stored)) {
        this.#waiting.delete(stored);
      } else {
        this.#remove(stored);
      }
      return message;
    }
    return undefined;
  }

  /** Replaces the stored message of a key. A message that waits keeps its position. */
  #replace(sender: SenderMessages, stored: StoredMessage, message: ReceivedMessage): void {
    stored.message = message;
    if (this.#waiting.has(stored)) {
      this.counters.replaced += 1;
    }
    this.#waiting.add(stored);
    if (stored.isShared) {
      moveToEnd(this.#shared[stored.class], stored);
    }
    moveToEnd(sender.lists[stored.class], stored);
  }

  #store(of: MessageClass, sender: SenderMessages, message: ReceivedMessage): void {
    const isShared = !this.#makeRoom(of, sender);
    const stored: StoredMessage = { message, class: of, isShared };
    sender.lists[of].add(stored);
    this.#waiting.add(stored);
    if (isShared) {
      this.#shared[of].add(stored);
    } else {
      sender.ownKeys += 1;
    }
    if (of === NEWEST) {
      sender.newest.set(streamOf(message), stored);
    }
    if (isNewestPose(stored)) {
      this.#poses.add(stored);
    }
  }

  /**
   * Removes old messages until one more of this sender keeps the limits. Returns whether it is one
   * of the sender's own keys.
   */
  #makeRoom(of: MessageClass, sender: SenderMessages): boolean {
    this.#dropOldest(sender.lists[of], LIMIT_PER_SENDER[of]);
    if (of === NEWEST && sender.ownKeys < OWN_KEYS_PER_SENDER) {
      return true;
    }
    this.#dropOldest(this.#shared[of], SHARED_LIMIT[of]);
    return false;
  }

  /** Drops the first message of a list that has reached its limit. */
  #dropOldest(list: Set<StoredMessage>, limit: number): void {
    if (list.size < limit) {
      return;
    }
    for (const oldest of list) {
      this.counters.notTaken += this.#waiting.has(oldest) ? 1 : 0;
      this.#remove(oldest);
      return;
    }
  }

  /** Removes a stored message. */
  #remove(stored: StoredMessage): void {
    this.#waiting.delete(stored);
    this.#shared[stored.class].delete(stored);
    this.#poses.delete(stored);
    const sender = this.#senders.get(stored.message.from);
    if (sender === undefined) {
      return;
    }
    sender.lists[stored.class].delete(stored);
    if (stored.class === NEWEST) {
      sender.newest.delete(streamOf(stored.message));
      sender.ownKeys -= stored.isShared ? 0 : 1;
    }
  }
}

function moveToEnd(list: Set<StoredMessage>, stored: StoredMessage): void {
  list.delete(stored);
  list.add(stored);
}
