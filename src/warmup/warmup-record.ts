/** The records of warm-up files and recordings, and their builders. */
import type { Example } from "../example-codec.js";
import type { ExampleLike } from "../example-values.js";
import { type InferenceTaskLike, inferenceTasksFrom } from "../inference-inputs.js";
import { type ModelLike, type ModelSpec, modelSpecFrom } from "../model-spec.js";
import { assertOptionNames } from "../option-checks.js";
import { type PredictInputs, tensorsOnly } from "../predict-inputs.js";
import { describe, isBytes } from "../tensor/values.js";
import type { ClassifyResult, MultiInferenceResult, PredictResult, RegressResult, TensorMap } from "../transport/transport.js";

/** What a call of any kind may have beside its request. */
interface Answered<Response> {
  /** What the call was answered, in recordings; servers pass over it. */
  readonly response?: Response | undefined;
  /** A serialized `tensorflow.serving.LogMetadata`, which servers pass over; `tfserving/proto` decodes it. */
  readonly logMetadata?: Uint8Array | undefined;
}

/** What the calls that take examples share. */
interface WithExamples<ExampleType, Response> extends Answered<Response> {
  readonly examples: readonly ExampleType[];
  /** Features that every example has unless it has one of the name itself. */
  readonly context?: ExampleType | undefined;
}

/** A predict call. */
export interface PredictRecord<Inputs = TensorMap> extends Answered<PredictResult> {
  readonly kind: "predict";
  /** At warm-up only `signatureName` counts: a server runs the version it loads, whatever name and version are here. */
  readonly modelSpec: ModelSpec;
  readonly inputs: Inputs;
  /** Names of the outputs wanted; empty or absent: all. */
  readonly outputFilter?: readonly string[] | undefined;
}

/** A classify call. */
export interface ClassifyRecord<ExampleType = Example> extends WithExamples<ExampleType, ClassifyResult> {
  readonly kind: "classify";
  /** See {@link PredictRecord.modelSpec}. */
  readonly modelSpec: ModelSpec;
}

/** A regress call. */
export interface RegressRecord<ExampleType = Example> extends WithExamples<ExampleType, RegressResult> {
  readonly kind: "regress";
  /** See {@link PredictRecord.modelSpec}. */
  readonly modelSpec: ModelSpec;
}

/** A multiInference call. */
export interface MultiInferenceRecord<ExampleType = Example> extends WithExamples<ExampleType, MultiInferenceResult> {
  readonly kind: "multiInference";
  /** What to do with which signature; servers want all to name one model, whichever. */
  readonly tasks: readonly { readonly model: ModelSpec; readonly method: "classify" | "regress" }[];
}

/** A log that warms nothing up: of no kind, or of one that servers refuse. */
export interface UnusableRecord {
  readonly kind: "empty" | "sessionRun" | "predictStreamed";
  /** The serialized `tensorflow.serving.PredictionLog`; `tfserving/proto` decodes it. */
  readonly bytes: Uint8Array;
}

/** A call as it is read from a file: inputs are tensors, examples features by name. */
export type CallRecord = PredictRecord | ClassifyRecord | RegressRecord | MultiInferenceRecord;

/** A record as it is read from a file. */
export type WarmupRecord = CallRecord | UnusableRecord;

/** A call with whatever the client takes for inputs and examples. */
export type CallRecordLike =
  | PredictRecord<PredictInputs>
  | ClassifyRecord<ExampleLike>
  | RegressRecord<ExampleLike>
  | MultiInferenceRecord<ExampleLike>;

/** A record as it can be given to be written: one that was read, or was built. */
export type WarmupRecordLike = CallRecordLike | UnusableRecord;

/** Options of {@link predictRecord}. */
export interface PredictRecordOptions {
  /** Names of the outputs wanted. @defaultValue all */
  readonly outputFilter?: readonly string[] | undefined;
}

/** Options of {@link classifyRecord}, {@link regressRecord} and {@link multiInferenceRecord}. */
export interface ExampleRecordOptions {
  /** Features that every example shares. @defaultValue none */
  readonly context?: ExampleLike | undefined;
}

