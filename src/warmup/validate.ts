/** What a server would make of a warm-up file. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { isServingError, ServingError } from "../errors.js";
import { assertOptionNames } from "../option-checks.js";
import { isUnreadModel, readSignatures } from "../saved-model/read-saved-model.js";
import { decodePredictionLog } from "./prediction-log.js";
import { type RecordProblem, recordProblems, type Severity, type Signatures } from "./record-problems.js";
import { framingBytes, readTFRecords } from "./tfrecord.js";
import type { WarmupRecord } from "./warmup-record.js";

/** Something wrong with a warm-up file. */
export interface Finding {
  /**
   * What comes of it: servers do not load the version (`blocks-loading`), or run nothing (`useless`), or all goes well, but the file may not
   * be what was meant (`suspicious`).
   */
  readonly severity: Severity;
  readonly message: string;
  /** Index of the record, from 0; absent where the whole file is meant. */
  readonly record?: number;
}

/** Options of {@link validateWarmupFile}. */
export interface ValidateWarmupFileOptions {
  /** Version folder of the model to compare with. @defaultValue the one around the file, if it has a model */
  readonly savedModelDir?: string | undefined;
  /** Signatures to compare with, by name, in place of a model's. @defaultValue those of the model */
  readonly signatures?: Signatures | undefined;
}

/** Records that servers take from a file (`WarmupConsts::kMaxNumRecords`). */
export const maxServerRecords = 1000;

const noWarmup = "servers load the version without warm-up";

/**
 * All that is wrong with a warm-up file; nothing where a server would load the version and run every record.
 *
 * Without signatures only what is wrong for any model is found. Reading ends at the record behind the 1000 that servers take. What is in the
 * file never makes this throw, nor does a missing file, which is `useless`.
 *
 * @param path - The file itself, such as `models/half_plus_two/1/assets.extra/tf_serving_warmup_requests`.
 * @throws FormatError if the model's `saved_model.pb` is damaged; what `readSavedModel` throws where `savedModelDir` holds no model that
 *   can be read; ServingError `INVALID_ARGUMENT` if `path` is a folder, the system's error where the file cannot be read.
 */
export async function validateWarmupFile(path: string, options: ValidateWarmupFileOptions = {}): Promise<Finding[]> {
  assertOptionNames(options, { known: { savedModelDir: true, signatures: true } });
  const signatures = options.signatures ?? (await signaturesFor(path, options.savedModelDir));
  const sizeBytes = await sizeOf(path);
  if (sizeBytes === undefined) return [{ severity: "useless", message: `${path}: expected a warm-up file, got none: ${noWarmup}` }];
  const findings: Finding[] = [];
  let count = 0;
  let wholeBytes = 0;
  try {
    for await (const record of readTFRecords(path)) {
      if (count === maxServerRecords) {
        const message = `expected at most ${maxServerRecords} records, got more: servers refuse the version once they have run that many`;
        return [...findings, { severity: "blocks-loading", message, record: count }];
      }
      for (const problem of problemsOf(record, signatures)) findings.push({ ...problem, record: count });
      count++;
      wholeBytes += framingBytes + record.length;
    }
  } catch (error) {
    if (!isServingError(error, "FormatError")) throw error;
    return [...findings, { severity: "blocks-loading", message: error.message, record: count }];
  }
  if (count === 0) findings.push({ severity: "useless", message: `${path}: expected records, got none: ${noWarmup}` });
  if (wholeBytes < sizeBytes) findings.push({ severity: "suspicious", message: tornMessage(wholeBytes, sizeBytes) });
  return findings;
}

/** Signatures of a model that was named, or lies around the file; that one may be missing, or in a form that is not read here. */
async function signaturesFor(path: string, savedModelDir: string | undefined): Promise<Signatures | undefined> {
  try {
    return await readSignatures(savedModelDir ?? dirname(dirname(path)));
  } catch (error) {
    if (savedModelDir === undefined && isUnreadModel(error)) return undefined;
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (status?.isDirectory()) {
    const wanted = "expected a warm-up file, such as assets.extra/tf_serving_warmup_requests in a version folder";
    throw new ServingError(`${path}: ${wanted}, got a folder`, { code: "INVALID_ARGUMENT" });
  }
  return status?.size;
}

function problemsOf(bytes: Uint8Array, signatures: Signatures | undefined): RecordProblem[] {
  let record: WarmupRecord;
  try {
    record = decodePredictionLog(bytes);
  } catch (error) {
    if (!isServingError(error)) throw error;
    return [{ severity: "blocks-loading", message: `expected a PredictionLog that can be run, got ${error.message}` }];
  }
  return recordProblems(record, signatures);
}

function tornMessage(wholeBytes: number, sizeBytes: number): string {
  const rest = `expected a record or the end of the file at ${wholeBytes}, got ${sizeBytes - wholeBytes} bytes that are less than a record's head`;
  return `${rest}: servers take them for the end, but records may be lost`;
}
