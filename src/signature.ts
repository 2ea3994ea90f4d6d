/** Signatures of a model: names, dtypes and shapes of its inputs and outputs; checking and converting inputs against one. */
import { SignatureError } from "./errors.js";
import { type DType, dtypes, isDType, type UnsupportedDType } from "./tensor/dtype.js";
import { bfloat16FromNumber, float16FromNumber } from "./tensor/float16.js";
import { quotedName, quotedNames } from "./tensor/names.js";
import { elementCount, formatShape, maxRank, shapeFits } from "./tensor/shape.js";
import {
  type AnyTensor,
  isTensor,
  type ReadonlyNested,
  type TensorElement,
  type TensorLike,
  type TypedArray,
  tensor,
} from "./tensor/tensor.js";
import { isBytes } from "./tensor/values.js";

/** What a signature says about one input or output. */
export interface TensorSpec {
  /** Element type. */
  readonly dtype: DType | UnsupportedDType;
  /** Sizes by dimension, `null` where any size fits; `null` as a whole: unknown rank. */
  readonly shape: readonly (number | null)[] | null;
  /** Value the server uses when the input is left out over gRPC. */
  readonly default?: AnyTensor;
  /** Name of the graph's tensor where a servable tells it: the embedded server shows it in metadata and refusals. Clients read none. */
  readonly tensorName?: string;
}

/** The name of the graph's tensor, by default the one an exported model would have: `x:0` for `x`. */
export function tensorNameOf(name: string, spec: TensorSpec | undefined): string {
  return spec?.tensorName ?? `${name}:0`;
}

/** One callable signature of a model. */
export interface Signature {
  /** Such as `tensorflow/serving/predict`. */
  readonly methodName: string;
  /** Inputs by name, null prototype. */
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  /** Outputs by name, null prototype. */
  readonly outputs: Readonly<Record<string, TensorSpec>>;
}

/** What an input may be given as: whatever {@link tensorFromPlain} converts, typed arrays as rows of a list included. */
export type InputValue = TensorLike | ReadonlyNested<TensorElement | TypedArray>;

/** Every way in which inputs differ from a signature, one sentence each; empty where they fit. */
export function inputDifferences(signature: Signature, inputs: Readonly<Record<string, AnyTensor>>): string[] {
  const differences = nameDifferences(signature, inputs);
  for (const [name, input] of Object.entries(inputs)) {
    const spec = ownSpec(signature.inputs, name);
    if (spec === undefined || (input.dtype === spec.dtype && shapeFits(input.shape, spec.shape))) continue;
    differences.push(`input ${quotedName(name)}: expected ${formatSpec(spec)}, got ${input.dtype} ${formatShape(input.shape)}`);
  }
  return differences;
}

/**
 * Check names, dtypes, rank and fixed dimensions of inputs; inputs with a default may be left out.
 *
 * @param subject - What was tried, as it stands at the start of the message, such as `predict digits`.
 * @throws SignatureError listing every difference.
 */
export function assertInputsFit(signature: Signature, inputs: Readonly<Record<string, AnyTensor>>, subject: string): void {
  const differences = inputDifferences(signature, inputs);
  if (differences.length > 0) throw new SignatureError(subject, differences);
}

/** Wanted outputs that the signature does not have, one sentence each. */
export function outputFilterDifferences(signature: Signature, outputFilter: readonly string[]): string[] {
  return outputFilter
    .filter((name) => ownSpec(signature.outputs, name) === undefined)
    .map((name) => `output ${quotedName(name)} is not in the signature, whose outputs are ${quotedNames(Object.keys(signature.outputs))}`);
}

/**
 * Tensors from plain values, each converted to the dtype of its input.
 *
 * @param inputs - Values by input name; a `Tensor` is passed on as it is.
 * @param subject - What was tried, as it stands at the start of the message, such as `predict digits`.
 * @param options - `check: false` leaves names and shapes to the server; what cannot be converted is refused all the same.
 * @throws SignatureError listing every difference.
 */
