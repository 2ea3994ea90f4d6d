/** Deadlines and aborts: what every layer that waits for something shares. Deadlines are in milliseconds of `performance.now()`. */

/** Node fires timers beyond this at once. */
export const maxTimerMs = 2 ** 31 - 1;

/**
 * Less than this left, and a call is not sent: TensorFlow Serving cuts the deadline to whole milliseconds and takes 0 as no limit, so
 * the graph would run to its end for nobody.
 */
export const minRemainingMs = 2;

/** What is said of a call whose time is up before it is sent. */
export const passedBeforeSending = "the deadline passed before the call was sent";

/** What is said of a call whose time is up while the answer is awaited. */
export const passedBeforeAnswer = "the deadline passed before the answer was complete";

/** When to stop waiting. */
export interface WaitLimits {
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/** One who waits for a signal, in a ring with the others. */
interface Waiter {
  readonly run: () => void;
  previous: Waiter;
  next: Waiter;
}

/**
 * Those who wait for a signal, which itself has one listener, however many they are.
 *
 * A ring, because all calls of a client wait for one signal as long as it lives: a Set that members come into and leave all the time makes
 * tables anew that outlive young garbage, which took half of a batched call's CPU time (`npm run bench -- batching`).
 */
interface Watcher {
  /** Before the first and after the last. */
  readonly ends: Waiter;
  readonly listener: () => void;
}

const watchers = new WeakMap<AbortSignal, Watcher>();

/**
 * Run something when a signal aborts, unless what comes back is called before.
 *
 * Node warns of a leak above 10 listeners, and a signal that many calls share is no leak.
 */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  const { ends, listener } = watchers.get(signal) ?? watch(signal);
  const waiter: Waiter = { run, previous: ends.previous, next: ends };
  ends.previous.next = waiter;
  ends.previous = waiter;
  return () => {
    // Leaving twice is harmless.
    if (waiter.next === waiter) return;
    leave(waiter);
    if (ends.next !== ends || watchers.get(signal)?.ends !== ends) return;
    watchers.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}

function leave(waiter: Waiter): void {
  waiter.previous.next = waiter.next;
  waiter.next.previous = waiter.previous;
  waiter.previous = waiter;
  waiter.next = waiter;
}

function watch(signal: AbortSignal): Watcher {
  const ends = { run: () => undefined } as unknown as Waiter;
  ends.previous = ends;
  ends.next = ends;
  const listener = () => {
    watchers.delete(signal);
    // Who runs may make others leave, so each leaves first.
    for (let waiter = ends.next; waiter !== ends; waiter = ends.next) {
      leave(waiter);
      waiter.run();
    }
  };
  const watcher = { ends, listener };
  watchers.set(signal, watcher);
  signal.addEventListener("abort", listener, { once: true });
  return watcher;
}

/** Run something at a deadline, unless what comes back is called before; a deadline further away than timers reach needs none. */
export function atDeadline(deadline: number, run: () => void): () => void {
  const remainingMs = deadline - performance.now();
  if (remainingMs > maxTimerMs) return () => undefined;
  const timer = setTimeout(run, Math.max(remainingMs, 0));
  return () => clearTimeout(timer);
}

/**
 * Like `new Promise`, but rejects with the signal's reason on abort.
 *
 * @param start - Starts the work and gives back what stops it; not called once the signal has aborted.
 */
export function untilAborted<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  if (signal === undefined) return new Promise<T>((resolve, reject) => void start(resolve, reject));
  return new Promise<T>((resolve, reject) => {
    signal.throwIfAborted();
    let stop: (() => void) | undefined;
    const release = onAbort(signal, () => {
      stop?.();
      reject(signal.reason);
    });
    stop = start(
      (value) => {
        release();
        resolve(value);
      },
      (error) => {
        release();
        reject(error);
      },
    );
    // What was started may have aborted the signal itself.
    if (signal.aborted) stop();
  });
}

/** The outcome of a promise that cannot be stopped itself, or the reason of an earlier abort. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return untilAborted<T>(signal, (resolve, reject) => {
    work.then(resolve, reject);
    return () => undefined;
  });
}

/**
 * The outcome of a promise, or an earlier end: the abort's reason, or what `onDeadline` makes.
 *
 * The work itself goes on, for others who wait for it too.
 */
export function settleWithin<T>(work: Promise<T>, { deadline, signal }: WaitLimits, onDeadline: () => Error): Promise<T> {
  // Nobody else may be listening to the work when the wait for it has ended.
  work.catch(() => undefined);
  return untilAborted<T>(signal, (resolve, reject) => {
    const stop = atDeadline(deadline, () => reject(onDeadline()));
    work.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
    return stop;
  });
}

/** Wait for some time, or reject with the signal's reason. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return untilAborted<void>(signal, (resolve) => atDeadline(performance.now() + delayMs, () => resolve()));
}
