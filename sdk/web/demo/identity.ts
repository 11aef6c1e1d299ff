/**
 * Who this tab is: a random user, kept over a reload, and the number of the visitor. Both are held by
 * locks, because a browser copies the storage of a tab that it duplicates.
 */

/** A reload waits so long for the page before it to let go of its lock, in ms. */
const RELOAD_MS = 800;
/** The most tabs that get a number of their own. */
const MOST_VISITORS = 99;

const USER = "nucleus-demo-user";
const NUMBER = "nucleus-demo-number";
const TICKET = "nucleus-demo-ticket:";

/** The user of this tab. */
export interface Identity {
  /** User id, for the token. */
  readonly user: string;
  /** Number of the visitor, from 1. */
  number: number;
}

/** Takes a lock and keeps it as long as the page lives. Returns whether it was free within `waitMs`. */
function hold(name: string, waitMs: number): Promise<boolean> {
  const options: LockOptions =
    waitMs > 0 ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
  return new Promise((resolve) => {
    navigator.locks
      .request(name, options, (lock) => {
        resolve(lock !== null);
        return lock ? new Promise<void>(() => {}) : undefined;
      })
      .catch(() => resolve(false));
  });
}

function randomUser(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return `visitor-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Takes the smallest number, not in `taken`, that no other tab has. */
async function freeNumber(taken: ReadonlySet<number>): Promise<number> {
  for (let number = 1; number <= MOST_VISITORS; number += 1) {
    if (!taken.has(number) && (await hold(`${NUMBER}-${number}`, 0))) {
      return number;
    }
  }
  return MOST_VISITORS + 1;
}

/** Returns the user of this tab: the same after a reload, another one in a duplicated tab. */
export async function identify(): Promise<Identity> {
  const kept = sessionStorage.getItem(USER);
  if (kept && /^visitor-[0-9a-f]{12}$/.test(kept) && (await hold(kept, RELOAD_MS))) {
    const number = Number(sessionStorage.getItem(NUMBER));
    const isOwn = Number.isInteger(number) && number > 0;
    if (isOwn && (await hold(`${NUMBER}-${number}`, RELOAD_MS))) {
      return { user: kept, number };
    }
    return withNumber(kept);
  }
  sessionStorage.clear();
  const user = randomUser();
  await hold(user, 0);
  return withNumber(user);
}

async function withNumber(user: string): Promise<Identity> {
  const identity = { user, number: await freeNumber(new Set()) };
  keep(identity);
  return identity;
}

/** Takes another number, because people elsewhere have those in `taken`. */
export async function renumber(identity: Identity, taken: ReadonlySet<number>): Promise<void> {
  identity.number = await freeNumber(taken);
  keep(identity);
}

function keep(identity: Identity): void {
  sessionStorage.setItem(USER, identity.user);
  sessionStorage.setItem(NUMBER, String(identity.number));
}

/** Returns the display name. */
export function displayName(identity: Identity): string {
  return `Visitor ${identity.number}`;
}

/** Returns the numbers of visitors among names. */
export function visitorNumbers(names: Iterable<string>): Set<number> {
  const numbers = new Set<number>();
  for (const name of names) {
    const found = /^Visitor (\d{1,3})$/.exec(name);
    if (found) {
      numbers.add(Number(found[1]));
    }
  }
  return numbers;
}

/** Stores or removes the ticket with which a reload comes back to a room as the same peer. */
export function keepTicket(room: string, ticket: string | undefined): void {
  try {
    if (ticket) {
      sessionStorage.setItem(TICKET + room, ticket);
    } else {
      sessionStorage.removeItem(TICKET + room);
    }
  } catch {
    // The storage is full or forbidden. Then a reload is a new peer.
  }
}

/** Takes the ticket of a room out of the storage: a ticket is used once. */
export function takeTicket(room: string): string | undefined {
  const stored = sessionStorage.getItem(TICKET + room);
  sessionStorage.removeItem(TICKET + room);
  return stored ?? undefined;
}
