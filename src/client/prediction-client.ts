/** The client: argument checks, signatures, conversion and hints; the wire is the transport's. */
import { formatModelSpec, isServingError, RpcError, ServingError } from "../errors.js";
import { type ModelLike, type ModelSpec, modelSpecFrom } from "../model-spec.js";
import type { Signature } from "../signature.js";
import type {
  ModelMetadata,
  ModelVersionStatus,
  PredictResult,
  TensorMap,
  Transport,
  TransportCallOptions,
} from "../transport/transport.js";
import { describeDifference, signatureOf, withHint } from "./hints.js";
import { inputsFor, inputsWithoutSignature, type PredictInputs, tensorsOnly } from "./inputs.js";
import { loadTransport } from "./load-transport.js";
import {
  type CallOptions,
  type ClientOptions,
  type ClientSettings,
  checkCallOptions,
  clientSettings,
  mergeMetadata,
  type PredictOptions,
} from "./options.js";
import { settleWithin } from "./settle-within.js";
import { type CachedMetadata, SignatureCache } from "./signature-cache.js";
import { parseTarget, type Target, targetFromHost } from "./target.js";

/** How long REST trusts the signature of a model whose version is not pinned: its answers do not tell when a new version has taken over. */
const unpinnedMaxAgeMs = 60_000;

/** How long after the deadline a transport may take to say so. */
const transportGraceMs = 200;

/** How long an error waits for the signature that may explain it. */
const hintTimeoutMs = 1000;

/** One running call. */
interface Call {
  readonly method: string;
  readonly spec: ModelSpec;
  /** When the call began, in milliseconds of `performance.now()`. */
  readonly startedAt: number;
  /** What the transport is given. */
  readonly options: TransportCallOptions;
}

/** What a predict call sends, and the signature it was made for, where that is known. */
interface Prepared {
  readonly tensors: TensorMap;
  readonly signature?: Signature | undefined;
}

/**
 * A client of one TensorFlow Serving model server.
 *
 * It connects when first used and can be shared by all callers; close it when done.
 */
export class PredictionClient {
  readonly #target: Target | undefined;
  readonly #settings: ClientSettings;
  /** Set at once for an own transport, else when first used. */
  #transport: Promise<Transport> | undefined;
  #cache: SignatureCache | undefined;
  /** For each running call, how to end it early. */
  readonly #running = new Set<(reason: unknown) => void>();
  #whenIdle: (() => void) | undefined;
  /** Ends what no caller waits for any more when the client is closed. */
  readonly #lifetime = new AbortController();
  #closing: Promise<void> | undefined;

  /**
   * A client for host and port: gRPC, or REST with `transport: "rest"`.
   *
   * @throws TypeError or RangeError if host, port or options are not valid.
   */
  constructor(host: string, port: number, options?: ClientOptions);
  /**
   * A client for a target: `"host:8500"`, `"grpc://host:8500"` or `"unix:/path"` (gRPC), `"http://host:8501/prefix"` (REST).
   *
   * Ports default to 8500 and 8501; IPv6 addresses stand in brackets.
   *
   * @throws TypeError or RangeError if the target or options are not valid.
   */
  constructor(target: string, options?: ClientOptions);
  /** A client over a transport of one's own, which the client closes. */
  constructor(transport: Transport, options?: ClientOptions);
  constructor(to: string | Transport, portOrOptions?: number | ClientOptions, hostOptions?: ClientOptions) {
    const hasPort = typeof portOrOptions === "number";
    const options = (hasPort ? hostOptions : portOrOptions) ?? {};
    if (typeof options !== "object") throw new TypeError(`expected a port (number) or options (object), got ${typeof options}`);
    this.#settings = clientSettings(options);
    if (hasPort && typeof to === "string") {
      this.#target = targetFromHost(to, portOrOptions, checkTransportOption(options.transport));
      return;
    }
    if (hasPort) throw new TypeError("a port goes only with a host name");
    if (options.transport !== undefined) {
      throw new TypeError('option transport goes only with (host, port); a target says it by its scheme: "grpc://" or "http://"');
    }
    if (typeof to === "string") this.#target = parseTarget(to);
    else this.#transport = Promise.resolve(checkTransport(to));
  }

