/** Many predict calls in one request: each caller gets its own rows, its own error and its own deadline. */
import { maxTimerMs, minRemainingMs, passedBeforeAnswer, passedBeforeSending, untilAborted } from "../deadline.js";
import { isServingError, RpcError, type StatusCode, TensorError, tensorErrorOf } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { type RunningCall, RunningCalls } from "../running-calls.js";
import { copyRows, joinRows } from "../tensor/rows.js";
import { formatShape } from "../tensor/shape.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { BatchEvent, BatchingOptions, PredictResult, TensorMap, Transport, TransportPredictOptions } from "../transport/transport.js";
import { type BatchSettings, batchSettings, paddingFor } from "./batch-settings.js";
import { Batcher, type BatchSchedule, type Flushed } from "./batcher.js";
import { answerWithoutRows, batchKey, type CallSize, callSize, modelKey, outputWithoutRows } from "./shared-call.js";

/** How errors made here name the server. */
export interface BatchingOrigin {
  readonly endpoint: string;
  readonly transport: string;
}

/** A call of a caller, from the queue to its end. */
interface Caller extends CallSize, RunningCall {
  readonly inputs: TensorMap;
  readonly options: TransportPredictOptions;
  isSettled: boolean;
  /** Runs when the caller has given up while its request is under way. */
  onLeave: (() => void) | undefined;
  succeed(result: PredictResult): void;
  fail(error: unknown): void;
}

const realSchedule: BatchSchedule = {
  now: () => performance.now(),
  // After all promises of this turn: the answers of one batch release callers whose next calls then share one, too. Waiting for a turn of the
  // event loop as well would join a few more, but take a lone caller a tenth of its time.
  soon: (run) => process.nextTick(run),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(delayMs, maxTimerMs));
    return () => clearTimeout(timer);
  },
};

/**
 * A transport whose predict calls share requests where their `batch` option says how.
 *
 * Rows are sent from where they are, so inputs must not change until the call settles; every caller's outputs are its own memory.
 */
export function withBatching(next: Transport, origin: BatchingOrigin, schedule: BatchSchedule = realSchedule): Transport {
  const groups = new WeakMap<BatchingOptions, CallGroup>();
  const running = new RunningCalls();
  const unfit = new Set<string>();
  return {
    ...next,
    close() {
      running.close();
      return next.close();
    },
    predict(spec, inputs, options) {
      const { batch } = options;
      if (batch === undefined || batch === false) return next.predict(spec, inputs, options);
      let group = groups.get(batch);
      if (group === undefined) {
        group = new CallGroup({ next, origin, running, unfit, schedule }, batchSettings(batch));
        groups.set(batch, group);
      }
      return group.predict(spec, inputs, options);
    },
  };
}

/** What all calls of one transport have in common. */
interface BatchingParts {
  readonly next: Transport;
  readonly origin: BatchingOrigin;
  /** All calls, waiting and under way. */
  readonly running: RunningCalls;
  /** Models, with signature, whose outputs do not have a row for each input row. */
  readonly unfit: Set<string>;
  readonly schedule: BatchSchedule;
}

/** All calls with the same settings, which share one queue per kind of call and one limit on the rows that wait. */
class CallGroup {
  readonly parts: BatchingParts;
  readonly settings: BatchSettings;
  readonly #queues = new Map<string, CallQueue>();
  #queuedRows = 0;

  constructor(parts: BatchingParts, settings: BatchSettings) {
    this.parts = parts;
    this.settings = settings;
  }

