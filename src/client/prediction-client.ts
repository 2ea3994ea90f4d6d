/** The client: what callers see. Calls, signatures and conversion have files of their own; the wire is the transport's. */
import { settleWithin, sleep } from "../deadline.js";
import type { ExampleLike } from "../example-values.js";
import { type CheckedExamples, examplesFrom, type InferenceTaskLike, inferenceTasksFrom } from "../inference-inputs.js";
import type { EndpointStatus } from "../middleware/endpoint-pool.js";
import { assertReloadable, type ModelServerConfig } from "../model-server-config.js";
import { type ModelLike, modelSpecFrom } from "../model-spec.js";
import type { PredictInputs } from "../predict-inputs.js";
import type {
  BatchingOptions,
  ClassifyResult,
  ModelMetadata,
  ModelVersionStatus,
  MultiInferenceResult,
  PredictResult,
  RegressResult,
  Transport,
} from "../transport/transport.js";
import { assertOptions, Calls, type ModelCall } from "./calls.js";
import { type Connection, Connector, destinationFrom, isDestination } from "./connection.js";
import { type ModelCalls, ModelClient, type ModelOptions } from "./model-client.js";
import type { ModelDefinition } from "./model-definition.js";
import {
  type CallOptions,
  type ClientOptions,
  type ClientSettings,
  checkPredictOptions,
  checkWaitOptions,
  clientSettings,
  type ExampleOptions,
  type PredictOptions,
  type WaitOptions,
  waitDefaults,
} from "./options.js";
import { type Items, type PredictManyItem, type PredictManyOptions, type PredictOne, predictMany } from "./predict-many.js";
import { explainReload } from "./reload.js";
import type { Checking } from "./signature-lookup.js";
import type { DefaultSignatureName, SignatureNameOf, TypedModelClient } from "./typed-model.js";
import { waitForModel } from "./wait-for-model.js";

/** What a predict call does beside what its caller's options say. */
interface PredictHow extends Checking {
  /** How it shares requests; its option `batch` can only say no. */
  readonly batching: BatchingOptions | undefined;
}

/**
 * A client of one TensorFlow Serving model server.
 *
 * It connects when first used and can be shared by all callers; close it when done. An idle client does not keep the process alive.
 */
export class PredictionClient {
  readonly #settings: ClientSettings;
  readonly #calls: Calls;
  readonly #connector: Connector;
  #closing: Promise<void> | undefined;

