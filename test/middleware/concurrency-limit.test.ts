import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RpcError, ServingError, type StatusCode } from "../../src/errors.js";
import { type AnyCall, transportOf } from "../../src/middleware/any-call.js";
import { type ConcurrencyOptions, concurrencyDefaults, withConcurrencyLimit } from "../../src/middleware/concurrency-limit.js";
import type { Transport, TransportCallOptions } from "../../src/transport/transport.js";

/** A call that reached the transport below, which settles by hand. */
interface SentCall {
  /** The model's name, or the method where there is none. */
  readonly name: string;
  readonly options: TransportCallOptions;
  finish(answer?: unknown): void;
  fail(error: unknown): void;
}

const refusalText = "Server Threadpool Exhausted";
const farAway = () => performance.now() + 600_000;

function serverError(code: StatusCode, serverMessage: string): RpcError {
  return new RpcError({ code, method: "predict", endpoint: "h:8500", transport: "grpc", serverMessage });
}

/** A transport that notes its calls. */
function noting(sent: SentCall[], close: () => Promise<void>): Transport {
  const note = <Result>({ method, spec, options }: AnyCall<Result>) =>
    new Promise<Result>((resolve, reject) => {
      const finish = (answer: unknown) => resolve(answer as Result);
      sent.push({ name: spec?.name ?? method, options, finish, fail: reject });
    });
  return transportOf(note, { close });
}

/** A limited transport, the calls that reach the one below it, and a clock that is turned by hand. */
function limited(options?: ConcurrencyOptions, below: Partial<Transport> = {}) {
  const sent: SentCall[] = [];
  let closed = 0;
  const next = noting(sent, async () => void closed++);
  const clock = { ms: 0 };
  const transport = withConcurrencyLimit({ ...next, ...below }, { address: "h:8500", transport: "grpc" }, options, () => clock.ms);
  const call = (name: string, limits: Partial<TransportCallOptions> = {}) => {
    const outcome = transport.predict({ name }, {}, { deadline: farAway(), ...limits });
    // Calls that nobody asks about may fail.
    outcome.catch(() => undefined);
    return outcome;
  };
  return {
    transport,
    sent,
    clock,
    call,
    calls: (count: number) => Array.from({ length: count }, (_, index) => call(`m${index}`)),
    names: () => sent.map(({ name }) => name),
    counts: () => [transport.inFlight, transport.queued],
    closed: () => closed,
    /** Settle calls that run, the oldest first, and let what follows from it happen. */
    async finish(count = 1) {
      for (const one of sent.splice(0, count)) one.finish();
      await settled();
    },
    async refuse(count = 1) {
      for (const one of sent.splice(0, count)) one.fail(serverError("RESOURCE_EXHAUSTED", refusalText));
      await settled();
    },
  };
}

