/** `npm run bench -- codec | e2e | ...`: measurements as ratios against peers in the same run. Built before it runs, so that it measures what ships. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { checkBatching } from "./batching.js";
import { benchCodec } from "./codec.js";
import { benchCold } from "./cold.js";
import { benchAnswers, benchE2e, type SizeName, sizeNames } from "./e2e.js";
import { checkGates } from "./gates.js";
import { benchMemory } from "./memory.js";
import { benchRest } from "./rest.js";
import { benchTFRecord } from "./tfrecord.js";
import { benchWindow } from "./window.js";

const thorough = { quick: false };

/** Each bench takes what follows its name. */
const benches: Readonly<Record<string, (args: readonly string[]) => Promise<unknown>>> = {
  codec: () => benchCodec(thorough),
  e2e: (args) => benchE2e({ ...thorough, sizes: sizesFrom(args) }),
  answers: (args) => benchAnswers({ ...thorough, sizes: sizesFrom(args) }),
  window: () => benchWindow(thorough),
  cold: () => benchCold(thorough),
  memory: () => benchMemory(thorough),
  rest: () => benchRest(thorough),
  tfrecord: () => benchTFRecord(thorough),
  async batching(args) {
    if (!(await checkBatching(args))) process.exitCode = 1;
  },
};

const commands: typeof benches = {
  ...benches,
  async gates(prefixes) {
    if (!(await checkGates(prefixes))) process.exitCode = 1;
  },
  async all() {
    for (const [name, bench] of Object.entries(benches)) {
      console.log(`\n${name}`);
      await bench([]);
    }
  },
};

/** Sizes named on the command line; undefined for all. */
function sizesFrom(args: readonly string[]): readonly SizeName[] | undefined {
  const unknown = args.find((arg) => !(sizeNames as readonly string[]).includes(arg));
  if (unknown !== undefined) throw new RangeError(`expected sizes out of ${sizeNames.join(", ")}; got ${JSON.stringify(unknown)}`);
  return args.length === 0 ? undefined : (args as SizeName[]);
}

/** Name and version of an installed package. */
function installed(name: string): string {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")) as { version: string };
  return `${name} ${version}`;
}

const [name = "", ...args] = process.argv.slice(2);
const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
if (command === undefined) {
  console.error(`expected one of: ${Object.keys(commands).join(", ")}; got ${JSON.stringify(name)}`);
  process.exitCode = 2;
} else {
  const peers = ["@grpc/grpc-js", "ts-proto", "nice-grpc", "@connectrpc/connect-node", "@bufbuild/protobuf", "undici"];
  console.log(`Node ${process.versions.node}, ${availableParallelism()} CPUs, ${peers.map(installed).join(", ")}`);
  await command(args);
}
