// How good a client's connection is, for a person: derived from losses and the round trip. Times
// are local, in ms.

/** Shortest time between two evaluations. A person notices changes of this length. */
const INTERVAL = 2_000;
/**
 * Evaluations in a row that must agree before a change is reported, so that one lost burst is no
 * change.
 */
const AGREEING = 2;
/** Fewer packets say nothing about losses. */
const LEAST_EXPECTED = 20;
/**
 * From this share of losses on, the connection counts as one with losses. A listener hears them: at
 * 50 packets a second, one is missing every four seconds.
 */
const LOSSY = 0.005;
/** How long it counts as such after the last losses. They come now and then. */
const LOSSY_TIME = 30_000;

/**
 * How good the connection is. "excellent": nobody notices the network. "good": voice has short
 * gaps, or is late. "poor": a conversation is difficult. "lost": there is no session now.
 * "unknown": no datagram of the server has come yet, or none comes any more.
 */
export type ConnectionQuality = "excellent" | "good" | "poor" | "lost" | "unknown";

/** What is known of the connection. */
export interface ConnectionFigures {
  /** How good the connection is; "unknown" before the first evaluation. */
  quality: ConnectionQuality;
  /** Round-trip time of the realtime plane in ms; `undefined` until it is measured, and in silence. */
  roundTrip: number | undefined;
  /**
   * Share of the packets to the server that were lost in the last interval with enough of them, 0
   * to 1. `undefined`: not known. A client without a realtime port knows it only from its carrier.
   */
  lossUp: number | undefined;
}

/** Cumulative counts of a session's packets to the server, as a carrier tells them. */
export interface PacketCounts {
  sent: number;
  lost: number;
}

/** Derives the quality of one connection. */
export class QualityMeter {
  readonly figures: ConnectionFigures = {
    quality: "unknown",
    roundTrip: undefined,
    lossUp: undefined,
  };
  /** Until it is told, an application takes the connection for excellent. */
  #told: ConnectionQuality = "excellent";
  #evaluated: number | undefined;
  #counts: PacketCounts = { sent: 0, lost: 0 };
  /** Until when the connection counts as one with losses. */
  #lossyUntil = -Infinity;
  /** The newest evaluation that differs from what was reported, and how often it came in a row. */
  #candidate: ConnectionQuality | undefined;
  #agreeing = 0;

  /** Begins anew with another link. The quality stays until it is known anew. */
  relink(): void {
    this.#counts = { sent: 0, lost: 0 };
    this.figures.lossUp = this.#evaluated = this.#candidate = undefined;
  }

  /** Notes that the session is lost. Returns the quality if it is to be reported. */
  disconnect(): ConnectionQuality | undefined {
    return this.#changeTo("lost");
  }

  /**
   * Returns whether the network has lost packets a short while ago. Losses in one direction are
   * taken for losses in both: those who share a Wi-Fi have both.
   */
  isLossy(now: number): boolean {
    return now < this.#lossyUntil;
  }

  /** Notes that the network has lost a datagram. */
  noteLoss(now: number): void {
    this.#lossyUntil = now + LOSSY_TIME;
  }

  /** Takes the counts of the carrier's packets. */
  takeCounts(now: number, counts: PacketCounts): void {
    const sent = counts.sent - this.#counts.sent;
    if (!(sent >= LEAST_EXPECTED)) {
      return;
    }
    const lost = Math.min(Math.max(counts.lost - this.#counts.lost, 0), sent);
    this.#counts = { ...counts };
    this.figures.lossUp = lost / sent;
    if (this.figures.lossUp >= LOSSY) {
      this.noteLoss(now);
    }
  }

  /**
   * Evaluates the connection, if it is time. `roundTrip` is in ms; `undefined`: nothing has come of
   * which it could be measured. Returns the quality if it is to be reported.
   */
  evaluate(now: number, roundTrip: number | undefined): ConnectionQuality | undefined {
    this.#evaluated ??= now;
    if (now - this.#evaluated < INTERVAL) {
      return undefined;
    }
    this.#evaluated = now;
    const { figures } = this;
    figures.roundTrip = roundTrip;
    const found =
      roundTrip === undefined ? "unknown" : qualityOf(roundTrip, figures.lossUp ?? 0);
    if (figures.quality === found && this.#told === found) {
      this.#candidate = undefined;
      return undefined;
    }
    this.#agreeing = this.#candidate === found ? this.#agreeing + 1 : 1;
    this.#candidate = found;
    // The first evaluation, and the one after a loss, need no other.
    const isKnown = figures.quality !== "unknown" && figures.quality !== "lost";
    return this.#agreeing < AGREEING && isKnown ? undefined : this.#changeTo(found);
  }

  #changeTo(quality: ConnectionQuality): ConnectionQuality | undefined {
    const before = this.#told;
    this.#candidate = undefined;
    this.figures.quality = this.#told = quality;
    return before === quality ? undefined : quality;
  }
}

/**
 * Returns the quality by the usual simplification of the E-model (ITU-T G.107): a rating of 93 less
 * what the delay (in ms) and the losses (a share) take from it.
 */
export function qualityOf(roundTrip: number, loss: number): ConnectionQuality {
  const delay = roundTrip < 320 ? roundTrip / 80 : (roundTrip - 240) / 20;
  const rating = 93 - delay - 250 * loss;
  return rating >= 80 ? "excellent" : rating >= 60 ? "good" : "poor";
}
