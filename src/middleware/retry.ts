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
   * Time for one attempt; one that takes longer counts as failed and is sent again, while the server may still compute it.
   *
   * @defaultValue all that is left of the call's time
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
 * How many retries a client may spend: it begins with `tokens`, which is also the most it can save; a retry takes one, and every call
 * gives back `tokensPerCall`. So a server that is down is asked 1.2 times as often as without retries, not 3 times.
 */
export const retryBudget = Object.freeze({ tokens: 100, tokensPerCall: 0.2 } as const);

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
  const attemptTimeoutMs = options.attemptTimeoutMs ?? Number.POSITIVE_INFINITY;
  const budget: { tokens: number } = { tokens: retryBudget.tokens };

  function run<Result>(call: AnyCall<Result>): Promise<Result> {
    if (call.options.retry === false || call.method === "reloadConfig") return call.send(next);
    budget.tokens = Math.min(budget.tokens + retryBudget.tokensPerCall, retryBudget.tokens);
    const deadline = attemptDeadline(call);
    const limits = deadline < call.options.deadline ? { deadline } : undefined;
    return call.send(next, limits).catch((error: unknown) => sendAgain(call, error, deadline));
  }

  async function sendAgain<Result>(call: AnyCall<Result>, firstError: unknown, firstDeadline: number): Promise<Result> {
    const { deadline, signal } = call.options;
    let [error, lastDeadline, suspicions] = [firstError, firstDeadline, 0];
    let avoid: readonly string[] = [];
    for (let retries = 0; retries < maxRetries; retries++) {
      if (signal?.aborted === true || !mayPass(error, lastDeadline < deadline)) break;
      if (isSuspect(error)) {
        suspicions++;
        if (suspicions === 2 || breaksSignature(call)) break;
      }
      const delayMs = steps.random() * Math.min(initialBackoffMs * 2 ** retries, maxBackoffMs);
      // What is known now says more than that time ran out during the pause.
      if (deadline - steps.now() - delayMs < minRemainingMs || budget.tokens < 1) break;
      budget.tokens--;
      await steps.sleep(delayMs, signal);
      if (isServingError(error, "RpcError")) avoid = [...avoid, error.endpoint];
      lastDeadline = attemptDeadline(call);
      try {
        return await call.send(next, { deadline: lastDeadline, avoid });
      } catch (nextError) {
        error = nextError;
      }
    }
    throw error;
  }

  function attemptDeadline({ options: { deadline } }: AnyCall): number {
    return attemptTimeoutMs === Number.POSITIVE_INFINITY ? deadline : Math.min(deadline, steps.now() + attemptTimeoutMs);
  }

  return transportOf(run, next);
}

/** Whether the same call may succeed when it is sent again. */
function mayPass(error: unknown, wasCutShort: boolean): error is ServingError {
  return isServingError(error) && (error.retryable || (wasCutShort && error.code === "DEADLINE_EXCEEDED"));
}

/** Whether the call itself may be why it failed. */
function isSuspect(error: ServingError): boolean {
  return isServingError(error, "RpcError") && knownFailure(error.serverMessage, [error.code])?.retryable === "once";
}

/** Whether the inputs are known to be wrong: TensorFlow Serving can be ended by a tensor of the wrong rank. */
function breaksSignature({ inputs, options: { signature } }: AnyCall): boolean {
  return signature !== undefined && inputs !== undefined && inputDifferences(signature, inputs).length > 0;
}
