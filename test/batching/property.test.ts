import { afterAll, beforeAll, describe, it, vi } from "vitest";
import { type BatchSettings, batchSettings } from "../../src/batching/batch-settings.js";
import { withBatching } from "../../src/batching/batching-transport.js";
import { minRemainingMs } from "../../src/deadline.js";
import { isServingError } from "../../src/errors.js";
import { mapRecord } from "../../src/messages.js";
import { transportOf } from "../../src/middleware/any-call.js";
import type { ModelSpec } from "../../src/model-spec.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
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
  readonly names: readonly string[];
  readonly dtype: "float32" | "int32" | "string";
  readonly width: number;
  readonly options: Pick<TransportPredictOptions, "metadata" | "outputFilter" | "restFormat">;
  /** The model answers one row more than it is given, so that it cannot be batched. */
  readonly isOdd: boolean;
}

/** One call: how it is made, and what becomes of it. */
interface Caller {
  readonly id: number;
  readonly kind: Kind;
  readonly rows: number;
  /** What its rows hold, in each input. */
  readonly numbers: readonly number[];
  readonly inputs: TensorMap;
  readonly calledAt: number;
  readonly deadline: number;
  /** The server refuses every request with its rows. */
  readonly isGuilty: boolean;
  /** It must not share a request: it says so, or is larger than a batch with its padding. */
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
  /** The server refuses requests of more rows as too large. */
  readonly #rowLimit: number;
  readonly #callers: Caller[] = [];
  readonly #requests: Request[] = [];
  readonly #events: BatchEvent[] = [];
  /** Memory and errors that callers were given. */
  readonly #own = new Set<unknown>();
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
      maxBatchBytes: random.pick([1000, 24, 80]),
      maxQueuedRows: random.pick([100, maxBatchRows, 4 + random.below(8)]),
      maxInFlightBatches: 1 + random.below(3),
      allowedBatchRows: random.below(3) === 0 ? randomSizes(random, maxBatchRows) : undefined,
      onBatch: (event) => void this.#events.push(event),
    };
    this.#settings = batchSettings(this.#batching);
    this.#kinds = randomKinds(random);
    this.#rowLimit = random.below(4) === 0 ? 1 + random.below(8) : Number.POSITIVE_INFINITY;
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
    const numbers = Array.from({ length: rows * kind.width }, (_, index) => id * idUnit + index);
    const inputs = inputsOf(kind, numbers);
    const isAlone = saysAlone || rows > maxRows || bytesOf(inputsOf(kind, this.#padded(kind, numbers))) > maxBytes;
    const isRefused = !isAlone && rows > 0 && this.#isFullFor(rows);
    const now = performance.now();
    const made = { id, kind, rows, numbers, inputs, calledAt: now, deadline: now + timeoutMs, isGuilty, isAlone, saysAlone, isRefused };
    return { ...made, abortedAt: undefined, settledAt: undefined, settlements: 0, requests: [] };
  }

  #call(caller: Caller): void {
    this.#callers.push(caller);
    const { kind, inputs, deadline, saysAlone } = caller;
    const controller = new AbortController();
    const abort = () => {
      if (!isOpen(caller)) return;
      caller.abortedAt = performance.now();
      controller.abort(caller);
    };
    if (this.#random.below(20) === 0) abort();
    else if (this.#random.below(4) === 0) setTimeout(abort, this.#random.below(12));
    const batch = saysAlone ? (false as const) : this.#batching;
    const options: TransportPredictOptions = { ...kind.options, deadline, signal: controller.signal, batch };
    const settle = (check: () => void) => {
      caller.settledAt = performance.now();
      caller.settlements++;
      this.#check(check);
    };
    void this.#transport.predict(kind.spec, inputs, options).then(
      (result) => settle(() => this.#checkResult(caller, result)),
      (error: unknown) => settle(() => this.#checkError(caller, error)),
    );
  }

  // The server

  #serve(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    const { signal, deadline } = options;
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const numbers = numbersOf(Object.values(inputs)[0] as AnyTensor);
    const callers = this.#callersOf(numbers);
    const [one] = callers as [Caller];
    const rows = numbers.length / one.kind.width;
    const first = one.requests[0];
    const request: Request = {
      callers,
      signal,
      isDirect: options.batch !== false || one.saysAlone,
      first,
      error: undefined,
      isSettled: false,
    };
    this.#check(() => this.#checkRequest(request, spec, inputs, options));
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
        if (rows > this.#rowLimit) fail(this.#random.pick(tooLarge)());
        else if (callers.some(({ isGuilty }) => isGuilty)) fail(serverError("INVALID_ARGUMENT"));
        else if (this.#random.below(8) === 0)
          fail(this.#random.pick([serverError("UNAVAILABLE"), serverError("INTERNAL"), new Error("no")]));
        else resolve({ outputs: mapRecord(outputsOf(one.kind, numbers), inOneMemory), modelSpec: { name: spec.name, signatureName: "s" } });
      };
      const timers = [
        setTimeout(() => end(() => fail(serverError("DEADLINE_EXCEEDED"))), Math.max(deadline - performance.now(), 0)),
        setTimeout(() => end(answer), this.#random.below(10)),
      ];
    });
  }

  /** Whose rows these are, in their order; padding repeats the last row. */
  #callersOf(numbers: readonly number[]): Caller[] {
    const ids = numbers.map((number) => Math.floor(number / idUnit));
    return [...new Set(ids)].map((id) => this.#callers[id - 1] as Caller);
  }

  /** What the rows hold with their padding. */
  #padded({ width }: Kind, numbers: readonly number[]): number[] {
    const rows = numbers.length / width;
    const allowed = this.#settings.limits.allowedRows.find((size) => size >= rows) ?? rows;
    const lastRow = numbers.slice(-width);
    return [...numbers, ...Array.from({ length: rows === 0 ? 0 : allowed - rows }, () => lastRow).flat()];
  }

  // What must hold

  #checkRequest({ callers, first, isDirect }: Request, spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): void {
    const [one] = callers as [Caller];
    const { kind, numbers } = one;
    const isCommon = Object.entries(kind.options).every(([name, value]) => options[name as keyof Kind["options"]] === value);
    must(spec === kind.spec && isCommon, () => `${named(callers)}: sent to another model or with other options`);
    must(!one.isAlone || callers.length === 1, () => `${named(callers)}: expected a request of its own`);
    if (isDirect) {
      const isFit = this.#padded(kind, numbers).length === numbers.length;
      must(kind.isOdd || one.saysAlone || ((one.isAlone || this.#isLimited) && isFit), () => `${named(callers)}: expected a batch`);
      must(inputs === one.inputs && options.deadline === one.deadline, () => `${named(callers)}: expected the call as it came`);
      return;
    }
    const now = performance.now();
    for (const caller of callers) {
      must(caller.kind === kind, () => `${named(callers)}: expected calls of one kind`);
      must(isOpen(caller), () => `call ${caller.id} has settled and is sent all the same`);
      // What is sent again is a part of what was sent first.
      must(caller.requests[0] === first, () => `${named(callers)}: expected calls of one batch`);
      must(caller.deadline - now >= minRemainingMs, () => `call ${caller.id} is sent too late`);
    }
    const latest = Math.max(...callers.map(({ deadline }) => deadline));
    must(options.deadline === latest, () => `${named(callers)}: expected deadline ${latest}, got ${options.deadline}`);
    this.#checkRows(callers, inputs);
    const { maxInFlight } = this.#settings.limits;
    const inFlight = this.#inFlight(kind);
    const isCounted = !one.isAlone && (callers.length > 1 || !this.#isLimited);
    must(!isCounted || inFlight < maxInFlight, () => `${named(callers)}: ${inFlight} requests were in flight, ${maxInFlight} may be`);
  }

  /** The rows of a batch are its callers', within the limits, and the padding. */
  #checkRows(callers: readonly Caller[], inputs: TensorMap): void {
    const [{ kind, isAlone }] = callers as [Caller];
    const { maxRows, maxBytes } = this.#settings.limits;
    const numbers = callers.flatMap((caller) => caller.numbers);
    const padded = this.#padded(kind, numbers);
    const isWithin = numbers.length / kind.width <= maxRows && bytesOf(inputsOf(kind, padded)) <= maxBytes;
    const isAllowed = isWithin && padded.length / kind.width <= (this.#batching.maxBatchRows as number);
    must(isAlone || isAllowed, () => `${named(callers)}: ${numbers.length / kind.width} rows are more than a batch may have`);
    // Once the padding's output did not fit, calls are sent again without it.
    const choices = kind.isOdd ? [numbers, padded] : [padded];
    must(
      choices.some((choice) => isSameTensors(inputs, inputsOf(kind, choice))),
      () => `${named(callers)}: expected rows ${padded}, got ${Object.values(inputs).map(numbersOf).join(" and ")}`,
    );
  }

  #checkResult(caller: Caller, { outputs }: PredictResult): void {
    const { id, kind, numbers, isGuilty, isRefused, abortedAt, deadline } = caller;
    must(abortedAt === undefined && !isGuilty, () => `call ${id}: expected an error, got a result`);
    must(isRefused !== true || kind.isOdd, () => `call ${id} came when the queue was full`);
    const expected = outputsOf(kind, numbers);
    must(
      isSameTensors(outputs, expected),
      () => `call ${id}: expected ${Object.values(expected).map(numbersOf)}, got ${JSON.stringify(outputs)}`,
    );
    for (const { dtype, values } of Object.values(outputs)) {
      const memory = dtype === "string" ? new Set([values, ...values, ...values.map(({ buffer }) => buffer)]) : [values.buffer];
      for (const one of memory) this.#checkOwn(caller, one);
    }
    must(performance.now() <= deadline + 1, () => `call ${id} was answered after its deadline`);
  }

  #checkOwn({ id }: Caller, what: unknown): void {
    must(!this.#own.has(what), () => `call ${id} has memory or an error of another`);
    this.#own.add(what);
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
    // Errors of other families are passed on as they are.
    if (code !== undefined) this.#checkOwn(caller, error);
    const unexpected = () => `call ${id}: unexpected ${error} at ${now}, deadline ${deadline}`;
    if (requests.length === 0) {
      if (rows === 0) must(code === "INVALID_ARGUMENT", unexpected);
      else if (isRefused === true) must(code === "RESOURCE_EXHAUSTED", unexpected);
      else if (isRefused === false || code !== "RESOURCE_EXHAUSTED")
        must(code === "DEADLINE_EXCEEDED" && now > deadline - minRemainingMs, unexpected);
      return;
    }
    must(isRefused !== true || kind.isOdd, unexpected);
    const isTooLarge = this.#padded(kind, caller.numbers).length / kind.width > this.#rowLimit;
    if (code === "INVALID_ARGUMENT") must(isGuilty || isTooLarge, unexpected);
    if (code === "RESOURCE_EXHAUSTED") must(isTooLarge, unexpected);
    if (code === "DEADLINE_EXCEEDED") must(now > deadline - minRemainingMs, unexpected);
    else must(String(error) === String(requests.at(-1)?.error), unexpected);
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
      const inFlight = this.#inFlight(kind);
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

  /** Whether calls may be sent alone, as the rows that fit have shown. */
  get #isLimited(): boolean {
    return this.#rowLimit < Number.POSITIVE_INFINITY;
  }

  #isFullFor(rows: number): boolean | "maybe" {
    const { maxQueuedRows } = this.#settings;
    const queued = this.#callers.filter((caller) => this.#isQueued(caller));
    if (rows + rowsOf(queued) <= maxQueuedRows) return false;
    const now = performance.now();
    // While parts of a batch are sent again, others may have left the queue and wait for their place.
    const isDivided = (kind: Kind) =>
      this.#requests.some(({ first, isSettled, callers: [one] }) => first !== undefined && !isSettled && one?.kind === kind);
    const isCertain = ({ deadline, isRefused, kind }: Caller) =>
      deadline - now >= minRemainingMs && isRefused === false && !isDivided(kind);
    return (!this.#isLimited && rows + rowsOf(queued.filter(isCertain)) > maxQueuedRows) || "maybe";
  }

  /** The requests of a kind in flight, without those of calls that must not share. */
  #inFlight(kind: Kind): number {
    // What nobody waits for any more does not hold up the queue, whether the transport has ended it or not.
    const isRunning = ({ isSettled, isDirect, callers }: Request) => !isSettled && !isDirect && callers.some(isOpen);
    return this.#requests.filter((request) => {
      const [one] = request.callers as [Caller];
      return isRunning(request) && one.kind === kind && !one.isAlone;
    }).length;
  }
}

