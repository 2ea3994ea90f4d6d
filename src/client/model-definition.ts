/** Models described by data: what `tfserving types` writes and what the types of a `TypedModelClient` are derived from. */
import { type ModelSpec, modelSpecFrom } from "../model-spec.js";
import { describeNotPlain, isPlainObject } from "../plain-object.js";
import { type InputValue, tensorFromPlain } from "../signature.js";
import { type DType, dtypeFromWire, dtypeToWire, isDType, type UnsupportedDType } from "../tensor/dtype.js";
import { formatShape, shapeFits } from "../tensor/shape.js";
import { type AnyTensor, isTensor } from "../tensor/tensor.js";
import { describe } from "../tensor/values.js";

/** An output of a {@link SignatureDefinition}. */
export interface OutputDefinition {
  /** Element type. */
  readonly dtype: DType | UnsupportedDType;
  /** Sizes by dimension, `null` where any size fits; `null` as a whole: unknown rank. */
  readonly shape: readonly (number | null)[] | null;
}

/**
 * An input of a {@link SignatureDefinition}.
 *
 * One that the model has a default for may be left out of a call. The definition says so with the default itself, or with `optional`
 * where the default is too large to be written down. Either way the value that counts is the server's: the one here is for the reader.
 */
export interface InputDefinition extends OutputDefinition {
  /** The model's default: a tensor, or a plain value that converts to the dtype. */
  readonly default?: InputValue;
  /** The model has a default. */
  readonly optional?: true;
}

/** A signature as data. */
export interface SignatureDefinition {
  /** @defaultValue `"tensorflow/serving/predict"` */
  readonly methodName?: string;
  /** Inputs by name. */
  readonly inputs: Readonly<Record<string, InputDefinition>>;
  /** Outputs by name. */
  readonly outputs: Readonly<Record<string, OutputDefinition>>;
}

/** A model as data: its name, optionally the version or label to call, and its signatures by name. */
export type ModelDefinition = ModelSpec & {
  /** The signature to call is chosen in the options of `client.model(definition, options)` or of a call. */
  readonly signatureName?: undefined;
  readonly signatures: Readonly<Record<string, SignatureDefinition>>;
};

/**
 * A model whose inputs and outputs the compiler knows: `client.model(definition)` derives its types from this data.
 *
 * The data comes back as it is, checked and frozen (tensors and typed arrays excepted). A name that JavaScript treats specially is
 * written as a computed key: `["__proto__"]: ...`.
 *
 * @throws TypeError naming what is wrong and where; RangeError if the version is out of range.
 */
export function defineModel<const M extends ModelDefinition>(definition: M): M {
  assertModelDefinition(definition);
  deepFreeze(definition);
  return definition;
}

/** The method name of a signature. */
export function methodNameOf({ methodName = "tensorflow/serving/predict" }: SignatureDefinition): string {
  return methodName;
}

/** Whether what stands for a model is a definition rather than a name or spec. */
export function isModelDefinition(model: string | ModelSpec | ModelDefinition): model is ModelDefinition {
  return typeof model === "object" && model !== null && Object.hasOwn(model, "signatures");
}

/**
 * Check a definition that the compiler may not have seen.
 *
 * @throws TypeError naming what is wrong and where; RangeError if the version is out of range.
 */
export function assertModelDefinition(definition: ModelDefinition): void {
  const { name, signatureName } = modelSpecFrom(definition);
  const model = `model ${JSON.stringify(name)}`;
  if (signatureName !== undefined) throw new TypeError(`${model}: signatureName goes into the options of client.model() or of a call`);
  for (const [signatureKey, signature] of entriesOf(definition.signatures, `${model}: signatures`)) {
    const what = `${model}: signature ${JSON.stringify(signatureKey)}`;
    assertRecord(signature, what);
    const { methodName, inputs, outputs } = signature as Partial<Record<keyof SignatureDefinition, unknown>>;
    if (methodName !== undefined && typeof methodName !== "string") throw expected(`${what}: methodName`, "a string", methodName);
    for (const [key, spec] of entriesOf(inputs, `${what}: inputs`)) assertInput(spec, `${what}, input ${JSON.stringify(key)}`);
    for (const [key, spec] of entriesOf(outputs, `${what}: outputs`)) assertOutput(spec, `${what}, output ${JSON.stringify(key)}`);
  }
}

function assertOutput(spec: unknown, what: string): asserts spec is OutputDefinition {
  assertRecord(spec, what);
  const { dtype, shape } = spec;
  const isKnown = typeof dtype === "string" && (isDType(dtype) || dtypeFromWire(dtypeToWire(dtype as UnsupportedDType)) === dtype);
  if (!isKnown) throw expected(`${what}: dtype`, 'one such as "float32"', dtype);
  const isShape =
    shape === null || (Array.isArray(shape) && shape.every((size) => size === null || (Number.isSafeInteger(size) && size >= 0)));
  if (!isShape) throw expected(`${what}: shape`, "a list of sizes, null where any size fits, or null for any rank", shape);
}

function assertInput(spec: unknown, what: string): asserts spec is InputDefinition {
  assertOutput(spec, what);
  const { optional, default: value, dtype, shape } = spec as InputDefinition;
  if (optional !== undefined && optional !== true) throw expected(`${what}: optional`, "true or nothing", optional);
  if (value !== undefined) assertDefault(value, { dtype, shape }, `${what}: default`);
}

function assertDefault(value: InputValue, spec: OutputDefinition, what: string): void {
  const wanted = `${spec.dtype} ${formatShape(spec.shape)}`;
  let given: AnyTensor;
  try {
    given = tensorFromPlain(value, spec, what);
  } catch (cause) {
    throw new TypeError(`${what}: expected ${wanted}, got what does not convert to it`, { cause });
  }
  if (given.dtype === spec.dtype && shapeFits(given.shape, spec.shape)) return;
  throw new TypeError(`${what}: expected ${wanted}, got ${given.dtype} ${formatShape(given.shape)}`);
}

function entriesOf(record: unknown, what: string): [string, unknown][] {
  assertRecord(record, what);
  return Object.entries(record);
}

function assertRecord(value: unknown, what: string): asserts value is Readonly<Record<string, unknown>> {
  if (!isPlainObject(value)) throw new TypeError(`${what}: expected a plain object, got ${describeNotPlain(value)}`);
}

function expected(what: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`${what}: expected ${wanted}, got ${describe(value)}`);
}

function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  // The engine refuses to freeze elements of typed arrays.
  if (ArrayBuffer.isView(value) || isTensor(value)) return;
  Object.freeze(value);
  for (const child of Object.values(value)) deepFreeze(child);
}
