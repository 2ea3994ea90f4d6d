/** Warm-up files of model versions: written so that a server can load them, and read. */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError, formatCall, isServingError, ServingError, SignatureError } from "../errors.js";
import { examplesFrom } from "../inference-inputs.js";
import type { ModelSpec } from "../model-spec.js";
import { assertOptionNames } from "../option-checks.js";
import { inputsFor, inputsWithoutSignature, isNamed, type PredictInputs } from "../predict-inputs.js";
import { naming } from "../saved-model/files.js";
import { isUnreadModel, readSignatures } from "../saved-model/read-saved-model.js";
import { describe } from "../tensor/values.js";
import type { TensorMap } from "../transport/transport.js";
import { decodePredictionLog, encodePredictionLog, isCall } from "./prediction-log.js";
import { recordProblems, type Signatures, signatureOf } from "./record-problems.js";
import { framingBytes, readTFRecords, TFRecordWriter } from "./tfrecord.js";
import { maxServerRecords } from "./validate.js";
import { assertRecord, type CallRecordLike, type PredictRecord, type WarmupRecord, type WarmupRecordLike } from "./warmup-record.js";

/** Where servers look for it in a version folder. */
export const pathInVersion = join("assets.extra", "tf_serving_warmup_requests");

/** What a file is called until all of it is written. */
const temporaryName = new RegExp(`^${basename(pathInVersion)}\\.[0-9a-f-]{36}\\.tmp$`);
/** After so long without a write nobody writes to it any more. */
const leftoverAgeMs = 24 * 60 * 60 * 1000;

/** Options of {@link writeWarmupFile}. */
export interface WriteWarmupFileOptions {
  /** Signatures by which values are converted and compared, by name. @defaultValue those of the SavedModel in the version folder */
  readonly signatures?: Signatures | undefined;
  /** More records are refused; at most the 1000 that servers take. @defaultValue 1000 */
  readonly maxRecords?: number | undefined;
  /** Whether to write also where no signatures are known: plain values are then converted as by `tensorFrom`. @defaultValue false */
  readonly force?: boolean | undefined;
}

/** Defaults of {@link WriteWarmupFileOptions}. */
export const writeWarmupFileDefaults = Object.freeze({ maxRecords: maxServerRecords, force: false });

/** What {@link writeWarmupFile} wrote. */
export interface WrittenWarmupFile {
  readonly path: string;
  /** Number of records. */
  readonly records: number;
  /** Size of the file in bytes. */
  readonly bytes: number;
}

/**
 * Write the warm-up file of a version, which servers replay whenever they load the version, before they serve it.
 *
 * Records are taken from the iterable one by one and not kept. The file takes its real name when all of it is on the disk; until then, and
 * after any error, the one before stays. A process that is killed may leave a `.tmp` file beside it, which servers do not read and a later
 * write removes when it is a day old.
 *
 * @param versionDir - Folder of the version, the one with `saved_model.pb`; with the first good record `assets.extra` is made in it.
 * @throws SignatureError for a record that would keep servers from loading the version, and what else the conversion of its values throws;
 *   ServingError for logs that hold no call, for more than `maxRecords` records and for none, and `NOT_FOUND` or `UNIMPLEMENTED` where
 *   there is no model, or one in another form than `saved_model.pb`; FormatError if that is damaged; TypeError or RangeError for malformed
 *   options and records; what the iterable throws; the system's error where writing fails. Errors of a record name it, as in `record 0`.
 */
export async function writeWarmupFile(
  versionDir: string,
  records: Iterable<WarmupRecordLike> | AsyncIterable<WarmupRecordLike>,
  options: WriteWarmupFileOptions = {},
): Promise<WrittenWarmupFile> {
  assertOptionNames(options, { known: { signatures: true, maxRecords: true, force: true } });
  const { maxRecords = writeWarmupFileDefaults.maxRecords, force = writeWarmupFileDefaults.force } = options;
  if (!(Number.isInteger(maxRecords) && maxRecords >= 1 && maxRecords <= maxServerRecords)) {
    throw new RangeError(`maxRecords: expected a whole number from 1 to ${maxServerRecords}, all that servers take, got ${maxRecords}`);
  }
  if (!(Symbol.iterator in Object(records) || Symbol.asyncIterator in Object(records))) {
    throw new TypeError(`records: expected a list or another iterable of records, got ${describe(records)}`);
  }
  const signatures = options.signatures ?? (await signaturesIn(versionDir, force));
  return replaceFile(join(versionDir, pathInVersion), encodedRecords(records, maxRecords, signatures));
}

/** Signatures of the model in a version folder; with `force` there need not be any that can be read. */
async function signaturesIn(versionDir: string, force: boolean): Promise<Signatures | undefined> {
  try {
    return await readSignatures(versionDir);
  } catch (error) {
    if (!isUnreadModel(error)) throw error;
    if (force) return undefined;
    const why = "a record that does not fit keeps servers from loading the version; `force: true` writes without comparing";
    throw new ServingError(`${error.message}; pass \`signatures\` to compare records with: ${why}`, { code: error.code, cause: error });
  }
}

/** Have the file written under another name in its folder, and give it the real one when it is whole. */
async function replaceFile(path: string, encoded: AsyncIterable<Uint8Array>): Promise<WrittenWarmupFile> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const written = await writeRecords(temporary, encoded);
    await rename(temporary, path);
    await syncFolder(dirname(path));
    return { path, ...written };
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Make the folder, but not those around it: servers would take a new version folder for a version without a model. */
async function prepareFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
    await syncFolder(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    await removeLeftovers(path);
  }
}

