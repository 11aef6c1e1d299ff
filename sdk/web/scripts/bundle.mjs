// Bundles the library into minified ES modules: rooms and calls in one, voice in another. Fails if one
// grows over its limit.
import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { options, root, workletFile } from "./options.mjs";

/**
 * Most bytes of each bundle as it is, and as web servers compress it. 3 KB of the library are texts of
 * errors: they say what was refused, and what to do.
 */
const LIMITS = {
  "nucleus-client": { plain: 129 * 1024, compressed: 47 * 1024 },
  voice: { plain: 12 * 1024, compressed: 6 * 1024 },
};

await build({
  ...options,
  entryPoints: { "nucleus-client": "src/index.ts", voice: "src/voice/index.ts" },
  outdir: "dist",
  sourcemap: true,
});
writeFileSync(`${root}dist/voice-worklet.js`, await workletFile());

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