  predict(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    // A queue that is made for nobody would never be told that it is idle, and stay.
    if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
    const size = callSize(inputs);
    if (size?.rows === 0) return this.#withoutRows(spec, options);
    if (size === undefined || !this.#isShared(spec, size, options)) return this.parts.next.predict(spec, inputs, options);
    const { maxQueuedRows } = this.settings;
    // A call that nobody stands before is taken, however many rows it has.
    if (this.#queuedRows > 0 && this.#queuedRows + size.rows > maxQueuedRows) {
      const text = `the client's batching queue is full: ${this.#queuedRows} rows wait, ${maxQueuedRows} may`;
      return Promise.reject(this.error("RESOURCE_EXHAUSTED", spec, text));
    }
    const key = batchKey(spec, inputs, options);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new CallQueue(this, spec, () => this.#queues.delete(key));
      this.#queues.set(key, queue);
    }
    return queue.predict(inputs, options, size);
  }

  /** Rows come into a queue, or leave one. */
  countQueued(rows: number): void {
    this.#queuedRows += rows;
  }

  /** Batch a model no more; false if that was known. */
  turnOff(spec: ModelSpec): boolean {
    const { unfit } = this.parts;
    const key = modelKey(spec);
    if (unfit.has(key)) return false;
    unfit.add(key);
    return true;
  }

  error(code: StatusCode, modelSpec: ModelSpec, serverMessage: string): RpcError {
    return new RpcError({ ...this.parts.origin, code, method: "predict", modelSpec, serverMessage });
  }

  /** Whether the call can have a part in a batch at all. */
  #isShared(spec: ModelSpec, { rows, bytes }: CallSize, { signature }: TransportPredictOptions): boolean {
    const { maxRows, maxBytes } = this.settings.limits;
    const { unfit } = this.parts;
    if (rows > maxRows || bytes > maxBytes || (unfit.size > 0 && unfit.has(modelKey(spec)))) return false;
    const fixed = signature === undefined ? undefined : outputWithoutRows(signature);
    if (fixed === undefined) return true;
    if (this.turnOff(spec)) warnOfTurningOff(unfitText(spec, `output "${fixed}" has a fixed number of rows in its signature`));
    return false;
  }

  async #withoutRows(spec: ModelSpec, options: TransportPredictOptions): Promise<PredictResult> {
    const answer = answerWithoutRows(spec, options);
    if (answer !== undefined) return answer;
    const what = "expected at least one row, got inputs whose dimension 0 is 0: a server that batches may be ended by such a call";
    const hint = "answer empty batches without a call, use client.model(name), which knows the shapes of the outputs, or pass batch: false";
    throw tensorErrorOf({ method: "predict", modelSpec: spec }, new TensorError(what, { hint }));
  }
}

/** Calls that may share a request. */
class CallQueue {
  readonly #group: CallGroup;
  readonly #spec: ModelSpec;
  readonly #batcher: Batcher<Caller>;

  constructor(group: CallGroup, spec: ModelSpec, onIdle: () => void) {
    this.#group = group;
    this.#spec = spec;
    this.#batcher = new Batcher(group.settings.limits, (batch) => this.#send(batch), onIdle, group.parts.schedule);
  }

