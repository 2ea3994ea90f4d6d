/**
 * Tensor <-> TensorProto bytes, by hand: the hot path of every call.
 *
 * Field numbers: tensorflow/core/framework/tensor.proto and tensor_shape.proto. The rules of decoding are those of TensorFlow's
 * `Tensor::FromProto` (tensorflow/core/framework/tensor.cc, 2.20.0). Numbers are copied once in each direction, whole arrays at a time.
 */
import { FormatError, isServingError, TensorError } from "../errors.js";
import { type DType, dtypeFromWire, dtypes, isDType } from "./dtype.js";
import { piecesOf } from "./rows.js";
import { elementCount, formatShape, maxRank } from "./shape.js";
import { type AnyTensor, Tensor } from "./tensor.js";
import { addRange, fieldSize, totalLength, varintSize, WireReader, writeFieldHead, writeVarint } from "./wire.js";

type NumericDType = Exclude<DType, "string">;
type NumericValues = InstanceType<(typeof dtypes)[NumericDType]["array"]>;

/**
 * How many bytes the values of one message may grow beyond what was sent, by repeating the last value of short lists: 64 MiB.
 *
 * TensorFlow has no such limit: 30 bytes from the network then claim gigabytes.
 */
export const maxExpansionBytes = 64 * 1024 * 1024;

/**
 * How many strings the tensors of one message may hold: as many as short lists may grow to, by the 8 bytes of a reference.
 *
 * One of a single byte takes 3 bytes on the wire and 220 in memory, nearly all of it for the object and its own buffer (Node 20).
 */
export const maxStrings = maxExpansionBytes / 8;

/** What is left of {@link maxExpansionBytes} and {@link maxStrings}; the tensors of one message share one. */
export interface ExpansionBudget {
  left: number;
  strings: number;
}

/** The budget of a new message. */
export function expansionBudget(): ExpansionBudget {
  return { left: maxExpansionBytes, strings: maxStrings };
}

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const tags = { dtype: 0x08, shape: 0x12, content: 0x22, stringVal: 0x42, dim: 0x12, dimSize: 0x08 } as const;

// Encoding

/** Bytes that {@link encodeTensor} writes. */
export function encodedTensorSize(source: AnyTensor): number {
  return 2 + fieldSize(shapeSize(source.shape)) + valuesSize(source);
}

/**
 * Write a tensor as a TensorProto: numbers as `tensor_content`, strings as `string_val`.
 *
 * @param target - Has room for {@link encodedTensorSize} bytes at `at`.
 * @returns The position behind the message.
 */
export function encodeTensor(source: AnyTensor, target: Uint8Array, at: number): number {
  target[at] = tags.dtype;
  target[at + 1] = dtypes[source.dtype].wire;
  let position = writeFieldHead(target, at + 2, tags.shape, shapeSize(source.shape));
  for (const dim of source.shape) {
    position = writeFieldHead(target, position, tags.dim, dimSize(dim));
    if (dim > 0) {
      target[position] = tags.dimSize;
      position = writeVarint(target, position + 1, dim);
    }
  }
  const pieces = piecesOf(source);
  if (pieces !== undefined) return encodePieces(pieces, target, position);
  if (source.dtype === "string") return encodeStrings(source.values, target, position);
  const { values } = source;
  if (values.byteLength === 0) return position;
  return encodeContent(values, target, writeFieldHead(target, position, tags.content, values.byteLength));
}

/** The values of joined rows, each written from where it is. */
function encodePieces(pieces: readonly AnyTensor[], target: Uint8Array, at: number): number {
  const bytes = contentBytes(pieces);
  let position = bytes === 0 ? at : writeFieldHead(target, at, tags.content, bytes);
  for (const piece of pieces) {
    position = piece.dtype === "string" ? encodeStrings(piece.values, target, position) : encodeContent(piece.values, target, position);
  }
  return position;
}

function encodeStrings(values: readonly Uint8Array[], target: Uint8Array, at: number): number {
  let position = at;
  for (const value of values) {
    position = writeFieldHead(target, position, tags.stringVal, value.length);
    target.set(value, position);
    position += value.length;
  }
  return position;
}

