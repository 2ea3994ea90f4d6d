/** `npm run bench -- e2e` and `answers`: whole Predict calls of several libraries over gRPC, as ratios to bare grpc-js. */
import { grpcAnswer } from "./answers.js";
import { type BenchClient, startClient } from "./clients.js";
import { type BenchOptions, type GateValues, interleaved, median, medianRatio } from "./compare.js";
import type { PeerName } from "./e2e-process.js";
import type { SliceResult } from "./slices.js";
import { startTarget, targetWindowBytes } from "./target/start.js";

/** A size of requests, with what can be measured of it in reasonable time. */
interface Size {
  readonly bytes: number;
  readonly concurrencies: readonly number[];
  readonly sliceMs: number;
}

const sizes = {
  "1KB": { bytes: 1000, concurrencies: [1, 8, 64], sliceMs: 300 },
  "100KB": { bytes: 100_000, concurrencies: [1, 8, 64], sliceMs: 300 },
  "1MB": { bytes: 1_000_000, concurrencies: [1, 8, 64], sliceMs: 300 },
  // 32 images of 224 x 224 x 3. 64 such calls would be 1.2 GB in flight, which measures the machine's memory and not the client.
  "19MB": { bytes: 19_267_584, concurrencies: [1, 8], sliceMs: 500 },
} satisfies Record<string, Size>;

/** The name of a size. */
export type SizeName = keyof typeof sizes;

/** All sizes, smallest first. */
export const sizeNames = Object.keys(sizes) as readonly SizeName[];

/** Which sizes to measure. @defaultValue all */
export interface E2eOptions extends BenchOptions {
  readonly sizes?: readonly SizeName[] | undefined;
}

/** The libraries measured at a size and concurrency. */
type ChoosePeers = (size: SizeName, concurrency: number) => readonly PeerName[];

/** The slices of each library, round by round. */
type Results = Partial<Record<PeerName, SliceResult[]>>;

/**
 * How often libraries are measured. Where the system gives a process its memory and when V8 collects its garbage stays for the life of a
 * process, and makes a tenth or more of the CPU time of a call of 1 MB: so each library has several.
 */
interface Rounds {
  readonly crews: number;
  readonly roundsPerCrew: number;
}

const gateRounds: Rounds = { crews: 3, roundsPerCrew: 3 };

/** Many libraries leave time for one process of each. */
const tableRounds: Rounds = { crews: 1, roundsPerCrew: 5 };

/** One call of 19 MB with `float_val` takes seconds. */
const everyPeer: ChoosePeers = (size) => [
  ...(["identity", "tfserving", "ts-proto", "nice-grpc", "connect-node"] as const),
  ...(size === "19MB" ? [] : (["ts-proto float_val"] as const)),
];

const gatedPeers: ChoosePeers = (size, concurrency) => [
  ...(["identity", "tfserving"] as const),
  ...(size === "1KB" && concurrency === 64 ? (["nice-grpc", "connect-node"] as const) : []),
];

/** What the id of a gate on throughput begins with. */
const throughputGates: Readonly<Record<SizeName, string>> = { "1KB": "P1", "100KB": "P2-100KB", "1MB": "P2-1MB", "19MB": "P3" };

/** Requests of each size, answers of 4 KB. */
export async function benchE2e({ quick, sizes: names = sizeNames }: E2eOptions): Promise<GateValues> {
  const values: Record<string, number> = {};
  for (const size of names) {
    const measured = quick ? await measure(size, 1000, gatedPeers, gateRounds) : await measure(size, 1000, everyPeer, tableRounds);
    for (const [concurrency, results] of measured) {
      values[`${throughputGates[size]}-c${concurrency}`] = ratioOf("callsPerSecond", results, "identity");
      values[`P4-${size}-c${concurrency}`] = ratioOf("cpu", results, "identity");
    }
    const crowded = measured.get(64);
    if (size !== "1KB" || crowded === undefined) continue;
    values["P7-nice"] = ratioOf("callsPerSecond", crowded, "nice-grpc");
    values["P7-connect"] = ratioOf("callsPerSecond", crowded, "connect-node");
  }
  const ofP2 = Object.entries(values).flatMap(([id, value]) => (id.startsWith("P2-") ? [value] : []));
  if (ofP2.length > 0) values["P2-mean"] = ofP2.reduce((sum, value) => sum + value, 0) / ofP2.length;
  return values;
}