export function inputsFromPlain(
  signature: Signature,
  inputs: Readonly<Record<string, InputValue>>,
  subject: string,
  options: { check: boolean },
): Record<string, AnyTensor> {
  const differences = options.check ? nameDifferences(signature, inputs) : [];
  const tensors: Record<string, AnyTensor> = Object.create(null);
  for (const [name, value] of Object.entries(inputs)) {
    const spec = ownSpec(signature.inputs, name);
    if (spec === undefined) {
      // With `check` the unknown name is listed already; without it there is no dtype to convert to.
      if (!isTensor(value)) {
        if (!options.check)
          differences.push(...nameDifferences(signature, inputs).filter((text) => text.startsWith(`input ${quotedName(name)}`)));
      } else tensors[name] = value;
      continue;
    }
    const converted = convertPlain(value, spec);
    if (typeof converted === "string") {
      differences.push(`input ${quotedName(name)}: ${converted}`);
      continue;
    }
    const misfit = options.check ? plainMisfit(value, converted, spec) : undefined;
    if (misfit === undefined) tensors[name] = converted;
    else differences.push(`input ${quotedName(name)}: ${misfit}`);
  }
  if (differences.length > 0) throw new SignatureError(subject, differences);
  return tensors;
}

/**
 * One plain value as a tensor of a spec's dtype; its shape comes from the nesting and is not compared with the spec.
 *
 * Numbers become float kinds (rounded) or, where they are whole and in range, integers; bigints integers; booleans bool; strings string.
 * A typed array becomes the same dtype (not copied), a wider integer dtype, or float32 if it is a `Float64Array`. A `Uint8Array` is one
 * element where the dtype is string.
 *
 * @param what - Which value, as it stands in the message, such as `input "x"`.
 * @throws SignatureError if the value does not fit the dtype or is not rectangular.
 */
export function tensorFromPlain(value: InputValue, spec: TensorSpec, what: string): AnyTensor {
  const converted = convertPlain(value, spec);
  if (typeof converted === "string") throw new SignatureError(what, [converted]);
  return converted;
}

/**
 * The name that a bare value stands for: the only input, or the only one without a default.
 *
 * @throws SignatureError if there is no such input.
 */
export function soleInputName(signature: Signature, subject: string): string {
  const names = Object.keys(signature.inputs);
  const required = names.filter((name) => signature.inputs[name]?.default === undefined);
  const [name] = names.length === 1 ? names : required;
  if (name === undefined || (names.length > 1 && required.length > 1)) {
    throw new SignatureError(subject, [
      `a bare value needs a signature with one input, this one has ${quotedNames(names)}: pass a record { name: value }`,
    ]);
  }
  return name;
}

/** Own properties only, so that an input named `constructor` finds nothing in a plain object. */
function ownSpec(specs: Readonly<Record<string, TensorSpec>>, name: string): TensorSpec | undefined {
  return Object.hasOwn(specs, name) ? specs[name] : undefined;
}

function nameDifferences(signature: Signature, inputs: Readonly<Record<string, unknown>>): string[] {
  const known = quotedNames(Object.keys(signature.inputs));
  const differences = Object.keys(inputs)
    .filter((name) => ownSpec(signature.inputs, name) === undefined)
    .map((name) => `input ${quotedName(name)} is not in the signature, whose inputs are ${known}`);
  for (const [name, spec] of Object.entries(signature.inputs)) {
    if (spec.default !== undefined || Object.hasOwn(inputs, name)) continue;
    differences.push(`input ${quotedName(name)} is missing: expected ${formatSpec(spec)}; the signature's inputs are ${known}`);
  }
  return differences;
}

function formatSpec(spec: TensorSpec): string {
  return `${spec.dtype} ${formatShape(spec.shape)}`;
}

