// Hostile pages in Chromium against a real server, while two tabs meet: the two lose nothing.
//
//     node test/browser/hostile.mjs NUCLEUS
//
// NUCLEUS is the server's program. Prints the server's counters at the end.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { NucleusServer, openPage, servePages, startChromium } from "./support.mjs";

/** How long each hostile page goes on, in ms. */
const ATTACK_MS = 4_000;
/** Sessions that one page opens at once. */
const SESSIONS = 200;
/** Large messages that are sent to a page that does not read. */
const BULK = 200;
/** Those of them that are under way at a time: half of what the server keeps for a recipient. */
const BULK_AT_ONCE = 4;
const WAIT_MS = 30_000;

const [program] = process.argv.slice(2);
if (!program) {
  process.stderr.write("usage: hostile.mjs NUCLEUS\n");
  process.exit(2);
}

/** Runs in a good page: joins, and counts what arrives. `begin` sends numbered events and poses. */
async function meet({ server, token }) {
  const room = await globalThis.nucleus.connect({ server, token, room: "meet" });
  const state = { sent: 0, received: 0, faults: [], poses: 0, bulk: 0, isOver: false };
  globalThis.state = state;
  globalThis.room = room;
  void (async () => {
    for await (const event of room) {
      if (event.kind === "event" && event.channel === 1) {
        const number = Number(new TextDecoder().decode(event.payload));
        if (number !== state.received) {
          state.faults.push(`event ${number} in place of ${state.received}`);
        }
        state.received = number + 1;
      } else if (event.kind === "pose") {
        state.poses += 1;
      } else if (event.kind === "bulk") {
        state.bulk += 1;
      } else if (["interrupted", "resumed", "rejoined", "closed"].includes(event.kind)) {
        state.faults.push(`${event.kind} ${event.code ?? ""} ${event.text ?? ""}`);
      }
    }
  })();
  /** Sends so many large messages, one after the other. */
  globalThis.sendBulk = async (count) => {
    for (let i = 0; i < count; i += 1) {
      await room.sendBulk("others", 2, new Uint8Array(60_000));
    }
  };
  globalThis.begin = () => {
    const timer = setInterval(() => {
      if (state.isOver) {
        clearInterval(timer);
        return;
      }
      const text = new TextEncoder().encode(String(state.sent));
      state.sent += 1;
      room.sendEvent("others", 1, text).catch((error) => state.faults.push(String(error)));
      room.sendPose({ head: { position: [0, 1.7, 0], rotation: [0, 0, 0, 1] } });
    }, 20);
  };
}

/** Makes functions of all hostile pages: a session without the SDK, and ones of the SDK. */
function arm() {
  const { WebTransportCarrier, connect } = globalThis.nucleus;
  const pinsOf = (token) => {
    const claims = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    return [JSON.parse(claims).pin].flat().map((pin) => {
      const bytes = atob(pin.replace(/-/g, "+").replace(/_/g, "/"));
      return Uint8Array.from(bytes, (character) => character.charCodeAt(0));
    });
  };
  globalThis.open = ({ server, token, path = "/nucleus" }) => {
    const hashes = pinsOf(token).map((value) => ({ algorithm: "sha-256", value }));
    const transport = new WebTransport(`https://${server}${path}`, {
      allowPooling: false,
      serverCertificateHashes: hashes,
    });
    transport.closed.catch(() => {});
    return transport;
  };
  /** Joins. `change` gets each connection of the SDK, and returns another one. */
  globalThis.joinBy = (options, change) => {
    const carrier = new WebTransportCarrier();
    const dial = async (...to) => change(await carrier.dial(...to));
    return connect({ room: "meet", patienceMs: 0, ...options, carrier: { dial } });
  };
}

