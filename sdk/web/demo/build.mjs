// Builds the demo page into the server's sources, which embed it. The result is the same on every
// machine: CI compares it with what is committed.
import { build } from "esbuild";
import { copyFileSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Largest size of the script: the SDK and the page. */
const LIMIT_BYTES = 160 * 1024;

const root = fileURLToPath(new URL("..", import.meta.url));
const out = fileURLToPath(new URL("../../../server/src/http/demo/", import.meta.url));
const options = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  mangleProps: /^_/,
  legalComments: "none",
  charset: "utf8",
};

mkdirSync(out, { recursive: true });
copyFileSync(`${root}demo/index.html`, `${out}index.html`);
await build({ ...options, entryPoints: ["demo/main.ts"], outfile: `${out}demo.js` });
await build({ ...options, target: "chrome123", entryPoints: ["demo/demo.css"], outfile: `${out}demo.css` });
// The worklet is a text in the SDK. The page's policy allows only files of the server's.
const { outputFiles } = await build({ ...options, entryPoints: ["src/voice/worklet.ts"], write: false });
const source = Buffer.from(outputFiles[0].contents).toString("base64");
const { WORKLET_SOURCE } = await import(`data:text/javascript;base64,${source}`);
writeFileSync(`${out}voice-worklet.js`, `${WORKLET_SOURCE.trim()}\n`);
for (const name of ["index.html", "demo.css", "demo.js"]) {
  const { size } = statSync(out + name);
  process.stdout.write(`server/src/http/demo/${name}: ${size} bytes\n`);
  if (size > LIMIT_BYTES) {
    process.stderr.write(`${name} is over its limit of ${LIMIT_BYTES} bytes.\n`);
    process.exit(1);
  }
}
