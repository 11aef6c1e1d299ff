/** The cube: an object of the room's state, which whoever touches it last holds. */

import { Batch, type Room, sceneObject } from "../src/index.js";
import { type Place, distance, within } from "./geometry.js";
import type { CubeView } from "./plan.js";
import { isolated } from "./page.js";

/** The cube's number among the objects of the scene. All tabs use the same, so there is one cube. */
const CUBE = sceneObject(0x6375_6265);
const ENTITY = { object: CUBE };
/** The field with the place, "x z" in metres. It marks the object as the demo's cube. */
const PLACE = "demo.cube";
/** The field that says whether the owner holds the cube. */
const HELD = "demo.held";
/** Where a new cube lies, in metres. */
const START: Place = { x: 0.18, z: -0.24 };
/** Shortest time between two changes of the place, in ms. */
const CHANGE_MS = 100;
/** A smaller move is not written, in metres. */
const SMALLEST_MOVE = 0.01;
/** The state of a room that exists arrives soon after the join. Before that time nobody makes a cube, in ms. */
const WAIT_MS = 600;
/** After a refusal the cube is tried again after this time, in ms. */
const RETRY_MS = 2_000;

const write = ({ x, z }: Place): string => `${x.toFixed(3)} ${z.toFixed(3)}`;

/** The cube of one room. */
export class Cube {
  #written: Place = START;
  #nextChange: number;
  #isChanging = false;

  constructor(
    private readonly room: Room,
    now: number,
  ) {
    this.#nextChange = now + WAIT_MS;
  }

  /** Returns who holds the cube, or `undefined`. */
  holder(): number | undefined {
    const owner = this.room.object(CUBE)?.owner;
    return owner && this.room.field(ENTITY, HELD)?.value === true ? owner : undefined;
  }

  /** Returns whether this tab holds the cube. */
  get isMine(): boolean {
    return this.holder() === this.room.me;
  }

  /** Takes the cube from whoever has it, or drops it at `place`. */
  toggle(place: Place): void {
    if (!this.room.object(CUBE)) {
      return;
    }
    const batch = this.isMine
      ? new Batch().set(ENTITY, PLACE, write(place)).set(ENTITY, HELD, false)
      : new Batch().claim(CUBE).set(ENTITY, HELD, true);
    this.#written = place;
    // A refusal means that somebody else was faster. The state shows who.
    this.room.change(batch).catch(() => {});
  }

  /** Makes the cube if there is none, and writes its place while this tab holds it. */
  step(now: number, place: Place): void {
    if (now < this.#nextChange || this.#isChanging) {
      return;
    }
    if (!this.room.object(CUBE)) {
      this.#nextChange = now + RETRY_MS;
      this.#change(
        new Batch()
          .create(CUBE, { ownership: "take", withRoom: true })
          .set(ENTITY, PLACE, write(START))
          .set(ENTITY, HELD, false),
      );
    } else if (this.isMine && distance(place, this.#written) > SMALLEST_MOVE) {
      this.#nextChange = now + CHANGE_MS;
      this.#written = place;
      this.#change(new Batch().set(ENTITY, PLACE, write(place)));
    }
  }

  #change(batch: Batch): void {
    this.#isChanging = true;
    this.room
      .change(batch)
      .catch(() => {})
      .finally(() => {
        this.#isChanging = false;
      });
  }

  /**
   * Returns how to draw the cube. `inHand` returns where a peer holds it: its place in the state
   * changes ten times a second, and a head moves evenly.
   */
  view(
    inHand: (peer: number) => Place | undefined,
    name: (peer: number) => string,
    colour: (peer: number) => string,
  ): CubeView | undefined {
    const stored = this.room.field(ENTITY, PLACE)?.value;
    if (typeof stored !== "string") {
      return undefined;
    }
    const [x = 0, z = 0] = stored.slice(0, 32).split(" ").map(Number);
    const holder = this.holder();
    const place = (holder === undefined ? undefined : inHand(holder)) ?? within({ x, z });
    if (holder === undefined) {
      return { place, holder: "", state: "free", colour: "" };
    }
    const isMine = holder === this.room.me;
    return {
      place,
      holder: isMine ? "you" : isolated(name(holder)),
      state: isMine ? "mine" : "other",
      colour: isMine ? "" : colour(holder),
    };
  }
}