/** How a request is refused that is too large, by a limit of bytes or of rows. */
const tooLarge = [
  () => serverError("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs 8)"),
  () => serverError("INVALID_ARGUMENT", "Task size 9 is larger than maximum input batch size 8"),
];

const metadata = { key: "value" };
const plain: Kind = { spec: { name: "a" }, names: ["x"], dtype: "float32", width: 1, options: {}, isOdd: false };

/** Kinds of which no two may share a request. */
const kinds: readonly Kind[] = [
  plain,
  { ...plain, width: 2 },
  { ...plain, dtype: "int32" },
  { ...plain, dtype: "string" },
  { ...plain, dtype: "string", width: 2 },
  { ...plain, names: ["z"] },
  { ...plain, names: ["x", "z"] },
  { ...plain, options: { metadata } },
  { ...plain, options: { metadata: { ...metadata } } },
  { ...plain, options: { outputFilter: ["y"] } },
  { ...plain, options: { outputFilter: ["w"] } },
  { ...plain, options: { restFormat: "row" } },
  { ...plain, spec: { name: "a", version: 1 } },
  { ...plain, spec: { name: "a", versionLabel: "1" } },
  { ...plain, spec: { name: "a", versionLabel: "2" } },
  { ...plain, spec: { name: "a", signatureName: "s" } },
];

