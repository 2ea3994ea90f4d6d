/** Tensors: an element type, a shape and flat row-major values; their builders and their conversions. */
import { TensorError } from "../errors.js";
import { type DType, dtypes, isDType, type ValuesOf } from "./dtype.js";
import { numberFromBfloat16, numberFromFloat16 } from "./float16.js";
import { elementCount, formatShape, maxRank } from "./shape.js";
import { describe, isBytes, type LongLike, position, typedArrayName, valuesFor } from "./values.js";

/** Found on tensors of every copy of this package, so that two installed versions understand each other. */
const brand = Symbol.for("tfserving.Tensor");
const inspectCustom = Symbol.for("nodejs.util.inspect.custom");

/** Lists that `toNested()` makes at most for a tensor without elements; the shape of an answer must not decide how much memory goes. */
const maxEmptyLists = 1_000_000;

type KindOf<D extends DType> = (typeof dtypes)[D]["kind"];

/** What {@link tensor} accepts beside the typed array itself. */
type ConvertibleValues<D extends DType> = D extends "float16" | "bfloat16"
  ? readonly number[] | Float32Array
  : KindOf<D> extends "float" | "int"
    ? readonly number[]
    : KindOf<D> extends "bigint"
      ? readonly (bigint | number | LongLike)[]
      : KindOf<D> extends "bool"
        ? readonly boolean[]
        : KindOf<D> extends "string"
          ? readonly (string | Uint8Array)[]
          : never;

/** Values {@link tensor} accepts for a dtype: its typed array, or the lists that convert to it. */
export type TensorValues<D extends DType> = D extends DType ? ValuesOf<D> | ConvertibleValues<D> : never;

/** One element as `toNested()` gives it. */
export type ElementOf<D extends DType> = D extends DType
  ? KindOf<D> extends "bigint"
    ? bigint
    : KindOf<D> extends "bool"
      ? boolean
      : KindOf<D> extends "string"
        ? Uint8Array
        : KindOf<D> extends "complex"
          ? [re: number, im: number]
          : number
  : never;

/** A value, or lists of it nested to any depth. */
export type Nested<T> = T | Nested<T>[];

/** {@link Nested} for lists that are only read. */
export type ReadonlyNested<T> = T | readonly ReadonlyNested<T>[];

/** Dtype, shape and flat row-major values. Made by {@link tensor} and {@link tensorFrom}. */
export class Tensor<D extends DType = DType> {
  /** Element type. */
  readonly dtype: D;
  /** Size of each dimension; `[]` for a scalar. Frozen. */
  readonly shape: readonly number[];
  /** All elements in row-major order; two numbers (re, im) per element for complex dtypes. */
  readonly values: ValuesOf<D>;
  /** Number of elements: the product of `shape`. */
  readonly size: number;

  /** @internal Checks nothing, {@link tensor} does; the shape becomes the tensor's own. */
  constructor(dtype: D, shape: readonly number[], values: ValuesOf<D>, size: number) {
    this.dtype = dtype;
    this.shape = Object.freeze(shape);
    this.values = values;
    this.size = size;
  }

  /**
   * The elements as lists nested like the shape; a scalar is the element itself.
   *
   * float16 and bfloat16 become numbers, bool becomes booleans, complex dtypes `[re, im]`; strings stay bytes.
   */
  toNested(): Nested<ElementOf<D>> {
    if (this.size === 0) assertFewLists(this.shape);
    // The reader is chosen by this.dtype, so its elements are those of D; the compiler cannot follow that.
    const read = elementReader(this as unknown as AnyTensor) as (index: number) => ElementOf<D>;
    let next = 0;
    const nest = (axis: number): Nested<ElementOf<D>> => {
      const length = this.shape[axis];
      if (length === undefined) return read(next++);
      const list: Nested<ElementOf<D>>[] = [];
      for (let i = 0; i < length; i++) list.push(nest(axis + 1));
      return list;
    };
    return nest(0);
  }

  /**
   * The elements of a string tensor as text, flat.
   *
   * @throws TensorError if the dtype is not `string` or an element is not valid UTF-8.
   */
  strings(): string[] {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return (this.as("string") as Tensor<"string">).values.map((bytes, index) => {
      try {
        return decoder.decode(bytes);
      } catch (cause) {
        const hint = "values and toNested() give the bytes";
        throw new TensorError(`string ${formatShape(this.shape)}: value${position(this.shape, index)} is not valid UTF-8`, { cause, hint });
      }
    });
  }

