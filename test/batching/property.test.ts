import { afterAll, beforeAll, describe, it, vi } from "vitest";
import { type BatchSettings, batchSettings } from "../../src/batching/batch-settings.js";
import { withBatching } from "../../src/batching/batching-transport.js";
import { minRemainingMs } from "../../src/deadline.js";
import { isServingError } from "../../src/errors.js";
import { transportOf } from "../../src/middleware/any-call.js";
import type { ModelSpec } from "../../src/model-spec.js";
import { type Tensor, tensor } from "../../src/tensor/tensor.js";
import type {
  BatchEvent,
  BatchingOptions,
  PredictResult,
  TensorMap,
  Transport,
  TransportPredictOptions,
} from "../../src/transport/transport.js";
import { Random } from "../support/random.js";
import { serverError } from "./hand-transport.js";
import { VirtualSchedule } from "./virtual-schedule.js";

/** How many schedules are run. FUZZ_SEED repeats a failed one, whose seed stands in the failure, as the first. */
const schedules = Number(process.env["FUZZ_ROUNDS"] ?? 10_000);
const firstSeed = Number(process.env["FUZZ_SEED"] ?? 20260801);

/** What calls have in common that may share a request. */
interface Kind {
  readonly spec: ModelSpec;
  readonly width: number;
  readonly metadata: TransportPredictOptions["metadata"];
  /** The model answers one row more than it is given, so that it cannot be batched. */
  readonly isOdd: boolean;
}

/** One call: how it is made, and what becomes of it. */
interface Caller {
  readonly id: number;
  readonly kind: Kind;
  readonly rows: number;
  readonly x: Tensor<"float32">;
  readonly calledAt: number;
  readonly deadline: number;
  /** The server refuses every request with its rows. */
  readonly isGuilty: boolean;
  /** It must not share a request: it says so, or is larger than a batch. */
  readonly isAlone: boolean;
  readonly saysAlone: boolean;
  /** Finds the queue full; `maybe` where others may be dropped from it in the same turn. */
  readonly isRefused: boolean | "maybe";
  abortedAt: number | undefined;
  settledAt: number | undefined;
  settlements: number;
  /** The requests with its rows, oldest first. */
  readonly requests: Request[];
}

/** One request that reached the server. */
interface Request {
  readonly callers: readonly Caller[];
  readonly signal: AbortSignal | undefined;
  /** Whether the call was passed on as it came. */
  readonly isDirect: boolean;
  /** The first request with these rows, where this is not it. */
  readonly first: Request | undefined;
  error: unknown;
  isSettled: boolean;
}

/** What a caller's rows hold, times its number: room for a number for each value. */
const idUnit = 1000;

/** `expect` takes longer than all that it would look at here. */
function must(holds: boolean, what: () => string): void {
  if (!holds) throw new Error(what());
}

/** All that follows from settled promises has happened: Node runs the next tick after that. An immediate would do too, and take as long as all else here. */
const promisesSettled = () => new Promise<void>((resolve) => process.nextTick(resolve));

const named = (callers: readonly Caller[]) => `calls ${callers.map(({ id }) => id).join(", ")}`;
const rowsOf = (callers: readonly Caller[]) => callers.reduce((sum, { rows }) => sum + rows, 0);
const isOpen = ({ settledAt }: Caller) => settledAt === undefined;

/** One schedule: random calls, a random server, and what must hold all the time. */
class Schedule {
  readonly #clock: VirtualSchedule;
  readonly #random: Random;
  readonly #batching: BatchingOptions;
  readonly #settings: BatchSettings;
  readonly #transport: Transport;
  readonly #kinds: readonly Kind[];
  readonly #callers: Caller[] = [];
  readonly #requests: Request[] = [];
  readonly #events: BatchEvent[] = [];
  readonly #buffers = new Set<unknown>();
  /** What was found wrong where nobody would see it thrown. */
  #broken: unknown;

