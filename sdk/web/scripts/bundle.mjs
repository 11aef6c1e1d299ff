// Bundles the library into minified ES modules: rooms and calls in one, voice in another. Fails if one
// grows over its limit.
import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** Most bytes of each bundle as it is, and as web servers compress it. */
const LIMITS = {
  "nucleus-client": { plain: 124 * 1024, compressed: 45 * 1024 },
  voice: { plain: 12 * 1024, compressed: 6 * 1024 },
};

const root = fileURLToPath(new URL("..", import.meta.url));
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
await build({
  ...options,
  entryPoints: { "nucleus-client": "src/index.ts", voice: "src/voice/index.ts" },
  outdir: "dist",
  sourcemap: true,
});
// For pages whose policy allows no script that is a text in another one.
const { outputFiles } = await build({
  ...options,
  entryPoints: ["src/voice/worklet.ts"],
  write: false,
});
const source = Buffer.from(outputFiles[0].contents).toString("base64");
const { WORKLET_SOURCE } = await import(`data:text/javascript;base64,${source}`);
writeFileSync(`${root}dist/voice-worklet.js`, `${WORKLET_SOURCE.trim()}\n`);

let isTooLarge = false;
for (const [name, limit] of Object.entries(LIMITS)) {
  const bundle = readFileSync(`${root}dist/${name}.js`);
  const found = { plain: bundle.length, compressed: gzipSync(bundle, { level: 9 }).length };
  process.stdout.write(`dist/${name}.js: ${found.plain} bytes, ${found.compressed} compressed\n`);
  for (const form of ["plain", "compressed"]) {
    if (found[form] > limit[form]) {
      process.stderr.write(`dist/${name}.js is over its limit of ${limit[form]} bytes, ${form}.\n`);
      isTooLarge = true;
    }
  }
}
process.exit(isTooLarge ? 1 : 0);
