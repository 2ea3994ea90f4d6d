/** What callers may set on a client and on a call, and the checks of it. */
import type { ExampleLike } from "../example-values.js";
import type { ConcurrencyOptions } from "../middleware/concurrency-limit.js";
import type { RetryOptions } from "../middleware/retry.js";
import { assertCount, assertOptionNames, type OptionNames } from "../option-checks.js";
import { describe, isBytes } from "../tensor/values.js";
import type { TlsOptions } from "../transport/tls.js";
import type { BatchingOptions, CallMetadata, Middleware } from "../transport/transport.js";

/** Options of a {@link PredictionClient}; unknown ones are refused. */
export interface ClientOptions {
  /** Protocol, only beside `(host, port)`: a target string says it by its scheme. @defaultValue `"grpc"` */
  readonly transport?: "grpc" | "rest" | undefined;
  /** Time for a whole call: look-up of the signature, waiting in the client, retries, connecting, server and decoding. @defaultValue 30_000 */
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
  /**
   * Refuse answers of more bytes, with code `RESOURCE_EXHAUSTED` and before they are read to their end; over REST bytes of JSON. Has no
   * meaning for a transport of one's own. @defaultValue unlimited
   */
  readonly maxResponseBytes?: number | undefined;
  /** Wraps the transport, the first outermost; also a transport of one's own. @defaultValue none */
  readonly middleware?: readonly Middleware[] | undefined;
  /** Host name the server is told (`:authority`) instead of the target, for proxies. Has no meaning but over gRPC. @defaultValue the target */
  readonly authority?: string | undefined;
  /**
   * Time between keepalive pings while calls run. TensorFlow Serving ends a connection at the 5th ping that comes within 5 minutes of the
   * one before, so set less only together with the server's `grpc.http2.min_ping_interval_without_data_ms` (`--grpc_channel_arguments`).
   * Has no meaning but over gRPC. @defaultValue 310_000
   */
  readonly keepaliveMs?: number | undefined;
  /**
   * Encrypts connections: what both sides are identified by, or `true` for what Node trusts. It goes with targets that leave it open,
   * `"host:8500"`, `(host, port)`, `"unix:/path"` and `"dns:///host"`, and with those of `grpcs://` and `https://`, which need no more than
   * their scheme. Over REST it takes a proxy before the server, which has TLS only for gRPC. @defaultValue by the scheme
   */
  readonly tls?: true | TlsOptions | undefined;
  /**
   * `"environment"` connects through the proxy that the environment names: over REST `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as undici
   * reads them, over gRPC `grpc_proxy`, `https_proxy`, `http_proxy`, `no_grpc_proxy` and `no_proxy` as grpc-js does. Has no meaning for a
   * transport of one's own. @defaultValue none, whatever the environment says
   */
  readonly proxy?: "environment" | undefined;
  /**
   * How failed calls are sent again, or `false` for never. Calls that change nothing are, which is all but `reloadConfig`, where the failure
   * may pass. @defaultValue twice at most
   */
  readonly retry?: false | RetryOptions | undefined;
  /** How many calls may run, and wait, at each server. @defaultValue no limit until a server says that its threads are used up */
  readonly concurrency?: ConcurrencyOptions | undefined;
  /** How predict calls share requests; `{}` with all defaults. @defaultValue each call is a request of its own */
  readonly batching?: BatchingOptions | undefined;
}

/** Options that every call takes. */
export interface CallOptions {
  /** Time for this call. @defaultValue the client's `timeoutMs` */
  readonly timeoutMs?: number | undefined;
  /** Aborts the call, which then rejects with the signal's `reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Metadata of this call; replaces the client's key by key, whatever the case of the letters. */
  readonly metadata?: CallMetadata | undefined;
  /** `false` never sends the call twice. @defaultValue the client's `retry` */
  readonly retry?: false | undefined;
}

