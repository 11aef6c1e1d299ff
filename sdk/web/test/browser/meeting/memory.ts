// What a tab leaves to the one that continues after it.

/** Stands for a value that is not there. */
const NONE = "-";

/** The next event of a sender. */
export interface Record {
  run: number;
  next: number;
}

/** The content of the file: ticket, peer id, run, successes, and then a line for each sender. */
export class Memory {
  ticket: string | undefined;
  /** The own peer id of the tab before. */
  peer: number | undefined;
  /** How often the program was started. */
  run = 0;
  /** How often this user has increased the room's count. */
  successes = 0;
  readonly records = new Map<string, Record>();

  /** Reads the text of a file; an empty one if this is the first tab. */
  static from(text: string): Memory {
    const memory = new Memory();
    const words = text.split(/\s+/).filter((word) => word !== "");
    const [ticket = NONE, peer = NONE, run = "0", successes = "0"] = words.splice(0, 4);
    memory.ticket = ticket === NONE ? undefined : ticket;
    memory.peer = peer === NONE ? undefined : Number(peer);
    memory.run = Number(run);
    memory.successes = Number(successes);
    while (words.length >= 3) {
      const [user = "", itsRun, next] = words.splice(0, 3);
      memory.records.set(user, { run: Number(itsRun), next: Number(next) });
    }
    return memory;
  }

  /** Returns the text of the file. */
  toText(): string {
    const first = [this.ticket ?? NONE, `${this.peer ?? NONE} ${this.run} ${this.successes}`];
    const lines = [...this.records].map(([user, { run, next }]) => `${user} ${run} ${next}`);
    return [...first, ...lines, ""].join("\n");
  }
}
