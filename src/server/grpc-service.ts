/** The gRPC front: the handlers of PredictionService and ModelService. */
import { type handleUnaryCall, Server, type ServerUnaryCall, type StatusObject, type sendUnaryData } from "@grpc/grpc-js";
import Long from "long";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import type { ClassificationRequest, ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import type { GetModelMetadataRequest, GetModelMetadataResponse } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import type { GetModelStatusRequest, GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import type { MultiInferenceRequest, MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import type { ModelSpec as ModelSpecProto } from "../../gen/tensorflow_serving/apis/model.js";
import { type ReloadConfigRequest, ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { ModelServiceService } from "../../gen/tensorflow_serving/apis/model_service.js";
import type { PredictRequest, PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceService } from "../../gen/tensorflow_serving/apis/prediction_service.js";
import type { RegressionRequest, RegressionResponse } from "../../gen/tensorflow_serving/apis/regression.js";
import { modelServerConfigFromProto } from "../config-messages.js";
import { statusCodes } from "../errors.js";
import {
  classificationsToProto,
  examplesFromInput,
  multiInferenceRequestFromProto,
  multiInferenceResultToProto,
  regressionsToProto,
} from "../inference-messages.js";
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
import type { CallGate, GatedCall } from "./call-gate.js";
import { classify, multiInference, regress } from "./inference-service.js";
import type { ModelManager } from "./model-manager.js";
import { modelMetadata, predict, type SentInput } from "./predict-service.js";
import { failureOf, refusal } from "./refusal.js";
import { type ServerMethod, type ServerRequest, serverRequest } from "./request-log.js";

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

/** One method of the services: its wire form, and what answers it. */
interface Rpc<Request, Response> {
  readonly definition: {
    readonly path: string;
    readonly requestDeserialize: (bytes: Buffer) => Request;
    readonly responseSerialize: (response: Response) => Buffer;
  };
  readonly method: ServerMethod;
  /** The model that a request names. */
  readonly spec: (request: Request) => ModelSpecProto | undefined;
  readonly answer: (request: Request, deadline: number) => Promise<Response>;
}

/**
 * A gRPC server that answers for the models, without a port.
 *
 * @param cutPeer - Destroys the connection of a peer, named as grpc-js names it.
 */
export function createGrpcServer(manager: ModelManager, gate: CallGate, cutPeer: (peer: string) => void): Server {
  const server = new Server(channelOptions);
  function add<Request, Response>(rpc: Rpc<Request, Response>): void {
    const { path, requestDeserialize, responseSerialize } = rpc.definition;
    // Ready bytes are those of a fault.
    const serialize = (response: Response | Buffer) => (Buffer.isBuffer(response) ? response : responseSerialize(response));
    server.register(path, unary({ rpc, serialize, gate, cutPeer }), serialize, requestDeserialize, "unary");
  }
  const { predict, classify, regress, multiInference, getModelMetadata } = PredictionServiceService;
  const { getModelStatus, handleReloadConfigRequest } = ModelServiceService;
  const spec = (request: { readonly modelSpec?: ModelSpecProto | undefined }) => request.modelSpec;
  add({ definition: predict, method: "predict", spec, answer: (request, deadline) => answerPredict(manager, request, deadline) });
  add({ definition: classify, method: "classify", spec, answer: (request, deadline) => answerClassify(manager, request, deadline) });
  add({ definition: regress, method: "regress", spec, answer: (request, deadline) => answerRegress(manager, request, deadline) });
  add({
    definition: multiInference,
    method: "multiInference",
    spec: (request) => request.tasks[0]?.modelSpec,
    answer: (request, deadline) => answerMultiInference(manager, request, deadline),
  });
  add({ definition: getModelMetadata, method: "getModelMetadata", spec, answer: async (request) => answerMetadata(manager, request) });
  add({ definition: getModelStatus, method: "getModelStatus", spec, answer: async (request) => answerStatus(manager, request) });
  add({
    definition: handleReloadConfigRequest,
    method: "reloadConfig",
    spec: () => undefined,
    answer: (request) => answerReload(manager, request),
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

async function answerClassify(manager: ModelManager, request: ClassificationRequest, deadline: number): Promise<ClassificationResponse> {
  const spec = requiredSpec(request.modelSpec);
  return classificationsToProto(await classify(manager, spec, { ...examplesFromInput(request.input), deadline }));
}

async function answerRegress(manager: ModelManager, request: RegressionRequest, deadline: number): Promise<RegressionResponse> {
  const spec = requiredSpec(request.modelSpec);
  return regressionsToProto(await regress(manager, spec, { ...examplesFromInput(request.input), deadline }));
}

async function answerMultiInference(
  manager: ModelManager,
  request: MultiInferenceRequest,
  deadline: number,
): Promise<MultiInferenceResponse> {
  const { tasks, ...input } = multiInferenceRequestFromProto(request);
  return multiInferenceResultToProto(await multiInference(manager, tasks, { ...input, deadline }));
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

async function answerReload(manager: ModelManager, request: ReloadConfigRequest): Promise<ReloadConfigResponse> {
  const config = modelServerConfigFromProto(request.config);
  if (config === undefined) {
    const only = "Only ModelConfigList is currently supported";
    throw refusal("INVALID_ARGUMENT", `ServerModelConfig type not supported by HandleReloadConfigRequest. ${only}`);
  }
  await manager.reload(config);
  // Nothing is counted here, so no counter of the ones asked for has grown.
  const metric = request.metricNames.map((name) => ({ name, int64ValueIncrease: Long.ZERO }));
  return ReloadConfigResponse.create({ status: {}, metric });
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

interface UnaryOptions<Request, Response> {
  readonly rpc: Rpc<Request, Response>;
  readonly serialize: (response: Response | Buffer) => Buffer;
  readonly gate: CallGate;
  readonly cutPeer: (peer: string) => void;
}

function unary<Request, Response>(options: UnaryOptions<Request, Response>): handleUnaryCall<Request, Response | Buffer> {
  const { rpc, serialize, gate, cutPeer } = options;
  return (call: ServerUnaryCall<Request, Response | Buffer>, callback: sendUnaryData<Response | Buffer>) => {
    const gated: GatedCall<Response | Buffer> = {
      request: requestOf(rpc, call),
      answer: () => rpc.answer(call.request, deadlineOf(call)),
      corrupt: (response) => Buffer.alloc(Math.max(serialize(response).length, 1), 0xff),
      closeConnection: () => cutPeer(call.getPeer()),
      isGone: () => call.cancelled,
      onGone: (run) => {
        call.once("cancelled", run);
        return () => call.off("cancelled", run);
      },
    };
    gate.run(gated).then(
      (response) => {
        if (response !== undefined) callback(null, response);
      },
      (error: unknown) => callback(statusOf(error)),
    );
  };
}

function requestOf<Request, Response>({ method, spec }: Rpc<Request, Response>, call: ServerUnaryCall<Request, unknown>): ServerRequest {
  const proto = spec(call.request);
  return serverRequest({
    transport: "grpc",
    method,
    spec: proto === undefined ? undefined : modelSpecFromProto(proto),
    // Bytes of `-bin` keys become base64, as they were sent; none of the values is a number, as the type says they may be.
    headers: call.metadata.toHttp2Headers() as Record<string, string | string[]>,
  });
}

/** The deadline in milliseconds of `performance.now()`; grpc-js has it in those of `Date.now()`. */
function deadlineOf(call: { getDeadline(): Date | number }): number {
  return performance.now() + (Number(call.getDeadline()) - Date.now());
}

function statusOf(error: unknown): Partial<StatusObject> {
  const { code, message } = failureOf(error);
  return { code: statusCodes.indexOf(code), details: truncated(message) };
}

function truncated(message: string): string {
  const bytes = Buffer.from(message);
  return bytes.length <= maxMessageBytes ? message : bytes.toString("utf8", 0, maxMessageBytes) + truncationMark;
}
