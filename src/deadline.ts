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

/** What runs when a signal aborts; the signal itself has one listener, however many wait for it. */
const watchers = new WeakMap<AbortSignal, { readonly runs: Set<() => void>; readonly listener: () => void }>();

/**
 * Run something when a signal aborts, unless what comes back is called before.
 *
 * Node warns of a leak above 10 listeners, and a signal that many calls share is no leak.
 */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  const watcher = watchers.get(signal) ?? watch(signal);
  watcher.runs.add(run);
  return () => {
    if (!watcher.runs.delete(run) || watcher.runs.size > 0 || watchers.get(signal) !== watcher) return;
    watchers.delete(signal);
    signal.removeEventListener("abort", watcher.listener);
  };
}

function watch(signal: AbortSignal) {
  const runs = new Set<() => void>();
  const listener = () => {
    watchers.delete(signal);
    for (const run of runs) run();
  };
  const watcher = { runs, listener };
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
