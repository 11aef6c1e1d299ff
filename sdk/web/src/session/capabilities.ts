/** What a browser's datagrams can carry, as the client tells the server in `Join`. */

import { LINK_ID, MAX_BODY, MIN_BODY } from "../wire/limits.js";

/**
 * Returns `largestBody` of `Join` for a session whose datagrams hold so many bytes. 0: the session
 * has no realtime plane.
 */
export function largestBody(maxDatagramSize: number): number {
  const carried = Math.min(maxDatagramSize - LINK_ID, MAX_BODY);
  return carried >= MIN_BODY ? carried : 0;
}
