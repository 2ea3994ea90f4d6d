/**
 * What the compiler knows of a model: the types of calls, derived from a `ModelDefinition`.
 *
 * Types only. Each is a mapped or an indexed type over the definition, computed where it is first used; no type walks a shape or a
 * nesting.
 */
import type { ExampleLike } from "../example-values.js";
import type { defaultSignatureName } from "../model-spec.js";
import type { DType, dtypes, UnsupportedDType } from "../tensor/dtype.js";
import type { ReadonlyNested, Tensor } from "../tensor/tensor.js";
import type { ClassifyResult, PredictResult, RegressResult } from "../transport/transport.js";
import type { ModelClient, ModelExampleOptions, ModelPredictManyOptions, ModelPredictOptions } from "./model-client.js";
import type { InputDefinition, ModelDefinition, OutputDefinition } from "./model-definition.js";
import type { Items, PredictManyItem } from "./predict-many.js";

/** The elements that convert to a kind of dtypes; kinds that are absent take tensors only. */
interface PlainElements {
  float: number;
  int: number | bigint;
  bigint: number | bigint;
  bool: boolean;
  string: string | Uint8Array;
}

/** The typed arrays that convert to a dtype: its own, those of narrower whole numbers, and doubles, which are rounded, to float32. */
interface PlainArrays {
  float32: Float32Array | Float64Array;
  float64: Float64Array;
  int8: Int8Array;
  int16: Int8Array | Uint8Array | Int16Array;
  int32: Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array;
  int64: Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint8Array | Uint16Array;
  uint32: Uint8Array | Uint16Array | Uint32Array;
  uint64: Uint8Array | Uint16Array | Uint32Array | BigUint64Array;
}

type Lookup<Table, Key> = Key extends keyof Table ? Table[Key] : never;
type NestedUnlessNever<Plain> = [Plain] extends [never] ? never : ReadonlyNested<Plain>;

/** Tensors by dtype; none for a dtype that tensors cannot have. */
type TensorsByDType = { readonly [D in DType | UnsupportedDType]: D extends DType ? Tensor<D> : never };
/** What an input may be given as, by its dtype. */
type InputsByDType = {
  readonly [D in DType | UnsupportedDType]: D extends DType
    ? Tensor<D> | NestedUnlessNever<Lookup<PlainElements, (typeof dtypes)[D]["kind"]> | Lookup<PlainArrays, D>>
    : never;
};

/** What an input of a dtype may be given as: a tensor, an element, or elements and typed arrays in nested lists. */
export type InputOf<D extends DType | UnsupportedDType> = InputsByDType[D];

/** Makes editors show the properties of a type instead of how it was computed. */
type Simplify<T> = { [Key in keyof T]: T[Key] } & {};

type Inputs = Readonly<Record<string, InputDefinition>>;

/** Names of the inputs that have to be given. */
type RequiredName<I extends Inputs> = {
  [Name in keyof I]: I[Name] extends { readonly optional: true } | { readonly default: unknown } ? never : Name;
}[keyof I];

type NamedInputs<I extends Inputs> = Simplify<
  { readonly [Name in RequiredName<I>]: InputOf<I[Name]["dtype"]> } & {
    readonly [Name in Exclude<keyof I, RequiredName<I>>]?: InputOf<I[Name]["dtype"]>;
  }
>;

/** The value of the one input in `Names`; nothing where they are several. */
type SoleInput<I extends Inputs, Names extends keyof I> = {
  [Name in Names]: [Names] extends [Name] ? InputOf<I[Name]["dtype"]> : never;
}[Names];

type Outputs = Readonly<Record<string, OutputDefinition>>;

/**
 * Inputs and outputs of calls by signature, a table that calls look their signature up in.
 *
 * `as S` changes nothing but the cost: without it the compiler expands the types of a signature in each call anew while it does not know
 * yet which one the call names (50 models of 4 signatures: 135,000 types instead of 50,000, by `test/types/measure-many-models.ts`).
 */
type CallTypes<M extends ModelDefinition> = {
  readonly [S in SignatureNameOf<M> as S]: {
    readonly inputs:
      | NamedInputs<M["signatures"][S]["inputs"]>
      | SoleInput<M["signatures"][S]["inputs"], keyof M["signatures"][S]["inputs"]>
      | SoleInput<M["signatures"][S]["inputs"], RequiredName<M["signatures"][S]["inputs"]>>;
    readonly outputs: NamedOutputs<M["signatures"][S]["outputs"]>;
  };
};
type NamedOutputs<O extends Outputs> = { -readonly [Name in keyof O]: TensorsByDType[O[Name]["dtype"]] } & {};

/** What a parameter becomes where the call has to name a signature first; nothing has this type. */
interface SignatureNameRequired {
  readonly "this model has no default signature for the call: name one in options.signatureName": never;
}
type ExamplesFor<S> = [S] extends [never] ? SignatureNameRequired : readonly ExampleLike[];

/** Names of a model's signatures. */
export type SignatureNameOf<M extends ModelDefinition> = keyof M["signatures"] & string;

/** The signature that is called when none is named; `never` if the model has no `serving_default`. */
export type DefaultSignatureName<M extends ModelDefinition> = Extract<typeof defaultSignatureName, SignatureNameOf<M>>;