  constructor(seed: number, clock: VirtualSchedule) {
    this.#clock = clock;
    const random = new Random(seed);
    this.#random = random;
    const maxBatchRows = 1 + random.below(8);
    this.#batching = {
      maxBatchRows,
      maxDelayMs: random.below(5),
      maxBatchBytes: random.pick([1000, 24, 40]),
      maxQueuedRows: random.pick([100, maxBatchRows, 4 + random.below(8)]),
      maxInFlightBatches: 1 + random.below(3),
      allowedBatchRows: random.below(3) === 0 ? [maxBatchRows, 1 + random.below(maxBatchRows)] : undefined,
      onBatch: (event) => void this.#events.push(event),
    };
    this.#settings = batchSettings(this.#batching);
    this.#kinds = randomKinds(random);
    const none = transportOf(() => Promise.reject(new Error("expected predict calls only")), { close: async () => undefined });
    const next: Transport = { ...none, predict: (spec, inputs, options) => this.#serve(spec, inputs, options) };
    this.#transport = withBatching(next, { endpoint: "h:8500", transport: "grpc" }, this.#clock);
  }

  async run(): Promise<void> {
    const random = this.#random;
    for (let turns = 1 + random.below(7); turns > 0; turns--) {
      const calls = random.pick([1, 1, 1, 3]);
      setTimeout(() => {
        for (let made = 0; made < calls; made++) this.#call(this.#randomCaller());
      }, random.below(12));
    }
    await this.#playOut();
    // Nothing waits any more, so there is place for as many rows as may wait.
    const { maxQueuedRows, limits } = this.#settings;
    this.#call(this.#callerOf(this.#kinds[0] as Kind, Math.min(maxQueuedRows, limits.maxRows), {}));
    await this.#playOut();
    this.#checkEnd();
  }

  /** Let time pass until nothing is left that waits for it. */
  async #playOut(): Promise<void> {
    do {
      do await promisesSettled();
      while (this.#clock.runSoon());
      if (this.#broken !== undefined) throw this.#broken;
      this.#checkNow();
    } while (this.#clock.step());
  }

  #check(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#broken ??= error;
    }
  }

  // The callers

