/**
 * PredictRequest and PredictResponse by hand, around `tensor/codec.ts`: the hot path of gRPC.
 *
 * Field numbers: tensorflow_serving/apis/predict.proto and model.proto (2.20.0). Everything else goes through `messages.ts`.
 */
import { TensorError } from "./errors.js";
import type { ModelSpec } from "./model-spec.js";
import { decodeTensor, encodedTensorSize, encodeTensor, expansionBudget } from "./tensor/codec.js";
import type { AnyTensor } from "./tensor/tensor.js";
import { fieldSize, WireReader, writeFieldHead } from "./tensor/wire.js";
import type { PredictResult, TensorMap } from "./transport/transport.js";

const requestTags = { modelSpec: 0x0a, input: 0x12, outputFilter: 0x1a } as const;
const responseTags = { output: 0x0a, modelSpec: 0x12 } as const;
const entryTags = { key: 0x0a, value: 0x12 } as const;
const modelTags = { name: 0x0a, version: 0x12, signatureName: 0x1a, versionLabel: 0x22 } as const;
/** `google.protobuf.Int64Value.value`. */
const int64ValueTag = 0x08;

const changed = "an input changed before the call settled";

const utf8 = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 of a name; a loop, because names are short and ASCII and TextEncoder costs more than they do. */
function encodeText(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return utf8.encode(text);
    bytes[i] = code;
  }
  return bytes;
}

/** One input as it will stand in the map. */
interface EncodedEntry {
  readonly key: Uint8Array;
  readonly tensor: AnyTensor;
  readonly tensorSize: number;
  readonly size: number;
}

/**
 * A PredictRequest that knows its size and writes itself anywhere.
 *
 * The tensors are read when {@link copy} is called, not before: they must not change until then.
 */
export class EncodedPredictRequest {
  /** Size of the message in bytes. */
  readonly length: number;
  readonly #spec: Uint8Array;
  readonly #entries: readonly EncodedEntry[];
  readonly #outputFilter: readonly Uint8Array[];