/** Sizes of which at least one is no more than the limit, and one no less. */
function randomSizes(random: Random, maxBatchRows: number): number[] {
  const others = Array.from({ length: random.below(3) }, () => 1 + random.below(12));
  return [maxBatchRows + random.below(5), 1 + random.below(maxBatchRows), ...others];
}

/** One to three kinds; one of their models may be odd. */
function randomKinds(random: Random): Kind[] {
  const chosen = new Set(Array.from({ length: 1 + random.below(3) }, () => random.pick(kinds)));
  const odd = random.below(8) === 0 ? random.pick(kinds).spec : undefined;
  return [...chosen].map((kind) => ({ ...kind, isOdd: kind.spec === odd }));
}

/** Each input of a kind with rows that hold these numbers, negative in the second. */
function inputsOf(kind: Kind, numbers: readonly number[]): TensorMap {
  return Object.fromEntries(
    kind.names.map((name, index) => [name, tensorOf(kind, index === 0 ? numbers : numbers.map((number) => -number))]),
  );
}

/** What the model computes, in the one output it is asked for: ten times its first input, with a row more where it is odd. */
function outputsOf(kind: Kind, numbers: readonly number[]): Record<string, AnyTensor> {
  const { isOdd, width, options } = kind;
  const answered = isOdd ? [...numbers, ...numbers.slice(0, width)] : numbers;
  return {
    [options.outputFilter?.[0] ?? "y"]: tensorOf(
      kind,
      answered.map((number) => 10 * number),
    ),
  };
}

