/** What callers may set on a client and on a call, and the checks of it. */
import type { ExampleLike } from "../example-values.js";
import type { CallMetadata } from "../transport/transport.js";

/** Options of a {@link PredictionClient}; unknown ones are ignored. */
export interface ClientOptions {
  /** Protocol, only beside `(host, port)`: a target string says it by its scheme. @defaultValue `"grpc"` */
  readonly transport?: "grpc" | "rest" | undefined;
  /** Time for a whole call: look-up of the signature, connect, server and decoding. @defaultValue 30_000 */
  readonly timeoutMs?: number | undefined;
  /** Metadata (headers) for every call; a function (tokens) is asked once per attempt. */
  readonly metadata?: CallMetadata | (() => Promise<CallMetadata>) | undefined;
  /** Layout of REST request bodies. @defaultValue `"column"` */
  readonly restFormat?: "column" | "row" | undefined;
  /**
   * Send REST request bodies of at least this many bytes gzip-compressed, for slow links; those of 100 MiB and more never are, because the
   * server refuses them. Has no meaning over gRPC and for a transport of one's own. @defaultValue never
   */
  readonly restGzipMinBytes?: number | undefined;
  /** Compare inputs with the signature before sending, wherever it is known or needed anyway. @defaultValue true */
  readonly check?: boolean | undefined;
}

/** Options that every call takes. */
export interface CallOptions {
  /** Time for this call. @defaultValue the client's `timeoutMs` */
  readonly timeoutMs?: number | undefined;
  /** Aborts the call, which then rejects with the signal's `reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Metadata of this call; replaces the client's key by key, whatever the case of the letters. */
  readonly metadata?: CallMetadata | undefined;
}

/** Options of {@link PredictionClient.predict}. */
export interface PredictOptions extends CallOptions {
  /** Names of the outputs wanted. @defaultValue all of them */
  readonly outputFilter?: readonly string[] | undefined;
  /** Layout of the REST request body. @defaultValue the client's `restFormat` */
  readonly restFormat?: "column" | "row" | undefined;
}

/** Options of {@link PredictionClient.classify}, {@link PredictionClient.regress} and {@link PredictionClient.multiInference}. */
export interface ExampleOptions extends CallOptions {
  /** Features that all examples of the call share; an example's own feature of the same name wins. */
  readonly context?: ExampleLike | undefined;
}

/** Options of {@link PredictionClient.waitForModel}. */
export interface WaitOptions extends CallOptions {
  /** Time to wait in all. @defaultValue 300_000 */
  readonly timeoutMs?: number | undefined;
  /** Time between the first two looks at the status; it grows from look to look. @defaultValue 250 */
  readonly pollIntervalMs?: number | undefined;
}

/** Defaults of {@link WaitOptions}. */
export const waitDefaults = Object.freeze({ timeoutMs: 300_000, pollIntervalMs: 250 } as const);

/** Client options with all defaults filled in. */
export interface ClientSettings {
  readonly timeoutMs: number;
  readonly metadata: ClientOptions["metadata"];
  readonly restFormat: "column" | "row";
  readonly restGzipMinBytes: number;
  readonly check: boolean;
}

/** Defaults of {@link ClientOptions}. */
export const clientDefaults = Object.freeze({
  timeoutMs: 30_000,
  restFormat: "column",
  restGzipMinBytes: Number.POSITIVE_INFINITY,
  check: true,
} as const);

/**
 * Checked options over the defaults.
 *
 * @throws TypeError if an option has the wrong type.
 * @throws RangeError if `timeoutMs` is not positive and finite, or `restGzipMinBytes` is negative or NaN.
 */
export function clientSettings(options: ClientOptions): ClientSettings {
  const { timeoutMs, metadata, restFormat, restGzipMinBytes, check } = options;
  // Ignoring this one would send in plaintext what the caller wants encrypted.
  const { tls } = options as { tls?: unknown };
  if (tls !== undefined) throw new TypeError("tls: TLS is not supported in this version");
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs);
  if (typeof metadata !== "function") checkMetadata(metadata);
  checkRestFormat(restFormat);
  if (restGzipMinBytes !== undefined) checkGzipMinBytes(restGzipMinBytes);
  if (check !== undefined && typeof check !== "boolean") throw new TypeError(`check: expected a boolean, got ${show(check)}`);
  return {
    timeoutMs: timeoutMs ?? clientDefaults.timeoutMs,
    metadata,
    restFormat: restFormat ?? clientDefaults.restFormat,
    restGzipMinBytes: restGzipMinBytes ?? clientDefaults.restGzipMinBytes,
    check: check ?? clientDefaults.check,
  };
}