  #randomCaller(): Caller {
    const random = this.#random;
    const rows = random.below(20) === 0 ? random.pick([0, 12]) : 1 + random.below(4);
    return this.#callerOf(random.pick(this.#kinds), rows, {
      timeoutMs: random.below(3) === 0 ? 1 + random.below(20) : 1000,
      isGuilty: random.below(8) === 0,
      saysAlone: rows > 0 && random.below(16) === 0,
    });
  }

  #callerOf(kind: Kind, rows: number, { timeoutMs = 1000, isGuilty = false, saysAlone = false }): Caller {
    const { maxRows, maxBytes } = this.#settings.limits;
    const id = this.#callers.length + 1;
    const x = tensor(
      "float32",
      [rows, kind.width],
      Array.from({ length: rows * kind.width }, (_, index) => id * idUnit + index),
    );
    const isAlone = saysAlone || rows > maxRows || x.values.byteLength > maxBytes;
    const isRefused = !isAlone && rows > 0 && this.#isFullFor(rows);
    const now = performance.now();
    const made = { id, kind, rows, x, calledAt: now, deadline: now + timeoutMs, isGuilty, isAlone, saysAlone, isRefused };
    return { ...made, abortedAt: undefined, settledAt: undefined, settlements: 0, requests: [] };
  }

  #call(caller: Caller): void {
    this.#callers.push(caller);
    const { kind, x, deadline, saysAlone } = caller;
    const controller = new AbortController();
    const abort = () => {
      if (!isOpen(caller)) return;
      caller.abortedAt = performance.now();
      controller.abort(caller);
    };
    if (this.#random.below(20) === 0) abort();
    else if (this.#random.below(4) === 0) setTimeout(abort, this.#random.below(12));
    const batch = saysAlone ? (false as const) : this.#batching;
    const options: TransportPredictOptions = { deadline, signal: controller.signal, metadata: kind.metadata, batch };
    const settle = (check: () => void) => {
      caller.settledAt = performance.now();
      caller.settlements++;
      this.#check(check);
    };
    void this.#transport.predict(kind.spec, { x }, options).then(
      (result) => settle(() => this.#checkResult(caller, result)),
      (error: unknown) => settle(() => this.#checkError(caller, error)),
    );
  }

  // The server

  #serve(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    const x = inputs["x"] as Tensor<"float32">;
    const { signal, deadline } = options;
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const callers = this.#callersOf(x);
    const [one] = callers as [Caller];
    const first = one.requests[0];
    const request: Request = {
      callers,
      signal,
      isDirect: options.batch !== false || one.saysAlone,
      first,
      error: undefined,
      isSettled: false,
    };
    this.#check(() => this.#checkRequest(request, spec, x, options));
    for (const caller of callers) caller.requests.push(request);
    this.#requests.push(request);
    return new Promise((resolve, reject) => {
      const end = (outcome: () => void) => {
        for (const timer of timers) clearTimeout(timer);
        request.isSettled = true;
        outcome();
      };
      const fail = (error: unknown) => {
        request.error = error;
        reject(error);
      };
      signal?.addEventListener("abort", () => end(() => fail(signal.reason)));
      const answer = () => {
        if (callers.some(({ isGuilty }) => isGuilty)) fail(serverError("INVALID_ARGUMENT"));
        else if (this.#random.below(8) === 0)
          fail(this.#random.pick([serverError("UNAVAILABLE"), serverError("INTERNAL"), new Error("no")]));
        else resolve({ outputs: { y: outputOf(one.kind, x) }, modelSpec: { name: spec.name, signatureName: "s" } });
      };
      const timers = [
        setTimeout(() => end(() => fail(serverError("DEADLINE_EXCEEDED"))), Math.max(deadline - performance.now(), 0)),
        setTimeout(() => end(answer), this.#random.below(10)),
      ];
    });
  }

  /** Whose rows a tensor holds, in their order; padding repeats the last row. */
  #callersOf({ values, shape: [rows = 0, width = 1] }: Tensor<"float32">): Caller[] {
    const ids = Array.from({ length: rows }, (_, row) => Math.floor((values[row * width] as number) / idUnit));
    return [...new Set(ids)].map((id) => this.#callers[id - 1] as Caller);
  }

  // What must hold

  #checkRequest({ callers, first, isDirect }: Request, spec: ModelSpec, x: Tensor<"float32">, options: TransportPredictOptions): void {
    const [one] = callers as [Caller];
    const { kind } = one;
    must(spec === kind.spec && options.metadata === kind.metadata, () => `${named(callers)}: sent to another model or with other metadata`);
    must(!one.isAlone || isDirect, () => `${named(callers)}: expected a request of its own`);
    if (isDirect) {
      must(one.isAlone || kind.isOdd, () => `${named(callers)}: expected a batch`);
      must(x === one.x && options.deadline === one.deadline, () => `${named(callers)}: expected the call as it came`);
      return;
    }
    const now = performance.now();
    for (const caller of callers) {
      must(caller.kind === kind, () => `${named(callers)}: expected calls of one kind`);
      must(isOpen(caller), () => `call ${caller.id} has settled and is sent all the same`);
      // What is sent again is a part of what was sent first.
      must(caller.requests[0] === first, () => `${named(callers)}: expected calls of one batch`);
      must(first !== undefined || caller.deadline - now >= minRemainingMs, () => `call ${caller.id} is sent too late`);
    }
    const latest = Math.max(...callers.map(({ deadline }) => deadline));
    must(options.deadline === latest, () => `${named(callers)}: expected deadline ${latest}, got ${options.deadline}`);
    this.#checkRows(callers, x);
    const { maxInFlight } = this.#settings.limits;
    const inFlight = this.#inFlight(kind).size;
    must(
      first !== undefined || inFlight < maxInFlight,
      () => `${named(callers)}: ${inFlight} batches were in flight, ${maxInFlight} may be`,
    );
  }

  /** The rows of a batch are its callers', within the limits, and the padding. */
  #checkRows(callers: readonly Caller[], x: Tensor<"float32">): void {
    const [{ kind }] = callers as [Caller];
    const { limits, allowedRows } = this.#settings;
    const values = callers.flatMap((caller) => [...caller.x.values]);
    const rows = values.length / kind.width;
    must(
      rows <= limits.maxRows && 4 * values.length <= limits.maxBytes,
      () => `${named(callers)}: ${rows} rows are more than a batch may have`,
    );
    const sentRows = x.values.length / kind.width;
    // Once the padding's output did not fit, calls are sent again without it.
    const sizes = allowedRows.length === 0 ? [rows] : [...allowedRows, ...(kind.isOdd ? [rows] : [])];
    must(sizes.includes(sentRows), () => `${named(callers)}: expected ${sizes.join(" or ")} rows, got ${sentRows}`);
    const lastRow = values.slice(-kind.width);
    while (values.length < x.values.length) values.push(...lastRow);
    must(isSame(x.values, values), () => `${named(callers)}: expected rows ${values}, got ${x.values}`);
  }

  #checkResult(caller: Caller, { outputs }: PredictResult): void {
    const { id, kind, x, isGuilty, isRefused, abortedAt, deadline } = caller;
    const y = outputs["y"] as Tensor<"float32">;
    const expected = outputOf(kind, x);
    must(abortedAt === undefined && !isGuilty, () => `call ${id}: expected an error, got a result`);
    must(isRefused !== true || kind.isOdd, () => `call ${id} came when the queue was full`);
    must(
      isSame(y.shape, expected.shape) && isSame(y.values, expected.values),
      () => `call ${id}: expected ${expected.values}, got ${y.values}`,
    );
    must(!this.#buffers.has(y.values.buffer), () => `call ${id} has memory of another`);
    this.#buffers.add(y.values.buffer);
    must(performance.now() <= deadline + 1, () => `call ${id} was answered after its deadline`);
  }

  #checkError(caller: Caller, error: unknown): void {
    const { id, kind, rows, isGuilty, isRefused, abortedAt, deadline, requests } = caller;
    const now = performance.now();
    must(now <= deadline + 1, () => `call ${id} failed after its deadline`);
    if (abortedAt !== undefined) {
      must(error === caller && now === abortedAt, () => `call ${id}: expected the abort's reason at ${abortedAt}, got ${error} at ${now}`);
      return;
    }
    const code = isServingError(error) ? error.code : undefined;
    const unexpected = () => `call ${id}: unexpected ${error} at ${now}, deadline ${deadline}`;
    if (requests.length === 0) {
      if (rows === 0) must(code === "INVALID_ARGUMENT", unexpected);
      else if (isRefused === true) must(code === "RESOURCE_EXHAUSTED", unexpected);
      else if (isRefused === false || code !== "RESOURCE_EXHAUSTED")
        must(code === "DEADLINE_EXCEEDED" && now > deadline - minRemainingMs, unexpected);
      return;
    }
    must(isRefused !== true || kind.isOdd, unexpected);
    if (code === "INVALID_ARGUMENT") must(isGuilty, unexpected);
    if (code === "DEADLINE_EXCEEDED") must(now > deadline - minRemainingMs, unexpected);
    else must(error === requests.at(-1)?.error, unexpected);
  }

  /** What holds whenever the events at hand have been dealt with. */
  #checkNow(): void {
    const now = performance.now();
    const { maxInFlight, maxDelayMs } = this.#settings.limits;
    for (const { callers, signal, isSettled } of this.#requests) {
      const isWanted = isSettled || callers.some(isOpen);
      // Where there is no signal to tell it, the transport knows the deadline.
      const isEnded = signal?.aborted === true || callers.every(({ deadline }) => deadline <= now);
      must(isWanted || isEnded, () => `${named(callers)}: nobody waits, but the request goes on`);
    }
    for (const kind of this.#kinds) {
      const first = this.#callers.find((caller) => caller.kind === kind && this.#isQueued(caller));
      const inFlight = this.#inFlight(kind).size;
      if (first === undefined || inFlight >= maxInFlight) continue;
      must(inFlight > 0, () => `call ${first.id} waits though nothing is in flight`);
      must(now <= first.calledAt + maxDelayMs, () => `call ${first.id} has waited since ${first.calledAt}, it is ${now}`);
    }
    for (const caller of this.#callers)
      must(!isOpen(caller) || now <= caller.deadline + 1, () => `call ${caller.id} outlives its deadline`);
  }

  #checkEnd(): void {
    for (const { id, settlements } of this.#callers) must(settlements === 1, () => `call ${id} settled ${settlements} times`);
    const batches = this.#requests.filter(({ first, isDirect }) => first === undefined && !isDirect);
    const calls = batches.reduce((sum, { callers }) => sum + callers.length, 0);
    const counted = this.#events.reduce((sum, event) => sum + event.calls, 0);
    must(
      this.#events.length === batches.length && counted === calls,
      () => `expected ${batches.length} events of ${calls} calls, got ${counted}`,
    );
    const requests = this.#requests.filter(({ isDirect }) => !isDirect).length;
    const countedRequests = this.#events.reduce((sum, event) => sum + event.requests, 0);
    must(countedRequests === requests, () => `expected ${requests} requests in the events, got ${countedRequests}`);
  }

  #isQueued(caller: Caller): boolean {
    // Those that were refused or aborted in this very turn have yet to learn of it.
    const isOut = caller.isRefused === true || caller.abortedAt !== undefined || !isOpen(caller);
    return !isOut && !caller.isAlone && caller.rows > 0 && caller.requests.length === 0;
  }

  #isFullFor(rows: number): boolean | "maybe" {
    const { maxQueuedRows } = this.#settings;
    const queued = this.#callers.filter((caller) => this.#isQueued(caller));
    if (rows + rowsOf(queued) <= maxQueuedRows) return false;
    const now = performance.now();
    const isCertain = ({ deadline, isRefused }: Caller) => deadline - now >= minRemainingMs && isRefused === false;
    return rows + rowsOf(queued.filter(isCertain)) > maxQueuedRows || "maybe";
  }

  /** The batches of a kind that have a request in flight; finding a bad row takes several. */
  #inFlight(kind: Kind): Set<Request> {
    // What nobody waits for any more does not hold up the queue, whether the transport has ended it or not.
    const isRunning = ({ isSettled, isDirect, callers }: Request) => !isSettled && !isDirect && callers.some(isOpen);
    const running = this.#requests.filter((request) => isRunning(request) && request.callers[0]?.kind === kind);
    return new Set(running.map((request) => request.first ?? request));
  }
}

