/** One model of a server: what every call repeats is said once, and every call is checked against the model's signature. */
import { formatCall, SignatureError } from "../errors.js";
import type { ExampleLike } from "../example-values.js";
import { type ModelSpec, modelSpecFrom, signatureNameOf } from "../model-spec.js";
import { assertOptionNames } from "../option-checks.js";
import type { PredictInputs } from "../predict-inputs.js";
import { quotedNames } from "../tensor/names.js";
import type {
  BatchingOptions,
  ClassifyResult,
  ModelMetadata,
  ModelVersionStatus,
  PredictResult,
  RegressResult,
} from "../transport/transport.js";
import { assertOptions } from "./calls.js";
import { assertModelDefinition, isModelDefinition, type ModelDefinition, type SignatureDefinition } from "./model-definition.js";
import { type CallOptions, checkBatching, type ExampleOptions, type PredictOptions, type WaitOptions } from "./options.js";
import { type Items, type PredictManyItem, type PredictManyOptions, type PredictOne, predictMany } from "./predict-many.js";

/** Version or label, as a {@link ModelSpec} has them: not both. */
type VersionChoice<Spec = ModelSpec> = Spec extends ModelSpec ? Pick<Spec, "version" | "versionLabel"> : never;

/** Options of `client.model()`. */
export type ModelOptions<SignatureName extends string = string> = VersionChoice & {
  /** The signature of calls that name none. @defaultValue the model's, or `"serving_default"` */
  readonly signatureName?: SignatureName | undefined;
  /** Compare inputs with the signature before sending. @defaultValue the client's `check` */
  readonly check?: boolean | undefined;
  /** How predict calls share requests. @defaultValue the client's `batching` */
  readonly batching?: BatchingOptions | undefined;
};

/** What calls of a {@link ModelClient} may choose. */
interface SignatureChoice {
  /** The signature to call. @defaultValue the one given to `client.model()`, or `"serving_default"` */
  readonly signatureName?: string | undefined;
}

/** Options of {@link ModelClient.predict}. */
export interface ModelPredictOptions extends PredictOptions, SignatureChoice {}

/** Options of {@link ModelClient.classify} and {@link ModelClient.regress}. */
export interface ModelExampleOptions extends ExampleOptions, SignatureChoice {}

/** Options of {@link ModelClient.predictMany}. */
export interface ModelPredictManyOptions<OnError extends "throw" | "yield" = "throw" | "yield">
  extends PredictManyOptions<OnError>,
    SignatureChoice {}

/** A predict call of a {@link ModelClient}. */
interface ModelPredictCall extends PredictOptions {
  /** Whether the signature is always looked up, and inputs are held against it; without, as little as the transport allows. */
  readonly check: boolean;
  /** What the signature has to be, for those who look it up. */
  readonly definition: SignatureDefinition | undefined;
  readonly batching: BatchingOptions | undefined;
}

/** What a {@link ModelClient} needs of the client that made it. */
export interface ModelCalls {
  predict(model: ModelSpec, inputs: PredictInputs, options: ModelPredictCall): Promise<PredictResult>;
  classify(model: ModelSpec, examples: readonly ExampleLike[], options: ExampleOptions): Promise<ClassifyResult>;
  regress(model: ModelSpec, examples: readonly ExampleLike[], options: ExampleOptions): Promise<RegressResult>;
  getModelMetadata(model: ModelSpec, options?: CallOptions): Promise<ModelMetadata>;
  getModelStatus(model: ModelSpec, options?: CallOptions): Promise<ModelVersionStatus[]>;
  waitForModel(model: ModelSpec, options?: WaitOptions): Promise<ModelVersionStatus>;
}

/**
 * One model of a server. Made by `client.model()`, whose connection and cache of signatures it shares; there is nothing to close.
 *
 * Unlike `client.predict` it checks tensors too before they are sent, over every transport: names, dtypes, rank and fixed dimensions.
 */
export class ModelClient {
  readonly #calls: ModelCalls;
  readonly #spec: ModelSpec;
  readonly #check: boolean;
  readonly #batching: BatchingOptions | undefined;
  readonly #definition: ModelDefinition | undefined;

  /** @internal `client.model()` makes it, with its own `check` where the options have none. */
  constructor(calls: ModelCalls, model: string | ModelSpec | ModelDefinition, options: ModelOptions & { readonly check: boolean }) {
    this.#calls = calls;
    this.#spec = specFrom(model, options);
    assertOptionNames(options, {
      known: { version: true, versionLabel: true, signatureName: true, check: true, batching: true },
    });
    if (options.batching !== undefined) checkBatching(options.batching);
    this.#batching = options.batching;
    this.#check = checkedFlag(options.check);
    if (!isModelDefinition(model)) return;
    assertModelDefinition(model);
    this.#definition = model;
  }

