/** How this tab's person moves: by keys, by clicks and drags on the plan. */

import { type Place, angleTo, distance, fromPlan, within } from "./geometry.js";
import type { Plan } from "./plan.js";

/** Speed of walking, in metres a second. */
const SPEED = 2.2;
/** One press of a key moves so far, in metres. */
const STEP = 0.25;
/** While a key is held, the goal stays so close, so that the walk ends soon after the key. */
const LEAD = 0.4;
/** Speed of turning the head, in radians a second. */
const TURN = 10;

const KEYS: Readonly<Record<string, readonly [number, number]>> = {
  arrowleft: [-1, 0],
  arrowright: [1, 0],
  arrowup: [0, -1],
  arrowdown: [0, 1],
  a: [-1, 0],
  d: [1, 0],
  w: [0, -1],
  s: [0, 1],
};

/** Where this tab's person stands, looks and points. */
export class Walk {
  place: Place = { x: -2.2, z: 0.3 };
  angle = 0;
  /** Where the pointer is on the floor; `undefined` while it is outside the plan. */
  cursor: Place | undefined;
  #goal: Place = this.place;

  /** `onCube` is called at a click on the cube. */
  constructor(
    private readonly plan: Plan,
    onCube: () => void,
  ) {
    const element = plan.element;
    element.addEventListener("keydown", (event) => this.#onKey(event));
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) {
        return;
      }
      if (event.target instanceof Element && event.target.closest("#cube")) {
        onCube();
        return;
      }
      element.setPointerCapture(event.pointerId);
      this.#point(event, true);
    });
    element.addEventListener("pointermove", (event) =>
      this.#point(event, element.hasPointerCapture(event.pointerId)),
    );
    for (const kind of ["pointerleave", "pointercancel"] as const) {
      element.addEventListener(kind, () => {
        this.cursor = undefined;
      });
    }
  }

  /** Puts the person somewhere else, as at the start. */
  stand(place: Place): void {
    this.place = within(place);
    this.#goal = this.place;
    this.angle = angleTo(this.place, { x: 0, z: 0 });
  }

  /** Moves towards the goal. `seconds` is the time since the last frame. */
  step(seconds: number): void {
    const left = distance(this.place, this.#goal);
    const way = Math.min(left, SPEED * seconds);
    if (left > 0) {
      const angle = angleTo(this.place, this.#goal);
      const { x, z } = this.place;
      this.place = within({ x: x + way * Math.cos(angle), z: z + way * Math.sin(angle) });
    }
    const look = this.cursor ?? this.#goal;
    if (distance(this.place, look) > 0.05) {
      const off = angleTo(this.place, look) - this.angle;
      const turn = Math.atan2(Math.sin(off), Math.cos(off));
      this.angle += Math.sign(turn) * Math.min(Math.abs(turn), TURN * seconds);
    }
  }

  #onKey(event: KeyboardEvent): void {
    const direction = KEYS[event.key.toLowerCase()];
    if (!direction || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    event.preventDefault();
    this.cursor = undefined;
    // A key ends a longer walk to a click.
    const from = distance(this.place, this.#goal) > LEAD + STEP ? this.place : this.#goal;
    const goal = { x: from.x + direction[0] * STEP, z: from.z + direction[1] * STEP };
    const lead = Math.min(distance(this.place, goal), LEAD);
    const angle = angleTo(this.place, goal);
    const { x, z } = this.place;
    this.#goal = within({ x: x + lead * Math.cos(angle), z: z + lead * Math.sin(angle) });
  }

  #point(event: PointerEvent, isDrag: boolean): void {
    const matrix = this.plan.element.getScreenCTM();
    if (!matrix) {
      return;
    }
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    this.cursor = fromPlan(x, y);
    if (isDrag) {
      this.#goal = within(this.cursor);
    }
  }
}