/** Remove what killed processes left. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of (await readdir(folder)).filter((each) => temporaryName.test(each))) {
    const path = join(folder, name);
    // Gone if another process has just finished it.
    const status = await stat(path).catch(() => undefined);
    if (status !== undefined && Date.now() - status.mtimeMs > leftoverAgeMs) await rm(path, { force: true });
  }
}

/** Have a change of names in a folder on the disk. */
async function syncFolder(path: string): Promise<void> {
  // Windows opens no folders.
  if (process.platform === "win32") return;
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

type WrittenRecords = Pick<WrittenWarmupFile, "records" | "bytes">;

async function writeRecords(path: string, encoded: AsyncIterable<Uint8Array>): Promise<WrittenRecords> {
  let writer: TFRecordWriter | undefined;
  let [records, bytes] = [0, 0];
  try {
    for await (const record of encoded) {
      // Not before: a refused first record leaves no folder.
      if (writer === undefined) await prepareFolder(dirname(path));
      writer ??= new TFRecordWriter(path);
      await writer.write(record);
      records++;
      bytes += framingBytes + record.length;
    }
    await writer?.sync();
  } finally {
    await writer?.close();
  }
  return { records, bytes };
}

/** Serialized logs of records that servers can replay. */
async function* encodedRecords(
  records: Iterable<WarmupRecordLike> | AsyncIterable<WarmupRecordLike>,
  maxRecords: number,
  signatures: Signatures | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  let count = 0;
  for await (const record of records) {
    if (count === maxRecords) {
      throw invalid(`expected at most ${maxRecords} records, got more: servers do not load a version with over ${maxServerRecords}`);
    }
    yield encodedRecord(record, count++, signatures);
  }
  if (count === 0) throw invalid("expected at least one record, got none: servers would run nothing; to have no warm-up, delete the file");
}

/** The serialized log of a record that servers can replay; errors name the record by its index. */
function encodedRecord(record: WarmupRecordLike, index: number, signatures: Signatures | undefined): Uint8Array {
  try {
    const exact = checkedRecord(record, index, signatures);
    return naming(`record ${index}`, () => encodePredictionLog(exact));
  } catch (cause) {
    // These name it already.
    if (isServingError(cause)) throw cause;
    const WrongValue = cause instanceof RangeError ? RangeError : TypeError;
    throw new WrongValue(`record ${index}: ${(cause as Error).message}`, { cause });
  }
}

/** A record with its values converted, which servers can replay. */
function checkedRecord(record: WarmupRecordLike, index: number, signatures: Signatures | undefined): WarmupRecord {
  assertRecord(record);
  const place = `record ${index} would keep servers from loading the version`;
  const exact = convertedRecord(record, place, signatures);
  const problems = recordProblems(exact, signatures).map(({ message }) => message);
  if (problems.length === 0) return exact;
  if (!isCall(exact)) throw invalid(`record ${index}: ${problems.join("; ")}`);
  throw new SignatureError(formatCall(`${place}: ${exact.kind}`, specOf(exact)), problems);
}

/** A record with its values converted; the check is to come. */
function convertedRecord(record: WarmupRecordLike, place: string, signatures: Signatures | undefined): WarmupRecord {
  if (!isCall(record)) return record;
  const call = { method: `${place}: ${record.kind}`, modelSpec: specOf(record) };
  if (record.kind === "predict") return { ...record, inputs: tensorsOf(record, formatCall(call.method, call.modelSpec), signatures) };
  const { examples, context } = examplesFrom(record.examples, record.context, call);
  return { ...record, examples, context };
}

/** Tensors for the values of a record, where there is a signature by that; the names are checked with the rest. */
function tensorsOf({ modelSpec, inputs }: PredictRecord<PredictInputs>, subject: string, signatures: Signatures | undefined): TensorMap {
  const signature = signatures && signatureOf(signatures, modelSpec);
  if (signature !== undefined) return inputsFor(signature, inputs, subject, true);
  if (!isNamed(inputs)) throw new SignatureError(subject, ["a bare value needs a signature: pass a record { name: value }"]);
  return inputsWithoutSignature(inputs, subject);
}

/** The model of a record as errors name it; records that were read may have none. */
function specOf(record: CallRecordLike): ModelSpec | undefined {
  const spec = record.kind === "multiInference" ? record.tasks[0]?.model : record.modelSpec;
  return spec?.name === "" ? undefined : spec;
}

function invalid(message: string): ServingError {
  return new ServingError(message, { code: "INVALID_ARGUMENT" });
}

/**
 * The records of a warm-up file or recording, in their order, read as they are asked for.
 *
 * @throws While reading: FormatError for a damaged file, or a record that is no PredictionLog or has an input that cannot be decoded; the
 *   system's error where the file cannot be read.
 */
export async function* readWarmupFile(path: string): AsyncGenerator<WarmupRecord, void, undefined> {
  let index = 0;
  for await (const bytes of readTFRecords(path)) yield decodedRecord(bytes, `${path}: record ${index++}`);
}

function decodedRecord(bytes: Uint8Array, what: string): WarmupRecord {
  try {
    return decodePredictionLog(bytes);
  } catch (cause) {
    if (!isServingError(cause)) throw cause;
    throw new FormatError(`${what}: expected a PredictionLog, got ${cause.message}`, { cause });
  }
}
