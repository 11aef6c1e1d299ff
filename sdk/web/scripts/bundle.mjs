// Bundles the library into one minified ES module, and fails if it grows over its limit.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** Most bytes that a page loads before it can join a room: the bundle as web servers compress it. */
const LIMIT_BYTES = 60 * 1024;

const root = fileURLToPath(new URL("..", import.meta.url));
const outfile = `${root}dist/nucleus-client.js`;
await build({
  absWorkingDir: root,
  entryPoints: ["src/index.ts"],
  outfile,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  mangleProps: /^_/,
  legalComments: "none",
  charset: "utf8",
});
const bundle = readFileSync(outfile);
const compressed = gzipSync(bundle, { level: 9 }).length;
process.stdout.write(`dist/nucleus-client.js: ${bundle.length} bytes, ${compressed} compressed\n`);
if (compressed > LIMIT_BYTES) {
  process.stderr.write(`The compressed bundle is over its limit of ${LIMIT_BYTES} bytes.\n`);
  process.exit(1);
}