/** The hostile pages, by what they do. Each returns what is printed. */
const ATTACKS = {
  "a page of another origin": async ({ server, token }) => {
    const transport = globalThis.open({ server, token });
    return transport.ready.then(
      () => "is let in",
      (error) => `is refused: ${error.message}`,
    );
  },
  "a wrong path": async ({ server, token }) => {
    const transport = globalThis.open({ server, token, path: "/other" });
    return transport.ready.then(
      () => "is let in",
      (error) => `is refused: ${error.message}`,
    );
  },
  "many sessions at once": async ({ server, token, sessions, ms }) => {
    const all = Array.from({ length: sessions }, () => globalThis.open({ server, token }));
    const opened = await Promise.all(
      all.map((transport) =>
        Promise.race([
          transport.ready.then(
            () => true,
            () => false,
          ),
          new Promise((resolve) => setTimeout(resolve, 8_000, false)),
        ]),
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, ms));
    all.forEach((transport) => transport.close());
    return `${opened.filter((is) => is).length} of ${sessions} sessions were opened`;
  },
  "a page that never reads": async ({ server, token }) => {
    const never = () => new Promise(() => {});
    const room = await globalThis.joinBy({ server, token }, (connection) => {
      connection.accept = never;
      connection.receiveDatagram = never;
      return connection;
    });
    const end = performance.now() + 60_000;
    while (!room.isClosed && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return room.isClosed ? "is thrown out" : "is still in the room";
  },
  "datagrams as fast as they go": async ({ server, token, ms }) => {
    let connection, last;
    const room = await globalThis.joinBy({ server, token }, (given) => {
      connection = given;
      const send = connection.sendDatagram.bind(connection);
      connection.sendDatagram = (bytes) => send((last = bytes.slice()));
      return connection;
    });
    const raw = globalThis.open({ server, token });
    await raw.ready;
    const writer = raw.datagrams.writable.getWriter();
    writer.closed.catch(() => {});
    const end = performance.now() + ms;
    let sent = 0;
    while (performance.now() < end) {
      for (let i = 0; i < 50; i += 1) {
        // What the room's own link sends, over and over, and then with changed bytes.
        const bytes = last.slice();
        bytes[4 + Math.floor(Math.random() * (bytes.length - 4))] ^= i;
        connection.sendDatagram(bytes);
        writer.write(crypto.getRandomValues(new Uint8Array(1_000))).catch(() => {});
        sent += 2;
      }
      await new Promise((resolve) => setTimeout(resolve));
    }
    raw.close();
    room.close();
    return `${sent} datagrams were handed in`;
  },
  "sessions that open and close, with a code": async ({ server, token, ms }) => {
    const end = performance.now() + ms;
    let count = 0;
    const loop = async () => {
      while (performance.now() < end) {
        const transport = globalThis.open({ server, token });
        const isReady = await transport.ready.then(
          () => true,
          () => false,
        );
        count += isReady ? 1 : 0;
        transport.close({ closeCode: count, reason: "x".repeat(1_000) });
        await new Promise((resolve) => setTimeout(resolve, isReady ? 0 : 100));
      }
    };
    await Promise.all(Array.from({ length: 8 }, loop));
    return `${count} sessions were opened and closed`;
  },
  "streams of nonsense": async ({ server, token, ms }) => {
    const end = performance.now() + ms;
    let count = 0;
    const flood = async (transport) => {
      while (performance.now() < end) {
        const stream = await transport.createUnidirectionalStream();
        const writer = stream.getWriter();
        writer.closed.catch(() => {});
        await writer.write(crypto.getRandomValues(new Uint8Array(4_096)));
        void writer.close().catch(() => {});
        count += 1;
      }
    };
    const one = async () => {
      while (performance.now() < end) {
        const transport = globalThis.open({ server, token });
        try {
          await transport.ready;
          const control = await transport.createBidirectionalStream();
          const writer = control.writable.getWriter();
          writer.closed.catch(() => {});
          const nonsense = crypto.getRandomValues(new Uint8Array(65_536));
          const waits = new Promise((resolve) => setTimeout(resolve, 500));
          await Promise.race([Promise.all([writer.write(nonsense), flood(transport)]), waits]);
        } catch {
          // The server has ended the session.
        }
        transport.close();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await Promise.all(Array.from({ length: 4 }, one));
    return `${count} streams were opened`;
  },
};

/** How the words about some pages must begin. */
const EXPECTED = {
  "a page of another origin": "is refused",
  "a wrong path": "is refused",
  "a page that never reads": "is thrown out",
};

const pages = await servePages();
const elsewhere = await servePages({}, "127.0.0.2");
const server = new NucleusServer(program);
const config = join(server.data, "nucleus.toml");
// By the default, filling a browser's buffers would take minutes.
const limits = "[limits]\npeer_bulk_bytes_per_s = 16777216\n";
writeFileSync(config, `[web]\norigins = ["${pages.url.slice(0, -1)}"]\n${limits}`);
server.args.push("--config", config);
await server.start();
// The hostile pages run in another browser, so that only the server is between them and the two.
const [good, bad] = await Promise.all([startChromium(), startChromium()]);
const failures = [];
let largeMessages = 0;

/** Sends large messages from one tab. The other one is thrown out, too, if it is too slow for them. */
async function sendBulk(from, to, count) {
  const before = await to.evaluate(() => globalThis.state.bulk);
  for (let sent = BULK_AT_ONCE; sent <= count; sent += BULK_AT_ONCE) {
    await from.evaluate((some) => globalThis.sendBulk(some), BULK_AT_ONCE);
    const wanted = before + sent;
    await to.evaluate(
      async ({ wanted, ms }) => {
        const end = performance.now() + ms;
        while (globalThis.state.bulk < wanted && performance.now() < end) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      },
      { wanted, ms: WAIT_MS },
    );
  }
}

/** Waits until both tabs have everything, and checks it. */
async function settle(tabs, what) {
  const states = () => Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.state)));
  const end = Date.now() + WAIT_MS;
  let [one, two] = await states();
  while ((one.received < two.sent || two.received < one.sent) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    [one, two] = await states();
  }
  assert.deepEqual([one.faults, two.faults], [[], []], what);
  for (const [tab, other] of [
    [one, two],
    [two, one],
  ]) {
    assert.equal(tab.received, other.sent, `${what}: events are missing`);
    assert.ok(tab.poses > 0, `${what}: no pose has arrived`);
  }
  return one.sent + two.sent;
}