function encodeContent(values: ArrayBufferView & { readonly BYTES_PER_ELEMENT: number }, target: Uint8Array, at: number): number {
  target.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
  if (!hostIsLittleEndian) swapBytes(target.subarray(at, at + values.byteLength), values.BYTES_PER_ELEMENT);
  return at + values.byteLength;
}

/** Bytes of all numbers in joined rows; strings are no content. */
function contentBytes(pieces: readonly AnyTensor[]): number {
  let bytes = 0;
  for (const piece of pieces) if (piece.dtype !== "string") bytes += piece.values.byteLength;
  return bytes;
}

function shapeSize(shape: readonly number[]): number {
  let size = 0;
  for (const dim of shape) size += fieldSize(dimSize(dim));
  return size;
}

/** A size of 0 is the default and not written. */
function dimSize(dim: number): number {
  return dim === 0 ? 0 : 1 + varintSize(dim);
}

function valuesSize(source: AnyTensor): number {
  const pieces = piecesOf(source);
  if (pieces !== undefined) return piecesSize(pieces);
  if (source.dtype !== "string") return source.values.byteLength === 0 ? 0 : fieldSize(source.values.byteLength);
  let size = 0;
  for (const value of source.values) size += fieldSize(value.length);
  return size;
}

function piecesSize(pieces: readonly AnyTensor[]): number {
  const bytes = contentBytes(pieces);
  let size = bytes === 0 ? 0 : fieldSize(bytes);
  for (const piece of pieces) if (piece.dtype === "string") size += valuesSize(piece);
  return size;
}

// Decoding

/**
 * The tensor in a TensorProto; its values are fresh memory of the caller.
 *
 * @param reader - At the start of the message, ending with it; the message may lie anywhere in a larger one. It is at the end afterwards.
 * @param what - What errors call the tensor, such as `output "y"`.
 * @throws FormatError if the bytes are no protobuf message; TensorError where TensorFlow refuses it, for dtypes without a tensor here, and
 * where short lists or the number of strings would go beyond the budget. Nothing large is allocated before.
 */
export function decodeTensor(reader: WireReader, what: string, budget: ExpansionBudget): AnyTensor {
  let wireDType = 0;
  const shape: number[] = [];
  let contentStart = 0;
  let contentEnd = 0;
  let listStart = reader.end;
  while (reader.position < reader.end) {
    const start = reader.position;
    const tag = reader.tag();
    if (tag === tags.dtype) {
      reader.varint();
      wireDType = reader.low;
    } else if (tag === tags.shape) {
      const outerEnd = reader.enter();
      // Several shapes in one message are merged, as protobuf does: their dimensions follow each other.
      readShape(reader, shape, what);
      reader.leave(outerEnd);
    } else if (tag === tags.content) {
      contentEnd = reader.fieldEnd();
      contentStart = reader.position;
      reader.position = contentEnd;
    } else {
      // The list can only be read once the dtype is known, which may come later.
      if (listStart === reader.end && tag > tags.content) listStart = start;
      reader.skip(tag);
    }
  }

  const dtype = dtypeFromWire(wireDType);
  if (!isDType(dtype)) throw new TensorError(`${what}: expected a dtype that tensors can have, got ${dtype}`);
  const count = countElements(shape, what);
  const subject = () => `${what}: ${dtype} ${formatShape(shape)}`;
  const hasContent = count > 0 && contentEnd > contentStart;
  const { end } = reader;
  reader.position = hasContent ? contentStart : listStart;
  if (hasContent) reader.end = contentEnd;
  if (dtype === "string") takeStrings(count, budget, subject);
  let values: NumericValues | Uint8Array[];
  if (dtype === "string") values = hasContent ? splitStrings(reader, count, subject) : readStrings(reader, count, budget, subject);
  else values = hasContent ? readContent(reader, dtype, count, subject) : readList(reader, dtype, count, budget, subject);
  reader.end = end;
  reader.position = end;
  // The array class comes from the row of this dtype, which the compiler cannot follow through a union of 27.
  return new Tensor(dtype, shape, values as never, count) as AnyTensor;
}

