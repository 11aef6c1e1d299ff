/** The chat: texts of people, and what happens in the room. */

import { byId, html, nameElement } from "./page.js";

/** The type of the chat's events. */
export const CHAT = "chat";
/** Longest text, in characters. A longer one of another client is cut. */
const MOST_CHARACTERS = 500;
/** A character has at most 4 bytes, so this is all of a text that can be shown. */
const MOST_BYTES = 4 * MOST_CHARACTERS;
/** Lines of a text that are shown: a text of line ends must not push the others away. */
const MOST_LINES = 12;
/** Lines that the log keeps. */
const KEPT = 200;
/** A reader who has scrolled up by more than this, in px, is not scrolled down again. */
const AT_END_PX = 40;

const decoder = new TextDecoder("utf-8", { fatal: true });
const two = (number: number): string => String(number).padStart(2, "0");

/** Cuts a text to the length that the chat shows. */
export function cut(text: string): string {
  const characters = Array.from(text.slice(0, 2 * MOST_CHARACTERS));
  return characters.slice(0, MOST_CHARACTERS).join("").split("\n").slice(0, MOST_LINES).join("\n");
}

/** Reads a text of another client. Returns `undefined` for what is no text. */
export function readText(payload: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(payload.subarray(0, MOST_BYTES), {
      stream: payload.length > MOST_BYTES,
    });
    // A cut text may end in mid-character, which the decoder would keep for the next one.
    decodeNothing();
    return cut(text).trim() || undefined;
  } catch {
    return undefined;
  }
}

function decodeNothing(): void {
  try {
    decoder.decode();
  } catch {
    // The rest of a character was dropped.
  }
}

/** The log and the field under it. */
export class Chat {
  readonly #log = byId("log");
  readonly #field = byId<HTMLInputElement>("say");
  /** Whether the reader sees the end of the log, and so goes on seeing it. */
  #isAtEnd = true;

  /** `say` sends a text. */
  constructor(say: (text: string) => void) {
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (Array.from(text).length > MOST_CHARACTERS) {
        this.#field.setCustomValidity(`A message has at most ${MOST_CHARACTERS} characters.`);
        this.#field.reportValidity();
        return;
      }
      if (text) {
        this.#field.value = "";
        say(text);
      }
    });
    this.#field.addEventListener("input", () => this.#field.setCustomValidity(""));
    this.#log.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#log;
      this.#isAtEnd = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    });
    // A longer list of people makes the log shorter.
    new ResizeObserver(() => this.#follow()).observe(this.#log);
  }

  #follow(): void {
    if (this.#isAtEnd) {
      this.#log.scrollTop = this.#log.scrollHeight;
    }
  }

  /** Adds a text of a person. */
  add(name: string, text: string): void {
    const now = new Date();
    const time = html("time", "", `${two(now.getHours())}:${two(now.getMinutes())}`);
    time.dateTime = now.toISOString();
    const author = html("b");
    author.append(nameElement(name, "cut"));
    const words = html("p");
    words.append(nameElement(text));
    const line = html("div");
    line.append(author, time, words);
    this.#log.append(line);
    while (this.#log.childElementCount > KEPT) {
      this.#log.firstElementChild?.remove();
    }
    this.#follow();
  }

  /** Adds what has happened in the room. */
  note(text: string): void {
    this.add("Room", text);
  }
}
