/** What the embedded server serves: signatures and a function, made by {@link servable}. */
import { ServingError } from "../errors.js";
import { mapRecord } from "../messages.js";
import { type Signature, type TensorSpec, tensorFromPlain } from "../signature.js";
import { type DType, isDType } from "../tensor/dtype.js";
import { type AnyTensor, type TensorElement, type TensorLike, type TensorOf, type TypedArray, tensorFrom } from "../tensor/tensor.js";
import type { ScoredLabel, TensorMap } from "../transport/transport.js";

/** One input or output of a {@link SignatureInit}. */
export interface TensorSpecInit {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes by dimension, `null` where any size fits; `null` as a whole: unknown rank. */
  readonly shape: readonly (number | null)[] | null;
  /** Value of an input that a gRPC request leaves out, a tensor or what converts to the dtype. */
  readonly default?: TensorLike;
  /** Name of the tensor that metadata and refusals show. @defaultValue the input's or output's name and `:0` */
  readonly tensorName?: string;
}

/** A signature as plain data. */
export interface SignatureInit {
  /** @defaultValue `"tensorflow/serving/predict"` */
  readonly methodName?: string;
  /** Inputs by name. */
  readonly inputs: Readonly<Record<string, TensorSpecInit>>;
  /** Outputs by name. */
  readonly outputs: Readonly<Record<string, Omit<TensorSpecInit, "default">>>;
}

/** What a servable is told beside its inputs. */
export interface PredictContext {
  /** The signature that was asked for. */
  readonly signatureName: string;
  /** The version under which this servable is served. */
  readonly version: bigint;
  /** Aborts when the call's deadline passes. As in the real server, a client that goes away does not abort it. */
  readonly signal: AbortSignal;
}

/** The features of one example by name, those of a shared context among them; null prototype. */
export type ExampleFeatures = Readonly<Record<string, readonly number[] | readonly bigint[] | readonly Uint8Array[]>>;

/**
 * The classes a servable sees in each example.
 *
 * @param examples - At least one; a feature without values of any kind is absent.
 */
export type ClassifyExamples = (
  examples: readonly ExampleFeatures[],
  context: PredictContext,
) => readonly (readonly ScoredLabel[])[] | Promise<readonly (readonly ScoredLabel[])[]>;

/**
 * The value a servable computes for each example.
 *
 * @param examples - At least one; a feature without values of any kind is absent.
 */
export type RegressExamples = (
  examples: readonly ExampleFeatures[],
  context: PredictContext,
) => readonly number[] | Promise<readonly number[]>;

/** A loaded model of one version: what the server calls. */
export interface Servable {
  /** Signatures by name. */
  readonly signatures: Readonly<Record<string, Signature>>;
  /**
   * Compute the outputs of one request.
   *
   * @param inputs - Every input of the signature, with its dtype; defaults are filled in. The memory is the servable's own.
   * @returns Outputs by name; plain values are converted to the dtype of the output.
   */
  predict(inputs: TensorMap, context: PredictContext): ServableOutputs | Promise<ServableOutputs>;
  /** Answers Classify in place of `predict`. */
  readonly classify?: ClassifyExamples;
  /** Answers Regress in place of `predict`. */
  readonly regress?: RegressExamples;
}

/** Outputs by name, as a {@link Servable} answers them. */
export type ServableOutputs = Readonly<Record<string, TensorLike>>;

/** Names that at least one of the signatures gives to an input. */
type InputNames<S extends Record<string, SignatureInit>> = { [Name in keyof S]: keyof S[Name]["inputs"] }[keyof S] & string;

type InputOf<S extends SignatureInit, Name extends string> = Name extends keyof S["inputs"]
  ? TensorOf<S["inputs"][Name]["dtype"]>
  : undefined;

/** Inputs of a {@link ServableDefinition}; those that only some of its signatures have may be `undefined`. */
export type InputsOf<S extends Record<string, SignatureInit>> = {
  readonly [Name in InputNames<S>]: { [Key in keyof S]: InputOf<S[Key], Name> }[keyof S];
};

/** Values without a dtype of their own that matters: they take the dtype of the output. */
type PlainOutput = TypedArray | TensorElement | readonly PlainOutput[];

/** Outputs of a {@link ServableDefinition}: those of one of its signatures. */
export type OutputsOf<S extends Record<string, SignatureInit>> = {
  [Key in keyof S]: { readonly [Name in keyof S[Key]["outputs"]]: TensorOf<S[Key]["outputs"][Name]["dtype"]> | PlainOutput };
}[keyof S];

