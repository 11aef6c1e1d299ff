/** The events that wait for the application. */

import { heldBytes, type QueueLimit } from "./held.js";

/**
 * A queue of events with their sizes. It takes every event: when it is full, its owner stops
 * reading the session, and the carrier's flow control stops the senders.
 */
export class EventQueue<E> {
  _events: { event: E; size: number; cost: number }[] = [];
  /** Index of the first event that was not taken. */
  _taken = 0;
  /** Bytes of the counted events. */
  _cost = 0;
  /** Bytes of all events. */
  _bytes = 0;
  _limit: QueueLimit;

  constructor(limit: QueueLimit) {
    this._limit = limit;
  }

  /** Number of events that wait. */
  get length(): number {
    return this._events.length - this._taken;
  }

  /** Adds an event. A free one does not make the queue full. */
  push(event: E, isFree = false): void {
    const size = heldBytes(event) + this._limit.overhead;
    const cost = isFree ? 0 : size;
    this._cost += cost;
    this._bytes += size;
    this._events.push({ event, size, cost });
  }

  pop(): E | undefined {
    const first = this._events[this._taken];
    if (!first) {
      return undefined;
    }
    this._cost -= first.cost;
    this._bytes -= first.size;
    this._taken += 1;
    // Moving the rest up only now and then keeps each take cheap.
    if (2 * this._taken >= this._events.length) {
      this._events.splice(0, this._taken);
      this._taken = 0;
    }
    return first.event;
  }

  isFull(): boolean {
    return this._cost >= this._limit.full;
  }

  /**
   * Returns whether the application has taken so few events over several sessions that another
   * session would not help. One session alone stops being read when the queue is full; what its
   * last message adds is less than the queue's limit, or the server is hostile.
   */
  isOverfull(): boolean {
    const { full, most, mostBytes } = this._limit;
    return this._cost >= 2 * full || this._bytes >= mostBytes || this.length >= most;
  }
}
