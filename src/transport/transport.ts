/**
 * The seam of this package: everything that carries a call implements {@link Transport}, everything that shapes calls wraps one.
 *
 * Types only. The words are ours, not those of gRPC or JSON.
 */
import type { StatusCode } from "../errors.js";
import type { Example } from "../example-codec.js";
import type { ModelServerConfig } from "../model-server-config.js";
import type { ModelSpec } from "../model-spec.js";
import type { Signature } from "../signature.js";
import type { AnyTensor } from "../tensor/tensor.js";

/** Tensors by name; records that hold names from the wire have a null prototype. */
export type TensorMap = Readonly<Record<string, AnyTensor>>;

/** Request metadata (headers); `Uint8Array` only for keys that end in `-bin`, and only over gRPC. */
export type CallMetadata = Readonly<Record<string, string | readonly string[] | Uint8Array>>;

/** What comes with every call. Only `client/` makes it, so no layer restarts the clock. */
export interface TransportCallOptions {
  /** When the call must have settled, in milliseconds of `performance.now()`. */
  readonly deadline: number;
  /** The caller's abort; the call rejects with its `reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Request metadata; a function (tokens) is asked once per attempt. */
  readonly metadata?: CallMetadata | (() => Promise<CallMetadata>) | undefined;
  /** `false`: the call is sent once at most. */
  readonly retry?: false | undefined;
  /** Addresses that failed this call before; where there are others, they are better. */
  readonly avoid?: readonly string[] | undefined;
}

/**
 * How predict calls share requests. Calls may share one if model, version or label, signature, output filter and metadata are the same, as
 * are the names, dtypes and trailing dimensions of their inputs, and all inputs of a call have the same number of rows (dimension 0).
 */
export interface BatchingOptions {
  /**
   * Rows of one request at most, or the largest of `allowedBatchRows` up to that; a call with more is sent by itself.
   *
   * @defaultValue 128, or the largest of `allowedBatchRows`
   */
  readonly maxBatchRows?: number | undefined;
  /** How long a call waits for others while requests are in flight; where none is, it does not wait. @defaultValue 2 */
  readonly maxDelayMs?: number | undefined;
  /** Bytes of values of one request at most; a call with more is sent by itself. @defaultValue 8 MiB */
  readonly maxBatchBytes?: number | undefined;
  /** Rows that wait at most; further calls fail at once with `RESOURCE_EXHAUSTED`. @defaultValue 8192 */
  readonly maxQueuedRows?: number | undefined;
  /** Sizes that requests may have, as the server's `allowed_batch_sizes`; smaller ones are filled up with copies of the last row. @defaultValue any */
  readonly allowedBatchRows?: readonly number[] | undefined;
  /** Requests of one kind in flight at most; while as many are, calls wait for larger ones. @defaultValue 2 */
  readonly maxInFlightBatches?: number | undefined;
  /** Is told each batch once its calls have settled. What it throws becomes a process warning. @defaultValue nobody */
  readonly onBatch?: ((event: BatchEvent) => void) | undefined;
}

/** One batch, for counters and histograms. */
export interface BatchEvent {
  readonly modelName: string;
  readonly signatureName: string;
  /** Calls that shared it. */
  readonly calls: number;
  /** Their rows, without padding. */
  readonly rows: number;
  /** Rows that were added to reach one of `allowedBatchRows`. */
  readonly paddingRows: number;
  /** Bytes of their values. */
  readonly bytes: number;
  /** How long the first of them has waited. */
  readonly waitMs: number;
  /** From the request to the last answer. */
  readonly durationMs: number;
  /** Requests it took: more than 1 where a bad row had to be found, a request was too large, or batching does not fit the model. */
  readonly requests: number;
  /** Why it went out: it was `full`, its first call had waited for `maxDelayMs`, or nothing was in flight (`idle`). */
  readonly flushReason: "full" | "delay" | "idle";
  /** How the first request ended. */
  readonly code: StatusCode;
  /** Why calls like these are not batched any more; said once. */
  readonly batchingOff?: string;
}

