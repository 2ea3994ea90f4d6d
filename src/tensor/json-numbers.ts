/**
 * Nested JSON lists of numbers or booleans, read from the bytes straight into a typed array.
 *
 * The fast half of reading JSON: it takes regular lists of elements that fit the dtype and leaves everything else, mistakes included, to
 * the general parser, which alone words errors. What it does take, it takes with the same result.
 */
import { type DType, dtypes } from "./dtype.js";
import { NumberScanner, notRegular } from "./json-number-scan.js";
import { maxRank } from "./shape.js";
import { type AnyTensor, tensor } from "./tensor.js";

/** A list that was read, and the position behind it. */
export interface NumericList {
  readonly tensor: AnyTensor;
  readonly end: number;
}

/**
 * The nested list at a position as a tensor.
 *
 * @param dtype - One that JSON can carry.
 * @param start - Position of the opening bracket.
 * @returns `undefined` for a list that is empty, ragged, cut off or deeper than tensors are, and for elements that do not fit the dtype.
 */
export function readNumericList(bytes: Uint8Array, start: number, dtype: DType): NumericList | undefined {
  if (dtypes[dtype].kind === "string") return undefined;
  try {
    return new NumericListReader(bytes, start, dtype).read();
  } catch (error) {
    if (error === notRegular) return undefined;
    throw error;
  }
}

/** Longest text of a 64-bit integer, sign included. */
const maxInt64Chars = 20;

const initialCapacity = 1024;

/** A digit and a comma. */
const minBytesPerElement = 2;

/** A row longer than the others must not make the whole array grow once more. */
const estimateMargin = 1.05;

const tightPart = 0.9;

const openBracket = 0x5b;
const lowerT = 0x74;

type NumberArray = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array;
type BigintArray = BigInt64Array | BigUint64Array;

/** Reads one list; made for one use. */
class NumericListReader {
  /** V8 drops optimized code at the next full collection once no object of its class is left: without this one, reading takes 1.5 times as long after each. */
  static readonly kept = new NumericListReader(new Uint8Array(0), 0, "float32");

  readonly #scan: NumberScanner;
  readonly #byteLength: number;
  readonly #start: number;
  readonly #dtype: DType;
  readonly #shape: number[] = [];
  #values: NumberArray | BigintArray;
  /** Elements read so far. */
  #count = 0;

  constructor(bytes: Uint8Array, start: number, dtype: DType) {
    this.#scan = new NumberScanner(bytes, start);
    this.#byteLength = bytes.length;
    this.#start = start;
    this.#dtype = dtype;
    this.#values = this.#allocate(initialCapacity);
  }

  read(): NumericList {
    this.#list(0, this.#rank());
    // The values become the caller's: a copy where the array has much more room than they need, a view where the copy would be the waste.
    const isTight = this.#count >= tightPart * this.#values.length;
    const values = isTight ? this.#values.subarray(0, this.#count) : this.#values.slice(0, this.#count);
    return { tensor: tensor(this.#dtype, this.#shape, values as never) as AnyTensor, end: this.#scan.at };
  }

  /** How many brackets open here; every element must stand as deep. */
  #rank(): number {
    const start = this.#scan.at;
    let rank = 0;
    for (; this.#scan.peek() === openBracket; this.#scan.at++) {
      if (rank++ === maxRank) throw notRegular;
    }
    this.#scan.at = start;
    return rank;
  }

  #list(level: number, rank: number): void {
    if (this.#scan.peek() !== openBracket) throw notRegular;
    this.#scan.at++;
    let size = 0;
    if (level === rank - 1) {
      const before = this.#count;
      this.#row();
      size = this.#count - before;
    } else {
      do {
        this.#list(level + 1, rank);
        size++;
      } while (this.#scan.hasNext());
    }
    this.#shape[level] ??= size;
    if (this.#shape[level] !== size) throw notRegular;
  }

  /** The elements of an innermost list, and its closing bracket. */
  #row(): void {
    const { kind } = dtypes[this.#dtype];
    if (kind === "float") this.#floats();
    else if (kind === "bigint") this.#bigints();
    else if (kind === "bool") this.#bits();
    else this.#integers();
  }

  #floats(): void {
    const scan = this.#scan;
    do {
      this.#count = scan.decimals(this.#values as Float32Array | Float64Array, this.#count);
      if (scan.isClosed) return;
      if (this.#count === this.#values.length) this.#grow();
      this.#values[this.#count++] = scan.number();
    } while (scan.hasNext());
  }

  #integers(): void {
    const row = dtypes[this.#dtype];
    const [min, max] = "min" in row ? [row.min, row.max] : [0, 0];
    let values = this.#values as NumberArray;
    do {
      if (this.#count === values.length) values = this.#grow() as NumberArray;
      const value = this.#scan.number();
      if (!this.#scan.isWhole || value < min || value > max) throw notRegular;
      values[this.#count++] = value;
    } while (this.#scan.hasNext());
  }

  #bigints(): void {
    let values = this.#values as BigintArray;
    do {
      if (this.#count === values.length) values = this.#grow() as BigintArray;
      this.#scan.peek();
      const start = this.#scan.at;
      const value = this.#scan.number();
      if (!this.#scan.isWhole || this.#scan.at - start > maxInt64Chars) throw notRegular;
      const exact = Number.isSafeInteger(value) ? BigInt(value) : BigInt(this.#scan.text(start));
      values[this.#count] = exact;
      // The array keeps the low 64 bits: what is beyond them reads back as something else.
      if (values[this.#count++] !== exact) throw notRegular;
    } while (this.#scan.hasNext());
  }

  #bits(): void {
    let values = this.#values as NumberArray;
    do {
      if (this.#count === values.length) values = this.#grow() as NumberArray;
      const isTrue = this.#scan.peek() === lowerT;
      this.#scan.word(isTrue ? "true" : "false");
      values[this.#count++] = isTrue ? 1 : 0;
    } while (this.#scan.hasNext());
  }

  /** Room for about as many elements as the bytes that are left hold if they go on like this; each takes two bytes at least. */
  #grow(): NumberArray | BigintArray {
    const bytesPerElement = (this.#scan.at - this.#start) / this.#count;
    const left = (this.#byteLength - this.#scan.at) / Math.max(bytesPerElement, minBytesPerElement);
    const grown = this.#allocate(this.#count + Math.ceil(left * estimateMargin) + initialCapacity);
    grown.set(this.#values as never);
    this.#values = grown;
    return grown;
  }

  #allocate(length: number): NumberArray | BigintArray {
    return new dtypes[this.#dtype].array(length) as NumberArray | BigintArray;
  }
}
