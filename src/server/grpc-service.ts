/** The gRPC front: the handlers of PredictionService and ModelService that the embedded server has. */
import { type handleUnaryCall, Server, type ServerUnaryCall, type StatusObject, type sendUnaryData } from "@grpc/grpc-js";
import Long from "long";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import type { GetModelMetadataRequest, GetModelMetadataResponse } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import type { GetModelStatusRequest, GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import type { ModelSpec as ModelSpecProto } from "../../gen/tensorflow_serving/apis/model.js";
import { ModelServiceService } from "../../gen/tensorflow_serving/apis/model_service.js";
import type { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceService } from "../../gen/tensorflow_serving/apis/prediction_service.js";
import { isServingError, statusCodes } from "../errors.js";
import {
  metadataToProto,
  modelSpecFromProto,
  predictResultToProto,
  signatureDefField,
  statusesToProto,
  tensorFromProto,
  tensorToProto,
} from "../messages.js";
import type { ModelSpec } from "../model-spec.js";
import { dtypeFromWire } from "../tensor/dtype.js";
import type { AnyTensor } from "../tensor/tensor.js";
import { type ModelManager, refusal } from "./model-manager.js";
import { modelMetadata, predict, type SentInput } from "./predict-service.js";

/** The real server cuts messages here and says so. */
const maxMessageBytes = 1024;
const truncationMark = "...TRUNCATED";

/** Above this many elements the typed fields of generated code cost too much time and memory; `tensor_content` is as legal. */
const maxTypedElements = 65_536;

const channelOptions = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc-node.flow_control_window": 16 * 1024 * 1024,
};

/** A gRPC server that answers for the models, not yet bound. */
export function createGrpcServer(manager: ModelManager): Server {
  const server = new Server(channelOptions);
  // Methods without a handler are answered with UNIMPLEMENTED by grpc-js.
  server.addService(PredictionServiceService, {
    predict: unary((request: PredictRequest, deadline) => answerPredict(manager, request, deadline)),
    getModelMetadata: unary(async (request: GetModelMetadataRequest) => answerMetadata(manager, request)),
  });
  server.addService(ModelServiceService, {
    getModelStatus: unary(async (request: GetModelStatusRequest) => answerStatus(manager, request)),
  });
  return server;
}

async function answerPredict(manager: ModelManager, request: PredictRequest, deadline: number): Promise<PredictResponse> {
  const sent = {
    names: Object.keys(request.inputs),
    decode: (name: string) => decodeInput(request.inputs[name] ?? TensorProto.create(), name),
  };
  const result = await predict(manager, requiredSpec(request.modelSpec), sent, { outputFilter: request.outputFilter, deadline });
  const response = predictResultToProto({ ...result, outputs: {} });
  response.outputs = Object.create(null);
  for (const [name, output] of Object.entries(result.outputs)) response.outputs[name] = answerTensor(output);
  return response;
}

function answerMetadata(manager: ModelManager, request: GetModelMetadataRequest): GetModelMetadataResponse {
  const spec = requiredSpec(request.modelSpec);
  if (request.metadataField.length === 0) {
    throw refusal("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field");
  }
  const unknown = request.metadataField.find((field) => field !== signatureDefField);
  if (unknown !== undefined) throw refusal("INVALID_ARGUMENT", `Metadata field ${unknown} is not supported`);
  return metadataToProto(modelMetadata(manager, spec));
}

function answerStatus(manager: ModelManager, request: GetModelStatusRequest): GetModelStatusResponse {
  return statusesToProto(manager.statuses(requiredSpec(request.modelSpec)));
}

function requiredSpec(spec: ModelSpecProto | undefined): ModelSpec {
  if (spec === undefined) throw refusal("INVALID_ARGUMENT", "Missing ModelSpec");
  return modelSpecFromProto(spec);
}

/** Resources and variants are tensors to TensorFlow: it refuses them later than what it cannot decode, and in other words. */
function decodeInput(proto: TensorProto, name: string): SentInput {
  const dtype = dtypeFromWire(proto.dtype);
  return dtype === "resource" || dtype === "variant" ? { dtype } : tensorFromProto(proto, `input "${name}"`);
}

/** An output as the real server sends it: the typed field of its dtype, every element written out. */
function answerTensor(output: AnyTensor): TensorProto {
  const proto = tensorToProto(output);
  const field = output.size <= maxTypedElements ? typedField(output) : undefined;
  return field === undefined ? proto : { ...proto, tensorContent: new Uint8Array(0), ...field };
}

function typedField(output: AnyTensor): Partial<TensorProto> | undefined {
  switch (output.dtype) {
    case "float32":
      return { floatVal: Array.from(output.values) };
    case "float64":
      return { doubleVal: Array.from(output.values) };
    case "int64":
      return { int64Val: Array.from(output.values, (value) => Long.fromString(String(value))) };
    case "uint64":
      return { uint64Val: Array.from(output.values, (value) => Long.fromString(String(value), true)) };
    case "uint32":
      return { uint32Val: Array.from(output.values) };
    case "bool":
      return { boolVal: Array.from(output.values, (value) => value !== 0) };
    case "float16":
    case "bfloat16":
      return { halfVal: Array.from(output.values) };
    case "complex64":
      return { scomplexVal: Array.from(output.values) };
    case "complex128":
      return { dcomplexVal: Array.from(output.values) };
    case "int8":
    case "int16":
    case "int32":
    case "uint8":
    case "uint16":
    case "qint8":
    case "quint8":
    case "qint16":
    case "quint16":
    case "qint32":
    case "int4":
    case "uint4":
      return { intVal: Array.from(output.values) };
    default:
      // Strings stand in string_val already, float8 keeps its bytes in tensor_content.
      return undefined;
  }
}

function unary<Request, Response>(answer: (request: Request, deadline: number) => Promise<Response>): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => {
    answer(call.request, deadlineOf(call)).then(
      (response) => callback(null, response),
      (error: unknown) => callback(statusOf(error)),
    );
  };
}

/** The deadline in milliseconds of `performance.now()`; grpc-js has it in those of `Date.now()`. */
function deadlineOf(call: { getDeadline(): Date | number }): number {
  return performance.now() + (Number(call.getDeadline()) - Date.now());
}

function statusOf(error: unknown): Partial<StatusObject> {
  const { code, message } = isServingError(error) ? error : refusal("INTERNAL", error instanceof Error ? error.message : String(error));
  return { code: statusCodes.indexOf(code), details: truncated(message) };
}

function truncated(message: string): string {
  const bytes = Buffer.from(message);
  return bytes.length <= maxMessageBytes ? message : bytes.toString("utf8", 0, maxMessageBytes) + truncationMark;
}
