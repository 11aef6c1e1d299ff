// What the bundles of the library and of the demo page have in common.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

/** The folder of the package. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** The options of esbuild. The same source gives the same bundle on every machine. */
export const options = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  mangleProps: /^_/,
  legalComments: "none",
  charset: "utf8",
};

/** Returns the worklet as a file, for pages whose policy allows no script that is a text. */
export async function workletFile() {
  const entryPoints = ["src/voice/worklet.ts"];
  const { outputFiles } = await build({ ...options, entryPoints, write: false });
  const source = Buffer.from(outputFiles[0].contents).toString("base64");
  const { WORKLET_SOURCE } = await import(`data:text/javascript;base64,${source}`);
  return `${WORKLET_SOURCE.trim()}\n`;
}
