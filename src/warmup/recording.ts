/** What becomes of a recording: warm-up records, or calls that are sent again. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ServingError } from "../errors.js";
import type { Example } from "../example-codec.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { assertCount, assertOptionNames } from "../option-checks.js";
import { readSignatures } from "../saved-model/read-saved-model.js";
import { describe } from "../tensor/values.js";
import type { ClassifyResult, MultiInferenceResult, PredictResult, RegressResult, TensorMap } from "../transport/transport.js";
import { decodePredictionLog, isCall } from "./prediction-log.js";
import { callProblems, type Signatures } from "./record-problems.js";
import { readTFRecords } from "./tfrecord.js";
import { assertRecord, type CallRecord, type MultiInferenceRecord, type WarmupRecord } from "./warmup-record.js";

/**
 * The records of a recording, oldest first, with the answers the calls had.
 *
 * A file that a killed process left unfinished is read as far as it is whole.
 *
 * @param path - Folder of a recorder, or one file.
 * @throws FormatError for a record that is no PredictionLog; TensorError for one that cannot be decoded; the system's error.
 */
export async function* readRecording(path: string): AsyncGenerator<WarmupRecord, void> {
  for (const file of await filesOf(path)) {
    for await (const bytes of readTFRecords(file, { onCorrupt: "stop" })) yield decodePredictionLog(bytes);
  }
}

/** Names of a recorder's files sort by time. */
async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = await readdir(path);
  return names
    .filter((name) => name.endsWith(".tfrecord"))
    .sort()
    .map((name) => join(path, name));
}

/** Options of {@link warmupRecordsFrom}. */
export interface WarmupRecordsOptions {
  /** Only calls of the model with this name. @defaultValue all */
  readonly model?: string | undefined;
  /** Records at most. @defaultValue 1000, which is what servers take from a file */
  readonly maxRecords?: number | undefined;
  /** Version folder of the model that calls have to fit. @defaultValue only what is wrong for every model is left out */
  readonly versionDir?: string | undefined;
  /** Signatures that calls have to fit, by name. @defaultValue those of the model in `versionDir` */
  readonly signatures?: Signatures | undefined;
  /** Is told of every call that is left out since `writeWarmupFile` would refuse it, and why. @defaultValue nobody is told */
  readonly onLeftOut?: ((record: CallRecord, problems: readonly string[]) => void) | undefined;
}

/** Defaults of {@link WarmupRecordsOptions}. */
export const warmupRecordsDefaults = Object.freeze({ maxRecords: 1000 } as const);

/**
 * Records for `writeWarmupFile` out of a recording: of calls with the same signature, input shapes and outputs wanted only the newest, without
 * its answer; the newest first.
 *
 * Examples have the same shape if their features have the same names, kinds and numbers of values.
 *
 * Calls that would keep a server from loading the version are left out: a server answers some that do not fit the signature to the letter,
 * and models change.
 *
 * @param path - As {@link readRecording} takes it; it also says what is thrown, and `readSavedModel` what is for `versionDir`.
 */
export async function warmupRecordsFrom(path: string, options: WarmupRecordsOptions = {}): Promise<CallRecord[]> {
  assertOptionNames(options, { known: { model: true, maxRecords: true, versionDir: true, signatures: true, onLeftOut: true } });
  const { model, maxRecords = warmupRecordsDefaults.maxRecords, versionDir, onLeftOut } = options;
  assertCount("maxRecords", maxRecords, 1);
  if (onLeftOut !== undefined && typeof onLeftOut !== "function")
    throw new TypeError(`onLeftOut: expected a function, got ${describe(onLeftOut)}`);
  const signatures = options.signatures ?? (versionDir === undefined ? undefined : await readSignatures(versionDir));
  /** By what makes calls alike, oldest first; never more than are wanted, so that long recordings fit in memory. */
  const newest = new Map<string, CallRecord>();
  for await (const record of readRecording(path)) {
    if (!isCall(record) || (model !== undefined && modelOf(record) !== model)) continue;
    const problems = callProblems(record, signatures);
    if (problems.length > 0) onLeftOut?.(record, problems);
    else putNewest(newest, record, maxRecords);
  }
  return [...newest.values()].reverse();
}