/** Options of {@link Transport.predict}. */
export interface TransportPredictOptions extends TransportCallOptions {
  /** The signature that is called, where the client knows it; REST fetches it otherwise. */
  readonly signature?: Signature | undefined;
  /** Names of the outputs wanted; empty or absent: all. */
  readonly outputFilter?: readonly string[] | undefined;
  /** Layout of REST bodies. @defaultValue `"column"` */
  readonly restFormat?: "column" | "row" | undefined;
  /** How the call may share a request with others; `false` and absent: not at all. */
  readonly batch?: false | BatchingOptions | undefined;
}

/** Options of {@link Transport.classify}, {@link Transport.regress} and {@link Transport.multiInference}. */
export interface TransportExampleOptions extends TransportCallOptions {
  /** Features that every example of the call shares. */
  readonly context?: Example | undefined;
}

/** What answered a call; `version` is absent where the transport cannot tell it (REST without a version in the request). */
export interface AnsweringModel {
  readonly name: string;
  readonly version?: bigint;
  readonly signatureName: string;
}

/** One class a model sees in an example; `label` is empty where the model has no labels. */
export interface ScoredLabel {
  readonly label: string;
  readonly score: number;
}

/** What a Classify call answers. */
export interface ClassifyResult {
  /** For each example its classes, in the model's order. */
  readonly results: ScoredLabel[][];
  readonly modelSpec: AnsweringModel;
}

/** What a Regress call answers. */
export interface RegressResult {
  /** One value for each example. */
  readonly results: number[];
  readonly modelSpec: AnsweringModel;
}

/** One task of a MultiInference call: a signature of the model all tasks share, and what to do with it. */
export interface InferenceTask {
  readonly spec: ModelSpec;
  readonly method: "classify" | "regress";
}

/** What a MultiInference call answers, one entry for each task, in their order. */
export interface MultiInferenceResult {
  readonly results: (({ readonly method: "classify" } & ClassifyResult) | ({ readonly method: "regress" } & RegressResult))[];
}

/** What a Predict call answers. */
export interface PredictResult {
  /** Output tensors by name, null prototype; each is the caller's own memory. */
  readonly outputs: Record<string, AnyTensor>;
  readonly modelSpec: AnsweringModel;
}

/** What GetModelMetadata answers. */
export interface ModelMetadata {
  /** The model and the version that was described. */
  readonly modelSpec: { readonly name: string; readonly version?: bigint };
  /** Signatures by name, null prototype. */
  readonly signatures: Record<string, Signature>;
}

/** Where one version of a model is in its life. */
export type ModelVersionState = "UNKNOWN" | "START" | "LOADING" | "AVAILABLE" | "UNLOADING" | "END";

/** State of one version of a model. */
export interface ModelVersionStatus {
  readonly version: bigint;
  readonly state: ModelVersionState;
  /** `OK`, or why the version failed. */
  readonly errorCode: StatusCode;
  readonly errorMessage: string;
}

/** One way to a model server. */
export interface Transport {
  /** Whether `predict` needs the signature, so that a client that has it cached should pass it. REST does. */
  readonly needsSignature?: boolean;
  predict(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult>;
  classify(spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions): Promise<ClassifyResult>;
  regress(spec: ModelSpec, examples: readonly Example[], options: TransportExampleOptions): Promise<RegressResult>;
  multiInference(
    tasks: readonly InferenceTask[],
    examples: readonly Example[],
    options: TransportExampleOptions,
  ): Promise<MultiInferenceResult>;
  getModelMetadata(spec: ModelSpec, options: TransportCallOptions): Promise<ModelMetadata>;
  /** Versions in the server's order, highest first. */
  getModelStatus(spec: ModelSpec, options: TransportCallOptions): Promise<ModelVersionStatus[]>;
  /** Replace the server's whole configuration; settles once every new model has loaded or failed. */
  reloadConfig(config: ModelServerConfig, options: TransportCallOptions): Promise<void>;
  /** Free everything. Running calls are cancelled; the client waits for them before it closes its transport. */
  close(): Promise<void>;
}

/**
 * Puts something around a transport: `(next) => ({ ...next, predict: ... })`.
 *
 * What comes back counts as it is: it answers for `needsSignature`, keeps to deadline and signal, and passes `close` on to `next`.
 */
export type Middleware = (next: Transport) => Transport;