  predict(inputs: TensorMap, options: TransportPredictOptions, { rows, bytes }: CallSize): Promise<PredictResult> {
    const { running } = this.#group.parts;
    return untilAborted<PredictResult>(options.signal, (resolve, reject) => {
      const settle = () => {
        caller.isSettled = true;
        running.delete(caller);
      };
      const giveUp = () => {
        settle();
        if (this.#batcher.remove(caller)) this.#group.countQueued(-rows);
        else caller.onLeave?.();
      };
      const caller: Caller = {
        inputs,
        options,
        rows,
        bytes,
        deadline: options.deadline,
        isSettled: false,
        onLeave: undefined,
        expire: () => {
          const text = caller.onLeave === undefined ? passedBeforeSending : passedBeforeAnswer;
          giveUp();
          reject(this.#group.error("DEADLINE_EXCEEDED", this.#spec, text));
        },
        cancel: () => {
          giveUp();
          reject(this.#group.error("CANCELLED", this.#spec, "the transport is closed"));
        },
        succeed(result) {
          settle();
          resolve(result);
        },
        fail(error) {
          settle();
          reject(error);
        },
      };
      running.add(caller);
      this.#group.countQueued(rows);
      this.#batcher.add(caller);
      return giveUp;
    });
  }

  async #send({ members, reason, waitedMs }: Flushed<Caller>): Promise<void> {
    const { schedule } = this.#group.parts;
    const startedAt = schedule.now();
    for (const { rows } of members) this.#group.countQueued(-rows);
    const late = members.filter(({ options }) => options.deadline - startedAt < minRemainingMs);
    for (const caller of late) caller.fail(this.#group.error("DEADLINE_EXCEEDED", this.#spec, passedBeforeSending));
    const callers = late.length === 0 ? members : members.filter((caller) => !caller.isSettled);
    if (callers.length > 0) {
      const batch = new Batch(this.#group, this.#spec, callers);
      await batch.run();
      this.#report({ ...batch.outcome(), waitMs: waitedMs, durationMs: schedule.now() - startedAt, flushReason: reason });
    }
  }

  #report(event: BatchEvent): void {
    const { onBatch } = this.#group.settings;
    if (event.batchingOff !== undefined) warnOfTurningOff(event.batchingOff);
    // The calls have settled; whoever counts batches must not change that.
    const warn = (error: unknown) => process.emitWarning(`onBatch: ${String(error)}`, { code: "TFSERVING_ON_BATCH" });
    try {
      const told: unknown = onBatch?.(event);
      if (told instanceof Promise) told.catch(warn);
    } catch (error) {
      warn(error);
    }
  }
}

function warnOfTurningOff(text: string): void {
  process.emitWarning(text, { code: "TFSERVING_BATCHING_OFF" });
}

function unfitText(spec: ModelSpec, why: string): string {
  return `batching is off for ${spec.name}, signature ${signatureNameOf(spec)}: ${why}`;
}

/** Why a request ends that no caller waits for any more; nobody gets to see it. */
const abandoned = Symbol("abandoned");

/** Some callers' request, and those that come of it. */
class Batch {
  readonly #group: CallGroup;
  readonly #spec: ModelSpec;
  readonly #callers: readonly Caller[];
  #requests = 0;
  #code: StatusCode = "OK";
  #paddingRows = 0;
  #batchingOff: string | undefined;

  constructor(group: CallGroup, spec: ModelSpec, callers: readonly Caller[]) {
    this.#group = group;
    this.#spec = spec;
    this.#callers = callers;
  }

  /** Settle all callers; never rejects. */
  run(): Promise<void> {
    return this.#request(this.#callers);
  }

  outcome(): Omit<BatchEvent, "waitMs" | "durationMs" | "flushReason"> {
    const callers = this.#callers;
    return {
      modelName: this.#spec.name,
      signatureName: signatureNameOf(this.#spec),
      calls: callers.length,
      rows: totalOf(callers, "rows"),
      paddingRows: this.#paddingRows,
      bytes: totalOf(callers, "bytes"),
      requests: this.#requests,
      code: this.#code,
      ...(this.#batchingOff === undefined ? {} : { batchingOff: this.#batchingOff }),
    };
  }

  async #request(callers: readonly Caller[]): Promise<void> {
    const isFirst = this.#requests === 0;
    this.#requests++;
    const rows = totalOf(callers, "rows");
    const paddingRows = paddingFor(rows, this.#group.settings.allowedRows);
    if (isFirst) this.#paddingRows = paddingRows;
    try {
      const result = await this.#sent(callers, paddingRows);
      await this.#deal(callers, result, rows + paddingRows, paddingRows);
    } catch (error) {
      if (isFirst) this.#code = codeOf(error, callers);
      await this.#divide(callers, error);
    }
  }

  /** The answer to one request for all these callers, which ends when none of them waits any more. */
  async #sent(callers: readonly Caller[], paddingRows: number): Promise<PredictResult> {
    const inputs = joinedInputs(callers, paddingRows);
    const [first, ...others] = callers as [Caller];
    if (others.length > 0) return await this.#sentTogether(callers, inputs);
    // A lone call has its own limits. A transport that does not keep to them must not hold up the queue.
    return await new Promise((resolve, reject) => {
      first.onLeave = () => reject(abandoned);
      this.#group.parts.next.predict(this.#spec, inputs, { ...first.options, batch: false }).then(resolve, reject);
    });
  }

  #sentTogether(callers: readonly Caller[], inputs: TensorMap): Promise<PredictResult> {
    const controller = new AbortController();
    let deadline = 0;
    for (const caller of callers) deadline = Math.max(deadline, caller.options.deadline);
    const [{ options }] = callers as [Caller];
    return new Promise((resolve, reject) => {
      let waiting = callers.length;
      const onLeave = () => {
        waiting--;
        if (waiting > 0) return;
        controller.abort();
        reject(abandoned);
      };
      for (const caller of callers) caller.onLeave = onLeave;
      const limits = { ...options, deadline, signal: controller.signal, batch: false as const };
      this.#group.parts.next.predict(this.#spec, inputs, limits).then(resolve, reject);
    });
  }

  /** Give every caller its rows. */
  async #deal(callers: readonly Caller[], result: PredictResult, rows: number, paddingRows: number): Promise<void> {
    const [first] = callers as [Caller];
    if (callers.length === 1 && paddingRows === 0) {
      if (!first.isSettled) first.succeed(result);
      return;
    }
    const misfit = Object.entries(result.outputs).find(([, output]) => output.shape[0] !== rows);
    if (misfit !== undefined) return await this.#sendAlone(callers, misfit, rows);
    let start = 0;
    for (const caller of callers) {
      const end = start + caller.rows;
      if (!caller.isSettled) caller.succeed(rowsOf(result, start, end));
      start = end;
    }
  }

  /** The model does not answer row by row: its callers get answers of their own, and no later call is batched. */
  async #sendAlone(callers: readonly Caller[], [name, output]: [string, AnyTensor], rows: number): Promise<void> {
    if (this.#group.turnOff(this.#spec)) {
      this.#batchingOff = unfitText(this.#spec, `output "${name}" has shape ${formatShape(output.shape)} for ${rows} input rows`);
    }
    await Promise.all(
      waitingOf(callers).map(async (caller) => {
        this.#requests++;
        try {
          const result = await this.#sent([caller], 0);
          if (!caller.isSettled) caller.succeed(result);
        } catch (error) {
          if (!caller.isSettled) caller.fail(error);
        }
      }),
    );
  }

  /** Of a request that the server found fault with, find the caller whose fault it is; any other failure is everybody's. */
  async #divide(callers: readonly Caller[], error: unknown): Promise<void> {
    const waiting = waitingOf(callers);
    if (callers.length === 1 || !isServingError(error) || error.code !== "INVALID_ARGUMENT") {
      for (const caller of waiting) caller.fail(error);
      return;
    }
    const middle = Math.ceil(waiting.length / 2);
    const halves = [waiting.slice(0, middle), waiting.slice(middle)].filter((half) => half.length > 0);
    await Promise.all(halves.map((half) => this.#request(half)));
  }
}

/** How a request ended: a transport that is told to stop rejects with the abort's reason, which has no code. */
function codeOf(error: unknown, callers: readonly Caller[]): StatusCode {
  if (isServingError(error)) return error.code;
  return callers.every(({ isSettled }) => isSettled) ? "CANCELLED" : "UNKNOWN";
}

function waitingOf(callers: readonly Caller[]): Caller[] {
  return callers.filter((caller) => !caller.isSettled);
}

function totalOf(callers: readonly Caller[], what: "rows" | "bytes"): number {
  let total = 0;
  for (const caller of callers) total += caller[what];
  return total;
}

/** The rows of all callers, input by input, and the padding. */
function joinedInputs(callers: readonly Caller[], paddingRows: number): TensorMap {
  const last = callers.at(-1) as Caller;
  const joined: Record<string, AnyTensor> = Object.create(null);
  for (const name of Object.keys(last.inputs)) {
    const pieces = callers.map(({ inputs }) => inputs[name] as AnyTensor);
    if (paddingRows > 0)
      pieces.push(...new Array<AnyTensor>(paddingRows).fill(copyRows(pieces.at(-1) as AnyTensor, last.rows - 1, last.rows)));
    joined[name] = joinRows(pieces);
  }
  return joined;
}

/** One caller's part of an answer. */
function rowsOf({ outputs, modelSpec }: PredictResult, start: number, end: number): PredictResult {
  const own: PredictResult["outputs"] = Object.create(null);
  for (const name of Object.keys(outputs)) own[name] = copyRows(outputs[name] as AnyTensor, start, end);
  return { outputs: own, modelSpec: { ...modelSpec } };
}