  /**
   * Run a model.
   *
   * Tensors are sent as they are. Plain values (numbers, strings, nested lists, typed arrays...) are converted to the dtype the model's
   * signature says; the signature is fetched once and kept. Wherever it is known, names, dtypes and shapes are checked before sending.
   * A typed array or tensor handed in is not copied and must not change until the call settles.
   *
   * @param model - Name, or `{ name, version?, versionLabel?, signatureName? }`.
   * @param inputs - Values by input name, or the bare value for a model with one input.
   * @throws SignatureError if inputs do not fit the signature; nothing is sent.
   * @throws RpcError if the server or the connection refuses the call, or time runs out (`DEADLINE_EXCEEDED`).
   */
  async predict(model: ModelLike, inputs: PredictInputs, options: PredictOptions = {}): Promise<PredictResult> {
    return this.#run("predict", model, options, async (call) => {
      const transport = await this.#connect(call);
      const prepared = await this.#prepare(transport, call, inputs);
      try {
        const result = await transport.predict(call.spec, prepared.tensors, {
          ...call.options,
          signature: prepared.signature,
          outputFilter: options.outputFilter,
          restFormat: options.restFormat ?? this.#settings.restFormat,
        });
        this.#forgetOldVersion(call.spec, result);
        return result;
      } catch (error) {
        throw await this.#explain(transport, call, prepared.tensors, options, error);
      }
    });
  }

  /** The signatures of a model, and the version they belong to. Always asks the server. */
  async getModelMetadata(model: ModelLike, options: CallOptions = {}): Promise<ModelMetadata> {
    return this.#run("getModelMetadata", model, options, async (call) => {
      const transport = await this.#connect(call);
      return transport.getModelMetadata(call.spec, call.options);
    });
  }

  /** State of every version of a model, or of one version; the server ignores labels here. */
  async getModelStatus(model: ModelLike, options: CallOptions = {}): Promise<ModelVersionStatus[]> {
    return this.#run("getModelStatus", model, options, async (call) => {
      const transport = await this.#connect(call);
      return transport.getModelStatus(call.spec, call.options);
    });
  }

  /**
   * Refuse new calls, wait for running ones, free everything. May be called again, also to force what began without.
   *
   * @param options - `force` ends running calls with code `CANCELLED` instead of waiting for them.
   */
  async close(options: { force?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#drainAndClose();
    if (options.force === true) {
      for (const cancel of this.#running) cancel(new ServingError("CANCELLED: the client was closed by force", { code: "CANCELLED" }));
    }
    return this.#closing;
  }

  /** {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #drainAndClose(): Promise<void> {
    if (this.#running.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    this.#lifetime.abort(new ServingError("CANCELLED: the client was closed", { code: "CANCELLED" }));
    // A transport that could not be loaded has nothing to close, and its callers have been told.
    const transport = await this.#transport?.catch(() => undefined);
    await transport?.close();
  }

  /** Check arguments, start the clock, and keep the call among the running ones until it settles. */
  async #run<T>(method: string, model: ModelLike, options: PredictOptions, work: (call: Call) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const spec = modelSpecFrom(model);
    checkCallOptions(options);
    if (this.#closing !== undefined) {
      throw new ServingError(`FAILED_PRECONDITION: ${method} ${formatModelSpec(spec)}: the client is closed`, {
        code: "FAILED_PRECONDITION",
      });
    }
    options.signal?.throwIfAborted();
    const deadline = startedAt + (options.timeoutMs ?? this.#settings.timeoutMs);
    const metadata = mergeMetadata(this.#settings.metadata, options.metadata);
    // One signal for the caller's abort and for a close by force.
    const ended = new AbortController();
    const cancel = (reason: unknown): void => ended.abort(reason);
    const onAbort = (): void => cancel(options.signal?.reason);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    const call: Call = { method, spec, startedAt, options: { deadline, signal: ended.signal, metadata } };
    this.#running.add(cancel);
    try {
      // Transports keep to the deadline themselves and know more about what it cut off; this is for one that does not.
      const limits = { deadline: deadline + transportGraceMs, signal: ended.signal };
      return await settleWithin(work(call), limits, () => this.#deadlineError(call, "waiting for the transport"));
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      this.#running.delete(cancel);
      if (this.#running.size === 0) this.#whenIdle?.();
    }
  }

  /** The transport, loaded when first needed; waiting for it is part of the call's time. */
  async #connect(call: Call): Promise<Transport> {
    if (this.#transport === undefined) {
      this.#transport = loadTransport(this.#target as Target, this.#settings);
      // A module that could not be read now may be readable at the next call.
      this.#transport.catch(() => {
        this.#transport = undefined;
      });
    }
    return settleWithin(this.#transport, call.options, () => this.#deadlineError(call, "loading the transport"));
  }

  async #prepare(transport: Transport, call: Call, inputs: PredictInputs): Promise<Prepared> {
    const tensors = tensorsOnly(inputs);
    const needed = tensors === undefined || transport.needsSignature === true;
    const cached = this.#cacheFor(transport).peek(call.spec);
    if (cached === undefined && !needed) return { tensors };
    const entry = cached ?? (await this.#lookUp(transport, call));
    try {
      const prepared = this.#fit(call, entry, inputs);
      if (prepared !== undefined) return prepared;
    } catch (error) {
      if (!isServingError(error, "SignatureError") || entry.startedAt >= call.startedAt) throw error;
    }
    // Known from an earlier call, and does not fit: the model may have changed since.
    this.#cacheFor(transport).drop(call.spec);
    const fresh = await this.#lookUp(transport, call, call.startedAt);
    return this.#fit(call, fresh, inputs) ?? { tensors: tensors ?? inputsWithoutSignature(inputs, subjectOf(call)) };
  }

  /** The inputs as one signature wants them; `undefined` if the model has no signature of the name. */
  #fit(call: Call, entry: CachedMetadata, inputs: PredictInputs): Prepared | undefined {
    const signature = signatureOf(entry.metadata, call.spec);
    if (signature === undefined) return undefined;
    return { tensors: inputsFor(signature, inputs, subjectOf(call), this.#settings.check), signature };
  }

  #cacheFor(transport: Transport): SignatureCache {
    this.#cache ??= new SignatureCache({
      maxAgeMs: transport.needsSignature === true ? unpinnedMaxAgeMs : Number.POSITIVE_INFINITY,
      now: () => performance.now(),
    });
    return this.#cache;
  }

  /** The metadata of the call's model; a fetch that is begun here serves all who ask meanwhile, so it has a deadline of its own. */
  #lookUp(transport: Transport, call: Call, notBefore?: number): Promise<CachedMetadata> {
    const { deadline, signal, metadata } = call.options;
    return this.#cacheFor(transport).get(call.spec, {
      deadline,
      signal,
      notBefore,
      fetch: async () => {
        const ownDeadline = Math.max(deadline, performance.now() + this.#settings.timeoutMs);
        return transport.getModelMetadata(call.spec, { deadline: ownDeadline, signal: this.#lifetime.signal, metadata });
      },
      onDeadline: () => this.#deadlineError(call, "waiting for the model's signature"),
    });
  }

  /** The metadata where the server tells it soon; its error is worth more than what went wrong in a look-up for a hint. */
  async #lookUpForHint(transport: Transport, call: Call): Promise<CachedMetadata | undefined> {
    const deadline = Math.min(call.options.deadline, performance.now() + hintTimeoutMs);
    return this.#lookUp(transport, { ...call, options: { ...call.options, deadline } }).catch(() => undefined);
  }

  /** Over gRPC every answer tells its version, so that a new one shows at once. */
  #forgetOldVersion(spec: ModelSpec, result: PredictResult): void {
    const known = this.#cache?.peek(spec)?.metadata.modelSpec.version;
    if (known !== undefined && result.modelSpec.version !== undefined && known !== result.modelSpec.version) this.#cache?.drop(spec);
  }

  /** The error of a predict call; where the server found fault with the request, with what differs from the signature as a hint. */
  async #explain(transport: Transport, call: Call, tensors: TensorMap, options: PredictOptions, error: unknown): Promise<unknown> {
    const isMisfit = isServingError(error) && (error.code === "INVALID_ARGUMENT" || error.code === "FAILED_PRECONDITION");
    if (!isMisfit) return error;
    const known = this.#cacheFor(transport).peek(call.spec);
    // Over REST nothing but this error tells that a new version has taken over since.
    const isStale = transport.needsSignature === true && call.spec.version === undefined && (known?.startedAt ?? 0) < call.startedAt;
    if (isStale) this.#cacheFor(transport).drop(call.spec);
    if (!isServingError(error, "RpcError")) return error;
    const entry = known === undefined || isStale ? await this.#lookUpForHint(transport, call) : known;
    const difference = entry === undefined ? undefined : describeDifference(entry.metadata, call.spec, tensors, options);
    return difference === undefined ? error : withHint(error, call.method, difference);
  }

  #deadlineError(call: Call, doing: string): RpcError {
    const target = this.#target;
    return new RpcError({
      code: "DEADLINE_EXCEEDED",
      method: call.method,
      modelSpec: call.spec,
      endpoint: target === undefined ? "" : target.transport === "grpc" ? target.target : new URL(target.url).host,
      transport: target?.transport ?? "custom",
      serverMessage: `time ran out while ${doing}`,
    });
  }
}

function subjectOf(call: Call): string {
  return `${call.method} ${formatModelSpec(call.spec)}`;
}

function checkTransportOption(transport: unknown): "grpc" | "rest" {
  if (transport === undefined) return "grpc";
  if (transport !== "grpc" && transport !== "rest") throw new TypeError(`transport: expected "grpc" or "rest", got ${String(transport)}`);
  return transport;
}

function checkTransport(to: unknown): Transport {
  if (Array.isArray(to)) throw new TypeError("several targets (replicas) are not supported in this version: pass one");
  const candidate = to as Partial<Transport> | null | undefined;
  if (typeof candidate?.predict === "function" && typeof candidate.close === "function") return candidate as Transport;
  throw new TypeError(`expected a host and port, a target string or a Transport, got ${to === null ? "null" : typeof to}`);
}
