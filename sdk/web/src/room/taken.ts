/** Which events of the lanes the application has taken: what a ticket of this client says. */

import { EVENTS, type Lane } from "../wire/messaging.js";

/** Lane and sequence of an event, or of the last piece of a bulk message. */
export interface LanePosition {
  lane: Lane;
  sequence: bigint;
}

/**
 * The positions up to which the application has taken the events of each lane.
 *
 * Some events of the events lane are for the client itself, such as the answers to requests. They
 * count as taken when no earlier event waits for the application: otherwise a ticket would claim
 * that they were lost.
 */
export class TakenEvents {
  /** Largest sequence of an event that the application has taken, by lane. */
  _taken: [bigint, bigint];
  /** Largest sequence on the events lane of an event that is not for the application. */
  _passed = 0n;
  /** Events of the events lane that the application has not taken. */
  _waiting = 0;
  /** Events "rejoined" that the application has not taken. */
  _newPeers = 0;

  /** The application has taken everything up to these positions, in an earlier page. */
  constructor(taken: readonly [bigint, bigint] = [0n, 0n]) {
    this._taken = [...taken];
  }

  /** Notes that an event waits for the application. */
  queue(kind: string, position: LanePosition | undefined): void {
    this._waiting += position?.lane === EVENTS ? 1 : 0;
    if (kind === "rejoined") {
      this._newPeers += 1;
      // The sequences begin anew.
      this._passed = 0n;
    }
  }

  /** Notes that an event of the events lane is not for the application. */
  pass(sequence: bigint): void {
    if (sequence > this._passed) {
      this._passed = sequence;
    }
    this._advance();
  }

  /** Notes that the application has taken an event. */
  take(kind: string, position: LanePosition | undefined): void {
    if (position) {
      this._taken[position.lane] = position.sequence;
      this._waiting -= position.lane === EVENTS ? 1 : 0;
    }
    if (kind === "rejoined") {
      this._taken = [0n, 0n];
      this._newPeers -= 1;
    }
    this._advance();
  }

  _advance(): void {
    if (this._waiting === 0 && this._newPeers === 0 && this._passed > this._taken[EVENTS]) {
      this._taken[EVENTS] = this._passed;
    }
  }

  /**
   * Returns the positions that a resume must name. The application of a new peer that has not taken
   * "rejoined" has nothing of that peer.
   */
  lastSequences(): [bigint, bigint] {
    return this._newPeers > 0 ? [0n, 0n] : [...this._taken];
  }
}
