/** How much of this process's memory is in use. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes that a process holds on to. */
export interface LivingBytes {
  /** In array buffers, those of Buffers among them. */
  readonly buffers: number;
  /** On the heap of JavaScript. */
  readonly heap: number;
}

/**
 * The bytes that are in use once the garbage is collected.
 *
 * @param enough - Where there are no more than these, the garbage stays and counts: collecting it takes 10 ms and more.
 */
export function livingBytes(enough: LivingBytes = { buffers: 0, heap: 0 }): LivingBytes {
  const used = usedBytes();
  if (used.buffers <= enough.buffers && used.heap <= enough.heap) return used;
  collectGarbage();
  return usedBytes();
}

function usedBytes(): LivingBytes {
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return { buffers: arrayBuffers, heap: heapUsed };
}

// As `--expose-gc` does, for programs that are not started with it.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