function readShape(reader: WireReader, shape: number[], what: string): void {
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== tags.dim) {
      // unknown_rank among others: TensorFlow ignores it.
      reader.skip(tag);
      continue;
    }
    if (shape.length === maxRank) throw new TensorError(`${what}: expected at most ${maxRank} dimensions, got more`);
    const outerEnd = reader.enter();
    shape.push(readDim(reader));
    reader.leave(outerEnd);
  }
}

function readDim(reader: WireReader): number {
  let size = 0;
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag === tags.dimSize) {
      const low = reader.varint();
      size = reader.high * 2 ** 32 + low;
    } else {
      reader.skip(tag);
    }
  }
  return size;
}

function countElements(shape: readonly number[], what: string): number {
  try {
    return elementCount(shape);
  } catch (error) {
    if (!isServingError(error, "TensorError")) throw error;
    throw new TensorError(`${what}: ${error.message}`, { cause: error });
  }
}

function readContent(content: WireReader, dtype: NumericDType, count: number, subject: () => string): NumericValues {
  const { bytes, kind } = dtypes[dtype];
  const given = content.end - content.position;
  if (given !== count * bytes) throw new TensorError(`${subject()}: expected ${count * bytes} bytes of tensor_content, got ${given}`);
  const values = copiedValues(content.bytes, content.position, dtype, count);
  if (kind === "bool") {
    for (let i = 0; i < values.length; i++) {
      if ((values[i] as number) > 1)
        throw new TensorError(`${subject()}: expected bytes 0 and 1 in tensor_content, got ${values[i]} at ${i}`);
    }
  }
  return wrapNibbles(values, dtype);
}

/**
 * The one copy of an answer's numbers: it makes them the caller's own and aligns them, since they start anywhere in the message.
 *
 * `slice` would clear the memory first, which costs as much as the copy from a few megabytes up (`npm run bench -- codec`, D1).
 */
function copiedValues(source: Uint8Array, start: number, dtype: NumericDType, count: number): NumericValues {
  const { array, bytes } = dtypes[dtype];
  const copy = Buffer.allocUnsafeSlow(count * bytes);
  copy.set(source.subarray(start, start + copy.length));
  if (!hostIsLittleEndian) swapBytes(copy, array.BYTES_PER_ELEMENT);
  return new array(copy.buffer);
}

/** How a typed list stands on the wire. */
interface ListForm {
  /** Field number in TensorProto. */
  readonly field: number;
  /** Bytes of a value of fixed size; 0 for varints; 1 for `float8_val`, which is one bytes field. */
  readonly width: 0 | 1 | 4 | 8;
}

const intVal: ListForm = { field: 7, width: 0 };
const float8Val: ListForm = { field: 18, width: 1 };
const listForms: Readonly<Record<NumericDType, ListForm>> = {
  float32: { field: 5, width: 4 },
  float64: { field: 6, width: 8 },
  complex64: { field: 9, width: 4 },
  complex128: { field: 12, width: 8 },
  int64: { field: 10, width: 0 },
  uint64: { field: 17, width: 0 },
  uint32: { field: 16, width: 0 },
  bool: { field: 11, width: 0 },
  float16: { field: 13, width: 0 },
  bfloat16: { field: 13, width: 0 },
  int8: intVal,
  int16: intVal,
  int32: intVal,
  uint8: intVal,
  uint16: intVal,
  int4: intVal,
  uint4: intVal,
  qint8: intVal,
  quint8: intVal,
  qint16: intVal,
  quint16: intVal,
  qint32: intVal,
  float8_e5m2: float8Val,
  float8_e4m3fn: float8Val,
  float8_e4m3fnuz: float8Val,
  float8_e4m3b11fnuz: float8Val,
  float8_e5m2fnuz: float8Val,
};

