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

/** How one call of a run shares requests, which no caller of the package can say. */
export interface RunBatchingOptions extends BatchingOptions {
  /**
   * The options, of the same object for all calls of the run.
   *
   * Its `maxInFlightBatches` bounds the requests of all kinds together, and those of calls that cannot share one.
   */
  readonly run: BatchingOptions;
  /** Is told what part of a request the call takes, from 0 to 1, once it is known to share one. */
  onShared(part: number): void;
}

/** Options with the defaults filled in. */
export interface BatchSettings {
  readonly limits: BatchLimits;
  readonly maxQueuedRows: number;
  /** Whether `maxInFlight` bounds the requests of all kinds together. */
  readonly boundsAllKinds: boolean;
  readonly onBatch: BatchingOptions["onBatch"];
}

/** The settings of options that have been checked. */
export function batchSettings(options: BatchingOptions, boundsAllKinds = false): BatchSettings {
  const allowedRows = [...(options.allowedBatchRows ?? [])].sort((a, b) => a - b);
  const { maxBatchRows = allowedRows.at(-1) ?? batchingDefaults.maxBatchRows } = options;
  return {
    limits: {
      // More rows would be padded to more than `maxBatchRows`.
      maxRows: allowedRows.findLast((rows) => rows <= maxBatchRows) ?? maxBatchRows,
      maxBytes: options.maxBatchBytes ?? batchingDefaults.maxBatchBytes,
      maxDelayMs: options.maxDelayMs ?? batchingDefaults.maxDelayMs,
      maxInFlight: options.maxInFlightBatches ?? batchingDefaults.maxInFlightBatches,
      allowedRows,
    },
    maxQueuedRows: options.maxQueuedRows ?? batchingDefaults.maxQueuedRows,
    boundsAllKinds,
    onBatch: options.onBatch,
  };
}
