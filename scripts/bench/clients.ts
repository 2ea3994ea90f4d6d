/** Programs that make calls when their parent tells them to, seen from the parent. */

import { messageFrom, startProgram } from "./processes.js";
import type { Slice, SliceResult } from "./slices.js";

/** A client in a process of its own. */
export interface BenchClient {
  /** Make calls for a while. */
  run(slice: Slice): Promise<SliceResult>;
  /** End the process. */
  close(): void;
}

/** Start one of the programs that make calls and wait until it is connected. */
export async function startClient(program: "e2e" | "rest" | "batching-client", args: readonly (string | number)[]): Promise<BenchClient> {
  const child = startProgram(program, args);
  await messageFrom(child);
  return {
    async run(slice) {
      child.send(slice);
      return (await messageFrom(child)) as SliceResult;
    },
    close() {
      if (child.connected) child.disconnect();
    },
  };
}