  /**
   * A client for host and port: gRPC, or REST with `transport: "rest"`.
   *
   * @throws TypeError or RangeError if host, port or options are not valid.
   */
  constructor(host: string, port: number, options?: ClientOptions);
  /**
   * A client for a target: `"host:8500"`, `"grpc://host:8500"`, `"grpcs://host/prefix"` (TLS) or `"unix:/path"` for gRPC,
   * `"http://host:8501/prefix"` or `"https://host/prefix"` for REST.
   *
   * Ports default to 8500 and 8501, with TLS to 443; IPv6 addresses stand in brackets. Calls are shared by several servers where an array names the replicas
   * of one, all over gRPC or all over REST, and by every address of the name in `"dns:///host:8500"` (gRPC).
   *
   * @throws TypeError or RangeError if the target or options are not valid.
   */
  constructor(target: string | readonly string[], options?: ClientOptions);
  /** A client over a transport of one's own, which the client closes. */
  constructor(transport: Transport, options?: ClientOptions);
  constructor(to: string | readonly string[] | Transport, portOrOptions?: number | ClientOptions, hostOptions?: ClientOptions) {
    const hasPort = typeof portOrOptions === "number";
    const options = (hasPort ? hostOptions : portOrOptions) ?? {};
    if (typeof options !== "object") throw new TypeError(`expected a port (number) or options (object), got ${typeof options}`);
    this.#settings = clientSettings(options);
    const destination = destinationFrom(to, hasPort ? portOrOptions : undefined, options);
    this.#calls = new Calls(this.#settings, isDestination(destination) ? destination : undefined);
    this.#connector = new Connector(destination, this.#calls, this.#settings);
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
  predict(model: ModelLike, inputs: PredictInputs, options: PredictOptions = {}): Promise<PredictResult> {
    return this.#predict(model, inputs, options, { check: this.#settings.check, lookUp: false, batching: this.#settings.batching });
  }

  /**
   * Run a model on many inputs, some at a time, while the results are asked for: `for await (const { index, result } of ...)`.
   *
   * No more items are taken from the source than may be under way (`concurrency`, times `batchRows` where that is set), and those that have
   * finished and were not asked for count among them. Leaving the loop aborts what is under way and closes the source.
   *
   * @param inputs - Items as {@link predict} takes them, from an iterable or async iterable.
   * @returns Each item's result with its index; with `onError: "yield"` also errors, `{ index, error }`.
   * @throws What a failed item's call rejects with, unless `onError` is `"yield"`; what the source throws, once all before it is given out.
   */
  predictMany<OnError extends "throw" | "yield" = "throw">(
    model: ModelLike,
    inputs: Items,
    options: PredictManyOptions<OnError> = {},
  ): AsyncGenerator<PredictManyItem<OnError>, void, undefined> {
    const spec = modelSpecFrom(model);
    const checking = { check: this.#settings.check, lookUp: false };
    const predict: PredictOne<PredictInputs, PredictResult> = (item, { batching = this.#settings.batching, ...more }) =>
      this.#predict(spec, item, more, { ...checking, batching });
    return predictMany(predict, inputs, options, this.#settings.batching);
  }

  /**
   * Score examples with a classification signature.
   *
   * @param examples - Features by name (number: float, bigint: int64, string and bytes: bytes), or serialized `tf.Example`s; at least one.
   * @throws TensorError naming the example and feature whose value does not fit; SignatureError without examples; nothing is sent.
   * @throws RpcError as {@link predict} does.
   */
  async classify(model: ModelLike, examples: readonly ExampleLike[], options: ExampleOptions = {}): Promise<ClassifyResult> {
    return this.#infer("classify", model, examples, options, ({ transport }, call, sent) =>
      transport.classify(call.spec, sent.examples, { ...call.options, context: sent.context }),
    );
  }

  /** One number for each example, by a regression signature; examples and errors as in {@link classify}. */
  async regress(model: ModelLike, examples: readonly ExampleLike[], options: ExampleOptions = {}): Promise<RegressResult> {
    return this.#infer("regress", model, examples, options, ({ transport }, call, sent) =>
      transport.regress(call.spec, sent.examples, { ...call.options, context: sent.context }),
    );
  }

  /**
   * Run several classification and regression signatures of one model over the same examples, in one run; only over gRPC.
   *
   * @param tasks - At least one, all of one model; version or label of the first hold for all.
   * @throws TypeError if tasks name different models, versions or labels.
   */
  async multiInference(
    tasks: readonly InferenceTaskLike[],
    examples: readonly ExampleLike[],
    options: ExampleOptions = {},
  ): Promise<MultiInferenceResult> {
    const checked = inferenceTasksFrom(tasks);
    return this.#infer("multiInference", checked[0].spec, examples, options, ({ transport }, call, sent) =>
      transport.multiInference(checked, sent.examples, { ...call.options, context: sent.context }),
    );
  }

  /** The signatures of a model, and the version they belong to. Always asks the server. */
  async getModelMetadata(model: ModelLike, options: CallOptions = {}): Promise<ModelMetadata> {
    return this.#calls.run({ method: "getModelMetadata", spec: modelSpecFrom(model) }, options, async (call) => {
      const { transport } = await this.#connector.connect(call);
      return transport.getModelMetadata(call.spec, call.options);
    });
  }

