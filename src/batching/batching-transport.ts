/** Many predict calls in one request: each caller gets its own rows, its own error and its own deadline. */
import { maxTimerMs, untilAborted } from "../deadline.js";
import { RpcError, type StatusCode, TensorError, tensorErrorOf } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { RunningCalls } from "../running-calls.js";
import type { BatchEvent, BatchingOptions, PredictResult, TensorMap, Transport, TransportPredictOptions } from "../transport/transport.js";
import { Batch, type CallKind } from "./batch.js";
import { type BatchSettings, batchSettings } from "./batch-settings.js";
import { Batcher, type BatchMember, type BatchSchedule, exceeds, type Flushed, paddingFor } from "./batcher.js";
import { Caller, type CallerQueue } from "./caller.js";
import { Places } from "./places.js";
import { answerWithoutRows, batchKey, callSize, modelKey, noRows, outputWithoutRows } from "./shared-call.js";

/** How errors made here name the server. */
export interface BatchingOrigin {
  readonly endpoint: string;
  readonly transport: string;
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
    if (size?.rows === 0) return this.#withoutRows(spec, options);
    if (size === undefined || !this.#hasRows(spec, options)) return this.#alone(spec, inputs, options, noRows);
    if (exceeds(size, this.settings.limits)) return this.#alone(spec, inputs, options, size);
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
    const fixed = signature === undefined ? undefined : outputWithoutRows(signature);
    if (fixed === undefined) return true;
    this.turnOff(spec, `output "${fixed}" has a fixed number of rows in its signature`);
    return false;
  }

  /** A call that shares no request: passed on, unless it needs padding or has to wait for a place. */
  #alone(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions, size: BatchMember): Promise<PredictResult> {
    const isPadded = paddingFor(size.rows, this.settings.limits.allowedRows) > 0;
    if (!isPadded && this.places === undefined) return this.parts.next.predict(spec, inputs, options);
    return new CallQueue(this, spec, () => undefined).predict(inputs, options, size);
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
class CallQueue implements CallerQueue, CallKind {
  readonly spec: ModelSpec;
  readonly places: Places;
  readonly #group: CallGroup;
  readonly #batcher: Batcher<Caller>;

  constructor(group: CallGroup, spec: ModelSpec, onIdle: () => void) {
    const { limits } = group.settings;
    this.spec = spec;
    this.places = group.places ?? new Places(limits.maxInFlight);
    this.#group = group;
    this.#batcher = new Batcher(limits, (batch) => this.#send(batch), onIdle, group.parts.schedule);
  }

  get next(): Transport {
    return this.#group.parts.next;
  }

  get running(): RunningCalls {
    return this.#group.parts.running;
  }

  get allowedRows(): readonly number[] {
    return this.#group.settings.limits.allowedRows;
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
