/**
 * PredictRequest and PredictResponse by hand, around `tensor/codec.ts`: the hot path of gRPC.
 *
 * Field numbers: tensorflow_serving/apis/predict.proto and model.proto (2.20.0). Everything else goes through `messages.ts`.
 */
import { TensorError } from "./errors.js";
import type { ModelSpec } from "./model-spec.js";
import { decodeTensor, encodedTensorSize, encodeTensor, expansionBudget } from "./tensor/codec.js";
import { quotedName } from "./tensor/names.js";
import type { AnyTensor } from "./tensor/tensor.js";
import {
  addRange,
  fieldSize,
  int64Size,
  textSize,
  totalLength,
  WireReader,
  writeFieldHead,
  writeInt64,
  writeTextField,
} from "./tensor/wire.js";
import type { PredictResult, TensorMap } from "./transport/transport.js";

/** Tags of a message with tensors by name, and what errors call one of these. */
interface MessageForm {
  readonly modelSpec: number;
  readonly tensor: number;
  readonly what: string;
}

const requestForm = { modelSpec: 0x0a, tensor: 0x12, what: "input" } as const satisfies MessageForm;
const responseForm = { tensor: 0x0a, modelSpec: 0x12, what: "output" } as const satisfies MessageForm;
/** Of a request alone. */
const outputFilterTag = 0x1a;
const entryTags = { key: 0x0a, value: 0x12 } as const;
const modelTags = { name: 0x0a, version: 0x12, signatureName: 0x1a, versionLabel: 0x22 } as const;
/** `google.protobuf.Int64Value.value`. */
const int64ValueTag = 0x08;

const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A PredictRequest that knows its size and writes itself anywhere.
 *
 * The tensors are read when {@link copy} is called, not before: they must not change until then.
 */
export class EncodedPredictRequest {
  /** Size of the message in bytes. */
  readonly length: number;
  /** What {@link copy} threw, for callers that do not see it themselves. */
  failure: unknown;
  readonly #spec: ModelSpec;
  readonly #specSize: number;
  readonly #names: readonly string[];
  readonly #tensors: readonly AnyTensor[];
  /** Size of each tensor's message. */
  readonly #sizes: readonly number[];
  readonly #outputFilter: readonly string[];
  readonly #form: MessageForm;

