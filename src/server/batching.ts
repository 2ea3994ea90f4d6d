/**
 * Server-side batching (`--enable_batching`): requests of the same kind become one run of the model, and each gets its rows of the answer.
 *
 * Order, codes and texts are those of TensorFlow Serving 2.20.0 (`batching_session.cc`, `batching_util.cc`, `bundle_factory_util.cc`).
 */
import { availableParallelism } from "node:os";
import type { BatchingParameters } from "../config/batching-parameters.js";
import { mapRecord } from "../messages.js";
import { assertCount, assertOptionNames, type OptionNames } from "../option-checks.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { type Signature, tensorNameOf } from "../signature.js";
import { copyRows, joinRows } from "../tensor/rows.js";
import { formatShape } from "../tensor/shape.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { TensorMap } from "../transport/transport.js";
import { type BatchRules, BatchScheduler, type BatchTask } from "./batch-scheduler.js";
import type { Clock } from "./clock.js";
import { padTo } from "./pad-tensor.js";
import { refusal } from "./refusal.js";
import type { LoadedServable } from "./served-model.js";

/** The server's defaults for what {@link BatchingParameters} leave out; the threads are as many as processors. */
const parameterDefaults = Object.freeze({ maxBatchSize: 1_000, batchTimeoutMicros: 0, maxEnqueuedBatches: 10 });

/** How long a request without a deadline may take, in a batch: 2^31 - 1 microseconds. */
const noDeadlineMs = (2 ** 31 - 1) / 1_000;

/** Queues of one servable; with many outputs callers can ask for any number of combinations. */
const maxQueues = 1_000;

/** What happens in batching, for metrics. */
export type BatchingEvent =
  /** A request has come. */
  | { readonly kind: "request"; readonly rows: number; readonly inputs: number }
  /** Requests, or parts of them, are run together. */
  | { readonly kind: "run"; readonly rows: number; readonly paddedRows: number; readonly queuedMs: readonly number[] };

/** A request that can share a run with others, of the same servable, signature, inputs and outputs. */
export interface BatchableRun {
  readonly loaded: LoadedServable;
  readonly signatureName: string;
  readonly signature: Signature;
  readonly inputs: TensorMap;
  /** Names of the outputs asked for. */
  readonly outputs: readonly string[];
  /** In milliseconds of the clock; infinite for none. */
  readonly deadline: number;
}

/** Runs the model that a {@link BatchableRun} asks for, on other inputs, which are its own. */
export type RunModel = (inputs: TensorMap, deadline: number) => Promise<Record<string, AnyTensor>>;

interface RunTask extends BatchTask {
  readonly inputs: TensorMap;
  readonly deadline: number;
  readonly queuedAt: number;
  readonly resolve: (outputs: Record<string, AnyTensor>) => void;
}

type Enqueue = (task: RunTask) => void;

/** Batching of all models of a server. */
export class Batching {
  readonly #clock: Clock;
  readonly #scheduler: BatchScheduler;
  readonly #allowedRows: readonly number[];
  readonly #padsInputs: boolean;
  readonly #onEvent: (event: BatchingEvent) => void;
  /** By signature, inputs and outputs. */
  readonly #queues = new WeakMap<LoadedServable, Map<string, Enqueue>>();

  /** @throws TypeError or RangeError if a parameter is malformed; ServingError INVALID_ARGUMENT for those no model could be loaded with. */
  constructor(parameters: BatchingParameters, clock: Clock, onEvent: (event: BatchingEvent) => void) {
    this.#clock = clock;
    this.#scheduler = new BatchScheduler(rulesFrom(parameters), clock);
    this.#allowedRows = parameters.allowedBatchSizes ?? [];
    this.#padsInputs = parameters.padVariableLengthInputs ?? false;
    this.#onEvent = onEvent;
  }

