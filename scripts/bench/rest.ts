/** REST: number text, and calls that carry it. */
import { restAnswerWithMetadata } from "./answers.js";
import { type BenchClient, startClient } from "./clients.js";
import { type BenchOptions, type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { sidesInTurn } from "./sides.js";
import { startTarget } from "./target/start.js";

const payloadBytes = 100_000;

/** What is compared with V8's JSON, by the gate's id; the layout of rows has no line break after each number, as columns have. */
const jsonCases = {
  J1: "column answer to Float32Array, JSON.parse alone",
  "J1-row": "row answer to Float32Array, JSON.parse alone",
  J3: "Float32Array to request, JSON.stringify of nested Array.from",
} as const;

/** The id of a comparison. */
export type JsonCase = keyof typeof jsonCases;

/** Whose code runs. */
export type JsonSide = "tfserving" | "V8";

/** Our JSON against V8's, and REST calls against undici with V8's JSON. */
export async function benchRest({ quick }: BenchOptions): Promise<GateValues> {
  console.log("rest: float32 [1024,1000] as JSON; baseline V8's JSON");
  const rounds = quick ? 7 : 15;
  const reading = await benchJson("J1", rounds);
  await benchJson("J1-row", rounds);
  const writing = await benchJson("J3", rounds);
  return { J1: reading.time, "J3-time": writing.time, "J3-bytes": writing.bytes, ...(await benchCalls(quick)) };
}

/** What part of V8's time and bytes ours take; each side runs in a process of its own. */
async function benchJson(id: JsonCase, rounds: number): Promise<{ time: number; bytes: number }> {
  const { first, times } = await sidesInTurn("rest-json", id, ["tfserving", "V8"], rounds, ["--expose-gc"]);
  const ratio = { time: medianRatio(times.ours, times.theirs), bytes: Number(first.ours) / Number(first.theirs) };
  const [our, their] = [median(times.ours).toFixed(1), median(times.theirs).toFixed(1)];
  console.log(`  ${id} ${jsonCases[id]}: ${ratio.time.toFixed(2)}x time, ${our} ms against ${their} ms; ${ratio.bytes.toFixed(2)}x bytes`);
  return ratio;
}

async function benchCalls(quick: boolean): Promise<GateValues> {
  const floats = payloadBytes / Float32Array.BYTES_PER_ELEMENT;
  const target = await startTarget({ protocol: "http", answer: restAnswerWithMetadata([1, floats]) });
  console.log(`rest: predict of float32 [1,${floats}] (100 KB) both ways; baseline undici and V8's JSON; target ${target.kind}`);
  const clients: BenchClient[] = [];
  try {
    for (const peer of ["tfserving", "undici"]) clients.push(await startClient("rest", [peer, target.port, payloadBytes]));
    const [ours, theirs] = clients as [BenchClient, BenchClient];
    const values: Record<string, number> = {};
    for (const concurrency of [1, 8]) {
      const rateOf = (client: BenchClient) => async () => (await client.run({ concurrency, ms: quick ? 500 : 1000 })).callsPerSecond;
      const run = { ours: rateOf(ours), theirs: rateOf(theirs) };
      // For V8 to compile what is hot.
      await interleaved(run, 2);
      const rates = await interleaved(run, quick ? 5 : 11);
      const ratio = medianRatio(rates.ours, rates.theirs);
      const [our, their] = [median(rates.ours).toFixed(0), median(rates.theirs).toFixed(0)];
      console.log(`  J5 concurrency ${concurrency}: ${ratio.toFixed(2)}x, ours ${our} calls/s, undici ${their}`);
      values[`J5-c${concurrency}`] = ratio;
    }
    return values;
  } finally {
    for (const client of clients) client.close();
    await target.close();
  }
}
