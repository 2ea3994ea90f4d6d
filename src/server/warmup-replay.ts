/**
 * Warm-up: the requests in a version folder, run before the version is served.
 *
 * Order, codes and texts are those of TensorFlow Serving 2.20.0 (`saved_model_warmup_util.cc`).
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { type FormatError, isServingError, type ServingError } from "../errors.js";
import { inferenceMethodNames } from "../inference-messages.js";
import { decodePredictionLog } from "../warmup/prediction-log.js";
import { isCutOff, readTFRecords } from "../warmup/tfrecord.js";
import { maxServerRecords } from "../warmup/validate.js";
import { pathInVersion } from "../warmup/warmup-file.js";
import type { WarmupRecord } from "../warmup/warmup-record.js";
import type { Batching } from "./batching.js";
import { classify, multiInference, regress } from "./inference-service.js";
import { predict } from "./predict-service.js";
import { refusal } from "./refusal.js";
import type { Servable } from "./servable.js";
import type { ServableSource } from "./servable-handle.js";
import { LoadedServable } from "./served-model.js";

/** What a warm-up runs as. */
export interface WarmupTarget {
  readonly version: bigint;
  readonly batching: Batching | undefined;
  /** Whether the method name of a signature has to fit the call. */
  readonly checksMethodNames: boolean;
}

/** As long as it takes: no deadline of a call applies. */
const deadline = Number.POSITIVE_INFINITY;

/**
 * Run the warm-up requests of a version folder one after the other; without a warm-up file there is nothing to do.
 *
 * @throws ServingError with the code and text of the real server, whatever goes wrong: the version must not be served then.
 */
export async function replayWarmup(versionDir: string, servable: Servable, target: WarmupTarget): Promise<void> {
  const path = join(versionDir, pathInVersion);
  if (!(await exists(path))) return;
  const loaded = new LoadedServable(servable);
  // Whatever model and version a request names, it is run here.
  const source: ServableSource = { resolve: ({ name }) => ({ ...target, name, loaded }) };
  let count = 0;
  try {
    for await (const bytes of readTFRecords(path)) {
      if (count++ === maxServerRecords) {
        throw refusal("INVALID_ARGUMENT", `Number of warmup records exceeds the maximum (${maxServerRecords}) at ${path}`);
      }
      await runRecord(decoded(bytes, path), source);
    }
  } catch (error) {
    throw isServingError(error, "FormatError") ? damaged(error) : error;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function decoded(bytes: Uint8Array, path: string): WarmupRecord {
  try {
    return decodePredictionLog(bytes);
  } catch (cause) {
    if (isServingError(cause, "TensorError")) throw refusal("INVALID_ARGUMENT", `tensor parsing error: ${cause.message}`, cause);
    throw refusal("INVALID_ARGUMENT", `Failed to parse warmup record: ${Buffer.from(bytes).toString()} from ${path}`, cause);
  }
}

async function runRecord(record: WarmupRecord, source: ServableSource): Promise<void> {
  switch (record.kind) {
    case "predict": {
      const { modelSpec, inputs, outputFilter = [] } = record;
      const decode = (name: string) => inputs[name] as (typeof inputs)[string];
      await predict(source, modelSpec, { names: Object.keys(inputs), decode }, { outputFilter, deadline });
      return;
    }
    case "classify":
      await classify(source, record.modelSpec, { ...record, deadline });
      return;
    case "regress":
      await regress(source, record.modelSpec, { ...record, deadline });
      return;
    case "multiInference": {
      const tasks = record.tasks.map(({ model, method }) => ({ spec: model, methodName: inferenceMethodNames[method] }));
      await multiInference(source, tasks, { ...record, deadline });
      return;
    }
    case "sessionRun":
      throw refusal("UNIMPLEMENTED", "Unsupported log_type for warmup: 5");
    case "predictStreamed":
      throw refusal("UNIMPLEMENTED", "Unsupported log_type for warmup: 7");
    case "empty":
      return;
    default:
      record satisfies never;
  }
}

/** What TensorFlow says of a file that is no TFRecord file, or was cut off. */
function damaged(error: FormatError): ServingError {
  const { offset = 0 } = error;
  const isCut = isCutOff(error);
  const what = isCut ? `truncated record at ${offset}' failed with Read less bytes than requested` : `corrupted record at ${offset}`;
  const doubt = offset === 0 && !isCut ? " (Is this even a TFRecord file?)" : "";
  return refusal("DATA_LOSS", `${what}${doubt}. Please verify your warmup data is in TFRecord format.`, error);
}
