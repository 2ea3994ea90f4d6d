/** The calls that share a way: what ends them at their deadlines, and when the way is closed. */
import { maxTimerMs } from "./deadline.js";

/** One call under way. */
export interface RunningCall {
  /** In milliseconds of `performance.now()`; infinite where somebody else keeps it. */
  readonly deadline: number;
  /** Its time is up. */
  expire(): void;
  /** Its way is closed. */
  cancel(): void;
}

/**
 * Runs one timer for all calls of a channel, or of a queue.
 *
 * Otherwise each call would set and clear one, which takes a tenth of its CPU time where there is one call at a time
 * (`npm run bench -- e2e 1KB`). Deadlines rarely come before those of the calls that began earlier, so this timer is hardly ever set anew.
 */
export class RunningCalls {
  readonly #calls = new Set<RunningCall>();
  #timer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;
  /** When the timer runs out. */
  #wakesAt = Number.POSITIVE_INFINITY;

  /** A call begins. */
  add(call: RunningCall): void {
    this.#calls.add(call);
    if (call.deadline < this.#wakesAt) this.#wakeAt(call.deadline);
    else if (this.#calls.size === 1) this.#timer?.ref();
  }

  /** A call has settled; without one the timer does not keep the process alive. */
  delete(call: RunningCall): void {
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    this.#timer?.unref();
    this.#onIdle?.();
  }

  /** Run something as soon as no call is under way: now, or when the last has settled; for a channel that is given no more of them. */
  whenIdle(run: () => void): void {
    if (this.#calls.size === 0) run();
    else this.#onIdle = run;
  }

  /** Cancel every call. */
  close(): void {
    for (const call of this.#calls) call.cancel();
    clearTimeout(this.#timer);
  }

  #wakeAt(deadline: number): void {
    clearTimeout(this.#timer);
    this.#wakesAt = deadline;
    this.#timer = setTimeout(() => this.#wake(), Math.min(Math.ceil(deadline - performance.now()), maxTimerMs));
  }

  #wake(): void {
    this.#wakesAt = Number.POSITIVE_INFINITY;
    this.#timer = undefined;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const call of this.#calls) {
      if (call.deadline <= now) call.expire();
      else next = Math.min(next, call.deadline);
    }
    if (next < this.#wakesAt) this.#wakeAt(next);
  }
}
