/** Payload memory of a call, counted, not timed. */
import { grpcAnswer } from "./answers.js";
import { type BenchOptions, type GateValues, median } from "./compare.js";
import { messageFrom, startProgram } from "./processes.js";
import { startTarget } from "./target/start.js";

const requestBytes = 1_000_000;

/** Growth of `arrayBuffers` per call beyond the request's payload, in bytes: our client, and grpc-js that sends ready bytes. */
export async function benchMemory({ quick }: BenchOptions): Promise<GateValues> {
  console.log("memory: growth of arrayBuffers per call, request 1 MB, answer 4 KB, concurrency 1; beside it grpc-js, identity");
  const target = await startTarget({ protocol: "grpc", answer: grpcAnswer([1, 1000]) });
  const overheadOf = async (peer: "tfserving" | "identity"): Promise<number> => {
    const program = startProgram("memory", [peer, target.port, requestBytes, quick ? 5 : 15], ["--expose-gc"]);
    const overheads = ((await messageFrom(program)) as number[]).map((growth) => growth - requestBytes);
    console.log(`  ${peer}: payload + ${median(overheads)} bytes (samples ${Math.min(...overheads)} to ${Math.max(...overheads)})`);
    return median(overheads);
  };
  try {
    const ours = await overheadOf("tfserving");
    await overheadOf("identity");
    return { M1: ours };
  } finally {
    await target.close();
  }
}
