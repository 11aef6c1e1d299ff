// The adapter of this client for the dialogues in protocol/conformance. It reads calls of an
// application as JSON lines from its standard input, and writes what the application sees to its
// standard output. The README of that folder describes the lines.

import { createInterface } from "node:readline";

import { connect, enter, NucleusError, type Room, type Social } from "../../src/index.js";
import { BridgeCarrier } from "./bridge.js";
import { inRoom, inSocialSession, isForRoom, type Json, roomChoice } from "./calls.js";
import * as reports from "./reports.js";

const CAN = [
  "bulk",
  "groups",
  "moderation",
  "moved",
  "notices",
  "realtime",
  "renew",
  "resume",
  "rooms",
  "rpc",
  "settings",
  "social",
  "state",
  "typed_events",
];

const carrier = new BridgeCarrier();
let room: Room | undefined;
let social: Social | undefined;

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function serverOptions(call: Json) {
  const pin = new Uint8Array(Buffer.from(call.text("pin"), "hex"));
  const name = call.text("name");
  return { server: call.text("server"), token: call.text("token"), name, pins: [pin], carrier };
}

/** Joins a room, and reports what happens in it. */
async function join(call: Json): Promise<object> {
  try {
    room = await connect({
      ...serverOptions(call),
      ...roomChoice(call),
      room: call.text("room"),
    });
  } catch (error) {
    say(reports.refused("refused", error));
    return {};
  }
  say(reports.joined(room));
  void reportRoom(room);
  return {};
}

async function reportRoom(room: Room): Promise<void> {
  for await (const event of room) {
    const report = reports.roomEvent(event);
    if (report) {
      say(report);
    }
  }
}

/** Opens a social session, and reports what happens in it. */
async function openSocial(call: Json): Promise<object> {
  try {
    social = await enter(serverOptions(call));
  } catch (error) {
    say(reports.refused("social_refused", error));
    return {};
  }
  say({ sees: "entered", user: social.user });
  void reportSocial(social);
  return {};
}

async function reportSocial(social: Social): Promise<void> {
  for await (const event of social) {
    say(reports.socialEvent(event));
  }
}

async function answer(call: Json): Promise<object> {
  const name = call.text("call");
  if (name === "connect") {
    return join(call);
  }
  if (name === "enter") {
    return openSocial(call);
  }
  if (isForRoom(name) && room) {
    return inRoom(room, name, call);
  }
  if (!isForRoom(name) && social) {
    return inSocialSession(social, name, call);
  }
  return { why: "no session for this call" };
}

async function handle(call: Json): Promise<void> {
  let result: object;
  try {
    result = await answer(call);
  } catch (error) {
    const code = error instanceof NucleusError && error.isRefusal ? error.number : null;
    result = { code, why: String(error) };
  }
  say({ returns: call.number("id"), ...result });
}

say({ can: CAN });
const lines = createInterface({ input: process.stdin });
// Calls begin in their order, and none waits for another one.
lines.on("line", (line) => void handle(call(line)));
lines.on("close", () => process.exit(0));

function call(line: string): Json {
  return reports.json(JSON.parse(line));
}
