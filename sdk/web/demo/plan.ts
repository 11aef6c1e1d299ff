/** The room seen from above: heads, cursors and the cube. */

import { type Place, toPlan } from "./geometry.js";
import { byId, isolated, setAttribute, setText, short, svg } from "./page.js";
import type { CursorView } from "./pointers.js";

/** The most heads that are drawn: more would cover each other. */
const MOST_HEADS = 64;

/** The most people that the plan's label tells of. */
const MOST_DESCRIBED = 8;

/** A head as it is drawn. */
export interface HeadView {
  name: string;
  /** Class of the colour. */
  colour: string;
  place: Place;
  /** Angle of the view in the plan, in radians. */
  angle: number;
  away: boolean;
  talks: boolean;
  isMe: boolean;
}

/** The cube as it is drawn. */
export interface CubeView {
  place: Place;
  /** Who holds it, "" if nobody does. */
  holder: string;
  state: "mine" | "other" | "free";
  /** Class of the holder's colour. */
  colour: string;
}

interface Head {
  root: SVGElement;
  turn: SVGElement;
  name: SVGElement;
}

const degrees = (angle: number): number => Math.round((angle * 180) / Math.PI);
const move = (element: Element, place: Place): void => {
  const [x, y] = toPlan(place);
  setAttribute(element, "transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
};

function makeHead(): Head {
  const root = svg("g", { class: "peer" });
  const body = svg("g", {});
  const turn = svg("g", {});
  turn.append(
    svg("path", { class: "cone", d: "M0 0L80.6 -50.3A95 95 0 0 1 80.6 50.3Z" }),
    svg("circle", { class: "ring", r: 31 }),
    svg("circle", { class: "ring", r: 31 }),
    svg("circle", { class: "head", r: 24 }),
    svg("circle", { class: "no", cx: 11, r: 6 }),
  );
  body.append(turn);
  const name = svg("text", { class: "name halo", y: 46 });
  root.append(body, name);
  return { root, turn, name };
}

function makeCursor(): SVGElement {
  const root = svg("g", {});
  root.append(
    svg("path", { class: "pin", d: "M0 0L0 22L6 17L10 26L14 24L10 15.5L18 15Z" }),
    svg("text", { class: "tagged halo", x: 20, y: 36 }),
  );
  return root;
}

/** Draws the plan. Elements are made once for each peer, and moved in each frame. */
export class Plan {
  readonly element = byId<SVGSVGElement>("plan");
  readonly cube = byId<SVGElement>("cube");
  readonly #heads = new Map<number, Head>();
  readonly #cursors = new Map<number, SVGElement>();

  /** Draws exactly these heads. */
  drawHeads(views: ReadonlyMap<number, HeadView>): void {
    for (const [id, head] of this.#heads) {
      if (!views.has(id)) {
        head.root.remove();
        this.#heads.delete(id);
      }
    }
    for (const [id, view] of views) {
      this.#drawHead(id, view);
    }
  }

  #drawHead(id: number, { name, colour, place, angle, away, talks, isMe }: HeadView): void {
    let head = this.#heads.get(id);
    if (!head) {
      if (this.#heads.size >= MOST_HEADS) {
        return;
      }
      head = makeHead();
      this.#heads.set(id, head);
      byId("heads").append(head.root);
    }
    const state = `${isMe ? " me" : ` ${colour}`}${away ? " away" : ""}${talks ? " talks" : ""}`;
    setAttribute(head.root, "class", `peer${state}`);
    move(head.root, place);
    setAttribute(head.turn, "transform", `rotate(${degrees(angle)})`);
    setText(head.name, isMe ? "You" : short(name));
  }

  /** Draws exactly these cursors. Key 0 is this tab's own. */
  drawCursors(views: ReadonlyMap<number, CursorView>): void {
    for (const [id, cursor] of this.#cursors) {
      if (!views.has(id)) {
        cursor.remove();
        this.#cursors.delete(id);
      }
    }
    for (const [id, { name, colour, place, isMe }] of views) {
      let cursor = this.#cursors.get(id);
      if (!cursor) {
        if (this.#cursors.size >= MOST_HEADS) {
          continue;
        }
        cursor = makeCursor();
        this.#cursors.set(id, cursor);
        byId("cursors").append(cursor);
      }
      setAttribute(cursor, "class", `cursor ${isMe ? "mine" : colour}`);
      move(cursor, place);
      const label = cursor.lastElementChild;
      if (label) {
        setText(label, isMe ? "You" : short(name));
      }
    }
  }

  /** Draws the cube, or none. */
  drawCube(view: CubeView | undefined): void {
    this.cube.toggleAttribute("hidden", !view);
    if (view) {
      setAttribute(this.cube, "class", `cube ${view.state} ${view.colour}`);
      move(this.cube, view.place);
      setText(byId("cube-label"), view.holder ? `Cube, held by ${view.holder}` : "Cube");
    }
  }

  /** Says in words who is where. */
  describe(heads: readonly HeadView[], cube: CubeView | undefined): void {
    const me = heads.find(({ isMe }) => isMe);
    const others = heads.filter(({ isMe }) => !isMe);
    const parts = ["The room from above."];
    if (me) {
      parts.push(`You are ${whereInRoom(me.place)}.`);
    }
    for (const { name, place, away, talks } of others.slice(0, MOST_DESCRIBED)) {
      const where = me ? whereFrom(me.place, place) : whereInRoom(place);
      parts.push(`${isolated(name)} is ${where}${away ? ", away" : talks ? ", and speaks" : ""}.`);
    }
    if (others.length > MOST_DESCRIBED) {
      parts.push(`${others.length - MOST_DESCRIBED} more people are here.`);
    }
    if (cube) {
      const held = cube.holder ? `, held by ${cube.holder},` : "";
      parts.push(`The cube${held} is ${whereInRoom(cube.place)}.`);
    }
    parts.push("Arrow keys move you, G takes or drops the cube.");
    setAttribute(this.element, "aria-label", parts.join(" "));
  }
}

/** Returns where in the room a place is, in words. */
function whereInRoom({ x, z }: Place): string {
  const side = x < -1.5 ? "left" : x > 1.5 ? "right" : "";
  const depth = z < -1 ? "top" : z > 1 ? "bottom" : "";
  const words = [depth, side].filter(Boolean).join(" ");
  return words ? `near the ${words}` : "in the middle";
}

/** Returns where a place is as seen from another one, in words. */
function whereFrom(from: Place, to: Place): string {
  const [right, down] = [to.x - from.x, to.z - from.z];
  const metres = Math.hypot(right, down);
  if (metres < 0.6) {
    return "next to you";
  }
  const isSideways = Math.abs(right) > Math.abs(down);
  const direction = isSideways
    ? right > 0
      ? "to your right"
      : "to your left"
    : down > 0
      ? "below you"
      : "above you";
  const rounded = Math.round(metres);
  return rounded > 1 ? `${rounded} metres ${direction}` : `a metre ${direction}`;
}
