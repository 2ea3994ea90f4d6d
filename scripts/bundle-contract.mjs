/** Bundle the contract suite into one module that imports the package by its name, as users do. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What the entries of the package are called in sources; the suite may import nothing else of them. */
const entries = new Map([
  ["src/index.js", "tfserving"],
  ["src/server/index.js", "tfserving/server"],
]);

/** @param {string} outfile */
export async function bundleContract(outfile) {
  await build({
    absWorkingDir: root,
    entryPoints: ["test/transport/contract-package.ts"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    logLevel: "warning",
    plugins: [
      {
        name: "entries-by-name",
        setup({ onResolve }) {
          onResolve({ filter: /\/src\// }, ({ path, importer }) => {
            const name = entries.get(path.slice(path.indexOf("src/")));
            return name === undefined
              ? { errors: [{ text: `${importer}: ${path} is no entry of the package` }] }
              : { path: name, external: true };
          });
        },
      },
    ],
  });
}
