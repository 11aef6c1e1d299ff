// What the voices of all clients have in common.

/** Samples a second. */
export const SAMPLE_RATE = 48_000;
/** Samples of a packet: 20 ms of one channel. */
export const FRAME_SAMPLES = 960;
/** Length of a packet in µs. */
export const FRAME_US = 20_000;

/**
 * Returns the loudness of samples from -1 to 1 in -dBov (RFC 6464): 0 is loudest, 127 is silence,
 * also for what is no number.
 */
export function levelOf(samples: Float32Array): number {
  let power = 0;
  for (const sample of samples) {
    power += sample * sample;
  }
  // The loudest is a square wave of the largest samples.
  const below = -10 * Math.log10(Math.max(power / samples.length, 1e-13));
  return Number.isNaN(below) ? 127 : Math.floor(Math.min(Math.max(below, 0), 127));
}