/** Options of {@link PredictionClient.predict}. */
export interface PredictOptions extends CallOptions {
  /** Names of the outputs wanted. @defaultValue all of them */
  readonly outputFilter?: readonly string[] | undefined;
  /** Layout of the REST request body. @defaultValue the client's `restFormat` */
  readonly restFormat?: "column" | "row" | undefined;
  /** `false` sends the call by itself. @defaultValue as the client, or `client.model()`, was told with `batching` */
  readonly batch?: false | undefined;
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

/** Client options with the defaults filled in; what is `undefined` is left to the transports. */
export interface ClientSettings {
  readonly timeoutMs: number;
  readonly metadata: ClientOptions["metadata"];
  readonly restFormat: "column" | "row";
  readonly restGzipMinBytes: number;
  readonly check: boolean;
  readonly maxResponseBytes: number | undefined;
  readonly middleware: readonly Middleware[];
  readonly authority: string | undefined;
  readonly keepaliveMs: number | undefined;
  /** `undefined` where the option is not given, which leaves it to the target. */
  readonly tls: TlsOptions | undefined;
  readonly proxy: "environment" | undefined;
  readonly retry: false | RetryOptions;
  readonly concurrency: ConcurrencyOptions;
  readonly batching: BatchingOptions | undefined;
}

/** Defaults of {@link ClientOptions}. */
export const clientDefaults = Object.freeze({
  timeoutMs: 30_000,
  restFormat: "column",
  restGzipMinBytes: Number.POSITIVE_INFINITY,
  check: true,
} as const);

const optionNames: OptionNames<ClientOptions> = {
  known: {
    transport: true,
    timeoutMs: true,
    metadata: true,
    restFormat: true,
    restGzipMinBytes: true,
    check: true,
    maxResponseBytes: true,
    middleware: true,
    authority: true,
    keepaliveMs: true,
    tls: true,
    proxy: true,
    retry: true,
    concurrency: true,
    batching: true,
  },
  notYet: ["telemetry"],
};

/**
 * Checked options over the defaults.
 *
 * @throws TypeError if an option has the wrong type, is unknown or not available in this version.
 * @throws RangeError if `timeoutMs` or `keepaliveMs` is not positive and finite, `restGzipMinBytes` negative, `maxResponseBytes` below 1.
 */
export function clientSettings(options: ClientOptions): ClientSettings {
  assertOptionNames(options, optionNames);
  const { timeoutMs, metadata, restFormat, restGzipMinBytes, check, maxResponseBytes, middleware, authority, keepaliveMs } = options;
  const { tls, proxy, retry = {}, concurrency = {}, batching } = options;
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs);
  if (keepaliveMs !== undefined) checkDuration("keepaliveMs", keepaliveMs);
  if (typeof metadata !== "function") checkMetadata(metadata);
  checkRestFormat(restFormat);
  if (restGzipMinBytes !== undefined) checkBytes("restGzipMinBytes", restGzipMinBytes, 0);
  if (maxResponseBytes !== undefined) checkBytes("maxResponseBytes", maxResponseBytes, 1);
  if (authority !== undefined) checkAuthority(authority);
  checkMiddleware(middleware);
  if (tls !== undefined) checkTls(tls);
  if (proxy !== undefined && proxy !== "environment") throw new TypeError(`proxy: expected "environment", got ${kindOf(proxy)}`);
  if (retry !== false) checkRetry(retry);
  checkConcurrency(concurrency);
  if (batching !== undefined) checkBatching(batching);
  if (check !== undefined && typeof check !== "boolean") throw new TypeError(`check: expected a boolean, got ${describe(check)}`);
  return {
    timeoutMs: timeoutMs ?? clientDefaults.timeoutMs,
    metadata,
    restFormat: restFormat ?? clientDefaults.restFormat,
    restGzipMinBytes: restGzipMinBytes ?? clientDefaults.restGzipMinBytes,
    check: check ?? clientDefaults.check,
    maxResponseBytes,
    middleware: [...(middleware ?? [])],
    authority,
    keepaliveMs,
    tls: tls === true ? {} : tls && { ...tls },
    proxy,
    retry,
    concurrency,
    batching,
  };
}

/**
 * Check the options of a call.
 *
 * @throws TypeError if an option has the wrong type.
 * @throws RangeError if `timeoutMs` is not positive and finite.
 */
export function checkCallOptions({ timeoutMs, metadata, signal, retry }: CallOptions): void {
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs);
  if (metadata !== undefined) checkMetadata(metadata);
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw new TypeError(`signal: expected an AbortSignal, got ${describe(signal)}`);
  }
  checkNever("retry", retry);
}

/**
 * Check what only a predict call takes.
 *
 * @throws TypeError if an option has the wrong type.
 */