/** Put a call in the place of an older one like it, or of the oldest where there would be too many. */
function putNewest(newest: Map<string, CallRecord>, call: CallRecord, maxRecords: number): void {
  const form = formOf(call);
  newest.delete(form);
  newest.set(form, { ...call, response: undefined, logMetadata: undefined });
  const [oldest] = newest.keys();
  if (newest.size > maxRecords && oldest !== undefined) newest.delete(oldest);
}

function modelOf(record: CallRecord): string | undefined {
  return record.kind === "multiInference" ? record.tasks[0]?.model.name : record.modelSpec.name;
}

/** What records share that warm up the same: all but the values. */
function formOf(record: CallRecord): string {
  const asked = record.kind === "multiInference" ? record.tasks : [{ model: record.modelSpec, method: record.kind }];
  const tasks = asked.map(({ model, method }) => [method, model.name, signatureNameOf(model)]);
  const data =
    record.kind === "predict"
      ? [tensorForms(record.inputs), [...(record.outputFilter ?? [])].sort()]
      : [record.context ?? {}, ...record.examples].map(featureForms);
  return JSON.stringify([tasks, data]);
}

function tensorForms(inputs: TensorMap) {
  return inNameOrder(inputs).map(([name, { dtype, shape }]) => [name, dtype, shape]);
}

function featureForms(example: Example) {
  return inNameOrder(example).map(([name, { kind, values }]) => [name, kind, values.length]);
}

function inNameOrder<Value>(record: Readonly<Record<string, Value>>): [string, Value][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Options of {@link replayRecord}. */
export interface ReplayOptions {
  /** Time for the call. @defaultValue the client's */
  readonly timeoutMs?: number | undefined;
  /** Aborts the call. */
  readonly signal?: AbortSignal | undefined;
}

type ReplayExampleOptions = ReplayOptions & { readonly context?: Example | undefined };

/** What {@link replayRecord} needs of a client; a `PredictionClient` has it. */
export interface ReplayClient {
  predict(
    model: ModelSpec,
    inputs: TensorMap,
    options: ReplayOptions & { readonly outputFilter?: readonly string[] | undefined },
  ): Promise<PredictResult>;
  classify(model: ModelSpec, examples: readonly Example[], options: ReplayExampleOptions): Promise<ClassifyResult>;
  regress(model: ModelSpec, examples: readonly Example[], options: ReplayExampleOptions): Promise<RegressResult>;
  multiInference(
    tasks: MultiInferenceRecord["tasks"],
    examples: readonly Example[],
    options: ReplayExampleOptions,
  ): Promise<MultiInferenceResult>;
}

/**
 * Send a recorded call again, as it was, to wherever the client sends calls.
 *
 * @returns The answer, to compare with the recorded one in `record.response`.
 * @throws What the client's call rejects with; ServingError `INVALID_ARGUMENT` for a log that holds no call, TypeError for what is no record.
 */
export async function replayRecord(
  client: ReplayClient,
  record: WarmupRecord,
  options: ReplayOptions = {},
): Promise<NonNullable<CallRecord["response"]>> {
  assertRecord(record);
  if (!isCall(record)) throw new ServingError(`replay: expected a call, got a log of kind ${record.kind}`, { code: "INVALID_ARGUMENT" });
  if (record.kind === "predict") {
    return client.predict(record.modelSpec, record.inputs, { ...options, outputFilter: record.outputFilter });
  }
  const { kind, examples, context } = record;
  if (kind === "multiInference") return client.multiInference(record.tasks, examples, { ...options, context });
  return client[kind](record.modelSpec, examples, { ...options, context });
}
