/** Many predict calls in one request: each caller gets its own rows, its own error and its own deadline. */
import { maxTimerMs, untilAborted } from "../deadline.js";
import { RpcError, type StatusCode, TensorError, tensorErrorOf } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { RunningCalls } from "../running-calls.js";
import type { BatchEvent, BatchingOptions, PredictResult, TensorMap, Transport, TransportPredictOptions } from "../transport/transport.js";
import { Batch, type CallKind } from "./batch.js";
import { type BatchSettings, batchSettings, type RunBatchingOptions } from "./batch-settings.js";
import { Batcher, type BatchLimits, type BatchMember, type BatchSchedule, exceeds, type Flushed, paddingFor } from "./batcher.js";
import { Caller, type CallerQueue } from "./caller.js";
import { Places } from "./places.js";
import { answerWithoutRows, batchKey, callSize, modelKey, noRows, tensorOfFixedRows } from "./shared-call.js";

/** How errors made here name the server. */
export interface BatchingOrigin {
  readonly endpoint: string;
  readonly transport: string;
}

/** Kinds of calls whose requests have shown how many rows fit that are kept; of others that is found out anew. */
const maxRowLimits = 1000;

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
  const parts: BatchingParts = { next, origin, running, unfit: new Set(), fit: new Set(), rowLimits: new Map(), schedule };
  return {
    ...next,
    close() {
      running.close();
      return next.close();
    },
    predict(spec, inputs, options) {
      const batch: false | Partial<RunBatchingOptions> | undefined = options.batch;
      if (batch === undefined || batch === false) return next.predict(spec, inputs, options);
      const { run = batch } = batch;
      let group = groups.get(run);
      if (group === undefined) {
        group = new CallGroup(parts, batchSettings(run, run !== batch));
        groups.set(run, group);
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
  /** Models, with signature, that do not answer row by row. */
  readonly unfit: Set<string>;
  /** Those that have, to calls that shared a request. */
  readonly fit: Set<string>;
  /** How many rows fit into a request, for each kind of call of which larger ones have failed; the oldest first. */
  readonly rowLimits: Map<string, number>;
  readonly schedule: BatchSchedule;
}

/** All calls with the same settings, which share one queue per kind of call and one limit on the rows that wait. */
class CallGroup {
  readonly parts: BatchingParts;
  readonly settings: BatchSettings;
  /** Those of the requests of all kinds, where one number bounds them together. */
  readonly places: Places | undefined;
  readonly #queues = new Map<string, CallQueue>();
  #queuedRows = 0;

  constructor(parts: BatchingParts, settings: BatchSettings) {
    this.parts = parts;
    this.settings = settings;
    this.places = settings.boundsAllKinds ? new Places(settings.limits.maxInFlight) : undefined;
  }

  predict(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    // A queue that is made for nobody would never be told that it is idle, and stay.
    if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
    const size = callSize(inputs);
    if (size?.rows === 0) return this.#withoutRows(spec, inputs, options);
    if (size === undefined || !this.#hasRows(spec, options)) return this.#alone(spec, inputs, options, noRows);
    if (exceeds(size, this.settings.limits)) return this.#alone(spec, inputs, options, size);
    const key = batchKey(spec, inputs, options);
    const rowLimit = this.parts.rowLimits.get(key);
    // Nobody could join it.
    if (rowLimit !== undefined && size.rows >= rowLimit) return this.#alone(spec, inputs, options, size);
    const { maxQueuedRows } = this.settings;
    // A call that nobody stands before is taken, however many rows it has.
    if (this.#queuedRows > 0 && this.#queuedRows + size.rows > maxQueuedRows) {
      const text = `the client's batching queue is full: ${this.#queuedRows} rows wait, ${maxQueuedRows} may`;
      return Promise.reject(this.error("RESOURCE_EXHAUSTED", spec, text));
    }
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new CallQueue(this, spec, key);
      this.#queues.set(key, queue);
    }
    const outcome = queue.predict(inputs, options, size);
    const { onShared }: Partial<RunBatchingOptions> = options.batch || {};
    onShared?.(queue.partOf(size));
    return outcome;
  }

  /** What requests of a kind of call keep to. */
  limitsFor(key: string): BatchLimits {
    const { limits } = this.settings;
    const maxRows = this.parts.rowLimits.get(key);
    return maxRows === undefined || maxRows >= limits.maxRows ? limits : { ...limits, maxRows };
  }

  /** Larger requests of a kind of call have failed. */
  limitRows(key: string, rows: number): void {
    const { rowLimits } = this.parts;
    rowLimits.set(key, Math.min(rows, rowLimits.get(key) ?? rows));
    const [oldest] = rowLimits.keys();
    if (rowLimits.size > maxRowLimits && oldest !== undefined) rowLimits.delete(oldest);
  }

  /** A queue is idle. */
  forget(key: string): void {
    this.#queues.delete(key);
  }

  /** Rows come into a queue, or leave one. */
  countQueued(rows: number): void {
    this.#queuedRows += rows;
  }

  /** Batch a model no more, and say why, once. */
  turnOff(spec: ModelSpec, why: string): string | undefined {
    const { unfit } = this.parts;
    const key = modelKey(spec);
    if (unfit.has(key)) return undefined;
    unfit.add(key);
    const text = `batching is off for ${spec.name}, signature ${signatureNameOf(spec)}: ${why}`;
    process.emitWarning(text, { code: "TFSERVING_BATCHING_OFF" });
    return text;
  }

  error(code: StatusCode, modelSpec: ModelSpec, serverMessage: string): RpcError {
    return new RpcError({ ...this.parts.origin, code, method: "predict", modelSpec, serverMessage });
  }

  /** Whether the model answers row by row, as far as is known. */
  #hasRows(spec: ModelSpec, { signature }: TransportPredictOptions): boolean {
    const { unfit } = this.parts;
    if (unfit.size > 0 && unfit.has(modelKey(spec))) return false;
    const fixed = signature === undefined ? undefined : tensorOfFixedRows(signature);
    if (fixed === undefined) return true;
    this.turnOff(spec, `${fixed} has a fixed number of rows in its signature`);
    return false;
  }

  /** A call that shares no request: passed on, unless it needs padding or has to wait for a place. */
  #alone(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions, size: BatchMember): Promise<PredictResult> {
    const isPadded = paddingFor(size.rows, this.settings.limits.allowedRows) > 0;
    if (!isPadded && this.places === undefined) return this.parts.next.predict(spec, inputs, options);
    return new CallQueue(this, spec, aloneKey).predict(inputs, options, size);
  }

  async #withoutRows(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    const answer = answerWithoutRows(spec, inputs, options);
    if (answer !== undefined) return answer;
    const what = "expected at least one row, got inputs whose dimension 0 is 0: a server that batches may be ended by such a call";
    const hint = "answer empty batches without a call, use client.model(name), which knows the shapes of the outputs, or pass batch: false";
    throw tensorErrorOf({ method: "predict", modelSpec: spec }, new TensorError(what, { hint }));
  }
}

