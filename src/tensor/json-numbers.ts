/**
 * Nested JSON lists of numbers or booleans, read from the bytes straight into a typed array.
 *
 * The fast half of reading JSON: it takes regular lists of elements that fit the dtype and leaves everything else, mistakes included, to
 * the general parser, which alone words errors. What it does take, it takes with the same result.
 */
import { type DType, dtypes } from "./dtype.js";
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

/** Thrown, without the cost of a stack, where the general parser has to take over. */
const notRegular = Symbol("not a regular list of numbers");

/** 10^0 to 10^22, the powers of ten that doubles hold exactly. */
const powersOfTen = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);

const maxExactPower = 22;

/** Digits that fit an int32 together. */
const maxDigits = 9;

/** Longest text of a 64-bit integer, sign included. */
const maxInt64Chars = 20;

const initialCapacity = 1024;

/** A digit and a comma. */
const minBytesPerElement = 2;

/** A row longer than the others must not make the whole array grow once more. */
const estimateMargin = 1.05;

const tightPart = 0.9;

const fourSpaces = 0x20202020;

const plus = 0x2b;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const upperN = 0x4e;
const lowerE = 0x65;
const lowerI = 0x69;
const lowerT = 0x74;

type NumberArray = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array;
type BigintArray = BigInt64Array | BigUint64Array;

/** Reads one list; made for one use. */
class NumericListReader {
  /** V8 drops optimized code at the next full collection once no object of its class is left: without this one, reading takes 1.5 times as long after each. */
  static readonly kept = new NumericListReader(new Uint8Array(0), 0, "float32");

  readonly #bytes: Uint8Array;
  /** The same bytes, for their text. */
  readonly #buffer: Buffer;
  readonly #view: DataView;
  /** The last position where four bytes begin. */
  readonly #lastWord: number;
  readonly #start: number;
  readonly #dtype: DType;
  readonly #shape: number[] = [];
  #at: number;
  #values: NumberArray | BigintArray;
  /** Elements read so far. */
  #count = 0;
  /** Whether the last number had neither a point nor an exponent. */
  #isWhole = false;

  constructor(bytes: Uint8Array, start: number, dtype: DType) {
    this.#bytes = bytes;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#lastWord = bytes.length - 4;
    this.#start = start;
    this.#at = start;
    this.#dtype = dtype;
    this.#values = this.#allocate(initialCapacity);
  }