  /**
   * This tensor, its dtype known to the compiler.
   *
   * @throws TensorError if the dtype is another one.
   */
  as<E extends DType>(dtype: E): TensorOf<E> {
    if ((this.dtype as DType) !== dtype) throw new TensorError(`expected dtype ${dtype}, got ${this.dtype} ${formatShape(this.shape)}`);
    return this as unknown as TensorOf<E>;
  }

  /** @internal One line for `console.log` and test failures. */
  [inspectCustom](): string {
    const shown = this.values.length > 6 ? [...this.values.slice(0, 6), "..."] : [...this.values];
    const text = shown.map((value) => (value instanceof Uint8Array ? JSON.stringify(new TextDecoder().decode(value)) : String(value)));
    return `Tensor ${this.dtype} ${formatShape(this.shape)} { ${text.join(", ")} }`;
  }
}

Object.defineProperty(Tensor.prototype, brand, { value: true });

/** The tensor type of a dtype; for a union of dtypes the union of their tensor types, which `dtype` narrows. */
export type TensorOf<D extends DType> = { [K in D]: Tensor<K> }[D];

/** A tensor of any dtype: `if (t.dtype === "float32")` narrows `t.values`. */
export type AnyTensor = TensorOf<DType>;

/** Any flat list of numbers JavaScript has. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** One plain element. */
export type TensorElement = number | bigint | boolean | string | Uint8Array;

/** What can stand where a tensor is wanted: a tensor, a typed array, one element, or elements in nested lists. */
export type TensorLike = AnyTensor | TypedArray | ReadonlyNested<TensorElement>;

/**
 * A tensor of this dtype and shape.
 *
 * A typed array of the dtype's own class is not copied and must not change while a call uses the tensor. Other lists are converted:
 * whole numbers in range for integers, rounded to nearest even for floats, UTF-8 for strings.
 *
 * @param values - Flat, in row-major order; complex dtypes take re and im in turn.
 * @throws TensorError if the shape is none or the values do not fit dtype and shape.
 * @throws TypeError if `dtype` is no dtype or `shape` no array.
 */
export function tensor<D extends DType>(dtype: D, shape: readonly number[], values: TensorValues<D>): TensorOf<D> {
  assertDType(dtype);
  if (!Array.isArray(shape)) throw new TypeError(`shape must be an array of numbers, got ${describe(shape)}`);
  const ownShape: readonly number[] = [...shape];
  const size = elementCount(ownShape);
  const flat = valuesFor(dtype, ownShape, values, dtypes[dtype].kind === "complex" ? 2 * size : size);
  return new Tensor(dtype, ownShape, flat as ValuesOf<D>, size) as TensorOf<D>;
}

/**
 * A tensor whose shape is the nesting of the value.
 *
 * Without a dtype numbers become float32, bigints int64, booleans bool, strings (and bytes inside a list) string, and a typed array a
 * one-dimensional tensor of its own dtype; `[]` is float32. A tensor is returned as it is, its dtype checked if one is given.
 *
 * @throws TensorError if lists of one level differ in length, element types mix, or a value does not fit the dtype.
 */
export function tensorFrom(value: TensorLike): AnyTensor;
export function tensorFrom<D extends DType>(value: TensorLike, dtype: D): TensorOf<D>;
export function tensorFrom(value: TensorLike, dtype?: DType): AnyTensor {
  if (dtype !== undefined) assertDType(dtype);
  if (isTensor(value)) return dtype === undefined ? value : asDType(value, dtype);
  const array = typedArrayName(value);
  if (array !== undefined && !(array === "Uint8Array" && dtype === "string")) {
    const own = dtype ?? naturalDTypes.get(array);
    if (own === undefined) throw new TensorError(`a ${array} has no dtype of its own: name one, or use a typed array of numbers`);
    return tensor(own, [lengthFor(own, value as TypedArray)], value as never);
  }
  const { shape, elements } = flatten(value);
  // Each element is checked below, by the converter of the dtype.
  return tensor(dtype ?? elementDType(shape, elements), shape, elements as never);
}

/** Whether a value is a tensor, of this or another copy of the package. */
export function isTensor(value: unknown): value is AnyTensor {
  return typeof value === "object" && value !== null && brand in value;
}

/**
 * The numbers of a float16 or bfloat16 tensor; exact, a new array.
 *
 * @throws TensorError for a tensor of another dtype.
 */
