// Messages that later versions will use. Their layout is fixed, and their features are not offered.

import * as features from "./features.js";
import { BYTES, list, U16, U32 } from "./kinds.js";
import { LinkGrant } from "./messages.js";
import { archive } from "./schema.js";
import { SessionSetting } from "./settings.js";

/** The server asks a client to join again at another server. */
export const Moved = archive(
  26,
  { code: U16, afterMs: U32, endpoints: list(BYTES) },
  features.MOVED,
);

/** A client asks for a link that leads to no room, to test the realtime port. */
export const Probe = archive(27, { token: BYTES, suites: BYTES, largestBody: U16 }, features.PROBE);

/** The server's answer to a `Probe`. */
export const ProbeGrant = archive(28, { linkId: U32, grant: list(LinkGrant) }, features.PROBE);

/** Settings of the session that have changed. */
export const SettingsUpdate = archive(38, { settings: list(SessionSetting) }, features.SETTINGS);
