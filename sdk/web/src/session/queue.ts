/** The events that wait for the application. */

/**
 * A queue of events with their costs. It takes every event: when it is full, its owner stops
 * reading the session, and the carrier's flow control stops the senders.
 */
export class EventQueue<E> {
  _events: { event: E; cost: number }[] = [];
  /** Index of the first event that was not taken. */
  _taken = 0;
  _cost = 0;
  _limit: number;
  _most: number;

  /**
   * The queue is full at the cost `limit`, and overfull at `most` events, those without a cost
   * included.
   */
  constructor(limit: number, most: number) {
    this._limit = limit;
    this._most = most;
  }

  /** Number of events that wait. */
  get length(): number {
    return this._events.length - this._taken;
  }

  push(event: E, cost: number): void {
    this._cost += cost;
    this._events.push({ event, cost });
  }

  pop(): E | undefined {
    const first = this._events[this._taken];
    if (!first) {
      return undefined;
    }
    this._cost -= first.cost;
    this._taken += 1;
    // Moving the rest up only now and then keeps each take cheap.
    if (2 * this._taken >= this._events.length) {
      this._events.splice(0, this._taken);
      this._taken = 0;
    }
    return first.event;
  }

  isFull(): boolean {
    return this._cost >= this._limit;
  }

  /**
   * Returns whether the application has taken so few events over several sessions that another
   * session would not help. One session alone stops being read when the queue is full.
   */
  isOverfull(): boolean {
    return this._cost >= 2 * this._limit || this.length >= this._most;
  }
}