export function checkPredictOptions({ restFormat, outputFilter, batch }: PredictOptions): void {
  checkRestFormat(restFormat);
  checkNever("batch", batch);
  if (outputFilter !== undefined && !(Array.isArray(outputFilter) && outputFilter.every((name) => typeof name === "string"))) {
    throw new TypeError(`outputFilter: expected an array of names, got ${describe(outputFilter)}`);
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
  if (typeof durationMs !== "number") throw new TypeError(`${name}: expected a number, got ${describe(durationMs)}`);
  if (!(durationMs > 0 && Number.isFinite(durationMs))) {
    throw new RangeError(`${name}: expected a positive, finite number of milliseconds, got ${durationMs}`);
  }
}

function checkRetry(retry: RetryOptions): void {
  checkObject("retry", retry, "false or an object");
  assertOptionNames(retry, {
    of: "retry",
    known: { maxRetries: true, attemptTimeoutMs: true, initialBackoffMs: true, maxBackoffMs: true },
  });
  const { maxRetries, attemptTimeoutMs, initialBackoffMs, maxBackoffMs } = retry;
  if (maxRetries !== undefined) assertCount("retry.maxRetries", maxRetries, 0);
  for (const [name, durationMs] of Object.entries({ attemptTimeoutMs, initialBackoffMs, maxBackoffMs })) {
    if (durationMs !== undefined) checkDuration(`retry.${name}`, durationMs);
  }
}

function checkConcurrency(concurrency: ConcurrencyOptions): void {
  checkObject("concurrency", concurrency, "an object");
  assertOptionNames(concurrency, { of: "concurrency", known: { maxInFlight: true, maxQueued: true, queueTimeoutMs: true } });
  const { maxInFlight, maxQueued, queueTimeoutMs } = concurrency;
  if (maxInFlight !== undefined) assertCount("concurrency.maxInFlight", maxInFlight, 1);
  if (maxQueued !== undefined) assertCount("concurrency.maxQueued", maxQueued, 0);
  if (queueTimeoutMs !== undefined) checkDuration("concurrency.queueTimeoutMs", queueTimeoutMs);
}

/**
 * Check options of batching.
 *
 * @throws TypeError or RangeError if one is malformed or unknown.
 */
export function checkBatching(batching: BatchingOptions): void {
  checkObject("batching", batching, "an object");
  assertOptionNames(batching, batchingNames);
  const { maxDelayMs, allowedBatchRows, onBatch, maxBatchRows, maxBatchBytes, maxQueuedRows, maxInFlightBatches } = batching;
  for (const [name, count] of Object.entries({ maxBatchRows, maxBatchBytes, maxQueuedRows, maxInFlightBatches })) {
    if (count !== undefined) assertCount(`batching.${name}`, count, 1);
  }
  if (maxDelayMs !== undefined && maxDelayMs !== 0) checkDuration("batching.maxDelayMs", maxDelayMs);
  if (onBatch !== undefined && typeof onBatch !== "function")
    throw new TypeError(`batching.onBatch: expected a function, got ${describe(onBatch)}`);
  if (allowedBatchRows !== undefined) checkAllowedRows(allowedBatchRows, maxBatchRows);
}

const batchingNames: OptionNames<BatchingOptions> = {
  of: "batching",
  known: {
    maxBatchRows: true,
    maxDelayMs: true,
    maxBatchBytes: true,
    maxQueuedRows: true,
    allowedBatchRows: true,
    maxInFlightBatches: true,
    onBatch: true,
  },
};

function checkAllowedRows(allowed: readonly number[], maxBatchRows: number | undefined): void {
  if (!Array.isArray(allowed) || allowed.length === 0)
    throw new TypeError(`batching.allowedBatchRows: expected an array of at least one number, got ${describe(allowed)}`);
  allowed.forEach((rows, index) => {
    assertCount(`batching.allowedBatchRows[${index}]`, rows, 1);
  });
  const largest = Math.max(...allowed);
  if (maxBatchRows !== undefined && maxBatchRows > largest)
    throw new RangeError(`batching.maxBatchRows: expected at most ${largest}, the largest of allowedBatchRows, got ${maxBatchRows}`);
  const smallest = Math.min(...allowed);
  if (maxBatchRows !== undefined && maxBatchRows < smallest)
    throw new RangeError(`batching.maxBatchRows: expected at least ${smallest}, the smallest of allowedBatchRows, got ${maxBatchRows}`);
}

function checkObject(name: string, value: unknown, expected: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${name}: expected ${expected}, got ${describe(value)}`);
}

function checkMetadataValue(key: string, value: unknown): void {
  const isBinary = key.toLowerCase().endsWith("-bin");
  if (isBinary ? ArrayBuffer.isView(value) : [value].flat().every((item) => typeof item === "string")) return;
  const expected = isBinary ? "a Uint8Array, as the key ends in -bin" : "a string or an array of strings";
  // Not the value, which may be a token.
  throw new TypeError(`metadata "${key}": expected ${expected}, got ${kindOf(value)}`);
}

function checkMetadata(metadata: unknown): asserts metadata is CallMetadata | undefined {
  if (metadata !== undefined && (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))) {
    throw new TypeError(`metadata: expected a record of values by key, got ${kindOf(metadata)}`);
  }
  for (const [key, value] of Object.entries(metadata ?? {})) checkMetadataValue(key, value);
}

function checkRestFormat(restFormat: unknown): void {
  if (restFormat !== undefined && restFormat !== "column" && restFormat !== "row") {
    throw new TypeError(`restFormat: expected "column" or "row", got ${describe(restFormat)}`);
  }
}

function checkBytes(name: string, bytes: unknown, min: number): void {
  if (typeof bytes !== "number") throw new TypeError(`${name}: expected a number, got ${describe(bytes)}`);
  if (!(bytes >= min)) throw new RangeError(`${name}: expected a number of bytes from ${min} up, got ${bytes}`);
}

function checkAuthority(authority: unknown): void {
  if (typeof authority === "string" && /^[^\s/?#@]+$/.test(authority)) return;
  throw new TypeError(`authority: expected a host name, with a port where one is wanted, got ${kindOf(authority)}`);
}

/** Nothing of what may be a key is repeated in the errors. */
function checkTls(tls: true | TlsOptions): void {
  if (tls === true) return;
  if (typeof tls !== "object" || tls === null || Array.isArray(tls) || isBytes(tls)) {
    throw new TypeError(`tls: expected true or an object, got ${kindOf(tls)}`);
  }
  assertOptionNames(tls, { of: "tls", known: { ca: true, cert: true, key: true, serverName: true, insecureSkipVerify: true } });
  const { ca, cert, key, serverName, insecureSkipVerify } = tls;
  for (const [name, source] of Object.entries({ ca, cert, key })) if (source !== undefined) checkPem(`tls.${name}`, source);
  if (cert === undefined && key !== undefined) throw new TypeError("tls.key: expected tls.cert beside it, got none");
  if (key === undefined && cert !== undefined) throw new TypeError("tls.cert: expected tls.key beside it, got none");
  if (serverName !== undefined && !(typeof serverName === "string" && /^[^\s/?#@[\]]+$/.test(serverName))) {
    throw new TypeError(`tls.serverName: expected a host name without a port, got ${kindOf(serverName)}`);
  }
  if (insecureSkipVerify !== undefined && typeof insecureSkipVerify !== "boolean") {
    throw new TypeError(`tls.insecureSkipVerify: expected a boolean, got ${kindOf(insecureSkipVerify)}`);
  }
}

function checkPem(name: string, source: unknown): void {
  const expected = "PEM as text, as a Uint8Array or as { file: path }";
  if (typeof source === "string" || isBytes(source)) {
    if (Buffer.from(source).includes("-----BEGIN ")) return;
    throw new TypeError(`${name}: expected ${expected}, got ${kindOf(source)} without "-----BEGIN"`);
  }
  if (typeof source !== "object" || source === null || !("file" in source)) {
    throw new TypeError(`${name}: expected ${expected}, got ${kindOf(source)}`);
  }
  assertOptionNames<{ file: unknown }>(source, { of: name, known: { file: true } });
  if (typeof source.file !== "string" || source.file === "" || /-----BEGIN|\n/.test(source.file))
    throw new TypeError(`${name}.file: expected a path, got ${source.file === "" ? "an empty string" : kindOf(source.file)} that is none`);
}

/** What a value is, without a text that may be a secret. */
function kindOf(value: unknown): string {
  return typeof value === "string" ? "a string" : describe(value);
}

function checkMiddleware(middleware: unknown): void {
  if (middleware === undefined) return;
  if (!Array.isArray(middleware)) throw new TypeError(`middleware: expected an array of functions, got ${describe(middleware)}`);
  middleware.forEach((wrap: unknown, index) => {
    if (typeof wrap !== "function") throw new TypeError(`middleware[${index}]: expected a function, got ${describe(wrap)}`);
  });
}

/** Check an option of a call that can only switch something off. */
function checkNever(name: "retry" | "batch", value: unknown): void {
  if (value !== undefined && value !== false) throw new TypeError(`${name}: expected false, got ${describe(value)}`);
}
