import { describe, expect, it } from "vitest";
import { RpcError, type StatusCode, TensorError } from "../../src/errors.js";
import { type AnyCall, transportOf } from "../../src/middleware/any-call.js";
import { balance, type EndpointList } from "../../src/middleware/balancer.js";
import { type LimitedTransport, withConcurrencyLimit } from "../../src/middleware/concurrency-limit.js";
import type { EndpointSource } from "../../src/middleware/endpoint-pool.js";
import type { ModelVersionStatus, Transport, TransportCallOptions } from "../../src/transport/transport.js";

/** One call that reached an endpoint, for tests to settle. */
interface SentCall {
  readonly call: AnyCall;
  answer(value?: unknown): void;
  fail(error: unknown): void;
}

/** An endpoint whose calls tests settle by hand. */
class HandEndpoint implements EndpointSource {
  readonly address: string;
  readonly calls: SentCall[] = [];
  inFlight = 0;
  opened = 0;
  closed = 0;

  constructor(address: string) {
    this.address = address;
  }

  open(): LimitedTransport {
    this.opened++;
    const run = <Result>(call: AnyCall<Result>) =>
      new Promise<Result>((resolve, reject) => {
        this.inFlight++;
        const settle = (outcome: () => void) => {
          this.inFlight--;
          outcome();
        };
        this.calls.push({ call, answer: (value) => settle(() => resolve(value as Result)), fail: (error) => settle(() => reject(error)) });
      });
    const close = async () => {
      this.closed++;
    };
    const inFlight = () => this.inFlight;
    return {
      ...transportOf(run, { close }),
      queued: 0,
      handBack: () => undefined,
      get inFlight() {
        return inFlight();
      },
    };
  }

  /** The error of a call that ended here. */
  error(code: StatusCode, serverMessage: string): RpcError {
    return new RpcError({ code, method: "getModelStatus", endpoint: this.address, transport: "grpc", serverMessage });
  }

  get lost(): RpcError {
    return this.error("UNAVAILABLE", "No connection established. Last error: connect ECONNREFUSED 127.0.0.1:8500");
  }
}

/** What every call comes with. */
const limits = (more: Partial<TransportCallOptions> = {}): TransportCallOptions => ({ deadline: performance.now() + 60_000, ...more });

const ask = (transport: Transport, more?: Partial<TransportCallOptions>): Promise<ModelVersionStatus[]> =>
  transport.getModelStatus({ name: "m" }, limits(more));

/** A balancer with a clock that tests move, and randomness that picks the first of the ready endpoints, and the next one beside it. */
function setUp(list: EndpointList) {
  const clock = { now: 0 };
  const balancer = balance(list, { needsSignature: false, transport: "grpc", now: () => clock.now, random: () => 0 });
  const states = () => balancer.endpoints().map(({ address, state }) => `${address} ${state}`);
  /** Makes a call that fails like this at the endpoint. */
  async function failAt(endpoint: HandEndpoint, error: unknown, more?: Partial<TransportCallOptions>): Promise<void> {
    const others = balancer.endpoints().flatMap(({ address }) => (address === endpoint.address ? [] : address));
    const failing = ask(balancer, { avoid: others, ...more });
    endpoint.calls.at(-1)?.fail(error);
    await expect(failing).rejects.toBe(error);
  }
  return { clock, balancer, states, failAt };
}

/** Endpoints `a` and `b` as a fixed list. */
function setUpTwo() {
  const [a, b] = [new HandEndpoint("a:8500"), new HandEndpoint("b:8500")];
  return { a, b, ...setUp({ endpoints: [a, b] }) };
}

/** Endpoints behind a name whose resolutions tests settle by hand. */
function setUpName() {
  const [a, b, c] = [new HandEndpoint("a:8500"), new HandEndpoint("b:8500"), new HandEndpoint("c:8500")];
  const questions: { answer(...endpoints: EndpointSource[]): void; fail(error: Error): void }[] = [];
  const resolve = () =>
    new Promise<readonly EndpointSource[]>((fulfil, reject) => {
      questions.push({ answer: (...endpoints) => fulfil(endpoints), fail: reject });
    });
  const parts = setUp({ name: "dns:///models:8500", resolve });
  /** The first call, answered by the first of these endpoints. */
  async function begin(...endpoints: HandEndpoint[]): Promise<void> {
    const call = ask(parts.balancer);
    questions.at(-1)?.answer(...endpoints);
    await settled();
    endpoints[0]?.calls[0]?.answer([]);
    await call;
  }
  return { a, b, c, questions, begin, ...parts };
}

