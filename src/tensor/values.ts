/** What callers give as values of a tensor -> its flat array: the conversions and checks of every dtype. */
import { TensorError } from "../errors.js";
import { type DType, dtypes, type ValuesOf } from "./dtype.js";
import { bfloat16FromNumber, float16FromNumber } from "./float16.js";
import { formatShape } from "./shape.js";

/** A 64-bit integer as the `long` package and generated protobuf code hold it. */
export interface LongLike {
  /** Lower 32 bits, signed or unsigned. */
  readonly low: number;
  /** Upper 32 bits, signed or unsigned. */
  readonly high: number;
  /** Whether the 64 bits are an unsigned number. */
  readonly unsigned: boolean;
}

type TypedArray = Exclude<ValuesOf<DType>, Uint8Array[]>;

/** What values are made for, and the words for what does not fit. */
class Target {
  constructor(
    readonly dtype: DType,
    readonly shape: readonly number[],
  ) {}

  /** An error about the values as a whole. */
  error(text: string): TensorError {
    return new TensorError(`${this.dtype} ${formatShape(this.shape)}: ${text}`);
  }

  /** An error about one value. */
  elementError(index: number, value: unknown, expected: string): TensorError {
    return this.error(`value${position(this.shape, index)} is ${describe(value)}, expected ${expected}`);
  }
}

/**
 * The checked flat values of a tensor: the caller's typed array if it is of the dtype's class, else a new one.
 *
 * @throws TensorError naming the expected and the given class, count, or value.
 */
export function valuesFor(dtype: DType, shape: readonly number[], values: unknown, expectedLength: number): ValuesOf<DType> {
  const target = new Target(dtype, shape);
  const { array, kind } = dtypes[target.dtype];
  const given = typedArrayName(values);
  const converts = Array.isArray(values) || (given === "Float32Array" && isHalf(target.dtype));
  if (given !== array.name && !(converts && kind !== "complex" && kind !== "quantized" && kind !== "float8")) {
    throw target.error(`expected ${expectedValues(target.dtype)}, got ${describe(values)}`);
  }
  const list = values as ArrayLike<unknown>;
  if (list.length !== expectedLength) throw target.error(`expected ${expectedLength} values, got ${list.length}`);
  if (given !== array.name || kind === "string") return converted(target, list);
  checkTypedArray(target, values as TypedArray);
  return values as TypedArray;
}

/** Values of a list, element by element. */
function converted(target: Target, list: ArrayLike<unknown>): ValuesOf<DType> {
  const { dtype } = target;
  switch (dtype) {
    case "float16":
      return halves(target, list, float16FromNumber);
    case "bfloat16":
      return halves(target, list, bfloat16FromNumber);
    case "float32":
    case "float64":
      return floats(target, list, new dtypes[dtype].array(list.length));
    case "int64":
    case "uint64":
      return longs(target, list, new dtypes[dtype].array(list.length), dtype === "uint64");
    case "bool":
      return booleans(target, list);
    case "string":
      return texts(target, list);
    case "int32":
    case "int16":
    case "int8":
    case "int4":
    case "uint8":
    case "uint16":
    case "uint32":
    case "uint4":
      return integers(target, list, new dtypes[dtype].array(list.length), dtypes[dtype]);
    default:
      throw target.error(`expected ${expectedValues(dtype)}, got ${describe(list)}`);
  }
}

function floats(target: Target, list: ArrayLike<unknown>, out: Float32Array | Float64Array): Float32Array | Float64Array {
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (typeof value !== "number") throw target.elementError(i, value, "a number");
    out[i] = value;
    if (Number.isFinite(value) && !Number.isFinite(out[i])) throw target.elementError(i, value, "a number in the range of float32");
  }
  return out;
}

/** Rounded to nearest even, as IEEE 754 has it: a number beyond the largest becomes infinity. */
function halves(target: Target, list: ArrayLike<unknown>, encode: (value: number) => number): Uint16Array {
  const out = new Uint16Array(list.length);
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (typeof value !== "number") throw target.elementError(i, value, "a number");
    out[i] = encode(value);
  }
  return out;
}

function integers<T extends TypedArray>(target: Target, list: ArrayLike<unknown>, out: T, range: { min: number; max: number }): T {
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (typeof value !== "number" || !Number.isInteger(value) || value < range.min || value > range.max) {
      throw target.elementError(i, value, `a whole number from ${range.min} to ${range.max}`);
    }
    out[i] = value;
  }
  return out;
}