/** A typed list: a short one is filled with its last value, an empty one with zeros, surplus values are ignored. */
function readList(reader: WireReader, dtype: NumericDType, count: number, budget: ExpansionBudget, subject: () => string): NumericValues {
  const form = listForms[dtype];
  const { array, bytes, kind } = dtypes[dtype];
  const parts = kind === "complex" ? 2 : 1;
  const ranges = findList(reader, form);
  const fixed = form.width > 0;
  // Counting varints takes a pass of its own, which only a result that could break the budget is worth.
  if (fixed || count * bytes > budget.left) {
    const given = fixed ? Math.floor(totalLength(ranges) / form.width) : countVarints(reader.bytes, ranges);
    // The usual answer: one packed list with every value.
    if (fixed && given >= count * parts && ranges.length === 2) return copiedValues(reader.bytes, ranges[0] as number, dtype, count);
    const whole = Math.floor(given / parts);
    checkBudget((count - whole) * bytes, whole, count, budget, subject);
  }

  const values = new array(count * parts);
  const read = fixed ? readFixed(reader.bytes, ranges, values) : readVarints(reader.bytes, ranges, values, dtype);
  // An odd last part of a complex list is dropped.
  const filled = read - (read % parts);
  budget.left -= Math.max(0, values.length - filled) * (bytes / parts);
  fillUp(values, filled, parts);
  return wrapNibbles(values, dtype);
}

/** Where the values of a list stand, as start and end in turn; packed and single ones may be mixed. */
function findList(reader: WireReader, form: ListForm): number[] {
  const packed = (form.field << 3) | 2;
  const single = (form.field << 3) | (form.width === 4 ? 5 : form.width === 8 ? 1 : 0);
  const ranges: number[] = [];
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag === packed) {
      const end = reader.fieldEnd();
      const length = end - reader.position;
      if (form.width > 1 && length % form.width !== 0) {
        throw new FormatError(
          `malformed message: a packed list of ${length} bytes at ${reader.position}, expected a multiple of ${form.width}`,
        );
      }
      // float8_val is a single bytes field: the last one counts.
      if (form.width === 1) ranges.length = 0;
      if (length > 0) addRange(ranges, reader.position, end);
      reader.position = end;
    } else {
      const start = reader.position;
      reader.skip(tag);
      if (tag === single && form.width !== 1) addRange(ranges, start, reader.position);
    }
  }
  return ranges;
}

function countVarints(bytes: Uint8Array, ranges: readonly number[]): number {
  let count = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    for (let at = ranges[i] as number; at < (ranges[i + 1] as number); at++) if ((bytes[at] as number) < 128) count++;
  }
  return count;
}

/** Copy fixed-size values; returns how many there were room for. */
function readFixed(bytes: Uint8Array, ranges: readonly number[], values: NumericValues): number {
  const target = new Uint8Array(values.buffer);
  let at = 0;
  for (let i = 0; i < ranges.length && at < target.length; i += 2) {
    const start = ranges[i] as number;
    const part = bytes.subarray(start, Math.min(ranges[i + 1] as number, start + target.length - at));
    target.set(part, at);
    at += part.length;
  }
  if (!hostIsLittleEndian) swapBytes(target.subarray(0, at), values.BYTES_PER_ELEMENT);
  return at / values.BYTES_PER_ELEMENT;
}

/** Read varints; returns how many there were room for. Typed arrays wrap what does not fit, as the C++ casts of TensorFlow do. */
function readVarints(bytes: Uint8Array, ranges: readonly number[], values: NumericValues, dtype: NumericDType): number {
  const wide = values instanceof BigInt64Array || values instanceof BigUint64Array;
  // 64-bit values are written as two halves: making a bigint for each costs ten times as much.
  const halves = wide ? new Int32Array(values.buffer) : undefined;
  const lowHalf = hostIsLittleEndian ? 0 : 1;
  let index = 0;
  for (let i = 0; i < ranges.length && index < values.length; i += 2) {
    const reader = new WireReader(bytes, ranges[i], ranges[i + 1]);
    if (halves !== undefined) {
      while (index < values.length && reader.position < reader.end) {
        reader.varint();
        halves[2 * index + lowHalf] = reader.low;
        halves[2 * index + 1 - lowHalf] = reader.high;
        index++;
      }
    } else if (dtype === "bool") {
      while (index < values.length && reader.position < reader.end) {
        reader.varint();
        values[index++] = (reader.low | reader.high) === 0 ? 0 : 1;
      }
    } else {
      while (index < values.length && reader.position < reader.end) {
        reader.varint();
        values[index++] = reader.low;
      }
    }
  }
  return index;
}

