/**
 * Records of warm-up files and recordings <-> the bytes of a `tensorflow.serving.PredictionLog`.
 *
 * Field numbers: tensorflow_serving/apis/prediction_log.proto (2.20.0). The log itself is read and written by hand, because its generated code
 * loads all of gRPC; requests and responses go the ways they go over gRPC.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { ClassificationRequest, ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import { MultiInferenceRequest, MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import type { Input } from "../../gen/tensorflow_serving/apis/input.js";
import { LogMetadata } from "../../gen/tensorflow_serving/apis/logging.js";
import type { ModelSpec as ModelSpecProto } from "../../gen/tensorflow_serving/apis/model.js";
import { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { RegressionRequest, RegressionResponse } from "../../gen/tensorflow_serving/apis/regression.js";
import { FormatError, isServingError } from "../errors.js";
import {
  type AskedTask,
  classificationsFromProto,
  classificationsToProto,
  examplesFromInput,
  inferenceMethodNames,
  inputToProto,
  multiInferenceRequestFromProto,
  multiInferenceRequestToProto,
  multiInferenceResultFromProto,
  multiInferenceResultToProto,
  regressionsFromProto,
  regressionsToProto,
} from "../inference-messages.js";
import { mapRecord, modelSpecFromProto, modelSpecToProto, tensorFromProto } from "../messages.js";
import type { ModelSpec } from "../model-spec.js";
import { decodePredictResponse, EncodedPredictRequest, encodedPredictResponse } from "../predict-codec.js";
import { expansionBudget } from "../tensor/codec.js";
import { quotedName } from "../tensor/names.js";
import { addRange, totalLength, varintSize, WireReader, writeFieldHead } from "../tensor/wire.js";
import type { PredictResult } from "../transport/transport.js";
import type { CallRecord, ClassifyRecord, MultiInferenceRecord, RegressRecord, UnusableRecord, WarmupRecord } from "./warmup-record.js";

/** Tag of `PredictionLog.log_metadata`. */
const metadataTag = 0x0a;
/** Tags of the kinds of log in `PredictionLog`, of which it has one. */
const kindTags = {
  classify: 0x12,
  regress: 0x1a,
  multiInference: 0x22,
  sessionRun: 0x2a,
  predict: 0x32,
  predictStreamed: 0x3a,
} as const;
/** Tags of a log of any kind. */
const partTags = { request: 0x0a, response: 0x12 } as const;

/** Part of a message that is written later, into place; a Buffer is one. */
interface Unwritten {
  readonly length: number;
  /** Write it; the number of bytes written. */
  copy(target: Uint8Array, at: number): number;
}

/** Request and response of one kind of call, in both directions. */
interface CallCodec<Call extends CallRecord> {
  encodeRequest(call: Call): Unwritten;
  decodeRequest(bytes: Uint8Array): Omit<Call, "kind" | "response" | "logMetadata">;
  encodeResponse(response: NonNullable<Call["response"]>): Unwritten;
  /** `undefined` for a response without a result: servers pass over it, so it must not make a record unreadable. */
  decodeResponse(bytes: Uint8Array): Call["response"];
}