/** Why a converted value does not fit; a plain value that only lacks the batch dimension is told how to get one. */
function plainMisfit(value: InputValue, converted: AnyTensor, spec: TensorSpec): string | undefined {
  if (converted.dtype === spec.dtype && shapeFits(converted.shape, spec.shape)) return undefined;
  if (!isTensor(value) && spec.shape !== null && spec.shape.length > 0 && shapeFits([1, ...converted.shape], spec.shape)) {
    return `${formatShape(converted.shape)} given, ${formatShape(spec.shape)} expected: wrap it as [x]`;
  }
  return `expected ${formatSpec(spec)}, got ${converted.dtype} ${formatShape(converted.shape)}`;
}

/**
 * The dtype each typed array has by itself, by the array's name, which also holds for arrays from another realm (Jest). Dtypes that
 * share a storage type, such as the quantized ones, come from tensors only.
 */
const typedArrayDTypes: ReadonlyMap<string, DType> = new Map(
  (Object.keys(dtypes) as DType[])
    .map((dtype): [string, DType] => [dtypes[dtype].array.name, dtype])
    .filter(([array, dtype]) => array.replace("Big", "").toLowerCase() === `${dtype}array`),
);

function typedArrayDType(value: unknown): DType | undefined {
  if (!ArrayBuffer.isView(value)) return undefined;
  // `Symbol.toStringTag` of a Buffer is "Uint8Array", its constructor's name is not.
  return typedArrayDTypes.get((value as unknown as { [Symbol.toStringTag]: string })[Symbol.toStringTag]);
}

/** A tensor, or why there is none. Works on one path through the nesting for the shape, then checks every branch against it. */
function convertPlain(value: InputValue, spec: TensorSpec): AnyTensor | string {
  if (isTensor(value)) return value;
  const { dtype } = spec;
  if (!isDType(dtype)) return `expected ${formatSpec(spec)}, which no value can be converted to`;
  const leaf = leafWriters[dtypes[dtype].kind]?.(dtype);
  if (leaf === undefined) return `expected ${formatSpec(spec)}, which takes only a Tensor, got ${describe(value)}`;
  const shape = shapeOf(value, dtype);
  if (shape.length > maxRank) return `expected ${formatSpec(spec)}, got values nested more than ${maxRank} deep`;
  if (typedArrayDType(value) === dtype && shape.length === 1) return tensor(dtype, shape, value as never) as AnyTensor;
  const values: Values = dtype === "string" ? [] : (new dtypes[dtype].array(elementCount(shape)) as Values);
  const problem = fill(values, value, { dtype, shape, leaf, path: [] }, 0, 0);
  // The values were made for this dtype above; the compiler cannot follow that through the table.
  return typeof problem === "string" ? problem : (tensor(dtype, shape, values as never) as AnyTensor);
}

/** Destination of a conversion, seen as what takes an element by index. */
type Values = { [index: number]: unknown; readonly length: number };

function shapeOf(value: unknown, dtype: DType): number[] {
  const shape: number[] = [];
  let node = value;
  while (Array.isArray(node) && shape.length <= maxRank) {
    shape.push(node.length);
    node = node[0];
  }
  if (isRow(node, dtype)) shape.push(node.length);
  return shape;
}

/** Whether a node is a typed array that stands for a row of elements; bytes are one element where strings are wanted. */
function isRow(node: unknown, dtype: DType): node is TypedArray {
  return dtype !== "string" && typedArrayDType(node) !== undefined;
}

interface Filling {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly leaf: LeafWriter;
  /** Where the walk is, for messages. */
  readonly path: number[];
}

