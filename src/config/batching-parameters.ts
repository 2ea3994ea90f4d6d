/** The file of `--batching_parameters_file`: how a server batches. */
import { FormatError } from "../errors.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { describe } from "../tensor/values.js";
import { jsonFromMessage, messageFromJson, messageFromText, textFromMessage } from "./text-format.js";

/** How a server with `--enable_batching` makes one run of many requests. What is absent has the server's default. */
export interface BatchingParameters {
  /** Rows of one run; a request with more fails. The server's default is 1000. */
  readonly maxBatchSize?: number | undefined;
  /** How long a batch waits for more rows; 0, the server's default, runs what is there as soon as a thread is free. */
  readonly batchTimeoutMicros?: number | undefined;
  /** Batches that may wait, for each version and signature. The server's default is 10. */
  readonly maxEnqueuedBatches?: number | undefined;
  /** Runs at once, of all models together. The server's default is its number of CPUs. */
  readonly numBatchThreads?: number | undefined;
  readonly threadPoolName?: string | undefined;
  /** Whether requests of more than {@link maxExecutionBatchSize} rows are split. */
  readonly enableLargeBatchSplitting?: boolean | undefined;
  /** Rows of one run where large requests are split; at most {@link maxBatchSize}, the server's default. */
  readonly maxExecutionBatchSize?: number | undefined;
  /** Sizes that batches are padded to, increasing; the last has to be {@link maxBatchSize}, or no model loads. */
  readonly allowedBatchSizes?: readonly number[] | undefined;
  /** Whether inputs of unequal shape are padded instead of refused. */
  readonly padVariableLengthInputs?: boolean | undefined;
}

/** 64-bit integers, each a message of its own. */
const counts = ["maxBatchSize", "batchTimeoutMicros", "maxEnqueuedBatches", "numBatchThreads", "maxExecutionBatchSize"] as const;

/**
 * The parameters in a text; comments are skipped.
 *
 * @throws FormatError naming field, line and column, if the server's parser would refuse the text; also for numbers of 2^53 and more.
 */
export function parseBatchingParameters(text: string): BatchingParameters {
  return batchingParametersFromJson(jsonFromMessage("BatchingParameters", messageFromText("BatchingParameters", text)));
}

/**
 * The text of parameters, for `--batching_parameters_file`.
 *
 * @throws TypeError or RangeError if a parameter has another type, or there is no such parameter.
 */
export function formatBatchingParameters(parameters: BatchingParameters): string {
  assertCounts(parameters);
  return textFromMessage("BatchingParameters", messageFromJson("BatchingParameters", parameters));
}

/** Parameters of protobuf JSON, where 64-bit integers are strings. @throws FormatError for numbers of 2^53 and more. */
export function batchingParametersFromJson(json: unknown): BatchingParameters {
  const { allowedBatchSizes, ...parameters } = json as Record<string, unknown>;
  for (const name of counts) if (parameters[name] !== undefined) parameters[name] = countFromJson(name, parameters[name]);
  if (!Array.isArray(allowedBatchSizes)) return parameters;
  return { ...parameters, allowedBatchSizes: allowedBatchSizes.map((size) => countFromJson("allowedBatchSizes", size)) };
}

function countFromJson(name: string, text: unknown): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count)) throw new FormatError(`BatchingParameters: ${name}: expected a number below 2^53, got ${text}`);
  return count;
}

/** @throws TypeError or RangeError naming the parameter that is no whole number; what else may be wrong shows when they are written. */
export function assertCounts(parameters: BatchingParameters): void {
  if (!isPlainObject(parameters)) throw new TypeError(`BatchingParameters: expected an object, got ${describeNotPlain(parameters)}`);
  const sizes = Array.isArray(parameters.allowedBatchSizes) ? parameters.allowedBatchSizes : [];
  const given = [...counts.map((name) => [name, parameters[name]] as const), ...sizes.map((size) => ["allowedBatchSizes", size] as const)];
  for (const [name, count] of given) {
    if (count === undefined || Number.isSafeInteger(count)) continue;
    throw new RangeError(`BatchingParameters: ${name}: expected a whole number below 2^53, got ${describe(count)}`);
  }
}
