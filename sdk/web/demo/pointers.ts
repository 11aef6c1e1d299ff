/** The cursors: where each person points, as pointers of the realtime plane. */

import { type Place, within } from "./geometry.js";

/** A pointer that is not seen again for this time is gone, in ms. */
const GONE_MS = 3_000;
/** A cursor that does not move is sent again this often, in ms: pointers can be lost. */
const REPEAT_MS = 500;
/** A pointer has x and z as 32-bit floats, in metres. An empty one says that there is none. */
const BYTES = 8;
/** The most peers whose pointers are kept. */
const MOST = 256;

/** A cursor as it is drawn. */
export interface CursorView {
  name: string;
  /** Class of the colour. */
  colour: string;
  place: Place;
  isMe: boolean;
}

/** The cursors of the others, and what this tab has sent of its own. */
export class Pointers {
  readonly #others = new Map<number, { place: Place; shown: Place; at: number }>();
  #sent = "";
  #sentAt = -REPEAT_MS;

  /** Returns what to send now, or `undefined`. */
  payload(cursor: Place | undefined, now: number): Uint8Array | undefined {
    const sent = cursor ? `${cursor.x.toFixed(3)} ${cursor.z.toFixed(3)}` : "";
    if (sent === this.#sent && now < this.#sentAt + REPEAT_MS) {
      return undefined;
    }
    [this.#sent, this.#sentAt] = [sent, now];
    if (!cursor) {
      return new Uint8Array(0);
    }
    const view = new DataView(new ArrayBuffer(BYTES));
    view.setFloat32(0, cursor.x, true);
    view.setFloat32(4, cursor.z, true);
    return new Uint8Array(view.buffer);
  }

  /** Takes the pointer of another one. */
  take(from: number, payload: Uint8Array, now: number): void {
    if (payload.length < BYTES) {
      this.#others.delete(from);
      return;
    }
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const place = within({ x: view.getFloat32(0, true), z: view.getFloat32(4, true) }, 0);
    const known = this.#others.get(from);
    if (known || this.#others.size < MOST) {
      this.#others.set(from, { place, shown: known?.shown ?? { ...place }, at: now });
    }
  }

  /** Forgets the pointer of a peer that left. */
  remove(peer: number): void {
    this.#others.delete(peer);
  }

  /** Forgets all. */
  clear(): void {
    this.#others.clear();
    this.#sentAt = -REPEAT_MS;
  }

  /** Returns the cursors to draw, each a step closer to where it is than in the last frame. */
  views(
    me: number | undefined,
    mine: Place | undefined,
    nameOf: (peer: number) => string,
    colourOf: (peer: number) => string,
    now: number,
  ): Map<number, CursorView> {
    const views = new Map<number, CursorView>();
    for (const [id, pointer] of this.#others) {
      if (now > pointer.at + GONE_MS) {
        this.#others.delete(id);
        continue;
      }
      const { place, shown } = pointer;
      shown.x += (place.x - shown.x) / 3;
      shown.z += (place.z - shown.z) / 3;
      views.set(id, { name: nameOf(id), colour: colourOf(id), place: shown, isMe: false });
    }
    if (me !== undefined && mine) {
      views.set(me, { name: "You", colour: "", place: mine, isMe: true });
    }
    return views;
  }
}
