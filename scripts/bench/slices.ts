/** Slices of calls: what a client in a process of its own runs when its parent (`clients.ts`) tells it to. */
import { median } from "./compare.js";
import type { Peer } from "./peers/peer.js";
import { sendToParent } from "./processes.js";

/** A closed loop: `concurrency` callers that each send their next call when the one before is answered. */
export interface Slice {
  readonly concurrency: number;
  readonly ms: number;
}

/** What one slice measured. */
export interface SliceResult {
  readonly callsPerSecond: number;
  /** Latency in microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the client's process per call, user and system, in microseconds. */
  readonly cpu: number;
}

/** Make a first call, then run slices for the parent until it lets go. */
export async function serveSlices(peer: Peer): Promise<void> {
  await peer.predict();
  process.on("message", async (slice: Slice) => sendToParent(await runSlice(peer, slice)));
  process.on("disconnect", async () => {
    await peer.close();
    process.exit();
  });
  sendToParent("connected");
}

async function runSlice(peer: Peer, { concurrency, ms }: Slice): Promise<SliceResult> {
  const latencies: number[] = [];
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  // A caller makes one call at least, however long it takes.
  const caller = async (): Promise<void> => {
    let before = performance.now();
    do {
      await peer.predict();
      const after = performance.now();
      latencies.push((after - before) * 1000);
      before = after;
    } while (before - start < ms);
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  const calls = latencies.length;
  const p99 = latencies.toSorted((a, b) => a - b)[Math.floor(calls * 0.99)] as number;
  return { callsPerSecond: (calls * 1000) / elapsedMs, p50: median(latencies), p99, cpu: (user + system) / calls };
}
