/** Large answers over a link with delay: what the flow-control window is worth. */
import { grpcAnswer } from "./answers.js";
import { type BenchClient, startClient } from "./clients.js";
import { type BenchOptions, type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { messageFrom, startProgram } from "./processes.js";
import { startTarget } from "./target/start.js";

const delayMs = 5;
const requestBytes = 1000;
const answerShape = [250, 1000] as const;
/** A call of the baseline takes 0.3 s alone and 2 s among eight. */
const roundMs = 2000;

/** Our client against grpc-js with its default window: 1 MB answers, 10 ms round trip. */
export async function benchWindow({ quick }: BenchOptions): Promise<GateValues> {
  const target = await startTarget({ protocol: "grpc", answer: grpcAnswer(answerShape) });
  console.log(
    `window: request 1 KB, answer 1 MB, ${2 * delayMs} ms round trip; ours with 16 MiB, baseline grpc-js with its default of 64 KiB`,
  );
  const relay = startProgram("window-relay", [target.port, delayMs]);
  const clients: BenchClient[] = [];
  try {
    const port = (await messageFrom(relay)) as number;
    for (const peer of ["tfserving", "identity"]) clients.push(await startClient("e2e", [peer, port, requestBytes]));
    const [ours, theirs] = clients as [BenchClient, BenchClient];
    // For V8 to compile what is hot; the baseline waits more than it computes.
    await ours.run({ concurrency: 1, ms: 1000 });
    const values: Record<string, number> = {};
    for (const concurrency of [1, 8]) {
      const rateOf = (client: BenchClient) => async () => (await client.run({ concurrency, ms: roundMs })).callsPerSecond;
      const rates = await interleaved({ ours: rateOf(ours), theirs: rateOf(theirs) }, quick ? 3 : 7);
      const ratio = medianRatio(rates.ours, rates.theirs);
      const [our, their] = [median(rates.ours).toFixed(1), median(rates.theirs).toFixed(2)];
      console.log(`  concurrency ${concurrency}: ${ratio.toFixed(1)}x, ours ${our} calls/s, grpc-js ${their}`);
      values[`W1-c${concurrency}`] = ratio;
    }
    return values;
  } finally {
    for (const client of clients) client.close();
    relay.kill();
    await target.close();
  }
}
