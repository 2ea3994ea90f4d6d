/** A clock that goes on by what is slept, in no time. */
import type { WaitClock } from "../../src/config/until-served.js";

export function clockWithoutWaits(): WaitClock {
  let nowMs = 0;
  return {
    now: () => nowMs,
    sleep: async (delayMs, signal) => {
      signal?.throwIfAborted();
      nowMs += delayMs;
    },
  };
}
