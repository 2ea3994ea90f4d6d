/** `npm run bench -- codec`: measurements as ratios against peers in the same run. Built before it runs, so that it measures what ships. */
import { createRequire } from "node:module";
import { benchCodec } from "./codec.js";

const benches: Readonly<Record<string, () => void>> = { codec: benchCodec };

const [name = ""] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  console.error(`expected one of: ${Object.keys(benches).join(", ")}; got ${JSON.stringify(name)}`);
  process.exitCode = 2;
} else {
  const { version } = createRequire(import.meta.url)("ts-proto/package.json") as { version: string };
  console.log(`Node ${process.versions.node}, ts-proto ${version}`);
  bench();
}