  /** State of every version of a model, or of one version; the server ignores labels here. */
  async getModelStatus(model: ModelLike, options: CallOptions = {}): Promise<ModelVersionStatus[]> {
    return this.#calls.run({ method: "getModelStatus", spec: modelSpecFrom(model) }, options, async (call) => {
      const { transport } = await this.#connector.connect(call);
      return transport.getModelStatus(call.spec, call.options);
    });
  }

  /**
   * Replace the server's whole configuration, labels included; only over gRPC, and never sent twice.
   *
   * It settles once every model that is new to the server has loaded or failed. Other changes (new versions, policies, removed models)
   * show at the server's next look at the file system: see {@link waitForModel}. A label can only be set on a version that is loaded, so
   * moving one to a new version takes two reloads.
   *
   * @throws TypeError or RangeError if the configuration has another form, or is one that would make the server refuse all later ones.
   */
  async reloadConfig(config: ModelServerConfig, options: CallOptions = {}): Promise<void> {
    assertReloadable(config);
    return this.#calls.run({ method: "reloadConfig" }, options, async (call) => {
      const { transport } = await this.#connector.connect(call);
      try {
        await transport.reloadConfig(config, call.options);
      } catch (error) {
        throw explainReload(error, config);
      }
    });
  }

  /**
   * Wait until a server serves a version of a model (the newest if none is named), also while the server still starts.
   *
   * @returns The version's status, which is `AVAILABLE`.
   * @throws RpcError with the server's code if the version failed to load, `DEADLINE_EXCEEDED` with what was last seen at the time-out.
   * @throws TypeError for a model with a label, which the server's status does not know.
   */
  async waitForModel(model: ModelLike, options: WaitOptions = {}): Promise<ModelVersionStatus> {
    const spec = modelSpecFrom(model);
    if (spec.versionLabel !== undefined) {
      throw new TypeError(
        `waitForModel ${spec.name}: a status says nothing of labels: wait for the version; getModelMetadata with the label tells which it is`,
      );
    }
    assertOptions(options);
    checkWaitOptions(options);
    const { timeoutMs = waitDefaults.timeoutMs, pollIntervalMs = waitDefaults.pollIntervalMs } = options;
    return this.#calls.run({ method: "waitForModel", spec }, { ...options, timeoutMs }, async (call) => {
      const { transport } = await this.#connector.connect(call);
      const { deadline, signal } = call.options;
      const steps = {
        now: () => performance.now(),
        sleep: (delayMs: number) => sleep(delayMs, signal),
        // A transport of the caller's own may not keep to deadlines, and one look is not to use up the whole wait.
        status: (pollDeadline: number) => {
          const limits = { ...call.options, deadline: pollDeadline, retry: false as const };
          return settleWithin(transport.getModelStatus(spec, limits), limits, () =>
            this.#calls.deadlineError(call, "looking at the status"),
          );
        },
      };
      return waitForModel(spec, { deadline, pollIntervalMs }, steps, (failure) => this.#calls.error(call, failure));
    });
  }

  /**
   * One model of this server, for calls that are all checked against its signature; a definition gives them types.
   *
   * @param model - Name, `{ name, version?, versionLabel?, signatureName? }`, or what `defineModel` made.
   * @throws TypeError or RangeError if the model or options are not valid.
   */
  model<const M extends ModelDefinition, const S extends SignatureNameOf<M> = DefaultSignatureName<M>>(
    model: M,
    options?: ModelOptions<S>,
  ): TypedModelClient<M, S>;
  model(model: ModelLike & { readonly signatures?: undefined }, options?: ModelOptions): ModelClient;
  // What a definition adds to a ModelClient is types alone.
  model(model: ModelLike | ModelDefinition, options: ModelOptions = {}): unknown {
    assertOptions(options);
    const calls: ModelCalls = {
      predict: (spec, inputs, { check, definition, batching = this.#settings.batching, ...more }) =>
        this.#predict(spec, inputs, more, { check, lookUp: check, definition, batching }),
      classify: (spec, examples, more) => this.classify(spec, examples, more),
      regress: (spec, examples, more) => this.regress(spec, examples, more),
      getModelMetadata: (spec, more) => this.getModelMetadata(spec, more),
      getModelStatus: (spec, more) => this.getModelStatus(spec, more),
      waitForModel: (spec, more) => this.waitForModel(spec, more),
    };
    const { check, batching } = this.#settings;
    return new ModelClient(calls, model, {
      ...options,
      check: options.check ?? check,
      batching: options.batching === undefined ? batching : options.batching,
    });
  }

  /** The servers that calls go to, and how they do. */
  endpoints(): readonly EndpointStatus[] {
    return this.#connector.endpoints();
  }

  /**
   * Refuse new calls, wait for running ones, free everything. May be called again, also to force what began without.
   * One thing stays: an attempt of gRPC to reach a host that does not even refuse, until the system gives up.
   *
   * @param options - `force` ends running calls with code `CANCELLED` instead of waiting for them.
   */
  async close(options: { force?: boolean } = {}): Promise<void> {
    assertOptions(options);
    this.#closing ??= this.#drainAndClose();
    if (options.force === true) this.#calls.cancelAll();
    return this.#closing;
  }

  /** {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #drainAndClose(): Promise<void> {
    await this.#calls.drain();
    await this.#connector.close();
  }

  async #predict(model: ModelLike, inputs: PredictInputs, options: PredictOptions, how: PredictHow): Promise<PredictResult> {
    const spec = modelSpecFrom(model);
    assertOptions(options);
    checkPredictOptions(options);
    const call = this.#calls.begin({ method: "predict", spec }, options);
    try {
      const batch = options.batch ?? how.batching;
      const { transport, signatures } = this.#connector.current ?? (await this.#connector.connect(call));
      const { tensors, signature } = signatures.asGiven(call, inputs, how, batch) ?? (await signatures.prepare(call, inputs, how));
      const { outputFilter, restFormat = this.#settings.restFormat } = options;
      // Spelled out: spreading them takes longer than all else the client does for a call.
      const { deadline, signal, metadata, retry } = call.options;
      try {
        const sending = transport.predict(spec, tensors, { deadline, signal, metadata, retry, batch, signature, outputFilter, restFormat });
        const result = await this.#calls.bounded(call, sending);
        signatures.forgetOldVersion(call, result);
        return result;
      } catch (error) {
        throw await signatures.explain(call, tensors, options, error);
      }
    } catch (error) {
      throw this.#calls.ownError(call, error);
    } finally {
      this.#calls.end(call);
    }
  }

  /** A call over examples. */
  async #infer<Result>(
    method: string,
    model: ModelLike,
    examples: readonly ExampleLike[],
    options: ExampleOptions,
    send: (connection: Connection, call: ModelCall, sent: CheckedExamples) => Promise<Result>,
  ): Promise<Result> {
    return this.#calls.run({ method, spec: modelSpecFrom(model) }, options, async (call) => {
      const sent = examplesFrom(examples, options.context, { method, modelSpec: call.spec });
      return send(await this.#connector.connect(call), call, sent);
    });
  }
}
