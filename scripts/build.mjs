/**
 * Build `dist/`: bundled ES modules (the client in one file, each transport in another, dependencies external), and the type declarations.
 *
 * Both parts are made in a temporary folder and put in place together, so that a failed build leaves the old one.
 */
import { spawnSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const fresh = `${root}dist.new`;

/** What shares code with the client, the lazy modules among it. */
const sharing = [
  "src/index.ts",
  "src/example.ts",
  "src/server/index.ts",
  "src/server/config-file.ts",
  "src/server/warmup-replay.ts",
  "src/warmup/index.ts",
  "src/config/index.ts",
  "src/saved-model/index.ts",
  "src/batching/batching-transport.ts",
  "src/middleware/balancer.ts",
  "src/middleware/resolve-name.ts",
  "src/transport/tls.ts",
  "src/transport/grpc/transport.ts",
  "src/transport/grpc/generated-calls.ts",
  "src/transport/rest/transport.ts",
];

/**
 * Keeps the client, and the tensor codec of gRPC, in one file.
 *
 * esbuild makes a file for every set of entries and lazy modules that share code: nine more for one call, which take 3 ms of a cold start
 * (`npm run bench -- cold`). Where all of them reach the whole client, they are one set.
 *
 * @type {import("esbuild").Plugin}
 */
const clientInOneFile = {
  name: "client-in-one-file",
  async setup(bundler) {
    const client = ["src/index.ts", "src/tensor/codec.ts", "src/predict-codec.ts", "src/running-calls.ts"]
      .map((path) => `import ${JSON.stringify(join(root, path))};`)
      .join("\n");
    const sources = new Map();
    for (const path of sharing) sources.set(join(root, path), await readFile(join(root, path), "utf8"));
    bundler.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = sources.get(path);
      return source === undefined ? undefined : { contents: `${source}\n${client}`, loader: "ts" };
    });
  },
};

/** @type {import("esbuild").BuildOptions} */
const settings = {
  absWorkingDir: root,
  outdir: fresh,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  // Names stay, for stack traces; the rest takes a millisecond of a cold start to read (`npm run bench -- cold`).
  minifyWhitespace: true,
  lineLimit: 160,
  logLevel: "warning",
};

rmSync(fresh, { recursive: true, force: true });
try {
  await build({
    ...settings,
    entryPoints: {
      index: "src/index.ts",
      server: "src/server/index.ts",
      warmup: "src/warmup/index.ts",
      config: "src/config/index.ts",
      "saved-model": "src/saved-model/index.ts",
      example: "src/example.ts",
      proto: "src/proto.ts",
    },
    chunkNames: "chunks/[name]-[hash]",
    plugins: [clientInOneFile],
    // The plugin's imports: they run nothing, they only decide what stands where.
    logOverride: { "ignored-bare-import": "silent" },
  });
  // By itself: what it shared with the package would come out of the client's one file.
  await build({ ...settings, entryPoints: { cli: "src/cli/bin.ts" }, chunkNames: "cli/[name]-[hash]" });
  const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", `${fresh}/types`], {
    cwd: root,
    stdio: "inherit",
  });
  if (tsc.status !== 0) throw new Error(`tsc ended with status ${tsc.status}`);
  rmSync(`${root}dist`, { recursive: true, force: true });
  renameSync(fresh, `${root}dist`);
} finally {
  if (existsSync(fresh)) rmSync(fresh, { recursive: true, force: true });
}