try {
  const tabs = [];
  for (const user of ["ada", "ben"]) {
    const tab = await openPage(good, pages.url, user);
    await tab.evaluate(meet, { server: server.address, token: server.token(user) });
    tabs.push(tab);
  }
  await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.begin())));
  for (const [name, attack] of Object.entries(ATTACKS)) {
    const { url } = name === "a page of another origin" ? elsewhere : pages;
    const page = await openPage(bad, url, name);
    await page.evaluate(arm);
    const options = { token: server.token("eve"), ms: ATTACK_MS, sessions: SESSIONS };
    const before = await tabs[0].evaluate(() => globalThis.state.received);
    // What the page does not read must be more than its browser takes for it.
    const bulk = name === "a page that never reads" ? BULK : 0;
    const sending = sendBulk(tabs[0], tabs[1], bulk);
    const attacking = page.evaluate(attack, { server: server.address, ...options });
    // Chromium 156 crashes by itself if a session ends whose streams have no end.
    const orCrash = attacking.catch((error) => {
      assert.match(String(error), /Target crashed/);
      return "has crashed its own tab";
    });
    const [what] = await Promise.all([orCrash, sending]);
    largeMessages += bulk;
    await page.close();
    const arrived = (await tabs[0].evaluate(() => globalThis.state.received)) - before;
    console.log(`${name}: ${what}; meanwhile ${arrived} events arrived`);
    const expected = EXPECTED[name];
    if (expected && !what.startsWith(expected)) {
      failures.push(`${name} ${what}`);
    }
  }
  await Promise.all(tabs.map((tab) => tab.evaluate(() => (globalThis.state.isOver = true))));
  const events = await settle(tabs, "after all pages");
  const large = await tabs[1].evaluate(() => globalThis.state.bulk);
  assert.equal(large, largeMessages, "large messages are missing");
  const counters = await server.metrics();
  console.log(`the two have lost none of their ${events} events; the server's counters:`);
  for (const [name, value] of Object.entries(counters).filter(([, value]) => value > 0)) {
    console.log(`  ${name} ${value}`);
  }
  assert.deepEqual(failures, []);
  assert.ok(counters.nucleus_session_pages_refused_total > 0, "no page was counted as refused");
  const slow = counters['nucleus_session_ended_total{code="slow_consumer"}'];
  assert.ok(slow > 0, "the page that never reads was not thrown out");
} finally {
  await Promise.all([good.close(), bad.close()]);
  pages.close();
  elsewhere.close();
  await server.end();
}
