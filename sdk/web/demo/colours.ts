/** The colours of the others: two people have the same only if there are more people than colours. */

/** The colours in demo.css, as the classes c0, c1 and so on. Blue is this tab's own. */
const COLOURS = 8;

/** Which colour each peer has. */
export class Colours {
  readonly #colours = new Map<number, number>();

  /** Gives each of these peers a colour that it keeps, and frees those of all others. */
  keep(peers: ReadonlySet<number>): void {
    for (const peer of this.#colours.keys()) {
      if (!peers.has(peer)) {
        this.#colours.delete(peer);
      }
    }
    for (const peer of peers) {
      if (!this.#colours.has(peer)) {
        this.#colours.set(peer, this.#rarest(peer));
      }
    }
  }

  /** Returns the class of a peer's colour. */
  of(peer: number): string {
    return `c${this.#colours.get(peer) ?? peer % COLOURS}`;
  }

  /** Returns the colour that the fewest have: if there are several, most often the same in all tabs. */
  #rarest(peer: number): number {
    const counts = new Array<number>(COLOURS).fill(0);
    for (const colour of this.#colours.values()) {
      counts[colour] = (counts[colour] ?? 0) + 1;
    }
    const inTurn = counts.map((_, i) => (peer + i) % COLOURS);
    return inTurn.reduce((a, b) => ((counts[b] ?? 0) < (counts[a] ?? 0) ? b : a));
  }
}