export function toFloat32(tensor: Tensor<"float16"> | Tensor<"bfloat16">): Float32Array {
  const { dtype, values } = tensor;
  if (dtype !== "float16" && dtype !== "bfloat16") throw new TensorError(`expected dtype float16 or bfloat16, got ${String(dtype)}`);
  const decode = dtype === "float16" ? numberFromFloat16 : numberFromBfloat16;
  const out = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = decode(values[i] as number);
  return out;
}

/** Dtype of a typed array without a dtype given: each class's first dtype that holds plain numbers. */
const naturalDTypes: ReadonlyMap<string, DType> = new Map(
  (["float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32", "int64", "uint64"] satisfies readonly DType[]).map(
    (dtype) => [dtypes[dtype].array.name, dtype],
  ),
);

/** Elements in a flat array of this dtype. */
function lengthFor(dtype: DType, array: TypedArray): number {
  return dtypes[dtype].kind === "complex" ? Math.floor(array.length / 2) : array.length;
}

/** The lists of a nested value as one flat list, and their lengths. */
function flatten(value: unknown): { shape: number[]; elements: unknown[] } {
  const shape: number[] = [];
  for (let level = value; Array.isArray(level); level = level[0]) {
    // Also ends the walk down a list that contains itself.
    if (shape.length === maxRank) throw new TensorError(`lists are nested deeper than ${maxRank} levels`);
    shape.push(level.length);
  }
  const elements: unknown[] = [];
  const path: number[] = [];
  const visit = (item: unknown): void => {
    const expected = shape[path.length];
    if (expected === undefined) {
      if (Array.isArray(item)) throw raggedError(path, "one element", item);
      elements.push(item);
      return;
    }
    if (!Array.isArray(item) || item.length !== expected) throw raggedError(path, `a list of ${expected} as in the first one`, item);
    for (let i = 0; i < expected; i++) {
      path.push(i);
      visit(item[i]);
      path.pop();
    }
  };
  visit(value);
  return { shape, elements };
}

function raggedError(path: readonly number[], expected: string, item: unknown): TensorError {
  return new TensorError(`nested value at ${path.map((i) => `[${i}]`).join("")}: expected ${expected}, got ${describe(item)}`);
}

/** The dtype that plain elements have by themselves. */
function elementDType(shape: readonly number[], elements: readonly unknown[]): DType {
  const first = plainDType(elements[0]);
  if (elements.length === 0) return "float32";
  elements.forEach((element, index) => {
    const own = plainDType(element);
    const where = `nested value${position(shape, index)}`;
    if (own === undefined)
      throw new TensorError(`${where} is ${describe(element)}, expected a number, bigint, boolean, string or Uint8Array`);
    if (own !== first) throw new TensorError(`${where} is ${describe(element)} (${own}), but the elements before it are ${first}`);
  });
  return first ?? "float32";
}

function plainDType(element: unknown): DType | undefined {
  switch (typeof element) {
    case "number":
      return "float32";
    case "bigint":
      return "int64";
    case "boolean":
      return "bool";
    case "string":
      return "string";
    default:
      return isBytes(element) ? "string" : undefined;
  }
}

/** How `toNested()` reads one element. */
function elementReader(tensor: AnyTensor): (index: number) => unknown {
  const { values } = tensor;
  switch (tensor.dtype) {
    case "float16":
      return (index) => numberFromFloat16(values[index] as number);
    case "bfloat16":
      return (index) => numberFromBfloat16(values[index] as number);
    case "bool":
      return (index) => values[index] !== 0;
    case "complex64":
    case "complex128":
      return (index) => [values[2 * index], values[2 * index + 1]];
    default:
      return (index) => values[index];
  }
}

function assertFewLists(shape: readonly number[]): void {
  let lists = 1;
  for (const dim of shape) {
    if (dim === 0) return;
    lists *= dim;
    if (lists > maxEmptyLists) {
      throw new TensorError(`${formatShape(shape)} has no elements but more than ${maxEmptyLists} lists to nest them in`);
    }
  }
}

function assertDType(dtype: unknown): void {
  if (!isDType(dtype)) throw new TypeError(`unknown dtype ${typeof dtype === "string" ? JSON.stringify(dtype) : describe(dtype)}`);
}

/** {@link Tensor.as} for a dtype known only at run time. */
function asDType(tensor: AnyTensor, dtype: DType): AnyTensor {
  return (tensor as Tensor).as(dtype);
}