/** Write one node and all below it from `at` on; the index after it, or what is wrong. */
function fill(values: Values, node: unknown, filling: Filling, depth: number, at: number): number | string {
  const { dtype, shape, leaf, path } = filling;
  if (depth === shape.length) {
    const element = Array.isArray(node) || isRow(node, dtype) ? undefined : leaf(node);
    if (element === undefined) return `expected ${dtype}, got ${describe(node)}${formatPath(path)}`;
    values[at] = element;
    return at + 1;
  }
  const expected = shape[depth] as number;
  if (isRow(node, dtype) && depth === shape.length - 1) return fillRow(values, node, filling, at);
  if (!Array.isArray(node)) return `expected a list of ${expected}, got ${describe(node)}${formatPath(path)}`;
  if (node.length !== expected) return `expected a list of ${expected} as in the first row, got one of ${node.length}${formatPath(path)}`;
  let next = at;
  for (let i = 0; i < node.length; i++) {
    path.push(i);
    const after = fill(values, node[i], filling, depth + 1, next);
    if (typeof after === "string") return after;
    path.pop();
    next = after;
  }
  return next;
}

function fillRow(values: Values, row: TypedArray, { dtype, shape, path }: Filling, at: number): number | string {
  const expected = shape.at(-1) as number;
  if (row.length !== expected) return `expected a row of ${expected} as in the first one, got one of ${row.length}${formatPath(path)}`;
  const from = typedArrayDType(row) as DType;
  if (!widens(from, dtype)) return `expected ${dtype}, got ${row.constructor.name}${formatPath(path)}`;
  if (dtypes[dtype].kind === "bigint" && dtypes[from].kind === "int") {
    for (let i = 0; i < row.length; i++) values[at + i] = BigInt(row[i] as number);
  } else {
    (values as unknown as { set(source: TypedArray, offset: number): void }).set(row, at);
  }
  return at + row.length;
}

/** Whether every value of one dtype is taken by another: the same, a wider integer, or float64 rounded to float32. */
function widens(from: DType, to: DType): boolean {
  if (from === to || (from === "float64" && to === "float32")) return true;
  const source = integerRange(from);
  const target = integerRange(to);
  return source !== undefined && target !== undefined && target.min <= source.min && source.max <= target.max;
}

function integerRange(dtype: DType): { min: bigint; max: bigint } | undefined {
  if (dtype === "int64") return { min: -(2n ** 63n), max: 2n ** 63n - 1n };
  if (dtype === "uint64") return { min: 0n, max: 2n ** 64n - 1n };
  const info = dtypes[dtype];
  return info.kind === "int" ? { min: BigInt(info.min), max: BigInt(info.max) } : undefined;
}

/** The element as it is stored, or `undefined` if the dtype does not take it. */
type LeafWriter = (value: unknown) => number | bigint | string | Uint8Array | undefined;

/** How elements of each kind are converted; kinds that are absent take tensors only. */
const leafWriters: Partial<Record<string, (dtype: DType) => LeafWriter>> = {
  float: (dtype) => {
    const convert = dtype === "float16" ? float16FromNumber : dtype === "bfloat16" ? bfloat16FromNumber : (value: number) => value;
    return (value) => (typeof value === "number" ? convert(value) : undefined);
  },
  int: (dtype) => {
    const range = integerRange(dtype);
    const min = Number(range?.min);
    const max = Number(range?.max);
    return (value) => {
      const number = typeof value === "bigint" ? Number(value) : value;
      return typeof number === "number" && Number.isInteger(number) && min <= number && number <= max ? number : undefined;
    };
  },
  bigint: (dtype) => {
    const range = integerRange(dtype);
    return (value) => {
      const integer = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
      const inRange = typeof integer === "bigint" && range !== undefined && range.min <= integer && integer <= range.max;
      return inRange ? integer : undefined;
    };
  },
  bool: () => (value) => (typeof value === "boolean" ? Number(value) : undefined),
  string: () => (value) => (typeof value === "string" || isBytes(value) ? value : undefined),
};

function formatPath(path: readonly number[]): string {
  return path.length === 0 ? "" : ` at [${path.join(", ")}]`;
}

/** A value as it stands in messages. */
function describe(value: unknown): string {
  if (typeof value === "string")
    return value.length > 40 ? `a string of ${value.length} characters` : `the string ${JSON.stringify(value)}`;
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${value.byteLength} bytes`;
  return typeof value === "number" || typeof value === "boolean" || value === null || value === undefined ? String(value) : typeof value;
}