const codecs: { readonly [Kind in CallRecord["kind"]]: CallCodec<Extract<CallRecord, { kind: Kind }>> } = {
  predict: {
    encodeRequest: ({ modelSpec, inputs, outputFilter }) => new EncodedPredictRequest(modelSpec, inputs, outputFilter),
    decodeRequest(bytes) {
      const { modelSpec, inputs, outputFilter } = parsed(PredictRequest, bytes);
      const budget = expansionBudget();
      const tensors = mapRecord(inputs, (proto, name) => tensorFromProto(proto, `input ${quotedName(name)}`, budget));
      return { modelSpec: specOf(modelSpec), inputs: tensors, ...(outputFilter.length === 0 ? {} : { outputFilter }) };
    },
    encodeResponse: encodedPredictResponse,
    decodeResponse: predictResultOf,
  },
  classify: {
    encodeRequest: (call) => bufferOf(ClassificationRequest.encode(examplesRequest(call)).finish()),
    decodeRequest: (bytes) => examplesOf(parsed(ClassificationRequest, bytes)),
    encodeResponse: (result) => bufferOf(ClassificationResponse.encode(classificationsToProto(result)).finish()),
    decodeResponse(bytes) {
      const proto = parsed(ClassificationResponse, bytes);
      return proto.result === undefined ? undefined : classificationsFromProto(proto);
    },
  },
  regress: {
    encodeRequest: (call) => bufferOf(RegressionRequest.encode(examplesRequest(call)).finish()),
    decodeRequest: (bytes) => examplesOf(parsed(RegressionRequest, bytes)),
    encodeResponse: (result) => bufferOf(RegressionResponse.encode(regressionsToProto(result)).finish()),
    decodeResponse(bytes) {
      const proto = parsed(RegressionResponse, bytes);
      return proto.result === undefined ? undefined : regressionsFromProto(proto);
    },
  },
  multiInference: {
    encodeRequest({ tasks, examples, context }) {
      const asked = tasks.map(({ model, method }) => ({ spec: model, method }));
      return bufferOf(MultiInferenceRequest.encode(multiInferenceRequestToProto(asked, examples, context)).finish());
    },
    decodeRequest(bytes) {
      const { tasks, ...examples } = multiInferenceRequestFromProto(parsed(MultiInferenceRequest, bytes));
      return { tasks: tasks.map(taskOf), ...examples };
    },
    encodeResponse: (result) => bufferOf(MultiInferenceResponse.encode(multiInferenceResultToProto(result)).finish()),
    decodeResponse(bytes) {
      const proto = parsed(MultiInferenceResponse, bytes);
      const isWhole = proto.results.every((result) => (result.classificationResult ?? result.regressionResult) !== undefined);
      return isWhole ? multiInferenceResultFromProto(proto) : undefined;
    },
  },
};

/** A serialized PredictionLog whose size is known before it is written. */
export interface SizedLog {
  /** In bytes. */
  readonly length: number;
  /** Write it; what the record holds must not have changed since. */
  toBytes(): Uint8Array;
}

/**
 * The PredictionLog of a record. The tensors of a predict call, nearly all of it, are not touched before it is written.
 *
 * @throws FormatError if `logMetadata` is no LogMetadata.
 */
export function sizedPredictionLog(record: WarmupRecord): SizedLog {
  if (!isCall(record)) return { length: record.bytes.length, toBytes: () => record.bytes };
  // Each codec takes what its own kind holds; the compiler cannot follow that through the table.
  const codec = codecs[record.kind] as CallCodec<CallRecord>;
  const { response, logMetadata } = record;
  const log = joined([
    ...field(partTags.request, codec.encodeRequest(record)),
    ...field(partTags.response, response && codec.encodeResponse(response)),
  ]);
  const whole = joined([
    ...field(metadataTag, logMetadata && bufferOf(checkedMetadata(logMetadata))),
    ...field(kindTags[record.kind], log),
  ]);
  return {
    length: whole.length,
    toBytes() {
      const bytes = Buffer.allocUnsafe(whole.length);
      whole.copy(bytes, 0);
      return bytes;
    },
  };
}

/** The serialized PredictionLog of a record; errors as in {@link sizedPredictionLog}. */
export function encodePredictionLog(record: WarmupRecord): Uint8Array {
  return sizedPredictionLog(record).toBytes();
}

/** A length-delimited field in its pieces; none where it is not set. */
function field(tag: number, content: Unwritten | undefined): Unwritten[] {
  if (content === undefined) return [];
  const head = Buffer.alloc(1 + varintSize(content.length));
  writeFieldHead(head, 0, tag, content.length);
  return [head, content];
}

function joined(pieces: readonly Unwritten[]): Unwritten {
  return {
    length: pieces.reduce((sum, { length }) => sum + length, 0),
    copy: (target, at) => pieces.reduce((end, piece) => end + piece.copy(target, end), at) - at,
  };
}

function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

/**
 * The record in a serialized PredictionLog; it may share the memory of `bytes`.
 *
 * What is not set reads as empty, as it does for servers, the name of a model among it. A response that has no form here is left out.
 *
 * @throws FormatError if the bytes are no PredictionLog, as are texts that are not UTF-8, or a task has another method; TensorError naming the
 *   input that cannot be decoded.
 */