/** Kinds of which no two may share a request. */
function randomKinds(random: Random): Kind[] {
  const a = { name: "a" };
  const metadata = { key: "value" };
  const all: Omit<Kind, "isOdd">[] = [
    { spec: a, width: 1, metadata: undefined },
    { spec: a, width: 2, metadata: undefined },
    { spec: a, width: 1, metadata },
    { spec: a, width: 1, metadata: { ...metadata } },
    { spec: { ...a, version: 1 }, width: 1, metadata: undefined },
    { spec: { ...a, signatureName: "s" }, width: 1, metadata: undefined },
  ];
  const odd = random.below(8) === 0 ? random.pick(all).spec : undefined;
  const start = random.below(all.length);
  const chosen = [...all, ...all].slice(start, start + 1 + random.below(3));
  return chosen.map((kind) => ({ ...kind, isOdd: kind.spec === odd }));
}

/** What the model computes: ten times its input, with a row more where it is odd. */
function outputOf({ isOdd }: Kind, { values, shape: [rows = 0, width = 1] }: Tensor<"float32">): Tensor<"float32"> {
  const tenfold = Array.from(values, (value) => 10 * value);
  if (isOdd) tenfold.push(...tenfold.slice(0, width));
  return tensor("float32", [rows + (isOdd ? 1 : 0), width], tenfold);
}

function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

describe("withBatching under random schedules", () => {
  const clock = new VirtualSchedule();
  beforeAll(() => {
    // Deadlines are real timers. Those of vitest run all of one time at once: without the promises that Node lets settle in between.
    vi.stubGlobal("performance", { now: () => clock.now() });
    vi.stubGlobal("setTimeout", (run: () => void, delayMs: number) => {
      const stop = clock.after(delayMs, run);
      return Object.assign(stop, { ref: () => stop, unref: () => stop });
    });
    vi.stubGlobal("clearTimeout", (stop: (() => void) | undefined) => stop?.());
    vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  });
  afterAll(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  it("settles every call once, with its rows or its own error, in time and within the limits", { timeout: 120_000 }, async () => {
    for (let seed = firstSeed; seed < firstSeed + schedules; seed++) {
      try {
        await new Schedule(seed, clock).run();
      } catch (error) {
        throw new Error(`FUZZ_SEED=${seed} FUZZ_ROUNDS=1 repeats it: ${error}`, { cause: error });
      }
    }
  });
});
