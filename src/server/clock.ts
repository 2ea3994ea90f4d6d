/** What passes time for the server; tests bring their own. */
import { maxTimerMs } from "../deadline.js";

/** Time that passes. */
export interface Clock {
  /** Milliseconds of `performance.now()`. */
  now(): number;
  /** Run something after a time, unless what comes back is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** The time of this process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(delayMs, maxTimerMs));
    return () => clearTimeout(timer);
  },
};

/**
 * Run something again and again, each time so long after the last one has ended, until what comes back is called.
 *
 * @param run - Its errors are its own to tell.
 */
export function repeat(clock: Clock, intervalMs: number, run: () => Promise<void>): () => void {
  let isStopped = false;
  let stopTimer: () => void = () => undefined;
  const next = () => {
    if (!isStopped) stopTimer = clock.after(intervalMs, () => void run().then(next, next));
  };
  next();
  return () => {
    isStopped = true;
    stopTimer();
  };
}