function tensorOf({ dtype, width }: Kind, numbers: readonly number[]): AnyTensor {
  const shape = [numbers.length / width, width];
  return dtype === "string" ? tensor(dtype, shape, numbers.map(textOf)) : tensor(dtype, shape, numbers);
}

/** As decoders may make it: all strings stand in one memory. */
function inOneMemory(value: AnyTensor): AnyTensor {
  if (value.dtype !== "string") return value;
  const memory = new Uint8Array(value.values.reduce((length, text) => length + text.length, 0));
  let end = 0;
  const texts = value.values.map((text) => {
    memory.set(text, end);
    end += text.length;
    return memory.subarray(end - text.length, end);
  });
  return tensor("string", value.shape, texts);
}

/** Texts of very different lengths, which are read as the number all the same. */
function textOf(number: number): string {
  return String(number).padEnd(number % 7 === 0 ? 40 : 0);
}

function numbersOf(value: AnyTensor): number[] {
  return value.dtype === "string" ? value.strings().map(Number) : Array.from(value.values as Iterable<number>, Number);
}

function bytesOf(inputs: TensorMap): number {
  const bytes = Object.values(inputs).flatMap(({ dtype, values }) =>
    dtype === "string" ? values.map(({ length }) => length) : values.byteLength,
  );
  return bytes.reduce((sum, length) => sum + length, 0);
}

function isSameTensors(a: TensorMap, b: TensorMap): boolean {
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => {
    const [one, other] = [a[name], b[name]];
    if (one === undefined || other === undefined || one.dtype !== other.dtype) return false;
    return isSame(one.shape, other.shape) && isSame(numbersOf(one), numbersOf(other));
  });
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