/** Answers as large as the requests; no gate is held against these. */
export async function benchAnswers({ sizes: names = sizeNames }: E2eOptions): Promise<GateValues> {
  for (const size of names) await measure(size, sizes[size].bytes / Float32Array.BYTES_PER_ELEMENT, everyPeer, tableRounds);
  return {};
}

/** Measure and print one size; the results by concurrency. */
async function measure(
  size: SizeName,
  answerFloats: number,
  choosePeers: ChoosePeers,
  { crews, roundsPerCrew }: Rounds,
): Promise<Map<number, Results>> {
  const { concurrencies }: Size = sizes[size];
  const target = await startTarget({ protocol: "grpc", answer: grpcAnswer([1, answerFloats]) });
  const measured = new Map<number, Results>();
  try {
    for (let crew = 0; crew < crews; crew++) await runCrew(size, choosePeers, target.port, roundsPerCrew, measured);
    for (const concurrency of concurrencies) {
      const targetText = `${target.kind} target with a window of ${targetWindowBytes / 2 ** 20} MiB`;
      const roundsText = `${crews} x ${roundsPerCrew} rounds`;
      console.log(`\nrequest ${size}, answer ${answerFloats * 4} bytes, concurrency ${concurrency}, ${targetText}, ${roundsText}`);
      printResults(measured.get(concurrency) ?? {});
    }
  } finally {
    await target.close();
  }
  return measured;
}

/** Rounds with a fresh process of each library; their results are added to those there are. */
async function runCrew(
  size: SizeName,
  choosePeers: ChoosePeers,
  port: number,
  rounds: number,
  measured: Map<number, Results>,
): Promise<void> {
  const { bytes, concurrencies, sliceMs }: Size = sizes[size];
  const clients = new Map<PeerName, BenchClient>();
  try {
    for (const concurrency of concurrencies) {
      const names = choosePeers(size, concurrency);
      for (const name of names) if (!clients.has(name)) clients.set(name, await startWarm(name, port, bytes));
      const run = (name: PeerName) => () => (clients.get(name) as BenchClient).run({ concurrency, ms: sliceMs });
      const results: Results = await interleaved(Object.fromEntries(names.map((name) => [name, run(name)])), rounds);
      const before = measured.get(concurrency) ?? {};
      measured.set(concurrency, Object.fromEntries(names.map((name) => [name, [...(before[name] ?? []), ...(results[name] ?? [])]])));
    }
  } finally {
    for (const client of clients.values()) client.close();
  }
}

/** A library's process, warmed up. */
async function startWarm(name: PeerName, port: number, bytes: number): Promise<BenchClient> {
  const client = await startClient("e2e", [name, port, bytes]);
  await client.run({ concurrency: 4, ms: 1500 });
  return client;
}

/** One figure of one library, round by round. */
function figures(figure: keyof SliceResult, results: Results, name: PeerName): number[] {
  return (results[name] ?? []).map((result) => result[figure]);
}

/** Our figure over that of another library. */
function ratioOf(figure: keyof SliceResult, results: Results, name: PeerName): number {
  return medianRatio(figures(figure, results, "tfserving"), figures(figure, results, name));
}

function printResults(results: Results): void {
  console.log("                      throughput   CPU/call     calls/s      p50 us      p99 us");
  for (const name of Object.keys(results) as PeerName[]) {
    const toIdentity = (figure: keyof SliceResult) => medianRatio(figures(figure, results, name), figures(figure, results, "identity"));
    const ratios = [toIdentity("callsPerSecond"), toIdentity("cpu")].map((ratio) => `${ratio.toFixed(2)}x`.padStart(10));
    const own = (["callsPerSecond", "p50", "p99"] as const).map((figure) =>
      median(figures(figure, results, name))
        .toFixed(0)
        .padStart(11),
    );
    console.log(`  ${name.padEnd(18)} ${[...ratios, ...own].join(" ")}`);
  }
}
