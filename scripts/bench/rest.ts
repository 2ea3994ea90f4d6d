/** REST: number text, and calls that carry it. */
import { restAnswerWithMetadata } from "./answers.js";
import { type BenchClient, startClient } from "./clients.js";
import { type BenchOptions, type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { messageFrom, startProgram } from "./processes.js";
import { startTarget } from "./target/start.js";

const payloadBytes = 100_000;

/** Our JSON against V8's, and REST calls against undici with V8's JSON. */
export async function benchRest({ quick }: BenchOptions): Promise<GateValues> {
  console.log("rest: float32 [1024,1000] as JSON; baseline V8's JSON");
  const values: Record<string, number> = {};
  for (const gate of ["J1", "J1-row", "J3"]) {
    Object.assign(values, await messageFrom(startProgram("rest-json", [gate, quick ? 7 : 15], ["--expose-gc"])));
  }
  return { ...values, ...(await benchCalls(quick)) };
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
