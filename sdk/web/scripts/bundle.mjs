// Bundles the library into one minified ES module, and fails if it grows over its limit.
import { build } from "esbuild";
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Largest size of the bundle: pages load it before they can join a room. */
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
const { size } = statSync(outfile);
process.stdout.write(`dist/nucleus-client.js: ${size} bytes\n`);
if (size > LIMIT_BYTES) {
  process.stderr.write(`The bundle is over its limit of ${LIMIT_BYTES} bytes.\n`);
  process.exit(1);
}