/** Repeat the last `parts` of the first `filled` values to the end; with none, the zeros of a new array stay. */
function fillUp(values: NumericValues, filled: number, parts: number): void {
  if (filled === 0 || filled >= values.length) return;
  if (parts === 1) {
    values.fill(values[filled - 1] as never, filled);
    return;
  }
  for (let i = filled; i < values.length; i++) values[i] = values[i - parts] as never;
}

/** A 4-bit number keeps its low four bits, wherever the message put it. */
function wrapNibbles(values: NumericValues, dtype: NumericDType): NumericValues {
  if (dtype === "int4") for (let i = 0; i < values.length; i++) values[i] = ((values[i] as number) << 28) >> 28;
  if (dtype === "uint4") for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) & 15;
  return values;
}

function takeStrings(count: number, budget: ExpansionBudget, subject: () => string): void {
  if (count > budget.strings) {
    throw new TensorError(
      `${subject()}: expected at most ${maxStrings} strings in one message, got ${maxStrings - budget.strings + count}`,
    );
  }
  budget.strings -= count;
}

const noBytes = new Uint8Array(0);

function readStrings(reader: WireReader, count: number, budget: ExpansionBudget, subject: () => string): Uint8Array[] {
  const strings: Uint8Array[] = [];
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== tags.stringVal) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    // Nobody can write into an empty one, and its object is a hundred times what it takes in the message.
    if (strings.length < count) strings.push(end === reader.position ? noBytes : reader.bytes.slice(reader.position, end));
    reader.position = end;
  }
  const last = strings.at(-1) ?? new Uint8Array(0);
  // A reference takes 8 bytes; the text counts too, since whoever encodes the tensor again writes it out.
  const expansion = (count - strings.length) * (last.length + 8);
  checkBudget(expansion, strings.length, count, budget, subject);
  budget.left -= expansion;
  while (strings.length < count) strings.push(last);
  return strings;
}

/** Strings in tensor_content: all lengths as varints, then all bytes, nothing left over. */
function splitStrings(content: WireReader, count: number, subject: () => string): Uint8Array[] {
  const given = content.end - content.position;
  // Each length takes a byte at least, which bounds the loop by what was sent.
  if (count > given) throw new TensorError(`${subject()}: expected ${count} string lengths in tensor_content, got ${given} bytes`);
  const lengths: number[] = [];
  let total = 0;
  try {
    for (let i = 0; i < count; i++) {
      const length = content.varint() + (content.high >>> 0) * 2 ** 32;
      lengths.push(length);
      total += length;
    }
  } catch (cause) {
    throw new TensorError(`${subject()}: expected ${count} string lengths in tensor_content, the one at ${lengths.length} is malformed`, {
      cause,
    });
  }
  const rest = content.end - content.position;
  if (total !== rest)
    throw new TensorError(`${subject()}: expected ${total} bytes of strings by their lengths in tensor_content, got ${rest}`);
  return lengths.map((length) => {
    const start = content.position;
    content.position += length;
    return length === 0 ? noBytes : content.bytes.slice(start, content.position);
  });
}

function checkBudget(expansion: number, given: number, count: number, budget: ExpansionBudget, subject: () => string): void {
  if (expansion <= budget.left) return;
  const limit = `repeating the last one is limited to ${maxExpansionBytes} bytes in one message`;
  throw new TensorError(`${subject()}: expected ${count} values, got ${given}: ${limit}`);
}

/** Reverse the bytes of each element in place. */
function swapBytes(bytes: Uint8Array, width: number): void {
  for (let start = 0; width > 1 && start < bytes.length; start += width) bytes.subarray(start, start + width).reverse();
}
