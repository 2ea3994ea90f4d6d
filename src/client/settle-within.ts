/** Waiting for work that other callers share. */

/** setTimeout fires at once for anything longer. */
const maxTimerMs = 2 ** 31 - 1;

/** When to stop waiting. */
export interface WaitLimits {
  /** In milliseconds of `performance.now()`. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The outcome of a promise, or an earlier end: the abort's reason, or what `onDeadline` makes.
 *
 * The work itself goes on, for others who wait for it too.
 */
export function settleWithin<T>(work: Promise<T>, limits: WaitLimits, onDeadline: () => Error): Promise<T> {
  const { deadline, signal } = limits;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted === true) {
      // Nobody else may be listening to the work any more.
      work.catch(() => undefined);
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      cleanUp();
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        cleanUp();
        reject(onDeadline());
      },
      Math.min(Math.max(deadline - performance.now(), 0), maxTimerMs),
    );
    const cleanUp = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => {
        cleanUp();
        resolve(value);
      },
      (error: unknown) => {
        cleanUp();
        reject(error);
      },
    );
  });
}