/** Everything that follows from settled promises has happened. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("withConcurrencyLimit without maxInFlight", () => {
  it("sends everything at once until the server refuses a call", async () => {
    const { calls, counts, finish } = limited();
    calls(500);
    expect(counts()).toEqual([500, 0]);
    await finish(500);
    expect(counts()).toEqual([0, 0]);
  });

  it("keeps what a call was made with and gives back what it answers", async () => {
    const { call, sent } = limited();
    const { signal } = new AbortController();
    const outcome = call("m", { deadline: 1e9, signal });
    expect(sent[0]?.options).toEqual({ deadline: 1e9, signal });
    const answer = { outputs: {} };
    sent[0]?.finish(answer);
    expect(await outcome).toBe(answer);
  });

  it.each([
    [8, 4],
    [7, 3],
    [3, 1],
    [2, 1],
    [1, 1],
  ])("allows half of what was in flight, the refused call included: of %i calls %i", async (inFlight, allowed) => {
    const { calls, counts, refuse, finish } = limited();
    const [refused] = calls(inFlight);
    await refuse();
    await expect(refused).rejects.toThrow(refusalText);
    expect(counts()).toEqual([inFlight - 1, 0]);
    await finish(inFlight - 1);
    calls(10);
    expect(counts()).toEqual([allowed, 10 - allowed]);
  });

  it("lets more than it allows drain before it sends again", async () => {
    const { calls, call, counts, names, refuse, finish } = limited();
    calls(8);
    await refuse();
    void call("next");
    expect(counts()).toEqual([7, 1]);
    await finish(3);
    expect(counts()).toEqual([4, 1]);
    await finish();
    expect(counts()).toEqual([4, 0]);
    expect(names().at(-1)).toBe("next");
  });

  it("goes down once for a burst of refusals", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(16);
    await refuse(5);
    await finish(7);
    // Sent before the decrease too, but refused late.
    await refuse(4);
    calls(10);
    expect(counts()).toEqual([8, 2]);
  });

  it("halves again when a call is refused that was sent since", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(16);
    await refuse();
    await finish(15);
    calls(6);
    await refuse();
    await finish(5);
    calls(10);
    expect(counts()).toEqual([3, 7]);
    await refuse();
    expect(counts()).toEqual([2, 7]);
    await finish();
    expect(counts()).toEqual([1, 7]);
    await finish();
    expect(counts()).toEqual([1, 6]);
  });

  it("allows one call more each second", async () => {
    const { calls, call, clock, counts, refuse, finish } = limited();
    calls(4);
    clock.ms = 5000;
    await refuse();
    await finish(3);
    calls(10);
    expect(counts()).toEqual([2, 8]);
    clock.ms = 5999;
    await finish();
    expect(counts()).toEqual([2, 7]);
    clock.ms = 6000;
    await finish();
    expect(counts()).toEqual([3, 5]);
    clock.ms = 8000;
    // A call that comes finds what has grown meanwhile used by those who wait.
    void call("last");
    expect(counts()).toEqual([5, 4]);
    clock.ms = 60_000;
    void call("the very last");
    expect(counts()).toEqual([10, 0]);
  });

  it("grows from the new limit after another decrease", async () => {
    const { calls, clock, counts, refuse, finish } = limited();
    calls(4);
    await refuse();
    await finish(3);
    clock.ms = 4999;
    calls(6);
    await refuse();
    await finish(5);
    clock.ms = 5998;
    calls(5);
    expect(counts()).toEqual([3, 2]);
    clock.ms = 5999;
    await finish();
    expect(counts()).toEqual([4, 0]);
  });

  it.each<[string, unknown]>([
    ["another text", serverError("RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue")],
    ["another code", serverError("UNAVAILABLE", refusalText)],
    ["no RpcError", new ServingError(refusalText, { code: "RESOURCE_EXHAUSTED" })],
  ])("stays unlimited when a call fails with %s", async (_what, error) => {
    const { calls, sent, counts } = limited();
    const [failed] = calls(4);
    sent[0]?.fail(error);
    await expect(failed).rejects.toBe(error);
    calls(20);
    expect(counts()).toEqual([23, 0]);
  });
});

describe("withConcurrencyLimit with maxInFlight", () => {
  it("never sends more at once, and sends in the order calls came", async () => {
    const { call, counts, names, finish } = limited({ maxInFlight: 2 });
    for (const name of ["a", "b", "c", "d", "e"]) void call(name);
    expect([counts(), names()]).toEqual([
      [2, 3],
      ["a", "b"],
    ]);
    await finish();
    expect([counts(), names()]).toEqual([
      [2, 2],
      ["b", "c"],
    ]);
    await finish(2);
    expect([counts(), names()]).toEqual([
      [2, 0],
      ["d", "e"],
    ]);
    await finish(2);
    expect(counts()).toEqual([0, 0]);
  });

  it("gives a call that waited its answer or its error", async () => {
    const { call, sent, finish } = limited({ maxInFlight: 1 });
    const outcomes = [call("a"), call("b"), call("c")];
    const [answer, error] = [{ outputs: {} }, new Error("no")];
    await finish();
    sent[0]?.finish(answer);
    expect(await outcomes[1]).toBe(answer);
    sent[1]?.fail(error);
    await expect(outcomes[2]).rejects.toBe(error);
  });

  it("stays as it is whatever the server refuses and however long it runs", async () => {
    const { calls, clock, counts, refuse } = limited({ maxInFlight: 4 });
    calls(20);
    await refuse(2);
    expect(counts()).toEqual([4, 14]);
    clock.ms = 100_000;
    await refuse();
    expect(counts()).toEqual([4, 13]);
  });

  it("counts calls of every method", async () => {
    const { transport, names, finish } = limited({ maxInFlight: 1 });
    const options = { deadline: farAway() };
    const all = [
      transport.predict({ name: "predict" }, {}, options),
      transport.classify({ name: "classify" }, [], options),
      transport.regress({ name: "regress" }, [], options),
      transport.multiInference([{ spec: { name: "multiInference" }, method: "classify" }], [], options),
      transport.getModelMetadata({ name: "getModelMetadata" }, options),
      transport.getModelStatus({ name: "getModelStatus" }, options),
      transport.reloadConfig({ models: [] }, options),
    ];
    const seen: string[][] = [];
    for (const _ of all) {
      seen.push(names());
      await finish();
    }
    expect(seen).toEqual(
      ["predict", "classify", "regress", "multiInference", "getModelMetadata", "getModelStatus", "reloadConfig"].map((name) => [name]),
    );
    await Promise.all(all);
  });

  it("frees the place of a call that the transport throws at, when it waited too", async () => {
    const error = new TypeError("broken");
    const throwing = () => {
      throw error;
    };
    const { call, counts, transport, names } = limited({ maxInFlight: 1 }, { predict: throwing });
    const outcomes = [call("a"), call("b"), call("c")];
    const working = transport.getModelStatus({ name: "d" }, { deadline: farAway() });
    expect(counts()).toEqual([1, 3]);
    for (const outcome of outcomes) await expect(outcome).rejects.toBe(error);
    expect([counts(), names()]).toEqual([[1, 0], ["d"]]);
    working.catch(() => undefined);
  });

  it("answers for needsSignature as the transport below does", () => {
    expect(limited().transport.needsSignature).toBe(false);
    expect(limited({}, { needsSignature: true }).transport.needsSignature).toBe(true);
  });
});

describe("withConcurrencyLimit while calls wait", () => {
  // Time limits in the queue are real timers.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("ends a call at its deadline, and goes on with those behind it", async () => {
    const { call, counts, names, finish } = limited({ maxInFlight: 1 });
    void call("a");
    const late = call("b", { deadline: performance.now() + 100 });
    void call("c");
    await vi.advanceTimersByTimeAsync(99);
    expect(counts()).toEqual([1, 2]);
    await vi.advanceTimersByTimeAsync(1);
    expect(counts()).toEqual([1, 1]);
    await expect(late).rejects.toMatchObject({
      name: "RpcError",
      code: "DEADLINE_EXCEEDED",
      message: "DEADLINE_EXCEEDED: predict b: the deadline passed before the call was sent",
      modelSpec: { name: "b" },
      endpoint: "h:8500",
      transport: "grpc",
    });
    await finish();
    expect(names()).toEqual(["c"]);
  });

  it("does not send a call whose deadline has passed when its turn comes", async () => {
    const { call, clock, counts, names, finish } = limited({ maxInFlight: 1 });
    const deadline = farAway();
    void call("a");
    const late = [call("b", { deadline }), call("c", { deadline })];
    void call("d", { deadline: deadline + 1000 });
    // Less than what a server understands is left.
    clock.ms = deadline - 1;
    await finish();
    for (const outcome of late) await expect(outcome).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect([counts(), names()]).toEqual([[1, 0], ["d"]]);
  });

  it("ends a call that has waited for queueTimeoutMs, and goes on with those behind it", async () => {
    const { call, counts, names, finish } = limited({ maxInFlight: 1, queueTimeoutMs: 100 });
    void call("a");
    const tired = call("b");
    await vi.advanceTimersByTimeAsync(50);
    void call("c");
    await vi.advanceTimersByTimeAsync(49);
    expect(counts()).toEqual([1, 2]);
    await vi.advanceTimersByTimeAsync(1);
    await expect(tired).rejects.toMatchObject({
      name: "RpcError",
      code: "RESOURCE_EXHAUSTED",
      retryable: false,
      serverMessage: "waited 100 ms in the client's queue: calls running at h:8500: 1, allowed at once: 1, waiting: 2",
    });
    await finish();
    expect([counts(), names()]).toEqual([[1, 0], ["c"]]);
  });

  it("takes the earlier of deadline and queueTimeoutMs", async () => {
    const { call } = limited({ maxInFlight: 1, queueTimeoutMs: 100 });
    void call("a");
    const late = call("b", { deadline: performance.now() + 50 });
    await vi.advanceTimersByTimeAsync(50);
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("leaves no timer behind", async () => {
    const { call, transport, finish } = limited({ maxInFlight: 1, maxQueued: 3, queueTimeoutMs: 100 });
    const controller = new AbortController();
    void call("a");
    void call("sent");
    void call("aborted", { signal: controller.signal });
    void call("closed");
    void call("refused");
    expect(vi.getTimerCount()).toBe(3);
    await finish();
    controller.abort();
    await transport.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("sets no timer for calls that need not wait", () => {
    limited({ maxInFlight: 3, queueTimeoutMs: 100 }).calls(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("ends a call with the reason of its abort, and goes on with those behind it", async () => {
    const { call, counts, names, finish } = limited({ maxInFlight: 1 });
    const controller = new AbortController();
    const reason = new Error("enough");
    void call("a");
    const waiting = [call("b", { signal: controller.signal }), call("c", { signal: controller.signal })];
    void call("d");
    controller.abort(reason);
    expect(counts()).toEqual([1, 1]);
    for (const outcome of waiting) await expect(outcome).rejects.toBe(reason);
    await finish();
    expect([counts(), names()]).toEqual([[1, 0], ["d"]]);
  });

  it("does not queue a call whose signal has aborted", async () => {
    const { call, counts } = limited({ maxInFlight: 1, maxQueued: 0 });
    void call("a");
    await expect(call("b", { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
    expect(counts()).toEqual([1, 0]);
  });

  it("counts a call that was aborted after its turn until the transport has ended it", async () => {
    const { call, counts, sent, finish } = limited({ maxInFlight: 1 });
    const controller = new AbortController();
    void call("a");
    const running = call("b", { signal: controller.signal });
    void call("c");
    await finish();
    controller.abort("enough");
    await expect(running).rejects.toBe("enough");
    expect(counts()).toEqual([1, 1]);
    sent[0]?.fail("enough");
    await settled();
    expect(counts()).toEqual([1, 0]);
  });

  it("rejects them when it is closed, and closes the transport below", async () => {
    const { call, calls, transport, counts, names, finish, closed } = limited({ maxInFlight: 1 });
    const [, ...waiting] = calls(3);
    await transport.close();
    const closedError = { code: "CANCELLED", serverMessage: "the transport is closed" };
    for (const outcome of waiting) await expect(outcome).rejects.toMatchObject(closedError);
    await expect(call("after")).rejects.toMatchObject(closedError);
    expect([counts(), names(), closed()]).toEqual([[1, 0], ["m0"], 1]);
    await finish();
    expect(counts()).toEqual([0, 0]);
  });
});

describe("rejects", () => {
  it("a call that finds the queue full, at once", async () => {
    const { call, counts, finish } = limited({ maxInFlight: 1, maxQueued: 2 });
    for (const name of ["a", "b", "c"]) void call(name);
    await expect(call("d")).rejects.toMatchObject({
      name: "RpcError",
      code: "RESOURCE_EXHAUSTED",
      retryable: false,
      message: "RESOURCE_EXHAUSTED: predict d: the client's queue is full: calls running at h:8500: 1, allowed at once: 1, waiting: 2",
    });
    expect(counts()).toEqual([1, 2]);
    await finish();
    void call("e");
    expect(counts()).toEqual([1, 2]);
  });

  it("every call over the limit where maxQueued is 0", async () => {
    const { calls, counts } = limited({ maxInFlight: 2, maxQueued: 0 });
    const [, , refused] = calls(3);
    await expect(refused).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(counts()).toEqual([2, 0]);
  });

  it("calls beyond the default queue", async () => {
    const { calls, counts } = limited({ maxInFlight: 1 });
    const refused = calls(1 + concurrencyDefaults.maxQueued + 1).at(-1);
    await expect(refused).rejects.toThrow("the client's queue is full");
    expect(counts()).toEqual([1, 1024]);
  });
});