  read(): NumericList {
    this.#list(0, this.#rank());
    // The values become the caller's: a copy where the array has much more room than they need, a view where the copy would be the waste.
    const isTight = this.#count >= tightPart * this.#values.length;
    const values = isTight ? this.#values.subarray(0, this.#count) : this.#values.slice(0, this.#count);
    return { tensor: tensor(this.#dtype, this.#shape, values as never) as AnyTensor, end: this.#at };
  }

  /** How many brackets open here; every element must stand as deep. */
  #rank(): number {
    const start = this.#at;
    let rank = 0;
    for (; this.#peek() === openBracket; this.#at++) {
      if (rank++ === maxRank) throw notRegular;
    }
    this.#at = start;
    return rank;
  }

  #list(level: number, rank: number): void {
    if (this.#peek() !== openBracket) throw notRegular;
    this.#at++;
    let size = 0;
    if (level === rank - 1) {
      const before = this.#count;
      this.#row();
      size = this.#count - before;
    } else {
      do {
        this.#list(level + 1, rank);
        size++;
      } while (this.#hasNext());
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
    let values = this.#values as NumberArray;
    do {
      if (this.#count === values.length) values = this.#grow() as NumberArray;
      values[this.#count++] = this.#number();
    } while (this.#hasNext());
  }

  #integers(): void {
    const row = dtypes[this.#dtype];
    const [min, max] = "min" in row ? [row.min, row.max] : [0, 0];
    let values = this.#values as NumberArray;
    do {
      if (this.#count === values.length) values = this.#grow() as NumberArray;
      const value = this.#number();
      if (!this.#isWhole || value < min || value > max) throw notRegular;
      values[this.#count++] = value;
    } while (this.#hasNext());
  }

  #bigints(): void {
    let values = this.#values as BigintArray;
    do {
      if (this.#count === values.length) values = this.#grow() as BigintArray;
      this.#skipBlanks();
      const start = this.#at;
      const value = this.#number();
      if (!this.#isWhole || this.#at - start > maxInt64Chars) throw notRegular;
      const exact = Number.isSafeInteger(value) ? BigInt(value) : BigInt(this.#text(start));
      values[this.#count] = exact;
      // The array keeps the low 64 bits: what is beyond them reads back as something else.
      if (values[this.#count++] !== exact) throw notRegular;
    } while (this.#hasNext());
  }

  #bits(): void {
    let values = this.#values as NumberArray;
    do {
      if (this.#count === values.length) values = this.#grow() as NumberArray;
      const isTrue = this.#peek() === lowerT;
      this.#word(isTrue ? "true" : "false");
      values[this.#count++] = isTrue ? 1 : 0;
    } while (this.#hasNext());
  }

  /** Step over a comma (true) or a closing bracket (false). */
  #hasNext(): boolean {
    const byte = this.#peek();
    this.#at++;
    if (byte === comma) return true;
    if (byte === closeBracket) return false;
    throw notRegular;
  }

  /** The next byte that is not blank; 0 at the end. */
  #peek(): number {
    const byte = this.#bytes[this.#at] ?? 0;
    if (!isBlank(byte)) return byte;
    this.#skipBlanks();
    return this.#bytes[this.#at] ?? 0;
  }

  #skipBlanks(): void {
    const bytes = this.#bytes;
    const view = this.#view;
    const lastWord = this.#lastWord;
    let at = this.#at;
    while (isBlank(bytes[at] ?? 0)) {
      at++;
      // Columns have each number on a line of its own, deep below the margin: half of such an answer is spaces.
      while (at <= lastWord && view.getInt32(at) === fourSpaces) at += 4;
    }
    this.#at = at;
  }

  /** Room for about as many elements as the bytes that are left hold if they go on like this; each takes two bytes at least. */
  #grow(): NumberArray | BigintArray {
    const bytesPerElement = (this.#at - this.#start) / this.#count;
    const left = (this.#bytes.length - this.#at) / Math.max(bytesPerElement, minBytesPerElement);
    const grown = this.#allocate(this.#count + Math.ceil(left * estimateMargin) + initialCapacity);
    grown.set(this.#values as never);
    this.#values = grown;
    return grown;
  }

  #allocate(length: number): NumberArray | BigintArray {
    return new dtypes[this.#dtype].array(length) as NumberArray | BigintArray;
  }

  /**
   * The number here, correctly rounded.
   *
   * Up to 9 digits, all that a float32 needs, are collected as an int32 and scaled by one exact power of ten (Clinger's fast path); any
   * other number goes through its text.
   */
  #number(): number {
    const bytes = this.#bytes;
    let byte = this.#peek();
    const start = this.#at;
    let at = start;
    const isNegative = byte === minus;
    if (isNegative) byte = bytes[++at] ?? 0;
    const first = at;
    // With too many digits this wraps around and is not used.
    let digits = 0;
    let significant = 0;
    if (byte === zero) byte = bytes[++at] ?? 0;
    else {
      for (; isDigit(byte); byte = bytes[++at] ?? 0) digits = (Math.imul(digits, 10) + byte - zero) | 0;
      significant = at - first;
      if (significant === 0) return this.#nanOrInfinity(at, isNegative);
    }
    let exponent = 0;
    let isWhole = true;
    if (byte === point) {
      isWhole = false;
      const fraction = ++at;
      byte = bytes[at] ?? 0;
      if (significant === 0) while (byte === zero) byte = bytes[++at] ?? 0;
      significant -= at;
      // Four digits at a time, which takes a tenth off the whole.
      const view = this.#view;
      for (; at <= this.#lastWord; at += 4) {
        const word = view.getInt32(at, true);
        if (!isFourDigits(word)) break;
        digits = (Math.imul(digits, 10_000) + fourDigits(word)) | 0;
      }
      byte = bytes[at] ?? 0;
      for (; isDigit(byte); byte = bytes[++at] ?? 0) digits = (Math.imul(digits, 10) + byte - zero) | 0;
      significant += at;
      exponent = fraction - at;
      if (exponent === 0) throw notRegular;
    }
    this.#at = at;
    if ((byte | 0x20) === lowerE) {
      isWhole = false;
      exponent += this.#exponent();
    }
    this.#isWhole = isWhole;
    if (significant > maxDigits || exponent > maxExactPower || exponent < -maxExactPower) return this.#numberFromText(start);
    let value = digits;
    if (exponent < 0) value /= powersOfTen[-exponent] as number;
    else if (exponent > 0) value *= powersOfTen[exponent] as number;
    // The whole number -0 has no sign, as in the general parser and in the server.
    return isNegative && !(isWhole && value === 0) ? -value : value;
  }

  /** The exponent that begins here with its letter; may be infinite. */
  #exponent(): number {
    const bytes = this.#bytes;
    let at = this.#at + 1;
    const sign = bytes[at];
    if (sign === plus || sign === minus) at++;
    const first = at;
    let exponent = 0;
    for (let byte = bytes[at] ?? 0; isDigit(byte); byte = bytes[++at] ?? 0) exponent = 10 * exponent + byte - zero;
    if (at === first) throw notRegular;
    this.#at = at;
    return sign === minus ? -exponent : exponent;
  }

  /** The number between a position and the current one, by JavaScript's own conversion. */
  #numberFromText(start: number): number {
    const value = Number(this.#text(start));
    if (!Number.isFinite(value)) throw notRegular;
    return value;
  }

  #text(start: number): string {
    return this.#buffer.toString("latin1", start, this.#at);
  }

  #nanOrInfinity(at: number, isNegative: boolean): number {
    this.#at = at;
    this.#isWhole = false;
    if (this.#bytes[at] === upperN) {
      this.#word("NaN");
      return Number.NaN;
    }
    this.#word("Inf");
    if (this.#bytes[this.#at] === lowerI) this.#word("inity");
    return isNegative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  #word(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.#bytes[this.#at++] !== word.charCodeAt(i)) throw notRegular;
    }
  }
}

function isBlank(byte: number): boolean {
  return byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

/** Whether all bytes of a word are digits: 0x30 to 0x39, so that neither they nor they plus 6 leave the 0x30s. */
function isFourDigits(word: number): boolean {
  return (word & 0xf0f0f0f0) === 0x30303030 && ((word + 0x06060606) & 0xf0f0f0f0) === 0x30303030;
}

/** The number that four digits make, the first in the lowest byte: pairs side by side, then both of them. */
function fourDigits(word: number): number {
  const digits = word - 0x30303030;
  const pairs = Math.imul(digits, 10) + (digits >>> 8);
  return (pairs & 0xff) * 100 + ((pairs >>> 16) & 0xff);
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
