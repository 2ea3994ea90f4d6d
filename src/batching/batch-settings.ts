/** What {@link BatchingOptions} become. */
import type { BatchingOptions } from "../transport/transport.js";
import type { BatchLimits } from "./batcher.js";

/**
 * Defaults of {@link BatchingOptions}.
 *
 * 128 rows: beyond that the cost of a request is spread so thin that larger ones gain little, while every row waits for all others. 2 ms: about
 * what a small request takes. 2 in flight: the next is filled while the server works. 8 MiB: bounds the memory of what is in flight, for each kind of call.
 */
export const batchingDefaults = Object.freeze({
  maxBatchRows: 128,
  maxDelayMs: 2,
  maxBatchBytes: 8 * 1024 * 1024,
  maxQueuedRows: 8192,
  maxInFlightBatches: 2,
} as const);

/** Options of calls that are all of one run, which no caller of the package can give. */
export interface RunBatchingOptions extends BatchingOptions {
  /** `maxInFlightBatches` bounds the requests of all kinds together, and those of calls that cannot share one. */
  readonly boundsAllKinds?: true;
}

/** Options with the defaults filled in. */
export interface BatchSettings {
  readonly limits: BatchLimits;
  readonly maxQueuedRows: number;
  readonly boundsAllKinds: boolean;
  readonly onBatch: BatchingOptions["onBatch"];
}

/** The settings of options that have been checked. */
export function batchSettings(options: RunBatchingOptions): BatchSettings {
  const allowedRows = [...(options.allowedBatchRows ?? [])].sort((a, b) => a - b);
  return {
    limits: {
      maxRows: options.maxBatchRows ?? allowedRows.at(-1) ?? batchingDefaults.maxBatchRows,
      maxBytes: options.maxBatchBytes ?? batchingDefaults.maxBatchBytes,
      maxDelayMs: options.maxDelayMs ?? batchingDefaults.maxDelayMs,
      maxInFlight: options.maxInFlightBatches ?? batchingDefaults.maxInFlightBatches,
      allowedRows,
    },
    maxQueuedRows: options.maxQueuedRows ?? batchingDefaults.maxQueuedRows,
    boundsAllKinds: options.boundsAllKinds === true,
    onBatch: options.onBatch,
  };
}