/** Lets everything happen that waits for nothing else. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("balance sends", () => {
  it("each call to the endpoint with fewer calls", async () => {
    const { a, b, balancer } = setUpTwo();
    const calls = [ask(balancer), ask(balancer), ask(balancer)];
    expect([a.calls.length, b.calls.length]).toEqual([2, 1]);
    expect(balancer.endpoints()).toEqual([
      { address: "a:8500", state: "ready", inFlight: 2 },
      { address: "b:8500", state: "ready", inFlight: 1 },
    ]);
    for (const { answer } of [...a.calls, ...b.calls]) answer([]);
    await Promise.all(calls);
    expect(balancer.endpoints().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  });

  it("arguments and answers as they are", async () => {
    const { a, balancer } = setUpTwo();
    const options = limits();
    const answer: ModelVersionStatus[] = [];
    const call = balancer.getModelStatus({ name: "m" }, options);
    expect(a.calls[0]?.call.options).toBe(options);
    a.calls[0]?.answer(answer);
    expect(await call).toBe(answer);
  });

  it("a call elsewhere that was at one endpoint before", () => {
    const { a, b, balancer } = setUpTwo();
    for (let calls = 0; calls < 3; calls++) void ask(balancer, { avoid: ["a:8500"] });
    expect([a.calls.length, b.calls.length]).toEqual([0, 3]);
  });

  it("reloadConfig to one endpoint, like every call", () => {
    const { a, b, balancer } = setUpTwo();
    void balancer.reloadConfig({ models: [] }, limits());
    expect([a.calls.map(({ call }) => call.method), b.calls.length]).toEqual([["reloadConfig"], 0]);
  });

  it("with what its endpoints need, and opens and closes each once", async () => {
    const [a, twin] = [new HandEndpoint("a:8501"), new HandEndpoint("a:8501")];
    const balancer = balance({ endpoints: [a, twin] }, { needsSignature: true, transport: "rest" });
    expect(balancer.needsSignature).toBe(true);
    await balancer.close();
    expect([a.opened, a.closed, twin.opened]).toEqual([1, 1, 0]);
  });
});

describe("balance ejects", () => {
  it("an endpoint whose connection is lost three times, and has it back after a call that works", async () => {
    const { a, b, balancer, clock, states, failAt } = setUpTwo();
    for (let calls = 0; calls < 3; calls++) await failAt(a, a.lost);
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
    clock.now = 999;
    void ask(balancer);
    expect(b.calls.length).toBe(1);
    clock.now = 1000;
    const probe = ask(balancer);
    expect(states()).toEqual(["a:8500 probing", "b:8500 ready"]);
    a.calls.at(-1)?.answer([]);
    await probe;
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
  });

  it.each<[string, (a: HandEndpoint) => unknown]>([
    ["what the server says", (a) => a.error("NOT_FOUND", "Servable not found for request: Latest(m)")],
    ["a server without free threads", (a) => a.error("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")],
    ["a server that is not ready", (a) => a.error("UNAVAILABLE", "Model labels does not init yet")],
  ])("nothing because of %s: it shows that the way works", async (_what, errorOf) => {
    const { a, clock, states, failAt } = setUpTwo();
    for (const error of [a.lost, a.lost, errorOf(a), a.lost, a.lost]) await failAt(a, error);
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
    await failAt(a, a.lost);
    clock.now = 1000;
    await failAt(a, errorOf(a));
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
  });

  it.each<[string, (a: HandEndpoint) => unknown, "aborted"?]>([
    ["time that is up", (a) => a.error("DEADLINE_EXCEEDED", "Deadline exceeded after 1.000s")],
    ["the caller's abort, whatever its reason", (a) => a.lost, "aborted"],
    ["values that cannot be sent", () => new TensorError("no such value")],
  ])("neither more nor less because of %s", async (_what, errorOf, aborted) => {
    const { a, clock, states, failAt } = setUpTwo();
    const failUntold = () => {
      const error = errorOf(a);
      return failAt(a, error, aborted && { signal: AbortSignal.abort(error) });
    };
    for (const error of [a.lost, a.lost]) await failAt(a, error);
    await failUntold();
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
    await failAt(a, a.lost);
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
    clock.now = 1000;
    await failUntold();
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
    await failAt(a, a.lost);
    expect(a.calls.length).toBe(6);
  });

  it("an endpoint that could not be connected to in time", async () => {
    const { a, states, failAt } = setUpTwo();
    for (let calls = 0; calls < 3; calls++) {
      await failAt(a, a.error("DEADLINE_EXCEEDED", "Deadline exceeded after 1.000s,Waiting for LB pick"));
    }
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
  });

  it("neither more nor less because the client's own queue refuses a call", async () => {
    const { a, states, failAt } = setUpTwo();
    for (const error of [a.lost, a.lost, a.error("RESOURCE_EXHAUSTED", "the client's queue is full: calls running at a:8500: 7")]) {
      await failAt(a, error);
    }
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
    await failAt(a, a.lost);
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
  });

  it("and sends calls that wait there elsewhere, without a word to their callers", async () => {
    const [a, b] = [new HandEndpoint("a:8500"), new HandEndpoint("b:8500")];
    const limited: EndpointSource = {
      address: a.address,
      open: () => withConcurrencyLimit(a.open(), { address: a.address, transport: "grpc" }, { maxInFlight: 1 }),
    };
    const { balancer, states, failAt } = setUp({ endpoints: [limited, b] });
    for (const error of [a.lost, a.lost]) await failAt(a, error);
    const third = failAt(a, a.lost);
    const waiting = [ask(balancer, { avoid: [b.address] }), ask(balancer, { avoid: [b.address] })];
    await third;
    expect(states()).toEqual(["a:8500 ejected", "b:8500 ready"]);
    // The first took the place of the lost call before anybody knew.
    await expect.poll(() => [a.calls.length, b.calls.length]).toEqual([4, 1]);
    b.calls[0]?.answer([]);
    expect(await waiting[1]).toEqual([]);
  });
});

describe("balance resolves a name", () => {
  it("at the first call, once for all that wait", async () => {
    const { a, b, balancer, questions } = setUpName();
    expect([questions.length, balancer.endpoints()]).toEqual([0, []]);
    const calls = [ask(balancer), ask(balancer)];
    expect(questions.length).toBe(1);
    questions[0]?.answer(a, b);
    await settled();
    for (const endpoint of [a, b]) endpoint.calls[0]?.answer([]);
    await Promise.all(calls);
    expect([a.calls.length, b.calls.length]).toEqual([1, 1]);
  });

  it("again when a call comes 30 s later, while that call goes to the addresses known", async () => {
    const { a, b, balancer, questions, begin, clock, states } = setUpName();
    await begin(a);
    clock.now = 29_999;
    void ask(balancer);
    expect(questions.length).toBe(1);
    clock.now = 30_000;
    void ask(balancer);
    void ask(balancer);
    expect([questions.length, a.calls.length]).toEqual([2, 4]);
    questions[1]?.answer(a, b);
    await settled();
    expect(states()).toEqual(["a:8500 ready", "b:8500 ready"]);
    clock.now = 59_999;
    void ask(balancer);
    expect(questions.length).toBe(2);
    clock.now = 60_000;
    void ask(balancer);
    expect(questions.length).toBe(3);
  });

  it("again when a connection is lost, at most once a second", async () => {
    const { a, questions, begin, clock, failAt } = setUpName();
    await begin(a);
    clock.now = 999;
    await failAt(a, a.lost);
    expect(questions.length).toBe(1);
    clock.now = 1000;
    await failAt(a, a.lost);
    expect(questions.length).toBe(2);
    questions[1]?.answer(a);
    await settled();
    clock.now = 1999;
    await failAt(a, a.lost);
    expect(questions.length).toBe(2);
    clock.now = 5000;
    await failAt(a, a.error("NOT_FOUND", "Servable not found for request: Latest(m)"));
    expect(questions.length).toBe(3);
  });

  it("and keeps its addresses when that fails or finds none", async () => {
    const { a, balancer, questions, begin, clock, states } = setUpName();
    await begin(a);
    clock.now = 30_000;
    void ask(balancer);
    questions[1]?.fail(new Error("getaddrinfo EAI_AGAIN models"));
    await settled();
    clock.now = 60_000;
    void ask(balancer);
    questions[2]?.answer();
    await settled();
    expect([questions.length, states()]).toEqual([3, ["a:8500 ready"]]);
  });

  it("and lets endpoints whose address has left finish their calls", async () => {
    const { a, b, balancer, questions, begin, clock, states } = setUpName();
    await begin(a);
    clock.now = 30_000;
    const last = ask(balancer);
    questions[1]?.answer(b);
    await settled();
    expect([states(), a.closed]).toEqual([["a:8500 draining", "b:8500 ready"], 0]);
    void ask(balancer);
    expect([a.calls.length, b.calls.length]).toEqual([2, 1]);
    a.calls[1]?.answer([]);
    await last;
    expect([states(), a.closed]).toEqual([["b:8500 ready"], 1]);
  });

  it("after a failure with the next call", async () => {
    const { a, balancer, questions, begin } = setUpName();
    const failing = ask(balancer);
    questions[0]?.fail(new Error("getaddrinfo ENOTFOUND models"));
    await expect(failing).rejects.toThrow("ENOTFOUND");
    await begin(a);
    expect(questions.length).toBe(2);
  });
});

describe("balance, closed", () => {
  it("opens nothing for a resolution that is under way, and ends the calls that wait for it", async () => {
    const { a, balancer, questions } = setUpName();
    const waiting = ask(balancer);
    await balancer.close();
    await expect(waiting).rejects.toMatchObject({
      code: "CANCELLED",
      endpoint: "dns:///models:8500",
      serverMessage: "the transport is closed",
    });
    questions[0]?.answer(a);
    await settled();
    await expect(ask(balancer)).rejects.toMatchObject({ code: "CANCELLED" });
    expect([a.opened, questions.length]).toEqual([0, 1]);
  });

  it("has closed endpoints that drain, too", async () => {
    const { a, b, balancer, questions, begin, clock } = setUpName();
    await begin(a);
    clock.now = 30_000;
    void ask(balancer);
    questions[1]?.answer(b);
    await settled();
    await balancer.close();
    expect([a.closed, b.closed]).toEqual([1, 1]);
  });
});

describe("rejects", () => {
  it("an empty list", () => {
    expect(() => balance({ endpoints: [] }, { needsSignature: false, transport: "grpc" })).toThrow(
      new RangeError("endpoints: expected at least one, got none"),
    );
  });

  it("each call that waits for a name that cannot be resolved, with its own error", async () => {
    const { balancer, questions } = setUpName();
    const cause = new Error("getaddrinfo ENOTFOUND models");
    const calls = [ask(balancer), balancer.reloadConfig({ models: [] }, limits())];
    questions[0]?.fail(cause);
    const [status, reload] = await Promise.allSettled(calls);
    expect(status).toMatchObject({
      reason: {
        message: "UNAVAILABLE: getModelStatus m: Name resolution failed: getaddrinfo ENOTFOUND models",
        code: "UNAVAILABLE",
        endpoint: "dns:///models:8500",
        transport: "grpc",
        retryable: true,
        hint: expect.stringContaining("the host name has no address here"),
        cause,
      },
    });
    expect(reload).toMatchObject({ reason: { message: expect.stringMatching(/^UNAVAILABLE: reloadConfig: Name resolution failed/) } });
  });

  it("calls to a name that has no address at first", async () => {
    const { balancer, questions } = setUpName();
    const call = ask(balancer);
    questions[0]?.answer();
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", serverMessage: "Name resolution failed: the name has no address" });
  });

  it("a call whose time or caller's patience ends while it waits for addresses, and no others", async () => {
    const { a, balancer, questions } = setUpName();
    const abort = new AbortController();
    const late = ask(balancer, { deadline: performance.now() + 1 });
    const aborted = ask(balancer, { signal: abort.signal });
    const patient = ask(balancer);
    abort.abort("enough");
    await expect(aborted).rejects.toBe("enough");
    await expect(late).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      serverMessage: "time ran out while waiting for the addresses of dns:///models:8500",
      hint: expect.any(String),
    });
    questions[0]?.answer(a);
    await settled();
    a.calls[0]?.answer([]);
    await patient;
    expect([questions.length, a.calls.length]).toEqual([1, 1]);
  });
});
