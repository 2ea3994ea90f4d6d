/** A limit on the time of one attempt, for networks that swallow packets. */
import { isServingError, RpcError } from "../errors.js";
import type { Transport } from "../transport/transport.js";
import { type AnyCall, transportOf } from "./any-call.js";
import type { LimitedEndpoint } from "./concurrency-limit.js";

/** How much too early a deadline may be reported: timers and servers round it down to whole milliseconds. */
const earlyMs = 5;

/**
 * A transport that gives a call up after some time though it has more, so that it can be sent again; that error is retryable.
 *
 * Stands next to the endpoint, below the concurrency limit: an attempt's time begins when it is sent, not while it waits for its turn.
 * Calls that are never sent again have all their time: `reloadConfig` and those with `retry: false`.
 *
 * @param endpoint - Stands in the error.
 */
export function withAttemptTimeout(next: Transport, attemptTimeoutMs: number, endpoint: LimitedEndpoint): Transport {
  function run<Result>(call: AnyCall<Result>): Promise<Result> {
    const { deadline, retry } = call.options;
    const cutAt = performance.now() + attemptTimeoutMs;
    if (retry === false || call.method === "reloadConfig" || cutAt >= deadline) return call.send(next);
    return call.send(next, { deadline: cutAt }).catch((error: unknown) => {
      throw isCut(error, cutAt) ? cutError(call, error) : error;
    });
  }

  function cutError({ method, spec }: AnyCall, cause: unknown): RpcError {
    const { address, transport } = endpoint;
    const serverMessage = `no answer within ${attemptTimeoutMs} ms, the time for one attempt`;
    return new RpcError({ code: "DEADLINE_EXCEEDED", method, modelSpec: spec, endpoint: address, transport, serverMessage, cause });
  }

  return transportOf(run, next);
}

/** Whether an error comes from the attempt's deadline; servers have limits of their own (REST: `--rest_api_timeout_in_ms`). */
function isCut(error: unknown, cutAt: number): boolean {
  return isServingError(error, "RpcError") && error.code === "DEADLINE_EXCEEDED" && performance.now() >= cutAt - earlyMs;
}
