import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RpcError, type StatusCode } from "../../src/errors.js";
import { type AnyCall, transportOf } from "../../src/middleware/any-call.js";
import { withAttemptTimeout } from "../../src/middleware/attempt-timeout.js";
import { withConcurrencyLimit } from "../../src/middleware/concurrency-limit.js";
import type { Transport, TransportCallOptions } from "../../src/transport/transport.js";

const endpoint = { address: "h:8500", transport: "grpc" };

function rpcError(code: StatusCode, serverMessage: string): RpcError {
  return new RpcError({ code, method: "predict", endpoint: "h:8500", transport: "grpc", serverMessage });
}

const timedOut = () => rpcError("DEADLINE_EXCEEDED", "Deadline exceeded after 0.3s");

/** Attempts of 300 ms on a transport whose calls settle after some time, at their deadline at the latest; time begins at 0. */
function setUp({ settlesInMs, outcome }: { settlesInMs: number; outcome?: unknown }) {
  const sent: { at: number; options: TransportCallOptions }[] = [];
  let closed = 0;
  const settle = <Result>({ options }: AnyCall<Result>) => {
    const at = performance.now();
    sent.push({ at, options });
    return new Promise<Result>((resolve, reject) => {
      const isLate = at + settlesInMs > options.deadline;
      const settleNow = () => {
        if (isLate) reject(timedOut());
        else if (outcome instanceof Error) reject(outcome);
        else resolve(outcome as Result);
      };
      setTimeout(settleNow, isLate ? options.deadline - at : settlesInMs);
    });
  };
  const next = transportOf(settle, { needsSignature: true, close: async () => void closed++ });
  return { next, transport: withAttemptTimeout(next, 300, endpoint), sent, closed: () => closed };
}

/** How a predict call ends: its answer or its error. */
async function ending(transport: Transport, options: TransportCallOptions): Promise<unknown> {
  const ended = transport.predict({ name: "m", version: 3 }, {}, options).catch((error: unknown) => error);
  await vi.runAllTimersAsync();
  return await ended;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("withAttemptTimeout", () => {
  it("gives a call up after the time for one attempt, with an error that says so", async () => {
    const { transport, sent } = setUp({ settlesInMs: 1000 });
    expect(await ending(transport, { deadline: 5000 })).toMatchObject({
      name: "RpcError",
      message: "DEADLINE_EXCEEDED: predict m:3: no answer within 300 ms, the time for one attempt",
      retryable: true,
      endpoint: "h:8500",
      transport: "grpc",
      cause: { serverMessage: "Deadline exceeded after 0.3s" },
    });
    expect(sent).toEqual([{ at: 0, options: { deadline: 300 } }]);
    expect(performance.now()).toBe(300);
  });

  it("gives back an answer that comes in time, and keeps what else the call was made with", async () => {
    const answer = { outputs: {} };
    const { transport, sent } = setUp({ settlesInMs: 299, outcome: answer });
    const { signal } = new AbortController();
    expect(await ending(transport, { deadline: 5000, signal })).toBe(answer);
    expect(sent[0]?.options).toEqual({ deadline: 300, signal });
  });

  it.each([
    ["has no more time than that", 300],
    ["has less", 200],
  ])("leaves a call as it is that %s", async (_what, deadline) => {
    const { transport, sent } = setUp({ settlesInMs: 1000 });
    expect(await ending(transport, { deadline })).toMatchObject({ serverMessage: "Deadline exceeded after 0.3s", retryable: false });
    expect(sent[0]?.options).toEqual({ deadline });
  });

  it("leaves all their time to calls that are never sent again", async () => {
    const { transport, sent } = setUp({ settlesInMs: 1000, outcome: "done" });
    const once = { deadline: 5000, retry: false } as const;
    expect(await ending(transport, once)).toBe("done");
    const reload = transport.reloadConfig({ models: [] }, { deadline: 5000 });
    await vi.runAllTimersAsync();
    expect(await reload).toBe("done");
    expect(sent.map(({ options }) => options)).toEqual([once, { deadline: 5000 }]);
  });

  it.each([
    ["another code", 300, rpcError("UNAVAILABLE", "Connection dropped")],
    ["a time limit of the server's own", 200, rpcError("DEADLINE_EXCEEDED", "Timed out waiting for notification")],
    ["no RpcError", 300, new Error("enough")],
  ])("passes on an error of %s", async (_what, settlesInMs, error) => {
    const { transport } = setUp({ settlesInMs, outcome: error });
    expect(await ending(transport, { deadline: 5000 })).toBe(error);
  });

  it("takes a deadline for its own that a server reports a little early", async () => {
    const { transport } = setUp({ settlesInMs: 298, outcome: rpcError("DEADLINE_EXCEEDED", "Deadline Exceeded") });
    expect(await ending(transport, { deadline: 5000 })).toMatchObject({ retryable: true });
  });

  it("counts from when a call is sent, not while it waits for its turn", async () => {
    const { transport, sent } = setUp({ settlesInMs: 200, outcome: "done" });
    const limited = withConcurrencyLimit(transport, endpoint, { maxInFlight: 1 });
    const all = ["a", "b", "c"].map((name) => limited.predict({ name }, {}, { deadline: 5000 }));
    await vi.runAllTimersAsync();
    expect(await Promise.all(all)).toEqual(["done", "done", "done"]);
    expect(sent.map(({ at, options }) => [at, options.deadline])).toEqual([
      [0, 300],
      [200, 500],
      [400, 700],
    ]);
  });

  it("answers for needsSignature and closes as the transport below does", async () => {
    const { transport, closed } = setUp({ settlesInMs: 0 });
    expect(transport.needsSignature).toBe(true);
    await transport.close();
    expect(closed()).toBe(1);
  });
});