/** Names of a model's signatures that have this method name. */
type SignatureNameWith<M extends ModelDefinition, Method extends string> = {
  [S in SignatureNameOf<M>]: M["signatures"][S] extends { readonly methodName: Method } ? S : never;
}[SignatureNameOf<M>];
type ClassifyName<M extends ModelDefinition> = SignatureNameWith<M, "tensorflow/serving/classify">;
type RegressName<M extends ModelDefinition> = SignatureNameWith<M, "tensorflow/serving/regress">;

/** Inputs of a signature: values by name, or the bare value where only one input has to be given. */
export type ModelInputs<M extends ModelDefinition, S extends SignatureNameOf<M> = DefaultSignatureName<M>> = [S] extends [never]
  ? SignatureNameRequired
  : CallTypes<M>[S]["inputs"];

/** Outputs of a signature: tensors by name. */
export type ModelOutputs<M extends ModelDefinition, S extends SignatureNameOf<M> = DefaultSignatureName<M>> = CallTypes<M>[S]["outputs"];

/** The outputs that a filter lets through: all if it is empty, any of the named ones if it is not known in length. */
type FilteredOutputs<Outputs, Filter extends readonly unknown[]> = Filter extends readonly []
  ? Outputs
  : number extends Filter["length"]
    ? Simplify<Partial<Pick<Outputs, Filter[number] & keyof Outputs>>>
    : Simplify<Pick<Outputs, Filter[number] & keyof Outputs>>;

/** Options of {@link TypedModelClient.predict}. */
export interface TypedPredictOptions<S extends string, Filter extends readonly string[]>
  extends Omit<ModelPredictOptions, "signatureName" | "outputFilter"> {
  /** The signature to call. @defaultValue the client's, or `"serving_default"` */
  readonly signatureName?: S | undefined;
  /** Names of the outputs wanted. @defaultValue all of them */
  readonly outputFilter?: Filter | undefined;
}

/** Options of {@link TypedModelClient.predictMany}. */
export interface TypedPredictManyOptions<S extends string, Filter extends readonly string[], OnError extends "throw" | "yield">
  extends Omit<ModelPredictManyOptions<OnError>, "signatureName" | "outputFilter"> {
  /** The signature to call. @defaultValue the client's, or `"serving_default"` */
  readonly signatureName?: S | undefined;
  /** Names of the outputs wanted. @defaultValue all of them */
  readonly outputFilter?: Filter | undefined;
}

/** Options of {@link TypedModelClient.classify} and {@link TypedModelClient.regress}. */
export interface TypedExampleOptions<S extends string> extends Omit<ModelExampleOptions, "signatureName"> {
  /** The signature to call, one of the method's own. @defaultValue the client's, or `"serving_default"` */
  readonly signatureName?: S | undefined;
}

/** What a typed predict call answers. */
export interface TypedPredictResult<Outputs> extends Omit<PredictResult, "outputs"> {
  /** Output tensors by name, null prototype; each is the caller's own memory. */
  readonly outputs: Outputs;
}

/**
 * A `ModelClient` whose calls are typed by the model's definition.
 *
 * A model without a `serving_default` signature takes calls that name theirs.
 */
export interface TypedModelClient<M extends ModelDefinition, Default extends SignatureNameOf<M> = DefaultSignatureName<M>>
  extends Pick<ModelClient, "getModelMetadata" | "getModelStatus" | "waitForModel"> {
  /**
   * Run the model; see `ModelClient.predict`.
   *
   * @throws SignatureError also if the model that is served is no longer as it was defined: without sending anything where its signature
   *   shows it, which is looked up once for each version.
   */
  predict<
    S extends keyof M["signatures"] & string = Default,
    const Filter extends readonly (keyof ModelOutputs<M, S> & string)[] = readonly [],
  >(
    inputs: ModelInputs<M, S>,
    options?: TypedPredictOptions<S, Filter>,
  ): Promise<TypedPredictResult<FilteredOutputs<ModelOutputs<M, S>, Filter>>>;
  /** Run the model on many inputs; see `client.predictMany`. */
  predictMany<
    S extends keyof M["signatures"] & string = Default,
    const Filter extends readonly (keyof ModelOutputs<M, S> & string)[] = readonly [],
    OnError extends "throw" | "yield" = "throw",
  >(
    inputs: Items<ModelInputs<M, S>>,
    options?: TypedPredictManyOptions<S, Filter, OnError>,
  ): AsyncGenerator<PredictManyItem<OnError, TypedPredictResult<FilteredOutputs<ModelOutputs<M, S>, Filter>>>, void, undefined>;
  /** Classify examples, by a signature that has `tensorflow/serving/classify` as its method name. */
  classify<S extends ClassifyName<M> = Extract<Default, ClassifyName<M>>>(
    examples: ExamplesFor<S>,
    options?: TypedExampleOptions<S>,
  ): Promise<ClassifyResult>;
  /** Regress examples, by a signature that has `tensorflow/serving/regress` as its method name. */
  regress<S extends RegressName<M> = Extract<Default, RegressName<M>>>(
    examples: ExamplesFor<S>,
    options?: TypedExampleOptions<S>,
  ): Promise<RegressResult>;
}