  /**
   * The outputs of a request, computed together with those of others.
   *
   * @throws ServingError as the real server answers; whatever fails the run fails every request in it.
   */
  run(request: BatchableRun, runModel: RunModel): Promise<Record<string, AnyTensor>> {
    const { inputs, deadline } = request;
    const rows = rowsOf(inputs);
    this.#onEvent({ kind: "request", rows, inputs: Object.keys(inputs).length });
    const enqueue = this.#queueOf(request, runModel);
    return new Promise((resolve, reject) => {
      enqueue({ rows, inputs, deadline, queuedAt: this.#clock.now(), resolve, reject });
    });
  }

  /** Let no request wait for others any more; those that wait are run as threads become free. */
  flush(): void {
    this.#scheduler.flush();
  }

  /** Refuse the requests that wait. */
  close(): void {
    this.#scheduler.close(refusal("UNAVAILABLE", "The server was closed before the request was run"));
  }

  #queueOf({ loaded, signatureName, signature, inputs, outputs }: BatchableRun, runModel: RunModel): Enqueue {
    const queues = this.#queues.get(loaded) ?? new Map<string, Enqueue>();
    this.#queues.set(loaded, queues);
    const key = JSON.stringify([signatureName, Object.keys(inputs).sort(), [...outputs].sort()]);
    const known = queues.get(key);
    if (known !== undefined) return known;
    const run = (tasks: readonly RunTask[]) => this.#run(signature, tasks, runModel);
    const queue = this.#scheduler.queue<RunTask>({ split: splitTask, run });
    // What waits in the others is run all the same.
    if (queues.size === maxQueues) queues.clear();
    queues.set(key, queue);
    return queue;
  }

  async #run(signature: Signature, tasks: readonly RunTask[], runModel: RunModel): Promise<void> {
    try {
      const deadline = this.#deadlineOf(tasks);
      const rows = tasks.reduce((sum, task) => sum + task.rows, 0);
      const paddedRows = this.#allowedRows.find((allowed) => allowed >= rows) ?? rows;
      this.#onEvent({ kind: "run", rows, paddedRows, queuedMs: tasks.map(({ queuedAt }) => this.#clock.now() - queuedAt) });
      const inputs = mergedInputs(signature, tasks, { paddingRows: paddedRows - rows, padsInputs: this.#padsInputs });
      settle(tasks, await runModel(inputs, deadline), paddedRows);
    } catch (error) {
      for (const task of tasks) task.reject(error as Error);
    }
  }

  /** The latest of all. @throws ServingError RESOURCE_EXHAUSTED if that one has passed; before, a request's own deadline ends nothing. */
  #deadlineOf(tasks: readonly RunTask[]): number {
    let latest = Number.NEGATIVE_INFINITY;
    for (const { deadline, queuedAt } of tasks) latest = Math.max(latest, Math.min(deadline, queuedAt + noDeadlineMs));
    if (latest <= this.#clock.now()) throw refusal("RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue");
    return latest;
  }
}

function rulesFrom(parameters: BatchingParameters): BatchRules {
  assertParameters(parameters);
  const {
    maxBatchSize = parameterDefaults.maxBatchSize,
    batchTimeoutMicros = parameterDefaults.batchTimeoutMicros,
    maxEnqueuedBatches = parameterDefaults.maxEnqueuedBatches,
    numBatchThreads = availableParallelism(),
    allowedBatchSizes = [],
    enableLargeBatchSplitting = false,
    maxExecutionBatchSize = maxBatchSize,
  } = parameters;
  const last = allowedBatchSizes.at(-1);
  if (last !== undefined && last !== maxBatchSize) {
    const sizes = `last entry was ${last}; expected ${maxBatchSize}`;
    throw refusal("INVALID_ARGUMENT", `Last entry in allowed_batch_sizes must match max_batch_size; ${sizes}`);
  }
  return {
    maxRequestRows: maxBatchSize,
    maxBatchRows: enableLargeBatchSplitting ? maxExecutionBatchSize : maxBatchSize,
    splitsRequests: enableLargeBatchSplitting,
    timeoutMs: batchTimeoutMicros / 1_000,
    maxWaitingBatches: maxEnqueuedBatches,
    threads: numBatchThreads,
  };
}

const parameterNames: OptionNames<BatchingParameters>["known"] = {
  maxBatchSize: true,
  batchTimeoutMicros: true,
  maxEnqueuedBatches: true,
  numBatchThreads: true,
  threadPoolName: true,
  enableLargeBatchSplitting: true,
  maxExecutionBatchSize: true,
  allowedBatchSizes: true,
  padVariableLengthInputs: true,
};

/** The least that a parameter may be. */
const leastCounts = { maxBatchSize: 1, batchTimeoutMicros: 0, maxEnqueuedBatches: 1, numBatchThreads: 1, maxExecutionBatchSize: 1 };

function assertParameters(parameters: BatchingParameters): void {
  const given: unknown = parameters;
  if (!isPlainObject(given)) throw new TypeError(`batching: expected parameters, got ${describeNotPlain(given)}`);
  assertOptionNames(parameters, { known: parameterNames, of: "batching" });
  for (const [name, least] of Object.entries(leastCounts))
    assertCount(`batching.${name}`, parameters[name as keyof typeof leastCounts] ?? least, least);
  const { allowedBatchSizes = [], maxBatchSize = parameterDefaults.maxBatchSize, maxExecutionBatchSize = maxBatchSize } = parameters;
  if (!Array.isArray(allowedBatchSizes)) throw new TypeError("batching.allowedBatchSizes: expected a list of numbers");
  for (const size of allowedBatchSizes) assertCount("batching.allowedBatchSizes", size, 1);
  if (maxExecutionBatchSize > maxBatchSize) {
    throw new RangeError(`batching.maxExecutionBatchSize: expected at most maxBatchSize, ${maxBatchSize}, got ${maxExecutionBatchSize}`);
  }
}

/** Rows that all inputs have. @throws ServingError INVALID_ARGUMENT if they differ, or an input has none because it is a scalar. */
function rowsOf(inputs: TensorMap): number {
  let common: number | undefined;
  for (const { shape } of Object.values(inputs)) {
    const [rows] = shape;
    if (rows === undefined) throw refusal("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension");
    common ??= rows;
    if (rows !== common) throw refusal("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size");
  }
  return common ?? 0;
}

/** The inputs of all tasks, with the first row of the last task repeated behind them as often as needed. */
function mergedInputs(
  signature: Signature,
  tasks: readonly RunTask[],
  { paddingRows, padsInputs }: { readonly paddingRows: number; readonly padsInputs: boolean },
): Record<string, AnyTensor> {
  const merged: Record<string, AnyTensor> = Object.create(null);
  for (const name of Object.keys(tasks[0]?.inputs ?? {})) {
    const sent = tasks.map(({ inputs }) => inputs[name] as AnyTensor);
    const fitting = padsInputs ? padTo(sent) : sent;
    if (!padsInputs) assertSameRows(tensorNameOf(name, signature.inputs[name]), sent);
    const last = fitting.at(-1) as AnyTensor;
    // A last request without rows has none to repeat; the real server ends there.
    const row = paddingRows > 0 && (last.shape[0] ?? 0) > 0 ? [copyRows(last, 0, 1)] : [];
    merged[name] = joinRows([...fitting, ...row.flatMap((padding) => new Array<AnyTensor>(paddingRows).fill(padding))]);
  }
  return merged;
}

/** @param tensorName - What the graph calls the input. */
function assertSameRows(tensorName: string, inputs: readonly AnyTensor[]): void {
  if (new Set(inputs.map(({ shape }) => shape.slice(1).join())).size <= 1) return;
  const text =
    `Tensors with name '${tensorName}' from different tasks have different shapes and padding is turned off. ` +
    "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting with the first dim.";
  throw refusal("FAILED_PRECONDITION", text);
}

/** Gives each task its rows. */
function settle(tasks: readonly RunTask[], outputs: Record<string, AnyTensor>, paddedRows: number): void {
  for (const { shape } of Object.values(outputs)) {
    if (shape.length === 0) throw refusal("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions");
    if (shape[0] === paddedRows) continue;
    const sum = "the sum of the 0th dimension sizes of the input tensors";
    throw refusal("FAILED_PRECONDITION", `Batched output tensor's 0th dimension does not equal ${sum}`);
  }
  let start = 0;
  for (const { rows, resolve } of tasks) {
    const end = start + rows;
    resolve(mapRecord(outputs, (output) => copyRows(output, start, end)));
    start = end;
  }
}

/** The parts of a request, whose outputs are joined again; the first failure of any fails it. */
function splitTask(task: RunTask, sizes: readonly number[]): RunTask[] {
  const parts: RunTask[] = [];
  let start = 0;
  const outputs = sizes.map((rows) => {
    const [from, to] = [start, start + rows];
    start = to;
    const inputs = mapRecord(task.inputs, (input) => copyRows(input, from, to));
    return new Promise<Record<string, AnyTensor>>((resolve, reject) => {
      parts.push({ ...task, rows, inputs, resolve, reject });
    });
  });
  Promise.all(outputs)
    .then((all) => mapRecord(all[0] ?? {}, (_first, name) => joinedOutput(name, all)))
    .then(task.resolve, task.reject);
  return parts;
}

/** @throws ServingError FAILED_PRECONDITION if the rows do not fit together, such as those of parts that were padded beside other requests. */
function joinedOutput(name: string, parts: readonly Readonly<Record<string, AnyTensor>>[]): AnyTensor {
  const outputs = parts.map((part) => part[name] as AnyTensor);
  if (new Set(outputs.map(({ dtype, shape }) => [dtype, ...shape.slice(1)].join())).size > 1) {
    const came = outputs.map(({ dtype, shape }) => `${dtype} ${formatShape(shape)}`).join(", ");
    throw refusal("FAILED_PRECONDITION", `The parts of a split request have different outputs "${name}": ${came}`);
  }
  return joinRows(outputs);
}
