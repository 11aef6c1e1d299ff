// A seeded network inside the process, for tests: the same rules as the crate `nucleus-netsim`.

/** A small seeded generator (mulberry32). The same seed gives the same numbers. */
export class Rng {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 0x9e3779b9 + 0x7f4a7c15) >>> 0;
  }

  /** Returns a number from 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** Returns a whole number from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** The conditions of one direction. Times are in ms, probabilities from 0 to 1. */
export interface Conditions {
  delayMin: number;
  delayMax: number;
  /** Share of lost items. */
  loss: number;
  /** Mean number of lost items in a row. */
  burst: number;
  duplicate: number;
  /** Share of items that later ones overtake. */
  reorder: number;
}

const NONE = { loss: 0, burst: 1, duplicate: 0, reorder: 0 };

export const CLEAN: Conditions = { delayMin: 0, delayMax: 0, ...NONE };
export const WIFI: Conditions = { ...NONE, delayMin: 5, delayMax: 30, loss: 0.01, burst: 3 };
export const LOSSY: Conditions = {
  delayMin: 30,
  delayMax: 150,
  loss: 0.05,
  burst: 3,
  duplicate: 0.01,
  reorder: 0.02,
};

export function delayed(delayMin: number, delayMax: number): Conditions {
  return { ...NONE, delayMin, delayMax };
}

interface InFlight<T> {
  due: number;
  number: number;
  item: T;
}

/** Time without items after which the state of the loss model is drawn anew, in ms. */
const BURST_TIME = 150;

/** One direction of a network that carries items of type `T`. */
export class Pipe<T> {
  readonly #rng: Rng;
  readonly #conditions: Conditions;
  #inFlight: InFlight<T>[] = [];
  #isBad = false;
  #lastDue = 0;
  #lastInput = 0;
  #number = 0;
  lost = 0;

  constructor(seed: number, conditions: Conditions) {
    this.#rng = new Rng(seed);
    this.#conditions = conditions;
    this.#isBad = this.#rng.chance(conditions.loss);
  }

  handleInput(now: number, item: T): void {
    this.#number += 1;
    if (this.#isLost(now)) {
      this.lost += 1;
      return;
    }
    if (this.#rng.chance(this.#conditions.duplicate)) {
      this.#launch(now, item);
    }
    this.#launch(now, item);
  }

  /** Takes out the next item that has arrived by `now`. */
  pollOutput(now: number): T | undefined {
    const first = this.#inFlight[0];
    if (first === undefined || first.due > now) {
      return undefined;
    }
    this.#inFlight.shift();
    return first.item;
  }

  /** Draws whether an item is lost, and the state of the loss model for the next item. */
  #isLost(now: number): boolean {
    const { loss, burst } = this.#conditions;
    if (now - this.#lastInput > BURST_TIME) {
      this.#isBad = this.#rng.chance(loss);
    }
    this.#lastInput = Math.max(now, this.#lastInput);
    const isLost = this.#isBad;
    const odds = loss / (1 - loss);
    const change = this.#isBad ? 1 / burst : odds / burst;
    if (this.#rng.chance(change)) {
      this.#isBad = !this.#isBad;
    }
    return isLost;
  }

  /** Draws a delay. Items keep their order, unless they are reordered. */
  #launch(now: number, item: T): void {
    const { delayMin, delayMax, reorder } = this.#conditions;
    const delay = delayMin + (delayMax - delayMin) * this.#rng.next();
    let due = Math.max(now + delay, this.#lastDue);
    if (this.#rng.chance(reorder)) {
      due += 50 + 30 * this.#rng.next();
    } else {
      this.#lastDue = due;
    }
    let at = this.#inFlight.length;
    while (at > 0 && (this.#inFlight[at - 1]?.due ?? 0) > due) {
      at -= 1;
    }
    this.#inFlight.splice(at, 0, { due, number: this.#number, item });
  }
}

/** Returns the number below which this share of the sorted numbers lies. */
export function quantile(numbers: number[], share: number): number {
  const sorted = Float64Array.from(numbers).sort();
  return sorted[Math.floor(sorted.length * share)] ?? NaN;
}