  constructor(spec: ModelSpec, inputs: TensorMap, outputFilter: readonly string[] = [], form: MessageForm = requestForm) {
    this.#form = form;
    this.#spec = spec;
    this.#specSize = specSize(spec);
    this.#names = Object.keys(inputs);
    this.#tensors = Object.values(inputs);
    this.#sizes = this.#tensors.map(encodedTensorSize);
    this.#outputFilter = outputFilter;
    let length = fieldSize(this.#specSize);
    for (let i = 0; i < this.#names.length; i++) length += fieldSize(this.#entrySize(i));
    for (const name of outputFilter) length += fieldSize(textSize(name));
    this.length = length;
  }

  /**
   * Write the message into `target`, which has room for {@link length} bytes at `at`; every byte is written once.
   *
   * @returns The number of bytes written, as `Buffer.copy` does.
   * @throws TensorError if the inputs are no longer what they were when the size was taken: the frame would hold what nobody wrote.
   */
  copy(target: Uint8Array, at = 0): number {
    try {
      return this.#write(target, at);
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  /** The message in a buffer of its own. */
  toBuffer(): Buffer {
    const buffer = Buffer.allocUnsafe(this.length);
    this.copy(buffer);
    return buffer;
  }

  #write(target: Uint8Array, at: number): number {
    let position = writeModelSpec(target, writeFieldHead(target, at, this.#form.modelSpec, this.#specSize), this.#spec);
    for (let i = 0; i < this.#names.length; i++) {
      const name = this.#names[i] as string;
      position = writeFieldHead(target, position, this.#form.tensor, this.#entrySize(i));
      position = writeTextField(target, position, entryTags.key, name, textSize(name));
      position = writeFieldHead(target, position, entryTags.value, this.#sizes[i] as number);
      position = this.#writeTensor(i, target, position);
    }
    for (const name of this.#outputFilter) position = writeTextField(target, position, outputFilterTag, name, textSize(name));
    if (position - at !== this.length) throw changedError("the model or the output filter", this.length, position - at);
    return position - at;
  }

  #writeTensor(index: number, target: Uint8Array, at: number): number {
    const size = this.#sizes[index] as number;
    let end: number;
    try {
      end = encodeTensor(this.#tensors[index] as AnyTensor, target, at);
    } catch (cause) {
      throw changedError(this.#tensorText(index), size, "what does not fit", cause);
    }
    if (end - at !== size) throw changedError(this.#tensorText(index), size, end - at);
    return end;
  }

  #tensorText(index: number): string {
    return `${this.#form.what} ${quotedName(this.#names[index] as string)}`;
  }

  #entrySize(index: number): number {
    return fieldSize(textSize(this.#names[index] as string)) + fieldSize(this.#sizes[index] as number);
  }
}

/** A PredictResponse to be written as {@link EncodedPredictRequest} writes a request; only field numbers differ. */
export function encodedPredictResponse({ modelSpec, outputs }: PredictResult): Pick<EncodedPredictRequest, "length" | "copy"> {
  return new EncodedPredictRequest(modelSpec, outputs, [], responseForm);
}

function changedError(what: string, size: number, got: number | string, cause?: unknown): TensorError {
  return new TensorError(`${what} changed before the call settled: expected ${size} bytes, got ${got}`, { cause });
}

function specSize({ name, version, signatureName, versionLabel }: ModelSpec): number {
  let size = fieldSize(textSize(name));
  if (version !== undefined) size += fieldSize(1 + int64Size(version));
  if (signatureName !== undefined) size += fieldSize(textSize(signatureName));
  if (versionLabel !== undefined) size += fieldSize(textSize(versionLabel));
  return size;
}

function writeModelSpec(target: Uint8Array, at: number, { name, version, signatureName, versionLabel }: ModelSpec): number {
  let position = writeTextField(target, at, modelTags.name, name, textSize(name));
  if (version !== undefined) {
    position = writeFieldHead(target, position, modelTags.version, 1 + int64Size(version));
    target[position] = int64ValueTag;
    position = writeInt64(target, position + 1, version);
  }
  if (signatureName !== undefined) {
    position = writeTextField(target, position, modelTags.signatureName, signatureName, textSize(signatureName));
  }
  // A label that is present but empty counts as a label, so it is written too.
  if (versionLabel !== undefined) {
    position = writeTextField(target, position, modelTags.versionLabel, versionLabel, textSize(versionLabel));
  }
  return position;
}

/** How many outputs one message may hold: an empty one takes 16 bytes on the wire and 500 in memory (Node 20). */
const maxOutputs = 65_536;

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
  const ranges = new Map<string, readonly number[]>();
  let entries = 0;
  const modelSpec: { name: string; version?: bigint; signatureName: string } = { name: "", signatureName: "" };
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== responseForm.tensor && tag !== responseForm.modelSpec) {
      reader.skip(tag);
      continue;
    }
    const outerEnd = reader.enter();
    if (tag === responseForm.modelSpec) readModelSpec(reader, modelSpec);
    else if (++entries <= maxOutputs) findOutput(reader, ranges);
    else throw new TensorError(`expected at most ${maxOutputs} outputs in one message, got more`);
    reader.leave(outerEnd);
  }
  const outputs: Record<string, AnyTensor> = Object.create(null);
  for (const [name, values] of ranges) outputs[name] = decodeTensor(mergedReader(bytes, values), `output ${quotedName(name)}`, budget);
  return { outputs, modelSpec };
}

/** Finds where the value of an output stands. */
function findOutput(reader: WireReader, outputs: Map<string, readonly number[]>): void {
  let name = "";
  // Start and end of each value in turn: one, unless somebody means to be difficult.
  const values: number[] = [];
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag !== entryTags.key && tag !== entryTags.value) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    if (tag === entryTags.key) name = readText(reader.bytes, reader.position, end);
    else addRange(values, reader.position, end);
    reader.position = end;
  }
  outputs.set(name, values);
}

/** Reads several parts of one message, which protobuf defines as reading them one after the other. */
function mergedReader(bytes: Uint8Array, ranges: readonly number[]): WireReader {
  if (ranges.length <= 2) return new WireReader(bytes, ranges[0] ?? 0, ranges[1] ?? 0);
  const merged = new Uint8Array(totalLength(ranges));
  let position = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    const part = bytes.subarray(ranges[i], ranges[i + 1]);
    merged.set(part, position);
    position += part.length;
  }
  return new WireReader(merged);
}

function readModelSpec(reader: WireReader, modelSpec: { name: string; version?: bigint; signatureName: string }): void {
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (tag === modelTags.version) {
      const outerEnd = reader.enter();
      modelSpec.version = readInt64Value(reader, modelSpec.version ?? 0n);
      reader.leave(outerEnd);
    } else if (tag === modelTags.name || tag === modelTags.signatureName) {
      const end = reader.fieldEnd();
      const text = readText(reader.bytes, reader.position, end);
      if (tag === modelTags.name) modelSpec.name = text;
      else modelSpec.signatureName = text;
      reader.position = end;
    } else {
      reader.skip(tag);
    }
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

/** Names are short, and for them a loop is cheaper than any call into the engine. */
const maxShortText = 64;

/** Text between two positions; bytes that are no UTF-8 become replacement characters. */
function readText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > maxShortText) return utf8Decoder.decode(bytes.subarray(start, end));
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte > 127) return utf8Decoder.decode(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}
