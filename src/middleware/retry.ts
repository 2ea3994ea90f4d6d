/** Sending failed calls again, where that is safe and likely to help: the rules of `docs/reliability.md`. */
import { minRemainingMs, sleep } from "../deadline.js";
import { knownFailure } from "../error-hints.js";
import { isServingError, type ServingError } from "../errors.js";
import { inputDifferences } from "../signature.js";
import type { Transport } from "../transport/transport.js";
import { type AnyCall, transportOf } from "./any-call.js";

/** Options of a client's `retry`. */
export interface RetryOptions {
  /** How often a call is sent again. @defaultValue 2 */
  readonly maxRetries?: number | undefined;
  /**
   * Time for one attempt, from when it is sent; one that takes longer counts as a failed connection and is sent again, while the server may
   * still compute it. @defaultValue all that is left of the call's time
   */
  readonly attemptTimeoutMs?: number | undefined;
  /** Upper limit of the random pause before the first retry; it doubles from retry to retry. @defaultValue 50 */
  readonly initialBackoffMs?: number | undefined;
  /** What the upper limit of the pause does not exceed. @defaultValue 1000 */
  readonly maxBackoffMs?: number | undefined;
}

/** Defaults of {@link RetryOptions}. */
export const retryDefaults = Object.freeze({ maxRetries: 2, initialBackoffMs: 50, maxBackoffMs: 1000 } as const);

/**
 * How many retries a client may spend: it begins with 1,000, which is also the most it can save, and every fifth call earns one more. So a
 * server that is down is asked 1.2 times as often as without retries, not 3 times, while a lost connection with hundreds of calls on it costs none.
 */
export const retryBudget = Object.freeze({ maxRetries: 1000, callsPerRetry: 5 } as const);

/** What retrying is made of; tests bring a clock of their own. */
export interface RetrySteps {
  /** Milliseconds, on the clock of the deadlines. */
  now(): number;
  /** Rejects with the signal's reason once that aborts. */
  sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void>;
  /** From 0 up to, not including, 1. */
  random(): number;
}

const realSteps: RetrySteps = { now: () => performance.now(), sleep, random: () => Math.random() };

/**
 * A transport that sends calls again that failed in a way that may pass.
 *
 * What it never sends twice: `reloadConfig`, calls with `retry: false`, and calls that seem to end the server that gets them: two lost
 * connections are enough, and one if the inputs break the signature.
 */
export function withRetry(next: Transport, options: RetryOptions = {}, steps: RetrySteps = realSteps): Transport {
  const maxRetries = options.maxRetries ?? retryDefaults.maxRetries;
  const initialBackoffMs = options.initialBackoffMs ?? retryDefaults.initialBackoffMs;
  const maxBackoffMs = options.maxBackoffMs ?? retryDefaults.maxBackoffMs;
  const { callsPerRetry } = retryBudget;
  const maxSavings = retryBudget.maxRetries * callsPerRetry;
  /** What is left of the budget, in calls. */
  let savings = maxSavings;

  function run<Result>(call: AnyCall<Result>): Promise<Result> {
    if (call.options.retry === false || call.method === "reloadConfig") return call.send(next);
    savings = Math.min(savings + 1, maxSavings);
    return call.send(next).catch((error: unknown) => sendAgain(call, error));
  }

  async function sendAgain<Result>(call: AnyCall<Result>, firstError: unknown): Promise<Result> {
    const { deadline, signal } = call.options;
    let [error, suspicions] = [firstError, 0];
    let avoid: readonly string[] = [];
    const isLate = (delayMs: number) => deadline - steps.now() - delayMs < minRemainingMs;
    for (let retries = 0; retries < maxRetries; retries++) {
      if (signal?.aborted === true || !mayPass(error)) break;
      if (isSuspect(error)) {
        suspicions++;
        if (suspicions === 2 || breaksSignature(call)) break;
      }
      const delayMs = steps.random() * Math.min(initialBackoffMs * 2 ** retries, maxBackoffMs);
      // What is known now says more than that time ran out during the pause.
      if (isLate(delayMs) || savings < callsPerRetry) break;
      await steps.sleep(delayMs, signal);
      // On a busy machine a pause takes longer.
      if (isLate(0)) break;
      savings -= callsPerRetry;
      if (isServingError(error, "RpcError")) avoid = [...avoid, error.endpoint];
      try {
        return await call.send(next, { avoid });
      } catch (nextError) {
        error = nextError;
      }
    }
    throw error;
  }

  return transportOf(run, next);
}

/** Whether the same call may succeed when it is sent again. */
function mayPass(error: unknown): error is ServingError {
  return isServingError(error) && error.retryable;
}

/** Whether the call itself may be why it failed. */
function isSuspect(error: ServingError): boolean {
  return isServingError(error, "RpcError") && knownFailure(error.serverMessage, [error.code])?.retryable === "once";
}

/** Whether the inputs are known to be wrong: TensorFlow Serving can be ended by a tensor of the wrong rank. */
function breaksSignature({ inputs, options: { signature } }: AnyCall): boolean {
  return signature !== undefined && inputs !== undefined && inputDifferences(signature, inputs).length > 0;
}
