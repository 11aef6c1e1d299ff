// Builds the demo page into the server's sources, which embed it. The result is the same on every
// machine: CI compares it with what is committed.
import { build } from "esbuild";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { options, root, workletFile } from "../scripts/options.mjs";

/** Most bytes of a file, as web servers compress it: the script has the SDK and the page. */
const LIMIT_BYTES = 60 * 1024;

const out = fileURLToPath(new URL("../../../server/src/http/demo/", import.meta.url));
mkdirSync(out, { recursive: true });
copyFileSync(`${root}demo/index.html`, `${out}index.html`);
await build({ ...options, entryPoints: ["demo/main.ts"], outfile: `${out}demo.js` });
await build({ ...options, target: "chrome123", entryPoints: ["demo/demo.css"], outfile: `${out}demo.css` });
writeFileSync(`${out}voice-worklet.js`, await workletFile());
for (const name of ["index.html", "demo.css", "demo.js", "voice-worklet.js"]) {
  const file = readFileSync(out + name);
  const compressed = gzipSync(file, { level: 9 }).length;
  process.stdout.write(`server/src/http/demo/${name}: ${file.length} bytes, ${compressed} compressed\n`);
  if (compressed > LIMIT_BYTES) {
    process.stderr.write(`${name} is over its limit of ${LIMIT_BYTES} bytes, compressed.\n`);
    process.exit(1);
  }
}