/** What {@link servable} is made from. */
export interface ServableDefinition<S extends Record<string, SignatureInit> = Record<string, SignatureInit>> {
  /** Signatures by name; one called `serving_default` answers requests that name none. */
  readonly signatures: S;
  /**
   * Compute the outputs of one request; an error fails the call, a `ServingError` with its code and any other with `INTERNAL`.
   *
   * @param inputs - Every input of the signature, checked for its dtype (not for its shape: as in TensorFlow the model has to).
   */
  predict(inputs: InputsOf<S>, context: PredictContext): OutputsOf<S> | Promise<OutputsOf<S>>;
  /**
   * Answer Classify from decoded examples. Without it `predict` does, as a graph would: it gets the serialized examples as the string
   * tensor `inputs` and returns `classes` (string, `[examples, n]`), `scores` (float32, the same shape), or both.
   *
   * Either way the signature has to be one that TensorFlow Serving takes for Classify: one input `inputs`, and `classes` or `scores`
   * among its one or two outputs.
   */
  readonly classify?: ClassifyExamples;
  /**
   * Answer Regress from decoded examples. Without it `predict` does, from the same string tensor `inputs`, with the output `outputs`
   * (float32, `[examples]` or `[examples, 1]`).
   *
   * Either way the signature has to have one input `inputs` and one output `outputs`.
   */
  readonly regress?: RegressExamples;
}

/**
 * A model for the embedded server from plain signatures and a function.
 *
 * @throws TypeError if a signature is malformed; TensorError if a default does not fit its dtype.
 */
export function servable<const S extends Record<string, SignatureInit>>(definition: ServableDefinition<S>): Servable {
  if (typeof definition?.predict !== "function") throw new TypeError("servable: expected a function predict(inputs, context)");
  if (typeof definition.signatures !== "object" || definition.signatures === null) {
    throw new TypeError("servable: expected signatures as a record { name: { inputs, outputs } }");
  }
  for (const name of ["classify", "regress"] as const) {
    const given: unknown = definition[name];
    if (given !== undefined && typeof given !== "function") {
      throw new TypeError(`servable: expected a function ${name}(examples, context), got ${given === null ? "null" : typeof given}`);
    }
  }
  const { classify, regress } = definition;
  const signatures = mapRecord<SignatureInit, Signature>(definition.signatures, (init, name) => ({
    methodName: init.methodName ?? "tensorflow/serving/predict",
    inputs: mapRecord(init.inputs ?? {}, (spec, input) => tensorSpec(spec, `signature "${name}", input "${input}"`)),
    outputs: mapRecord(init.outputs ?? {}, (spec, output) => tensorSpec(spec, `signature "${name}", output "${output}"`)),
  }));
  return {
    signatures,
    // The server hands over exactly the inputs of the signature with their dtypes, which the narrower type says name by name.
    predict: (inputs, context) => definition.predict(inputs as InputsOf<S>, context) as ServableOutputs | Promise<ServableOutputs>,
    ...(classify === undefined ? {} : { classify: classify.bind(definition) }),
    ...(regress === undefined ? {} : { regress: regress.bind(definition) }),
  };
}

/** Whether a value is a servable, made by {@link servable} or by hand. */
export function isServable(value: unknown): value is Servable {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as Partial<Servable>).predict === "function" &&
    typeof (value as Partial<Servable>).signatures === "object"
  );
}

/** The outputs a servable answered as tensors of the signature's dtypes; a difference is the servable's fault. */
export function tensorsFromOutputs(
  answer: unknown,
  signature: Signature,
  wanted: readonly string[],
  subject: string,
): Record<string, AnyTensor> {
  const fault = (text: string, cause?: unknown) => new ServingError(`${subject}: ${text}`, { code: "INTERNAL", cause });
  if (typeof answer !== "object" || answer === null) throw fault("predict returned no record of outputs");
  const unknown = Object.keys(answer).find((name) => !Object.hasOwn(signature.outputs, name));
  if (unknown !== undefined) throw fault(`predict returned the output "${unknown}", which is not in the signature`);
  const tensors: Record<string, AnyTensor> = Object.create(null);
  for (const name of wanted) {
    const dtype = signature.outputs[name]?.dtype;
    const value = (answer as ServableOutputs)[name];
    if (value === undefined) throw fault(`predict returned no output "${name}"`);
    if (!isDType(dtype)) throw fault(`the signature gives the output "${name}" the dtype ${dtype}, which no tensor has`);
    try {
      tensors[name] = tensorFromPlain(value, { dtype, shape: null }, `output "${name}"`).as(dtype) as AnyTensor;
    } catch (cause) {
      throw fault(`predict returned a wrong output "${name}": ${cause instanceof Error ? cause.message : String(cause)}`, cause);
    }
  }
  return tensors;
}

function tensorSpec(init: TensorSpecInit, what: string): TensorSpec {
  if (!isDType(init?.dtype)) throw new TypeError(`${what}: expected a dtype such as "float32", got ${String(init?.dtype)}`);
  const sizes = init.shape === null ? [] : init.shape;
  if (!Array.isArray(sizes) || !sizes.every((size) => size === null || (Number.isSafeInteger(size) && size >= 0))) {
    throw new TypeError(`${what}: expected shape as a list of sizes, null where any size fits, or null for any rank`);
  }
  const name = init.tensorName === undefined ? {} : { tensorName: init.tensorName };
  const spec = { dtype: init.dtype, shape: init.shape === null ? null : Object.freeze([...sizes]), ...name };
  return init.default === undefined ? spec : { ...spec, default: tensorFrom(init.default, init.dtype) };
}