function longs<T extends BigInt64Array | BigUint64Array>(target: Target, list: ArrayLike<unknown>, out: T, unsigned: boolean): T {
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    const big = bigintFrom(value);
    if (big === undefined || (unsigned ? BigInt.asUintN(64, big) : BigInt.asIntN(64, big)) !== big) {
      const range = unsigned ? "0 to 2^64 - 1" : "-2^63 to 2^63 - 1";
      throw target.elementError(i, value, `a bigint, a safe whole number or a { low, high, unsigned } from ${range}`);
    }
    out[i] = big;
  }
  return out;
}

/** The whole number a bigint, safe number or long stands for; `undefined` for anything else. */
function bigintFrom(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  const { low, high, unsigned } = value as Partial<LongLike>;
  if (!isInt32(low) || !isInt32(high) || typeof unsigned !== "boolean") return undefined;
  const bits = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  return unsigned ? bits : BigInt.asIntN(64, bits);
}

/** Whether a number is 32 bits, read as signed or unsigned. */
function isInt32(value: unknown): value is number {
  return typeof value === "number" && ((value | 0) === value || value >>> 0 === value);
}

function booleans(target: Target, list: ArrayLike<unknown>): Uint8Array {
  const out = new Uint8Array(list.length);
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (typeof value !== "boolean") throw target.elementError(i, value, "a boolean");
    out[i] = value ? 1 : 0;
  }
  return out;
}

function texts(target: Target, list: ArrayLike<unknown>): Uint8Array[] {
  const encoder = new TextEncoder();
  const out: Uint8Array[] = [];
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (isBytes(value)) {
      out.push(value);
    } else {
      if (typeof value !== "string") throw target.elementError(i, value, "a string or a Uint8Array");
      // With the u flag a surrogate matches only where it is not half of a pair. UTF-8 has no bytes for it.
      if (/\p{Surrogate}/u.test(value)) throw target.elementError(i, value, "a string without lone surrogates");
      out.push(encoder.encode(value));
    }
  }
  return out;
}

/** The dtypes whose values are narrower than their array. */
function checkTypedArray(target: Target, values: TypedArray): void {
  const { dtype } = target;
  if (dtype === "bool") {
    for (let i = 0; i < values.length; i++) {
      if ((values[i] as number) > 1) throw target.elementError(i, values[i], "0 or 1");
    }
  } else if (dtype === "int4" || dtype === "uint4") {
    const { min, max } = dtypes[dtype];
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (value < min || value > max) throw target.elementError(i, value, `a whole number from ${min} to ${max}`);
    }
  }
}

function isHalf(dtype: DType): boolean {
  return dtype === "float16" || dtype === "bfloat16";
}

const typedArrayTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)?.get;

/** `Float32Array` and so on (`Uint8Array` for a Buffer), also for arrays of another realm, such as those a test runner makes. */
export function typedArrayName(value: unknown): string | undefined {
  return typedArrayTag?.call(value) as string | undefined;
}

/** Whether a value is a Uint8Array or a Buffer. */
export function isBytes(value: unknown): value is Uint8Array {
  return typedArrayName(value) === "Uint8Array";
}

/** The place of a flat index: ` at [1][0]`, nothing for a scalar. */
export function position(shape: readonly number[], index: number): string {
  let rest = index;
  const path: number[] = [];
  for (const dim of shape.toReversed()) {
    path.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return path.length === 0 ? "" : ` at ${path.map((i) => `[${i}]`).join("")}`;
}

/** Words for what may stand as `values` of a dtype. */
function expectedValues(dtype: DType): string {
  const { array, kind } = dtypes[dtype];
  if (isHalf(dtype)) return "a Uint16Array of bit patterns, a Float32Array or an array of numbers";
  switch (kind) {
    case "string":
      return "an array of strings and Uint8Arrays";
    case "bool":
      return "a Uint8Array of 0 and 1 or an array of booleans";
    case "bigint":
      return `a ${array.name} or an array of bigints`;
    case "float":
    case "int":
      return `${/^I/.test(array.name) ? "an" : "a"} ${array.name} or an array of numbers`;
    default:
      return `${/^I/.test(array.name) ? "an" : "a"} ${array.name}`;
  }
}

/** A short text for what was given. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const array = typedArrayName(value);
  if (array !== undefined) return `${/^I/.test(array) ? "an" : "a"} ${array}`;
  return Array.isArray(value) ? `a list of ${value.length}` : "an object";
}