  constructor(spec: ModelSpec, inputs: TensorMap, outputFilter: readonly string[] = []) {
    this.#spec = encodeModelSpec(spec);
    this.#entries = Object.entries(inputs).map(([name, tensor]) => {
      const key = encodeText(name);
      const tensorSize = encodedTensorSize(tensor);
      return { key, tensor, tensorSize, size: fieldSize(key.length) + fieldSize(tensorSize) };
    });
    this.#outputFilter = outputFilter.map((name) => encodeText(name));
    let length = fieldSize(this.#spec.length);
    for (const entry of this.#entries) length += fieldSize(entry.size);
    for (const name of this.#outputFilter) length += fieldSize(name.length);
    this.length = length;
  }

  /**
   * Write the message into `target`, which has room for {@link length} bytes at `at`; every byte is written once.
   *
   * @returns The number of bytes written, as `Buffer.copy` does.
   * @throws TensorError if the inputs are no longer what they were when the size was taken: the frame would hold what nobody wrote.
   */
  copy(target: Uint8Array, at = 0): number {
    let position = writeBytesField(target, at, requestTags.modelSpec, this.#spec);
    for (const entry of this.#entries) {
      position = writeFieldHead(target, position, requestTags.input, entry.size);
      position = writeBytesField(target, position, entryTags.key, entry.key);
      position = writeFieldHead(target, position, entryTags.value, entry.tensorSize);
      position = encodeTensor(entry.tensor, target, position);
    }
    for (const name of this.#outputFilter) position = writeBytesField(target, position, requestTags.outputFilter, name);
    if (position - at !== this.length) throw new TensorError(`${changed}: expected ${this.length} bytes, got ${position - at}`);
    return position - at;
  }

  /** The message in a buffer of its own. */
  toBuffer(): Buffer {
    const buffer = Buffer.allocUnsafe(this.length);
    this.copy(buffer);
    return buffer;
  }
}

function encodeModelSpec(spec: ModelSpec): Uint8Array {
  const fields: [tag: number, bytes: Uint8Array][] = [[modelTags.name, encodeText(spec.name)]];
  if (spec.version !== undefined) fields.push([modelTags.version, encodeInt64Value(spec.version)]);
  if (spec.signatureName !== undefined) fields.push([modelTags.signatureName, encodeText(spec.signatureName)]);
  // A label that is present but empty counts as a label, so it is written too.
  if (spec.versionLabel !== undefined) fields.push([modelTags.versionLabel, encodeText(spec.versionLabel)]);
  const target = new Uint8Array(fields.reduce((size, [, bytes]) => size + fieldSize(bytes.length), 0));
  let position = 0;
  for (const [tag, bytes] of fields) position = writeBytesField(target, position, tag, bytes);
  return target;
}

function encodeInt64Value(version: number | bigint): Uint8Array {
  const bytes = [int64ValueTag];
  let rest = BigInt.asUintN(64, BigInt(version));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function writeBytesField(target: Uint8Array, at: number, tag: number, bytes: Uint8Array): number {
  const position = writeFieldHead(target, at, tag, bytes.length);
  target.set(bytes, position);
  return position + bytes.length;
}

/**
 * What a Predict call answered; every tensor is the caller's own memory.
 *
 * Fields may come in any order; unknown ones are skipped, repeated ones merged, and of two outputs of one name the last counts.
 *
 * @throws FormatError if the bytes are no PredictResponse; TensorError that names the output that cannot be decoded.
 */
export function decodePredictResponse(bytes: Uint8Array): PredictResult {
  const reader = new WireReader(bytes);
  const budget = expansionBudget();
  const outputs: Record<string, AnyTensor> = Object.create(null);
  const modelSpec: { name: string; version?: bigint; signatureName: string } = { name: "", signatureName: "" };
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== responseTags.output && tag !== responseTags.modelSpec) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    const part = new WireReader(reader.bytes, reader.position, end);
    if (tag === responseTags.modelSpec) {
      readModelSpec(part, modelSpec);
    } else {
      const { name, value } = readEntry(part);
      outputs[name] = decodeTensor(value, `output "${name}"`, budget);
    }
    reader.position = end;
  }
  return { outputs, modelSpec };
}

function readEntry(reader: WireReader): { name: string; value: WireReader } {
  let name = "";
  let value: WireReader | undefined;
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== entryTags.key && tag !== entryTags.value) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    const part = new WireReader(reader.bytes, reader.position, end);
    if (tag === entryTags.key) name = readText(part);
    else value = value === undefined ? part : concatenated(value, part);
    reader.position = end;
  }
  return { name, value: value ?? new WireReader(reader.bytes, reader.end, reader.end) };
}

/** Two parts of one message: protobuf defines merging them as reading them one after the other. */
function concatenated(first: WireReader, second: WireReader): WireReader {
  const { bytes } = first;
  return new WireReader(Buffer.concat([bytes.subarray(first.position, first.end), bytes.subarray(second.position, second.end)]));
}

function readModelSpec(reader: WireReader, modelSpec: { name: string; version?: bigint; signatureName: string }): void {
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== modelTags.name && tag !== modelTags.signatureName && tag !== modelTags.version) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    const part = new WireReader(reader.bytes, reader.position, end);
    if (tag === modelTags.name) modelSpec.name = readText(part);
    else if (tag === modelTags.signatureName) modelSpec.signatureName = readText(part);
    else modelSpec.version = readInt64Value(part, modelSpec.version ?? 0n);
    reader.position = end;
  }
}

function readInt64Value(reader: WireReader, before: bigint): bigint {
  let value = before;
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag === int64ValueTag) value = reader.int64();
    else reader.skip(tag);
  }
  return value;
}

/** Text of the whole part; bytes that are no UTF-8 become replacement characters. */
function readText({ bytes, position, end }: WireReader): string {
  let text = "";
  for (let at = position; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte > 127) return utf8Decoder.decode(bytes.subarray(position, end));
    text += String.fromCharCode(byte);
  }
  return text;
}
