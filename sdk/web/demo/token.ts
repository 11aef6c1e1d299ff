/** Tokens for this page, from the development server that has served it. */

/** The server's answer to a request for a token. */
interface Answer {
  token: string;
  server: string;
}

/** A token this young is used again: the room and the social session begin together. In ms. */
const FRESH_MS = 5_000;

/** Asks for tokens of one user. */
export class Tokens {
  #newest: { answer: Answer; at: number } | undefined;

  constructor(
    private readonly user: string,
    private readonly name: () => string,
  ) {}

  /** Returns a token. Throws an error for a person if the server gives none. */
  provide = async (): Promise<string> => (await this.#ask()).token;

  /** Returns the address of the server's sessions. */
  async server(): Promise<string> {
    const now = performance.now();
    const isFresh = this.#newest && now - this.#newest.at < FRESH_MS;
    return (isFresh && this.#newest ? this.#newest.answer : await this.#ask()).server;
  }

  async #ask(): Promise<Answer> {
    const response = await fetch("/demo/token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ user: this.user, name: this.name() }),
      signal: AbortSignal.timeout(5_000),
    }).catch(() => {
      throw new Error("The server does not answer. Start it, and this page goes on by itself.");
    });
    if (!response.ok) {
      throw new Error("The server gives no token. Open this page at the address that it printed.");
    }
    const answer = (await response.json()) as Partial<Answer>;
    if (typeof answer.token !== "string" || typeof answer.server !== "string") {
      throw new Error("The server's answer has no token. Is the server as new as this page? Reload.");
    }
    this.#newest = { answer: { token: answer.token, server: answer.server }, at: performance.now() };
    return this.#newest.answer;
  }
}
