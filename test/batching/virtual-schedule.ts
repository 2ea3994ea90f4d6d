/** Time that passes by hand. */
import type { BatchSchedule } from "../../src/batching/batcher.js";

interface Timer {
  readonly dueMs: number;
  readonly run: () => void;
}

/** A schedule whose time stands still until a test lets it pass. */
export class VirtualSchedule implements BatchSchedule {
  #nowMs = 0;
  #soon: (() => void)[] = [];
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#nowMs;
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Timers that run and have not been stopped. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** The events at hand have been dealt with; false if nothing was to run then. */
  runSoon(): boolean {
    const due = this.#soon.splice(0);
    for (const run of due) run();
    return due.length > 0;
  }

  /** Let time pass; timers run when they are due, the earliest first. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    while (this.step(endMs));
    this.#nowMs = endMs;
  }

  /** Let time pass to the next timer and run that one; false if none is due until then. */
  step(untilMs = Number.POSITIVE_INFINITY): boolean {
    let next: Timer | undefined;
    // Of those due at the same time the one that was set first.
    for (const timer of this.#timers) if (timer.dueMs <= untilMs && timer.dueMs < (next?.dueMs ?? Number.POSITIVE_INFINITY)) next = timer;
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    next.run();
    return true;
  }
}

/** Everything that follows from settled promises has happened. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
