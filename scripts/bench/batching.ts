/** `npm run bench -- batching`: Predict calls that share requests against calls on their own, with one row each. */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { batchingDefaults } from "../../src/batching/batch-settings.js";
import type { BatchingOptions } from "../../src/index.js";
import { grpcAnswer } from "./answers.js";
import { batchingPicture, type Line } from "./batching-picture.js";
import { type BenchClient, startClient } from "./clients.js";
import { type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { allHold, type Gate } from "./gate.js";
import { messageFrom, startProgram } from "./processes.js";
import type { SliceResult } from "./slices.js";
import { startTarget } from "./target/start.js";

/** Floats of one row of the input `x`. */
export const rowFloats = 784;
/** Floats of one row of the output `y`. */
export const answerFloats = 10;

/** A model of `batching-server-process.ts`: `trivial` takes no time, `costed` keeps the CPU busy for 2 ms and 0.05 ms a row. */
export type BatchingModel = "trivial" | "costed";

/** Calls that share requests, and calls on their own. */
type Side = "on" | "off";
type Pair = Readonly<Record<Side, BenchClient>>;
type Results = Record<Side, SliceResult[]>;

/** What is measured by default: the options that `batching: {}` stands for. */
const defaultOptions: BatchingOptions = {};
const crowd = 256;
/** A closed loop of so many callers fills each of its batches, so a target that knows only answers of that size will do. */
const cpuCallers = 64;

/** What is measured together, at the server on a port. */
const measurements = { trivial: measureTrivial, costed: measureCosted, cpu: measureCpu } satisfies Record<
  string,
  (port: number) => Promise<GateValues>
>;

type Measurement = keyof typeof measurements;

/** Bounds on ratios of calls that share requests to calls on their own; `docs/batching.md` says what each measures. */
const gates: readonly Gate<Measurement>[] = [
  { id: "B1", measurement: "trivial", relation: ">=", bound: 5 },
  { id: "B2", measurement: "costed", relation: ">=", bound: 15 },
  { id: "B3", measurement: "trivial", relation: "<=", bound: 1.1 },
  { id: "B4", measurement: "cpu", relation: "<=", bound: 0.15, stretch: 0.08 },
];

/** Draw the picture that `--picture FILE` asks for, then measure and print the gates; whether all of them hold. */
export async function checkBatching(args: readonly string[]): Promise<boolean> {
  const { picture } = parseArgs({ args: [...args], options: { picture: { type: "string" } } }).values;
  console.log(
    `batching: one row a call, float32 [1,${rowFloats}] to [1,${answerFloats}]; the defaults, ${JSON.stringify(batchingDefaults)}`,
  );
  const server = startProgram("batching-server");
  try {
    const port = (await messageFrom(server)) as number;
    if (picture !== undefined) writeFileSync(picture, await drawPicture(port));
    return await allHold(gates, (measurement) => measurements[measurement](port));
  } finally {
    if (server.connected) server.disconnect();
  }
}

/** With several processes, for what a process got of the machine's memory and caches stays, and tells in the latency of a lone caller. */
async function measureTrivial(port: number): Promise<GateValues> {
  const together: Results = { on: [], off: [] };
  const alone: Results = { on: [], off: [] };
  for (let pairs = 0; pairs < 3; pairs++) {
    await withPair(port, "trivial", async (pair) => {
      addResults(together, await measure(pair, { concurrency: crowd, ms: 400 }, 3));
      // What V8 has optimized for a crowd it does anew for a lone caller.
      await measure(pair, { concurrency: 1, ms: 1500 }, 1);
      addResults(alone, await measure(pair, { concurrency: 1, ms: 400 }, 3));
    });
  }
  printResults(`trivial model, ${crowd} callers`, together);
  printResults("trivial model, a lone caller", alone);
  return { B1: ratioOf("callsPerSecond", together), B3: ratioOf("p50", alone) };
}

async function measureCosted(port: number): Promise<GateValues> {
  return await withPair(port, "costed", async (pair) => {
    // On their own, 256 calls take half a second.
    const results = await measure(pair, { concurrency: crowd, ms: 800 }, 5);
    printResults(`model of 2 ms + 0.05 ms a row, ${crowd} callers`, results);
    return { B2: ratioOf("callsPerSecond", results) };
  });
}

/** Of the client's process alone: the target answers with ready bytes, so no call waits, and none is cheaper for having waited. */
async function measureCpu(): Promise<GateValues> {
  const batchTarget = await startTarget({ protocol: "grpc", answer: grpcAnswer([cpuCallers, answerFloats]) });
  const callTarget = await startTarget({ protocol: "grpc", answer: grpcAnswer([1, answerFloats]) });
  // The few batches that are not full when a slice begins and ends are filled up, for the answer to fit.
  const on = await startWarmClient(batchTarget.port, "m", { allowedBatchRows: [cpuCallers] });
  const off = await startWarmClient(callTarget.port, "m", null);
  try {
    const results = await measure({ on, off }, { concurrency: cpuCallers, ms: 400 }, 9);
    printResults(`${batchTarget.kind} target, ${cpuCallers} callers, requests of ${cpuCallers} rows`, results);
    return { B4: ratioOf("cpu", results) };
  } finally {
    on.close();
    off.close();
    await batchTarget.close();
    await callTarget.close();
  }
}

/** Throughput and latency over the number of callers, as SVG. */
async function drawPicture(port: number): Promise<string> {
  const callers = [1, 2, 4, 8, 16, 32, 64, 128, 256];
  const linesOf = (model: BatchingModel) =>
    withPair(port, model, async (pair) => {
      const lines: Record<Side, Line> = { on: [], off: [] };
      for (const concurrency of callers) {
        const results = await measure(pair, { concurrency, ms: 400 }, 3);
        printResults(`picture: ${model} model, callers ${concurrency}`, results);
        for (const side of ["on", "off"] as const) {
          const [callsPerSecond, p99] = (["callsPerSecond", "p99"] as const).map((figure) => median(figures(figure, results[side])));
          lines[side].push({ callers: concurrency, callsPerSecond: callsPerSecond as number, p99Ms: (p99 as number) / 1000 });
        }
      }
      return lines;
    });
  const models = [
    { title: "A model that takes no time", ...(await linesOf("trivial")) },
    { title: "A model that takes 2 ms and 0.05 ms a row", ...(await linesOf("costed")) },
  ];
  return batchingPicture(
    models,
    `float32 [1,${rowFloats}] a call, batching: {}, embedded server, Node ${process.versions.node}, ${availableParallelism()} CPUs`,
  );
}

/** Two clients in processes of their own, while something is done with them. */
async function withPair<Result>(port: number, model: BatchingModel, use: (pair: Pair) => Promise<Result>): Promise<Result> {
  const on = await startWarmClient(port, model, defaultOptions);
  const off = await startWarmClient(port, model, null);
  try {
    return await use({ on, off });
  } finally {
    on.close();
    off.close();
  }
}

/** A client's process, warmed up. */
async function startWarmClient(port: number, model: string, batching: BatchingOptions | null): Promise<BenchClient> {
  const client = await startClient("batching-client", [port, model, JSON.stringify(batching)]);
  await client.run({ concurrency: cpuCallers, ms: 700 });
  return client;
}

function measure({ on, off }: Pair, slice: Parameters<BenchClient["run"]>[0], rounds: number): Promise<Results> {
  return interleaved({ on: () => on.run(slice), off: () => off.run(slice) }, rounds);
}

function addResults(all: Results, more: Results): void {
  for (const side of ["on", "off"] as const) all[side].push(...more[side]);
}

function figures(figure: keyof SliceResult, results: readonly SliceResult[]): number[] {
  return results.map((result) => result[figure]);
}

/** A figure with batching over the same without. */
function ratioOf(figure: keyof SliceResult, { on, off }: Results): number {
  return medianRatio(figures(figure, on), figures(figure, off));
}

function printResults(title: string, results: Results): void {
  const names = ["callsPerSecond", "p50", "p99", "cpu"] as const;
  console.log(`\n${title}, ${results.on.length} rounds`);
  console.log("  batching       calls/s      p50 us      p99 us CPU us/call");
  for (const side of ["on", "off"] as const) {
    const own = names.map((name) => median(figures(name, results[side])).toFixed(name === "cpu" ? 1 : 0));
    console.log(`  ${side.padEnd(9)} ${own.map((text) => text.padStart(11)).join(" ")}`);
  }
  const ratios = names.map((name) => `${ratioOf(name, results).toFixed(2)}x`.padStart(11));
  console.log(`  ${"ratio".padEnd(9)} ${ratios.join(" ")}`);
}
