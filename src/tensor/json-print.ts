/** Tensors -> the JSON of TensorFlow Serving's REST API, columnar and row by row, as bytes. `json.ts` is the way back. */
import { TensorError } from "../errors.js";
import type { DType } from "./dtype.js";
import { isJsonDType } from "./json.js";
import { maxNumberBytes, writeFloat32, writeFloat64, writeInteger, writeText } from "./json-number-text.js";
import type { AnyTensor } from "./tensor.js";

/** Options of {@link JsonPrinter}. */
export interface JsonPrinterOptions {
  /** How long the text will be, about; it may become longer. @defaultValue 1024 */
  readonly expectedBytes?: number;
  /** Print whole floats with `.0`, as the float features of examples need it. @defaultValue false */
  readonly floatPoint?: boolean;
}

const defaultExpectedBytes = 1024;

/** Bytes of an element and its comma as they are in most tensors; what is longer makes the buffer grow. */
const typicalBytes: Readonly<Partial<Record<DType, number>>> = { float32: 12, float64: 21, int64: 12, uint64: 12, bool: 6 };
const otherTypicalBytes = 8;

/** About how long the text of a tensor is. */
export function expectedJsonBytes(value: AnyTensor): number {
  if (value.dtype !== "string") return value.size * (typicalBytes[value.dtype] ?? otherTypicalBytes);
  return value.values.reduce((sum, bytes) => sum + bytes.length + otherTypicalBytes, 0);
}

const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * Writes one JSON text piece by piece.
 *
 * Tensors become nested lists, NaN and Infinity bare tokens, floats the shortest decimals that read back equal, and strings text where the
 * bytes are UTF-8, `{"b64": ...}` elsewhere. A shape with a 0 before its last dimension cannot be told from a shorter one: `[0, 3]` and
 * `[0]` both print as `[]`.
 */
export class JsonPrinter {
  /** @internal V8 drops optimized code at the next full collection once no object of its class is left: one stays. */
  static readonly kept = new JsonPrinter({ expectedBytes: 0 });

  readonly #floatPoint: boolean;
  #bytes: Buffer;
  #length = 0;

  constructor(options: JsonPrinterOptions = {}) {
    this.#floatPoint = options.floatPoint ?? false;
    this.#bytes = Buffer.allocUnsafeSlow((options.expectedBytes ?? defaultExpectedBytes) + maxNumberBytes);
  }

  /** Write text that is JSON already. */
  raw(text: string): this {
    this.#reserve(Buffer.byteLength(text));
    this.#length += this.#bytes.write(text, this.#length, "utf8");
    return this;
  }

  /**
   * Write a whole tensor.
   *
   * @throws TensorError if JSON cannot carry the dtype.
   */
  tensor(value: AnyTensor): this {
    return this.#nested(checked(value), 0, 0, value.size);
  }

  /**
   * Write what stands at one index of dimension 0.
   *
   * @throws TensorError if the tensor is a scalar or JSON cannot carry the dtype.
   */
  row(value: AnyTensor, row: number): this {
    const [rows] = value.shape;
    if (rows === undefined) throw new TensorError("a scalar has no rows");
    const size = value.size / rows;
    return this.#nested(checked(value), 1, row * size, size);
  }

  /** The text so far; a view of the printer's memory, which is not written to again unless the printer is. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** The `size` elements from `start` on, as lists from dimension `axis` on. */
  #nested(value: AnyTensor, axis: number, start: number, size: number): this {
    const length = value.shape[axis];
    if (length === undefined) return this.#elements(value, start, 1);
    this.#put(openBracket);
    if (axis === value.shape.length - 1) this.#elements(value, start, length);
    else {
      const inner = length === 0 ? 0 : size / length;
      for (let i = 0; i < length; i++) {
        if (i > 0) this.#put(comma);
        this.#nested(value, axis + 1, start + i * inner, inner);
      }
    }
    return this.#put(closeBracket);
  }

  /** Elements in a row, with commas between them. */
  #elements(value: AnyTensor, start: number, count: number): this {
    const end = start + count;
    if (value.dtype === "string") this.#strings(value.values, start, end);
    else if (value.dtype === "float32") this.#floats(value.values, start, end);
    else if (value.dtype === "float64") this.#doubles(value.values, start, end);
    else if (value.dtype === "bool") this.#bools(value.values, start, end);
    else this.#integers(value.values as ArrayLike<number | bigint>, start, end);
    return this;
  }

  /** The loop that large requests spend their time in: position and buffer stay in variables, which saves a fifth of it. */
  #floats(values: Float32Array, start: number, end: number): void {
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    const floatPoint = this.#floatPoint;
    let bytes = this.#bytes;
    let view = viewOf(bytes);
    let at = this.#length;
    for (let i = start; i < end; i++) {
      if (at + maxNumberBytes > bytes.length) {
        this.#length = at;
        bytes = this.#grow(maxNumberBytes);
        view = viewOf(bytes);
      }
      if (i > start) bytes[at++] = comma;
      const value = values[i] as number;
      at = writeFloat32(bytes, view, at, value, bits[i] as number);
      if (floatPoint && printsWhole(value)) at = writeText(bytes, at, ".0");
    }
    this.#length = at;
  }

  #doubles(values: Float64Array, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (i > start) this.#put(comma);
      this.#reserve(maxNumberBytes);
      const value = values[i] as number;
      this.#length = writeFloat64(this.#bytes, this.#length, value);
      if (this.#floatPoint && printsWhole(value)) this.raw(".0");
    }
  }

  #integers(values: ArrayLike<number | bigint>, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (i > start) this.#put(comma);
      this.#reserve(maxNumberBytes);
      this.#length = writeInteger(this.#bytes, this.#length, values[i] as number | bigint);
    }
  }

  #bools(values: Uint8Array, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (i > start) this.#put(comma);
      this.#reserve(maxNumberBytes);
      this.#length = writeText(this.#bytes, this.#length, values[i] === 0 ? "false" : "true");
    }
  }

  #strings(values: readonly Uint8Array[], start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (i > start) this.#put(comma);
      this.raw(stringJson(values[i] as Uint8Array));
    }
  }

  #put(byte: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = byte;
    return this;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) this.#grow(bytes);
  }

  #grow(bytes: number): Buffer {
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#length + bytes));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    return grown;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function checked(value: AnyTensor): AnyTensor {
  if (!isJsonDType(value.dtype)) throw new TensorError(`JSON cannot carry dtype ${value.dtype}`, { hint: "use gRPC" });
  return value;
}

/** JavaScript prints whole numbers below 10^21 without a point; -0 has one already. */
function printsWhole(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) < 1e21 && !Object.is(value, -0);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function stringJson(bytes: Uint8Array): string {
  try {
    return JSON.stringify(strictUtf8.decode(bytes));
  } catch {
    // A TypeError: not UTF-8. Base64 carries any bytes.
    return `{"b64":"${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}"}`;
  }
}