export function decodePredictionLog(bytes: Uint8Array): WarmupRecord {
  const log = messageFields(bytes, [metadataTag], Object.values(kindTags));
  const logMetadata = log.get(metadataTag);
  if (logMetadata !== undefined) checkedMetadata(logMetadata);
  const kind = (Object.keys(kindTags) as (keyof typeof kindTags)[]).find((name) => log.has(kindTags[name]));
  if (kind === undefined) return { kind: "empty", bytes };
  if (kind === "sessionRun" || kind === "predictStreamed") return { kind, bytes };
  const codec = codecs[kind];
  const parts = messageFields(log.get(kindTags[kind]) ?? nothing, Object.values(partTags));
  const response = parts.get(partTags.response);
  return {
    kind,
    ...codec.decodeRequest(parts.get(partTags.request) ?? nothing),
    ...(response === undefined ? {} : { response: codec.decodeResponse(response) }),
    ...(logMetadata === undefined ? {} : { logMetadata }),
    // Kind and parts belong together; the compiler cannot follow that through the table.
  } as WarmupRecord;
}

const nothing = new Uint8Array();

/**
 * The content of each of some fields that hold messages; one that comes in several parts is one message, as in every protobuf.
 *
 * @param oneof - Fields of which the last counts.
 */
function messageFields(bytes: Uint8Array, tags: readonly number[], oneof: readonly number[] = []): Map<number, Uint8Array> {
  const parts = new Map<number, number[]>();
  const reader = new WireReader(bytes);
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (!tags.includes(tag) && !oneof.includes(tag)) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    if (oneof.includes(tag)) for (const other of oneof) if (other !== tag) parts.delete(other);
    const ranges = parts.get(tag) ?? [];
    addRange(ranges, reader.position, end);
    parts.set(tag, ranges);
    reader.position = end;
  }
  return new Map(Array.from(parts, ([tag, ranges]) => [tag, bytesIn(reader.bytes, ranges)]));
}

/** The bytes in ranges one behind the other; a view where there is only one. */
function bytesIn(bytes: Uint8Array, ranges: readonly number[]): Uint8Array {
  if (ranges.length === 2) return bytes.subarray(ranges[0], ranges[1]);
  const whole = new Uint8Array(totalLength(ranges));
  let position = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    const part = bytes.subarray(ranges[i], ranges[i + 1]);
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

/** Whether a record holds a call. */
export function isCall<Call extends { readonly kind: CallRecord["kind"] }>(record: Call | UnusableRecord): record is Call {
  return Object.hasOwn(codecs, record.kind);
}

function examplesRequest({ modelSpec, examples, context }: ClassifyRecord | RegressRecord) {
  return { modelSpec: modelSpecToProto(modelSpec), input: inputToProto(examples, context) };
}

function examplesOf({ modelSpec, input }: { modelSpec: ModelSpecProto | undefined; input: Input | undefined }) {
  return { modelSpec: specOf(modelSpec), ...examplesFromInput(input) };
}

function specOf(proto: ModelSpecProto | undefined): ModelSpec {
  return proto === undefined ? { name: "" } : modelSpecFromProto(proto);
}

function taskOf({ spec, methodName }: AskedTask, index: number): MultiInferenceRecord["tasks"][number] {
  for (const method of ["classify", "regress"] as const) if (inferenceMethodNames[method] === methodName) return { model: spec, method };
  const expected = Object.values(inferenceMethodNames).join(" or ");
  throw new FormatError(`tasks[${index}]: expected the method ${expected}, got ${quotedName(methodName)}`);
}

function predictResultOf(bytes: Uint8Array): PredictResult | undefined {
  // Only for its errors: texts that are no UTF-8 pass the decoder of live answers.
  parsed(PredictResponse, bytes);
  try {
    return decodePredictResponse(bytes);
  } catch (error) {
    // A TensorError: an output of a dtype without a tensor here, say.
    if (isServingError(error, "TensorError")) return undefined;
    throw error;
  }
}

function checkedMetadata(bytes: Uint8Array): Uint8Array {
  parsed(LogMetadata, bytes);
  return bytes;
}

/** A message by its generated code, whose own errors are of no family; as strict about texts as C++. */
function parsed<Message>(codec: { decode(reader: BinaryReader): Message }, bytes: Uint8Array): Message {
  try {
    return codec.decode(new BinaryReader(bytes, strictText));
  } catch (cause) {
    throw new FormatError(`malformed message: ${(cause as Error).message}`, { cause });
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function strictText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new Error("a text that is not UTF-8", { cause });
  }
}
