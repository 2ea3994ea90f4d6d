/**
 * Records of warm-up files and recordings <-> the bytes of a `tensorflow.serving.PredictionLog`.
 *
 * Field numbers: tensorflow_serving/apis/prediction_log.proto (2.20.0). The log itself is read and written by hand, because its generated code
 * loads all of gRPC; requests and responses go the ways they go over gRPC.
 */
import { ClassificationRequest, ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import { MultiInferenceRequest, MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import type { Input } from "../../gen/tensorflow_serving/apis/input.js";
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
import { mapRecord, modelSpecFromProto, modelSpecToProto, predictResultToProto, tensorFromProto } from "../messages.js";
import type { ModelSpec } from "../model-spec.js";
import { decodePredictResponse, EncodedPredictRequest } from "../predict-codec.js";
import { expansionBudget } from "../tensor/codec.js";
import { quotedName } from "../tensor/names.js";
import { varintSize, WireReader, writeFieldHead } from "../tensor/wire.js";
import type { PredictResult } from "../transport/transport.js";
import type {
  CallRecord,
  ClassifyRecord,
  MultiInferenceRecord,
  RegressRecord,
  UnusableRecord,
  WarmupRecord,
  WarmupRecordLike,
} from "./warmup-record.js";

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

/** Request and response of one kind of call, in both directions. */
interface CallCodec<Call extends CallRecord> {
  encodeRequest(call: Call): Uint8Array;
  decodeRequest(bytes: Uint8Array): Omit<Call, "kind" | "response" | "logMetadata">;
  encodeResponse(response: NonNullable<Call["response"]>): Uint8Array;
  /** `undefined` for a response without a result: servers pass over it, so it must not make a record unreadable. */
  decodeResponse(bytes: Uint8Array): Call["response"];
}

const codecs: { readonly [Kind in CallRecord["kind"]]: CallCodec<Extract<CallRecord, { kind: Kind }>> } = {
  predict: {
    encodeRequest: ({ modelSpec, inputs, outputFilter }) => new EncodedPredictRequest(modelSpec, inputs, outputFilter).toBuffer(),
    decodeRequest(bytes) {
      const { modelSpec, inputs, outputFilter } = parsed(PredictRequest, bytes);
      const budget = expansionBudget();
      const tensors = mapRecord(inputs, (proto, name) => tensorFromProto(proto, `input ${quotedName(name)}`, budget));
      return { modelSpec: specOf(modelSpec), inputs: tensors, ...(outputFilter.length === 0 ? {} : { outputFilter }) };
    },
    encodeResponse: (result) => PredictResponse.encode(predictResultToProto(result)).finish(),
    decodeResponse: predictResultOf,
  },
  classify: {
    encodeRequest: (call) => ClassificationRequest.encode(examplesRequest(call)).finish(),
    decodeRequest: (bytes) => examplesOf(parsed(ClassificationRequest, bytes)),
    encodeResponse: (result) => ClassificationResponse.encode(classificationsToProto(result)).finish(),
    decodeResponse(bytes) {
      const proto = parsed(ClassificationResponse, bytes);
      return proto.result === undefined ? undefined : classificationsFromProto(proto);
    },
  },
  regress: {
    encodeRequest: (call) => RegressionRequest.encode(examplesRequest(call)).finish(),
    decodeRequest: (bytes) => examplesOf(parsed(RegressionRequest, bytes)),
    encodeResponse: (result) => RegressionResponse.encode(regressionsToProto(result)).finish(),
    decodeResponse(bytes) {
      const proto = parsed(RegressionResponse, bytes);
      return proto.result === undefined ? undefined : regressionsFromProto(proto);
    },
  },
  multiInference: {
    encodeRequest({ tasks, examples, context }) {
      const asked = tasks.map(({ model, method }) => ({ spec: model, method }));
      return MultiInferenceRequest.encode(multiInferenceRequestToProto(asked, examples, context)).finish();
    },
    decodeRequest(bytes) {
      const { tasks, ...examples } = multiInferenceRequestFromProto(parsed(MultiInferenceRequest, bytes));
      return { tasks: tasks.map(taskOf), ...examples };
    },
    encodeResponse: (result) => MultiInferenceResponse.encode(multiInferenceResultToProto(result)).finish(),
    decodeResponse(bytes) {
      const proto = parsed(MultiInferenceResponse, bytes);
      const isWhole = proto.results.every((result) => (result.classificationResult ?? result.regressionResult) !== undefined);
      return isWhole ? multiInferenceResultFromProto(proto) : undefined;
    },
  },
};

/** The serialized PredictionLog of a record. */
export function encodePredictionLog(record: WarmupRecord): Uint8Array {
  if (!isCall(record)) return record.bytes;
  // Each codec takes what its own kind holds; the compiler cannot follow that through the table.
  const codec = codecs[record.kind] as CallCodec<CallRecord>;
  const response = record.response === undefined ? undefined : codec.encodeResponse(record.response);
  const log = Buffer.concat([...field(partTags.request, codec.encodeRequest(record)), ...field(partTags.response, response)]);
  return Buffer.concat([...field(metadataTag, record.logMetadata), ...field(kindTags[record.kind], log)]);
}

/** A length-delimited field in its pieces; none where it is not set. */
function field(tag: number, content: Uint8Array | undefined): Uint8Array[] {
  if (content === undefined) return [];
  const head = new Uint8Array(1 + varintSize(content.length));
  writeFieldHead(head, 0, tag, content.length);
  return [head, content];
}

/**
 * The record in a serialized PredictionLog; it may share the memory of `bytes`.
 *
 * What is not set reads as empty, as it does for servers, the name of a model among it. A response that has no form here is left out.
 *
 * @throws FormatError if the bytes are no PredictionLog or a task has another method; TensorError naming the input that cannot be decoded.
 */
export function decodePredictionLog(bytes: Uint8Array): WarmupRecord {
  const log = lastFields(bytes, [metadataTag, ...Object.values(kindTags)]);
  const kind = kindOf(log);
  if (kind === undefined) return { kind: "empty", bytes };
  if (kind === "sessionRun" || kind === "predictStreamed") return { kind, bytes };
  const codec = codecs[kind];
  const parts = lastFields(log.get(kindTags[kind]) ?? nothing, Object.values(partTags));
  const response = parts.get(partTags.response);
  const logMetadata = log.get(metadataTag);
  return {
    kind,
    ...codec.decodeRequest(parts.get(partTags.request) ?? nothing),
    ...(response === undefined ? {} : { response: codec.decodeResponse(response) }),
    ...(logMetadata === undefined ? {} : { logMetadata }),
    // Kind and parts belong together; the compiler cannot follow that through the table.
  } as WarmupRecord;
}

const nothing = new Uint8Array();

/** The last content of each of some length-delimited fields, in the order they were set last. */
function lastFields(bytes: Uint8Array, tags: readonly number[]): Map<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>();
  const reader = new WireReader(bytes);
  while (reader.position < reader.end) {
    const tag = reader.tag();
    if (!tags.includes(tag)) {
      reader.skip(tag);
      continue;
    }
    const end = reader.fieldEnd();
    fields.delete(tag);
    fields.set(tag, reader.bytes.subarray(reader.position, end));
    reader.position = end;
  }
  return fields;
}

/** The kind of a log: of several the last counts, as in every oneof. */
function kindOf(log: ReadonlyMap<number, unknown>): keyof typeof kindTags | undefined {
  const last = [...log.keys()].findLast((tag) => tag !== metadataTag);
  return (Object.keys(kindTags) as (keyof typeof kindTags)[]).find((kind) => kindTags[kind] === last);
}

/** Whether a value is a record of any kind. */
export function isRecord(value: unknown): value is WarmupRecordLike {
  if (typeof value !== "object" || value === null || !("kind" in value)) return false;
  return value.kind === "empty" || Object.hasOwn(kindTags, value.kind as PropertyKey);
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
  try {
    return decodePredictResponse(bytes);
  } catch (error) {
    // A TensorError: an output of a dtype without a tensor here, say.
    if (isServingError(error, "TensorError")) return undefined;
    throw error;
  }
}

/** A message by its generated code, whose own errors are of no family. */
function parsed<Message>(codec: { decode(bytes: Uint8Array): Message }, bytes: Uint8Array): Message {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new FormatError(`malformed message: ${(cause as Error).message}`, { cause });
  }
}