/**
 * Check the options of a call.
 *
 * @throws TypeError if an option has the wrong type.
 * @throws RangeError if `timeoutMs` is not positive and finite.
 */
export function checkCallOptions({ timeoutMs, metadata, signal }: CallOptions): void {
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs);
  if (metadata !== undefined) checkMetadata(metadata);
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw new TypeError(`signal: expected an AbortSignal, got ${show(signal)}`);
  }
}

/**
 * Check what only a predict call takes.
 *
 * @throws TypeError if an option has the wrong type.
 */
export function checkPredictOptions({ restFormat, outputFilter }: PredictOptions): void {
  checkRestFormat(restFormat);
  if (outputFilter !== undefined && !(Array.isArray(outputFilter) && outputFilter.every((name) => typeof name === "string"))) {
    throw new TypeError(`outputFilter: expected an array of names, got ${show(outputFilter)}`);
  }
}

/**
 * Check what only a wait takes.
 *
 * @throws TypeError or RangeError if `pollIntervalMs` is not a positive, finite number.
 */
export function checkWaitOptions({ pollIntervalMs }: WaitOptions): void {
  if (pollIntervalMs !== undefined) checkDuration("pollIntervalMs", pollIntervalMs);
}

/** The client's and the call's metadata as one; a key of the call hides the client's, whatever the case of its letters. */
export function mergeMetadata(
  client: ClientOptions["metadata"],
  call: CallMetadata | undefined,
): CallMetadata | (() => Promise<CallMetadata>) | undefined {
  if (typeof client === "function") {
    return async () => {
      const own: unknown = await client();
      if (own === undefined) throw new TypeError("metadata: expected the function to give a record of values by key, got undefined");
      checkMetadata(own);
      return mergeRecords(own, call ?? {});
    };
  }
  return client === undefined || call === undefined ? (call ?? client) : mergeRecords(client, call);
}

function mergeRecords(client: CallMetadata, call: CallMetadata): CallMetadata {
  const own = new Set(Object.keys(call).map((key) => key.toLowerCase()));
  return Object.fromEntries([...Object.entries(client).filter(([key]) => !own.has(key.toLowerCase())), ...Object.entries(call)]);
}

function checkDuration(name: string, durationMs: unknown): void {
  if (typeof durationMs !== "number") throw new TypeError(`${name}: expected a number, got ${show(durationMs)}`);
  if (!(durationMs > 0 && Number.isFinite(durationMs))) {
    throw new RangeError(`${name}: expected a positive, finite number of milliseconds, got ${durationMs}`);
  }
}

function checkMetadataValue(key: string, value: unknown): void {
  const isBinary = key.toLowerCase().endsWith("-bin");
  if (isBinary ? ArrayBuffer.isView(value) : [value].flat().every((item) => typeof item === "string")) return;
  const expected = isBinary ? "a Uint8Array, as the key ends in -bin" : "a string or an array of strings";
  throw new TypeError(`metadata "${key}": expected ${expected}, got ${show(value)}`);
}

function checkMetadata(metadata: unknown): asserts metadata is CallMetadata | undefined {
  if (metadata !== undefined && (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))) {
    throw new TypeError(`metadata: expected a record of values by key, got ${show(metadata)}`);
  }
  for (const [key, value] of Object.entries(metadata ?? {})) checkMetadataValue(key, value);
}

function checkRestFormat(restFormat: unknown): void {
  if (restFormat !== undefined && restFormat !== "column" && restFormat !== "row") {
    throw new TypeError(`restFormat: expected "column" or "row", got ${show(restFormat)}`);
  }
}

function checkGzipMinBytes(restGzipMinBytes: unknown): void {
  if (typeof restGzipMinBytes !== "number") throw new TypeError(`restGzipMinBytes: expected a number, got ${show(restGzipMinBytes)}`);
  if (!(restGzipMinBytes >= 0)) throw new RangeError(`restGzipMinBytes: expected a number of bytes from 0 up, got ${restGzipMinBytes}`);
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : value === null ? "null" : typeof value;
}
