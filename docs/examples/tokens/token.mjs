// Signs a join token. Needs Node.js 20, and no packages.
//
//   node token.mjs KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]
//
// KEY_FILE decides the algorithm: a PEM file with an Ed25519 key (EdDSA) or a P-256 key (ES256),
// or a text file with a secret (HS256). The server must be set to the same algorithm.
// AUDIENCE is the server's `tokens.audience`, or its server id if that setting is left out.

import { createHmac, createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

// A client needs a valid token when it joins. An expired token ends no session.
const VALID_S = 3600;

const base64url = (data) => Buffer.from(data).toString("base64url");

/** Returns the algorithm of a key file, and a function that signs with it. */
function readKey(file) {
  const text = readFileSync(file, "utf8");
  if (!text.startsWith("-----BEGIN")) {
    // The line end of the file is not part of the secret.
    return ["HS256", (data) => createHmac("sha256", text.trimEnd()).update(data).digest()];
  }
  const key = createPrivateKey(text);
  if (key.asymmetricKeyType === "ed25519") {
    return ["EdDSA", (data) => sign(null, data, key)];
  }
  if (key.asymmetricKeyDetails.namedCurve === "prime256v1") {
    // A JWT has the two numbers of the signature side by side. Node's default is DER.
    return ["ES256", (data) => sign("sha256", data, { key, dsaEncoding: "ieee-p1363" })];
  }
  throw new Error(`${file}: an Ed25519 key, a P-256 key or a secret is expected`);
}

function signToken(keyFile, claims) {
  const [alg, signature] = readKey(keyFile);
  const parts = [{ alg, typ: "JWT" }, claims].map((part) => base64url(JSON.stringify(part)));
  const signed = parts.join(".");
  return `${signed}.${base64url(signature(Buffer.from(signed)))}`;
}

const [keyFile, audience, tenant, product, user, room] = process.argv.slice(2);
if (user === undefined) {
  console.error("usage: node token.mjs KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]");
  process.exit(2);
}
const now = Math.floor(Date.now() / 1000);
const claims = {
  sub: user,
  tenant,
  product, // "atom" or "assist"
  aud: audience,
  iat: now,
  exp: now + VALID_S,
  // Without a room the token admits to every room of the tenant. JSON leaves out `undefined`.
  room,
  // Optional too: name (the display name), role, grants, nbf.
};
console.log(signToken(keyFile, claims));
