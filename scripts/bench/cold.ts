/** Cold starts: whole processes from spawn to exit, in turn. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { grpcAnswer, restAnswerWithMetadata } from "./answers.js";
import { type BenchOptions, type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { startTarget } from "./target/start.js";

/** Wall time of a script of this folder, not bundled so that it loads modules as an application does, in milliseconds. */
async function runScript(script: string, args: readonly (string | number)[] = []): Promise<number> {
  const start = performance.now();
  const child = spawn(process.execPath, [resolve("scripts/bench", script), ...args.map(String)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = (await once(child, "exit")) as [number | null];
  const elapsedMs = performance.now() - start;
  if (code !== 0) throw new Error(`${script} ended with ${code}`);
  return elapsedMs;
}

/**
 * One predict with the built package against the same call with the bare transport library, and the embedded server against an empty
 * process; each in a fresh process.
 */
export async function benchCold({ quick }: BenchOptions): Promise<GateValues> {
  console.log("cold: fresh processes with one call of 4 floats each; baselines bare grpc-js and a bare undici Pool; and the server");
  const shape = [1, 4];
  const grpc = await startTarget({ protocol: "grpc", answer: grpcAnswer(shape) });
  const http = await startTarget({ protocol: "http", answer: restAnswerWithMetadata(shape) });
  const scripts = {
    floor: () => runScript("cold-empty.mjs"),
    grpc: () => runScript("cold-predict.mjs", [`grpc://127.0.0.1:${grpc.port}`]),
    bareGrpc: () => runScript("peers/cold/grpc-js.mjs", [grpc.port]),
    rest: () => runScript("cold-predict.mjs", [`http://127.0.0.1:${http.port}`]),
    barePool: () => runScript("peers/cold/undici-pool.mjs", [http.port]),
    server: () => runScript("cold-server.mjs"),
    poolWithLookUp: () => runScript("peers/cold/undici-pool.mjs", [http.port, "look-up"]),
  };
  try {
    // Once for the file cache.
    await interleaved(scripts, 1);
    const times = await interleaved(scripts, quick ? 15 : 41);
    const line = (label: string, ours: readonly number[], base: readonly number[]): number => {
      const ratio = medianRatio(ours, base);
      console.log(`  ${label}: ${ratio.toFixed(3)}x, ${median(ours).toFixed(1)} ms against ${median(base).toFixed(1)} ms`);
      return ratio;
    };
    line("bare grpc-js over an empty process", times.bareGrpc, times.floor);
    const grpcRatio = line("gRPC predict, bare grpc-js", times.grpc, times.bareGrpc);
    line("bare undici Pool over an empty process", times.barePool, times.floor);
    // Our process makes two requests, the first for the signature; the bare one only sends the second.
    const restRatio = line("REST predict with its look-up, bare undici Pool without", times.rest, times.barePool);
    line("REST predict with its look-up, bare undici Pool with", times.rest, times.poolWithLookUp);
    const serverRatio = line("embedded server with three models, from start to end, an empty process", times.server, times.floor);
    return { S1: grpcRatio, S3: restRatio, S5: serverRatio };
  } finally {
    await grpc.close();
    await http.close();
  }
}
