import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { knownFailure } from "../../src/error-hints.js";
import { RpcError, ServingError, type StatusCode } from "../../src/errors.js";
import { type AnyCall, transportOf } from "../../src/middleware/any-call.js";
import {
  type ConcurrencyOptions,
  concurrencyDefaults,
  isHandedBack,
  withConcurrencyLimit,
} from "../../src/middleware/concurrency-limit.js";
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

/** A limited transport, and the calls that reach the one below it. */
function limited(options?: ConcurrencyOptions, below: Partial<Transport> = {}) {
  const sent: SentCall[] = [];
  let closed = 0;
  const next = noting(sent, async () => void closed++);
  const transport = withConcurrencyLimit({ ...next, ...below }, { address: "h:8500", transport: "grpc" }, options);
  const call = (name: string, limits: Partial<TransportCallOptions> = {}) => {
    const outcome = transport.predict({ name }, {}, { deadline: farAway(), ...limits });
    // Calls that nobody asks about may fail.
    outcome.catch(() => undefined);
    return outcome;
  };
  return {
    transport,
    sent,
    call,
    calls: (count: number, limits?: Partial<TransportCallOptions>) =>
      Array.from({ length: count }, (_, index) => call(`m${index}`, limits)),
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

/** A server that refuses calls while each of its threads has one, and how often it was asked. */
function busyServer({ threads, answerMs, refusalMs }: { threads: number; answerMs: number; refusalMs: number }) {
  const after = (delayMs: number) => new Promise<void>((resolve) => setTimeout(resolve, delayMs));
  const server = { asked: 0, running: 0 };
  async function answer<Result>({ spec }: AnyCall<Result>): Promise<Result> {
    server.asked++;
    if (server.running === threads) {
      await after(refusalMs);
      throw serverError("RESOURCE_EXHAUSTED", refusalText);
    }
    server.running++;
    await after(answerMs);
    server.running--;
    return { outputs: {}, modelSpec: spec } as Result;
  }
  return { server, transport: transportOf(answer, { close: async () => undefined }) };
}

// Time limits, growth and the clock of the deadlines; `settled` needs the real immediates.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

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
    const [refused] = calls(inFlight, { retry: false });
    await refuse();
    await expect(refused).rejects.toThrow(refusalText);
    expect(counts()).toEqual([inFlight - 1, 0]);
    await finish(inFlight - 1);
    calls(10);
    expect(counts()).toEqual([allowed, 10 - allowed]);
  });

  it("lets more than it allows drain before it sends again", async () => {
    const { calls, call, counts, names, refuse, finish } = limited();
    calls(8, { retry: false });
    await refuse();
    void call("next");
    expect(counts()).toEqual([7, 1]);
    await finish(3);
    expect(counts()).toEqual([4, 1]);
    await finish();
    expect(counts()).toEqual([4, 0]);
    expect(names().at(-1)).toBe("next");
  });

  it("goes down by half once for a burst of refusals", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(16, { retry: false });
    await refuse(8);
    await finish(8);
    calls(10);
    expect(counts()).toEqual([8, 2]);
  });

  it("goes down to what still runs when the rest of a burst is refused, too", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(16, { retry: false });
    await refuse(13);
    await finish(3);
    calls(10);
    expect(counts()).toEqual([3, 7]);
  });

  it("halves again when a call is refused that was sent since", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(16, { retry: false });
    await refuse();
    await finish(15);
    calls(8, { retry: false });
    await refuse();
    await finish(7);
    calls(10);
    expect(counts()).toEqual([4, 6]);
  });

  it("allows one call more each second", async () => {
    const { calls, call, counts, refuse, finish } = limited();
    calls(4, { retry: false });
    vi.advanceTimersByTime(5000);
    await refuse();
    await finish(3);
    vi.advanceTimersByTime(999);
    calls(2);
    expect(counts()).toEqual([2, 0]);
    await finish(2);
    vi.advanceTimersByTime(1);
    calls(3);
    expect(counts()).toEqual([3, 0]);
    vi.advanceTimersByTime(2000);
    void call("fourth");
    void call("fifth");
    void call("sixth");
    expect(counts()).toEqual([5, 1]);
  });

  it("grows from the new limit after another decrease", async () => {
    const { calls, counts, refuse, finish } = limited();
    calls(4, { retry: false });
    await refuse();
    await finish(3);
    vi.advanceTimersByTime(4999);
    calls(6, { retry: false });
    await refuse();
    await finish(5);
    vi.advanceTimersByTime(999);
    calls(5);
    expect(counts()).toEqual([3, 2]);
    vi.advanceTimersByTime(1);
    expect(counts()).toEqual([4, 1]);
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

  it("is never halved: it goes down to what still runs, and comes back by one each second", async () => {
    const { calls, counts, refuse } = limited({ maxInFlight: 4 });
    calls(20);
    await refuse();
    expect(counts()).toEqual([3, 17]);
    await refuse();
    expect(counts()).toEqual([2, 18]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(counts()).toEqual([3, 17]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(counts()).toEqual([4, 16]);
  });

  it("stays as it is when the only call that runs is refused", async () => {
    const { call, calls, counts, refuse } = limited({ maxInFlight: 4 });
    const refused = call("a");
    await refuse();
    await expect(refused).rejects.toThrow(refusalText);
    calls(5);
    expect(counts()).toEqual([4, 1]);
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
    const { call, counts, names, finish } = limited({ maxInFlight: 1 });
    const deadline = performance.now() + 100;
    void call("a");
    const late = [call("b", { deadline }), call("c", { deadline })];
    void call("d");
    // Less than what a server understands is left.
    vi.advanceTimersByTime(99);
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

describe("withConcurrencyLimit when the server has no thread for a call", () => {
  it("keeps the call until another one ends, and sends it before those that never ran", async () => {
    const { call, counts, names, refuse, finish } = limited({ maxInFlight: 4 });
    for (const name of ["a", "b", "c", "d", "e"]) void call(name);
    await refuse(2);
    expect([counts(), names()]).toEqual([
      [2, 3],
      ["c", "d"],
    ]);
    await finish();
    expect(names()).toEqual(["d", "a"]);
    await finish(2);
    expect(names()).toEqual(["b", "e"]);
  });

  it("gives the call the answer of its last attempt", async () => {
    const { call, sent, refuse, finish } = limited();
    void call("a");
    const outcome = call("b");
    sent.reverse();
    await refuse();
    await finish();
    const answer = { outputs: {} };
    sent[0]?.finish(answer);
    expect(await outcome).toBe(answer);
  });

  it.each([
    ["without a limit", {}, 0],
    ["without a limit", {}, 1],
    ["with too high a limit", { maxInFlight: 20 }, 1],
  ])("loses none of 200 callers' calls to 7 threads %s, ten minutes later neither", async (_what, options, refusalMs) => {
    const { server, transport: below } = busyServer({ threads: 7, answerMs: 10, refusalMs });
    const transport = withConcurrencyLimit(below, { address: "h:8500", transport: "grpc" }, options);
    const burst = async () => {
      const before = server.asked;
      const all = Array.from({ length: 200 }, () => transport.predict({ name: "m" }, {}, { deadline: farAway() }));
      const outcomes = Promise.allSettled(all);
      // 200 calls of 10 ms on 7 threads.
      await vi.advanceTimersByTimeAsync(320);
      expect([transport.inFlight, transport.queued]).toEqual([0, 0]);
      expect((await outcomes).filter(({ status }) => status === "rejected")).toEqual([]);
      return server.asked - before;
    };
    // Every call once, and those of the burst that found no thread once more.
    expect(await burst()).toBeLessThanOrEqual(393);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(await burst()).toBeLessThanOrEqual(393);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not ask again and again where others use the threads", async () => {
    const { server, transport: below } = busyServer({ threads: 1, answerMs: 60_000, refusalMs: 1 });
    const transport = withConcurrencyLimit(below, { address: "h:8500", transport: "grpc" });
    const all = Array.from({ length: 20 }, () => transport.predict({ name: "m" }, {}, { deadline: farAway() }));
    for (const one of all) one.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(30_000);
    expect([transport.inFlight, transport.queued]).toEqual([1, 19]);
    // One try a second after the burst.
    expect(server.asked).toBeLessThanOrEqual(20 + 30);
  });

  it("gives the error up when no call runs whose end could be waited for", async () => {
    const { call, counts, refuse } = limited();
    const outcome = call("a");
    await refuse();
    await expect(outcome).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", retryable: true });
    expect(counts()).toEqual([0, 0]);
  });

  it("gives up the error of a call that is never sent twice", async () => {
    const { call, transport, sent, counts, refuse } = limited();
    const once = [call("a", { retry: false }), transport.reloadConfig({ models: [] }, { deadline: farAway() })];
    const outcomes = Promise.allSettled(once);
    void call("b");
    await refuse(2);
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect([counts(), sent.length]).toEqual([[1, 0], 1]);
  });

  it("gives the error up after close", async () => {
    const { calls, counts, transport, refuse } = limited();
    const [refused] = calls(3);
    await transport.close();
    await refuse();
    await expect(refused).rejects.toThrow(refusalText);
    expect(counts()).toEqual([2, 0]);
  });

  it("counts the call neither against maxQueued nor against queueTimeoutMs", async () => {
    const { call, counts, names, refuse } = limited({ maxInFlight: 2, maxQueued: 1, queueTimeoutMs: 100 });
    void call("a");
    void call("b");
    await refuse();
    void call("c");
    expect(counts()).toEqual([1, 2]);
    await expect(call("d")).rejects.toThrow("the client's queue is full");
    await vi.advanceTimersByTimeAsync(100);
    expect(counts()).toEqual([1, 1]);
    await vi.advanceTimersByTimeAsync(900);
    expect(names()).toEqual(["b", "a"]);
  });

  it("ends the call at its deadline, with the refusal as the cause", async () => {
    const { call, counts, refuse } = limited();
    const outcome = call("a", { deadline: performance.now() + 100 });
    void call("b");
    await refuse();
    await vi.advanceTimersByTimeAsync(100);
    await expect(outcome).rejects.toMatchObject({
      message: "DEADLINE_EXCEEDED: predict a: the deadline passed before the call was sent again: the server had no thread for it",
      hint: expect.stringContaining("time was up before the call was sent"),
      cause: { serverMessage: refusalText },
    });
    expect(counts()).toEqual([1, 0]);
  });

  it("ends the call with the reason of its abort, also when it waited before", async () => {
    const { call, counts, sent, refuse, finish } = limited({ maxInFlight: 2 });
    const controller = new AbortController();
    for (const name of ["a", "b"]) void call(name);
    const outcome = call("c", { signal: controller.signal });
    await finish();
    void call("d");
    sent.reverse();
    await refuse();
    expect(counts()).toEqual([1, 2]);
    controller.abort("enough");
    await expect(outcome).rejects.toBe("enough");
    expect(counts()).toEqual([1, 1]);
  });
});

describe("withConcurrencyLimit while the limit grows", () => {
  it("starts calls that wait, though none ends or arrives, with one timer", async () => {
    const { calls, counts, refuse } = limited();
    calls(4, { retry: false });
    await refuse();
    expect(vi.getTimerCount()).toBe(0);
    calls(5);
    // One for each deadline, one for all of them.
    expect(vi.getTimerCount()).toBe(6);
    await vi.advanceTimersByTimeAsync(1999);
    expect(counts()).toEqual([3, 5]);
    await vi.advanceTimersByTimeAsync(1);
    expect(counts()).toEqual([4, 4]);
    await vi.advanceTimersByTimeAsync(4000);
    expect(counts()).toEqual([8, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("sets the timer, too, when the limit goes down after calls have lined up", async () => {
    const { call, counts, refuse, finish } = limited({ maxInFlight: 2 });
    const once = { retry: false } as const;
    for (const name of ["a", "b", "c"]) void call(name, once);
    expect(vi.getTimerCount()).toBe(1);
    await refuse();
    expect([counts(), vi.getTimerCount()]).toEqual([[1, 1], 2]);
    await vi.advanceTimersByTimeAsync(1000);
    expect([counts(), vi.getTimerCount()]).toEqual([[2, 0], 0]);
    await finish(2);
  });

  it("needs no timer where the limit is fixed and whole", () => {
    limited({ maxInFlight: 1 }).calls(3);
    expect(vi.getTimerCount()).toBe(2);
  });

  it("leaves no timer behind when the queue empties or closes", async () => {
    const { calls, call, transport, refuse } = limited();
    const controller = new AbortController();
    calls(4, { retry: false });
    await refuse();
    void call("aborted", { signal: controller.signal });
    controller.abort();
    expect(vi.getTimerCount()).toBe(0);
    calls(2);
    await transport.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not keep the process alive", async () => {
    const setTimer = vi.spyOn(globalThis, "setTimeout");
    const { calls, refuse } = limited();
    calls(2);
    await refuse();
    const timers = setTimer.mock.results.map(({ value }) => value as NodeJS.Timeout);
    setTimer.mockRestore();
    // That of the deadline, for the caller waits; that of the growth.
    expect(timers.map((timer) => timer.hasRef())).toEqual([true, false]);
  });
});

describe("handBack", () => {
  it("rejects the calls that wait with an error of their own kind, and none that runs", async () => {
    const { call, transport, counts, refuse, finish } = limited({ maxInFlight: 2 });
    const refused = call("a");
    const running = call("b");
    const waiting = call("c");
    await refuse();
    transport.handBack();
    expect(counts()).toEqual([1, 0]);
    for (const outcome of [refused, waiting]) {
      const error = await outcome.catch((reason: unknown) => reason);
      expect(isHandedBack(error)).toBe(true);
      expect(error).toMatchObject({
        name: "RpcError",
        code: "UNAVAILABLE",
        retryable: true,
        endpoint: "h:8500",
        serverMessage: "the call was handed back while it waited for its turn: connections to h:8500 fail",
      });
    }
    await finish();
    await expect(running).resolves.toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves the transport as it was for calls that come later", async () => {
    const { call, transport, counts } = limited({ maxInFlight: 1 });
    transport.handBack();
    void call("a");
    void call("b");
    expect(counts()).toEqual([1, 1]);
  });
});

describe("isHandedBack", () => {
  it.each<[string, unknown]>([
    [
      "an error of the same words",
      serverError("UNAVAILABLE", "the call was handed back while it waited for its turn: connections to h fail"),
    ],
    ["what is no object", "handed back"],
    ["nothing", undefined],
    ["null", null],
  ])("is false for %s", (_what, error) => {
    expect(isHandedBack(error)).toBe(false);
  });
});

describe("knownFailure", () => {
  const isNotSent = ({ code, serverMessage }: RpcError) => knownFailure(serverMessage, [code])?.notSent === true;

  it("tells calls refused here from those that a server refused", async () => {
    const { calls } = limited({ maxInFlight: 1, maxQueued: 1, queueTimeoutMs: 10 });
    const [, late, refused] = calls(3);
    await vi.advanceTimersByTimeAsync(10);
    for (const outcome of [late, refused]) {
      const error = await outcome?.catch((reason: RpcError) => reason);
      expect(isNotSent(error as RpcError)).toBe(true);
    }
    expect(isNotSent(serverError("RESOURCE_EXHAUSTED", refusalText))).toBe(false);
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