/**
 * A record of a predict call. Values are kept as they are; they are converted by the signature when the record is written.
 *
 * @param inputs - As `client.predict` takes them: values by input name, or the bare value for a model with one input.
 * @throws TypeError or RangeError if the model, an option or what holds the values is not valid.
 */
export function predictRecord(model: ModelLike, inputs: PredictInputs, options: PredictRecordOptions = {}): PredictRecord<PredictInputs> {
  assertOptionNames(options, { known: { outputFilter: true } });
  return checked({ kind: "predict", modelSpec: modelSpecFrom(model), inputs, ...options });
}

/** A record of a classify call; examples as `client.classify` takes them, errors as in {@link predictRecord}. */
export function classifyRecord(
  model: ModelLike,
  examples: readonly ExampleLike[],
  options: ExampleRecordOptions = {},
): ClassifyRecord<ExampleLike> {
  return checked({ kind: "classify", modelSpec: modelSpecFrom(model), examples, ...contextOf(options) });
}

/** A record of a regress call; examples as `client.regress` takes them, errors as in {@link predictRecord}. */
export function regressRecord(
  model: ModelLike,
  examples: readonly ExampleLike[],
  options: ExampleRecordOptions = {},
): RegressRecord<ExampleLike> {
  return checked({ kind: "regress", modelSpec: modelSpecFrom(model), examples, ...contextOf(options) });
}

/** A record of a multiInference call; tasks and examples as `client.multiInference` takes them, errors as in {@link predictRecord}. */
export function multiInferenceRecord(
  tasks: readonly InferenceTaskLike[],
  examples: readonly ExampleLike[],
  options: ExampleRecordOptions = {},
): MultiInferenceRecord<ExampleLike> {
  const ownTasks = inferenceTasksFrom(tasks).map(({ spec, method }) => ({ model: spec, method }));
  return checked({ kind: "multiInference", tasks: ownTasks, examples, ...contextOf(options) });
}

function contextOf(options: ExampleRecordOptions): ExampleRecordOptions {
  assertOptionNames(options, { known: { context: true } });
  return options;
}

function checked<Checked extends WarmupRecordLike>(record: Checked): Checked {
  assertRecord(record);
  return record;
}

/**
 * Check that a value has the parts of a record; the values in these are checked when they are converted.
 *
 * @throws TypeError that names the part.
 */
export function assertRecord(value: unknown): asserts value is WarmupRecordLike {
  const { kind, modelSpec, inputs, outputFilter, examples, tasks, bytes } = Object(value) as Record<string, unknown>;
  switch (kind) {
    case "predict":
      assertModel(modelSpec, "modelSpec");
      tensorsOnly(inputs as PredictInputs);
      if (outputFilter !== undefined) assertList(outputFilter, "outputFilter", "names");
      return;
    case "classify":
    case "regress":
      assertModel(modelSpec, "modelSpec");
      assertList(examples, "examples", "examples");
      return;
    case "multiInference":
      assertTasks(tasks);
      assertList(examples, "examples", "examples");
      return;
    case "empty":
    case "sessionRun":
    case "predictStreamed":
      if (!isBytes(bytes)) throw new TypeError(`bytes: expected a Uint8Array, got ${describe(bytes)}`);
      return;
    default:
      throw new TypeError(`expected what predictRecord and the like make, got ${describe(value)}`);
  }
}

/** Unlike a builder, a record may have an empty name: servers pass over it, so files have some. */
function assertModel(spec: unknown, what: string): void {
  const { name } = Object(spec) as Partial<ModelSpec>;
  if (typeof name !== "string") throw new TypeError(`${what}: expected { name, signatureName?, ... }, got ${describe(spec)}`);
}

function assertTasks(tasks: unknown): void {
  assertList(tasks, "tasks", "{ model, method }");
  for (const [index, task] of tasks.entries()) {
    const { model, method } = Object(task) as Record<string, unknown>;
    assertModel(model, `tasks[${index}].model`);
    if (method === "classify" || method === "regress") continue;
    throw new TypeError(`tasks[${index}]: expected method "classify" or "regress", got ${describe(method)}`);
  }
}

function assertList(value: unknown, what: string, items: string): asserts value is readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${what}: expected a list of ${items}, got ${describe(value)}`);
}