/** Key of queues for one call that no other can join; the keys of others are longer. */
const aloneKey = "";

/** Calls that may share a request. */
class CallQueue implements CallerQueue, CallKind {
  readonly spec: ModelSpec;
  readonly places: Places;
  readonly #group: CallGroup;
  readonly #key: string;
  readonly #batcher: Batcher<Caller>;

  constructor(group: CallGroup, spec: ModelSpec, key: string) {
    const limits = group.limitsFor(key);
    this.spec = spec;
    this.places = group.places ?? new Places(limits.maxInFlight);
    this.#group = group;
    this.#key = key;
    const send = (batch: Flushed<Caller>) => this.#send(batch);
    this.#batcher = new Batcher(limits, send, () => group.forget(key), group.parts.schedule);
  }

  get next(): Transport {
    return this.#group.parts.next;
  }

  get running(): RunningCalls {
    return this.#group.parts.running;
  }

  get limits(): BatchLimits {
    return this.#batcher.limits;
  }

  /**
   * The part of a request that a call takes if all others are like it: a gap that no further one fills counts, too.
   *
   * No less than a half before the model is known to answer row by row.
   */
  partOf({ rows, bytes, lastRowBytes }: BatchMember): number {
    const { maxRows, maxBytes } = this.limits;
    let calls = Math.floor(Math.min(maxRows / rows, maxBytes / bytes));
    // With the padding they may have more bytes than without.
    while (calls > 1 && exceeds({ rows: calls * rows, bytes: calls * bytes, lastRowBytes }, this.limits)) calls--;
    // None where the queue keeps to fewer rows than this call has; it goes by itself then.
    const part = 1 / Math.max(calls, 1);
    return this.#group.parts.fit.has(modelKey(this.spec)) ? part : Math.max(part, 1 / 2);
  }

  predict(inputs: TensorMap, options: TransportPredictOptions, size: BatchMember): Promise<PredictResult> {
    return untilAborted<PredictResult>(options.signal, (resolve, reject) => {
      const caller = new Caller(this, { inputs, options, size }, { resolve, reject });
      this.#group.countQueued(size.rows);
      this.#batcher.add(caller);
      return () => caller.giveUp();
    });
  }

  remove(caller: Caller): boolean {
    const isRemoved = this.#batcher.remove(caller);
    if (isRemoved) this.#group.countQueued(-caller.rows);
    return isRemoved;
  }

  now(): number {
    return this.#group.parts.schedule.now();
  }

  confirm(): void {
    this.#group.parts.fit.add(modelKey(this.spec));
  }

  limitRows(rows: number): void {
    this.#group.limitRows(this.#key, rows);
    this.#batcher.limits = this.#group.limitsFor(this.#key);
  }

  turnOff(why: string): string | undefined {
    return this.#group.turnOff(this.spec, why);
  }

  error(code: StatusCode, text: string): RpcError {
    return this.#group.error(code, this.spec, text);
  }

  async #send(flushed: Flushed<Caller>): Promise<void> {
    for (const { rows } of flushed.members) this.#group.countQueued(-rows);
    const batch = new Batch(this);
    await batch.settle(flushed.members);
    const { onBatch } = this.#group.settings;
    if (onBatch !== undefined) tell(onBatch, batch.event(flushed));
  }
}

/** The calls have settled; whoever counts batches must not change that. */
function tell(onBatch: (event: BatchEvent) => void, event: BatchEvent | undefined): void {
  if (event === undefined) return;
  const warn = (error: unknown) => process.emitWarning(`onBatch: ${String(error)}`, { code: "TFSERVING_ON_BATCH" });
  try {
    const told: unknown = onBatch(event);
    if (told instanceof Promise) told.catch(warn);
  } catch (error) {
    warn(error);
  }
}
