/**
 * Bundle the benches the way the package is bundled, and run them with the given arguments.
 *
 * `main.ts` and every `*-process.ts` become programs in one folder. Where they import `src/index.js` they get the built package, so that
 * it is measured as it ships. They run in the checkout's folder.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bench = `${root}scripts/bench/`;

const builtPackage = {
  name: "built-package",
  setup(bundler) {
    bundler.onResolve({ filter: /\/src\/index\.js$/ }, () => ({ path: pathToFileURL(`${root}dist/index.js`).href, external: true }));
  },
};

// Inside the checkout, so that the bundles find the dependencies.
const folder = mkdtempSync(`${root}node_modules/.bench-`);
try {
  const programs = readdirSync(bench).filter((name) => name === "main.ts" || name.endsWith("-process.ts"));
  await build({
    entryPoints: programs.map((name) => bench + name),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    // A peer is loaded only by the process that runs it.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    plugins: [builtPackage],
  });
  const main = spawn(process.execPath, [`${folder}/main.mjs`, ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
  // An interrupt reaches the benches as well; this process stays to remove the folder after them.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => main.kill());
  process.exitCode = await new Promise((resolve) => main.on("exit", (status) => resolve(status ?? 1)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