  /**
   * Run the model.
   *
   * @param inputs - Values by input name, or the bare value for a model with one input; plain values are converted to the signature's dtypes.
   * @throws SignatureError listing every difference if inputs do not fit the signature; nothing is sent.
   * @throws RpcError if the server or the connection refuses the call, or time runs out (`DEADLINE_EXCEEDED`).
   */
  async predict(inputs: PredictInputs, options: ModelPredictOptions = {}): Promise<PredictResult> {
    assertOptions(options);
    const { signatureName, ...callOptions } = options;
    return this.#predict(this.#specFor(signatureName), inputs, callOptions, this.#batching);
  }

  /** Run the model on many inputs, some at a time, while the results are asked for; see `client.predictMany`. */
  predictMany<OnError extends "throw" | "yield" = "throw">(
    inputs: Items,
    options: ModelPredictManyOptions<OnError> = {},
  ): AsyncGenerator<PredictManyItem<OnError>, void, undefined> {
    assertOptions(options);
    const { signatureName, ...manyOptions } = options;
    const spec = this.#specFor(signatureName);
    const predict: PredictOne<PredictInputs, PredictResult> = (item, { batching = this.#batching, ...more }) =>
      this.#predict(spec, item, more, batching);
    return predictMany(predict, inputs, manyOptions, this.#batching);
  }

  async #predict(
    spec: ModelSpec,
    inputs: PredictInputs,
    options: PredictOptions,
    batching: BatchingOptions | undefined,
  ): Promise<PredictResult> {
    const definition = this.#definition !== undefined && this.#check ? signatureIn(this.#definition, spec) : undefined;
    const result = await this.#calls.predict(spec, inputs, { ...options, check: this.#check, definition, batching });
    // The signature was compared before, but a new version may have taken over between.
    if (definition !== undefined) assertOutputsAsDefined(definition, result, options.outputFilter ?? [], spec);
    return result;
  }

  /** Classify examples; see `client.classify`. */
  async classify(examples: readonly ExampleLike[], options: ModelExampleOptions = {}): Promise<ClassifyResult> {
    assertOptions(options);
    const { signatureName, ...callOptions } = options;
    return this.#calls.classify(this.#specFor(signatureName), examples, callOptions);
  }

  /** Regress examples; see `client.regress`. */
  async regress(examples: readonly ExampleLike[], options: ModelExampleOptions = {}): Promise<RegressResult> {
    assertOptions(options);
    const { signatureName, ...callOptions } = options;
    return this.#calls.regress(this.#specFor(signatureName), examples, callOptions);
  }

  /** The model's signatures, and the version they belong to. Always asks the server. */
  async getModelMetadata(options?: CallOptions): Promise<ModelMetadata> {
    return this.#calls.getModelMetadata(this.#spec, options);
  }

  /** State of every version of the model, or of its one version where that was given. */
  async getModelStatus(options?: CallOptions): Promise<ModelVersionStatus[]> {
    return this.#calls.getModelStatus(this.#spec, options);
  }

  /** Wait until the model is available; see `client.waitForModel`. */
  async waitForModel(options?: WaitOptions): Promise<ModelVersionStatus> {
    return this.#calls.waitForModel(this.#spec, options);
  }

  #specFor(signatureName: string | undefined): ModelSpec {
    return signatureName === undefined ? this.#spec : { ...this.#spec, signatureName };
  }
}

/** The model with the options' choices over its own: a version or label replaces both. */
function specFrom(model: string | ModelSpec, options: ModelOptions): ModelSpec {
  const { name, version, versionLabel, signatureName } = modelSpecFrom(model);
  const isChosen = options.version !== undefined || options.versionLabel !== undefined;
  const chosen = isChosen ? { version: options.version, versionLabel: options.versionLabel } : { version, versionLabel };
  const merged = { name, ...chosen, signatureName: options.signatureName ?? signatureName };
  // Errors show the spec, which has only what was given. Both of version and label, which the types exclude, are refused here.
  return modelSpecFrom(Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)) as unknown as ModelSpec);
}

function checkedFlag(check: unknown): boolean {
  if (typeof check !== "boolean") throw new TypeError(`check: expected a boolean, got ${typeof check}`);
  return check;
}

/** The definition of the signature that a spec names, which a caller without a compiler may have got wrong. */
function signatureIn({ signatures }: ModelDefinition, spec: ModelSpec): SignatureDefinition {
  const name = signatureNameOf(spec);
  const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
  if (signature !== undefined) return signature;
  throw new SignatureError(formatCall("predict", spec), [
    `the definition has no signature "${name}", only ${quotedNames(Object.keys(signatures))}`,
  ]);
}

/** What the compiler was told about the outputs has to be true, or the caller would read one dtype's values as another's. */
function assertOutputsAsDefined({ outputs }: SignatureDefinition, result: PredictResult, filter: readonly string[], spec: ModelSpec): void {
  const differences: string[] = [];
  for (const [name, { dtype }] of Object.entries(outputs)) {
    if (filter.length > 0 && !filter.includes(name)) continue;
    const answered = result.outputs[name]?.dtype ?? "no such output";
    if (answered !== dtype) differences.push(`output "${name}": the definition says ${dtype}, the server answered ${answered}`);
  }
  if (differences.length > 0) throw new SignatureError(formatCall("predict", spec), differences);
}
