/** The gRPC front: the handlers of PredictionService and ModelService. */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  type handleUnaryCall,
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
} from "@grpc/grpc-js";
import Long from "long";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { ClassificationRequest, type ClassificationResponse } from "../../gen/tensorflow_serving/apis/classification.js";
import { GetModelMetadataRequest, type GetModelMetadataResponse } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest, type GetModelStatusResponse } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { MultiInferenceRequest, type MultiInferenceResponse } from "../../gen/tensorflow_serving/apis/inference.js";
import type { ModelSpec as ModelSpecProto } from "../../gen/tensorflow_serving/apis/model.js";
import { ReloadConfigRequest, ReloadConfigResponse } from "../../gen/tensorflow_serving/apis/model_management.js";
import { ModelServiceService } from "../../gen/tensorflow_serving/apis/model_service.js";
import { PredictRequest, type PredictResponse } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceService } from "../../gen/tensorflow_serving/apis/prediction_service.js";
import { RegressionRequest, type RegressionResponse } from "../../gen/tensorflow_serving/apis/regression.js";
import { modelServerConfigFromProto } from "../config-messages.js";
import { type StatusCode, statusCodes } from "../errors.js";
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
} from "../messages.js";
import type { ModelSpec } from "../model-spec.js";
import { type ExpansionBudget, expansionBudget } from "../tensor/codec.js";
import { dtypeFromWire } from "../tensor/dtype.js";
import type { AnyTensor } from "../tensor/tensor.js";
import { answerTensor, contentTensor, defaultTensor } from "./answer-tensor.js";
import type { Caller, GatedCall } from "./call-gate.js";
import type { FrontContext } from "./front-context.js";
import { addHealthService } from "./health.js";
import { classify, multiInference, regress } from "./inference-service.js";
import type { ModelManager } from "./model-manager.js";
import { modelMetadata, predict, type SentInput } from "./predict-service.js";
import { failureOf, refusal } from "./refusal.js";
import { type ServerMethod, type ServerRequest, serverRequest } from "./request-log.js";
import { decodeUtf8 } from "./strict-utf8.js";

/** The real server cuts messages here and says so. */
const maxMessageBytes = 1024;
const truncationMark = "...TRUNCATED";

const channelOptions = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc-node.flow_control_window": 16 * 1024 * 1024,
};

/** One method of the services: its wire form, and what answers it. */
interface Rpc<Request, Response> {
  readonly definition: { readonly path: string; readonly responseSerialize: (response: Response) => Buffer };
  readonly request: { decode(reader: BinaryReader): Request };
  readonly method: ServerMethod;
  /** The model that a request names. */
  readonly spec: (request: Request) => ModelSpecProto | undefined;
  /** How many examples a request has, where they are counted. */
  readonly examples?: (request: Request) => number;
  readonly answer: (request: Request, deadline: number) => Promise<Response>;
}

/** What the gRPC front needs besides. */
export interface GrpcOptions {
  /** Destroys the connection of a peer, named as grpc-js names it. */
  readonly cutPeer: (peer: string) => void;
  /** Aborts when the server closes. */
  readonly closing: AbortSignal;
}

/** A gRPC server that answers for the models, without a port. */
export function createGrpcServer(context: FrontContext, { cutPeer, closing }: GrpcOptions): Server {
  const { manager, settings } = context;
  const server = new Server(channelOptions);
  function add<Request, Response>(rpc: Rpc<Request, Response>): void {
    const { path, responseSerialize } = rpc.definition;
    // Ready bytes are those of a fault.
    const serialize = (response: Response | Buffer) => (Buffer.isBuffer(response) ? response : responseSerialize(response));
    const deserialize = (bytes: Buffer) => rpc.request.decode(new BinaryReader(bytes, decodeUtf8));
    server.register(path, unary({ rpc, serialize, context, cutPeer }), serialize, deserialize, "unary");
  }
  const { predict, classify, regress, multiInference, getModelMetadata } = PredictionServiceService;
  const { getModelStatus, handleReloadConfigRequest } = ModelServiceService;
  const spec = (request: { readonly modelSpec?: ModelSpecProto | undefined }) => request.modelSpec;
  const encode = settings.enableSerializationAsTensorContent ? contentTensor : answerTensor;
  add({
    definition: predict,
    request: PredictRequest,
    method: "predict",
    spec,
    answer: (request, deadline) => answerPredict(manager, request, { deadline, encode }),
  });
  add({
    definition: classify,
    request: ClassificationRequest,
    method: "classify",
    spec,
    answer: (request, deadline) => answerClassify(manager, request, deadline),
  });
  add({
    definition: regress,
    request: RegressionRequest,
    method: "regress",
    spec,
    answer: (request, deadline) => answerRegress(manager, request, deadline),
  });
  add({
    definition: multiInference,
    request: MultiInferenceRequest,
    method: "multiInference",
    spec: (request) => request.tasks[0]?.modelSpec,
    examples: ({ input }) => (input?.exampleList ?? input?.exampleListWithContext)?.examples.length ?? 0,
    answer: (request, deadline) => answerMultiInference(manager, request, deadline),
  });
  add({
    definition: getModelMetadata,
    request: GetModelMetadataRequest,
    method: "getModelMetadata",
    spec,
    answer: async (request) => answerMetadata(manager, request),
  });
  add({
    definition: getModelStatus,
    request: GetModelStatusRequest,
    method: "getModelStatus",
    spec,
    answer: async (request) => answerStatus(manager, request),
  });
  add({
    definition: handleReloadConfigRequest,
    request: ReloadConfigRequest,
    method: "reloadConfig",
    spec: () => undefined,
    answer: (request) => answerReload(manager, request),
  });
  if (settings.enableHealthService) addHealthService(server, (call) => context.gate.hold(callerOf(call)), closing);
  return server;
}

async function answerPredict(
  manager: ModelManager,
  request: PredictRequest,
  { deadline, encode }: { readonly deadline: number; readonly encode: (output: AnyTensor) => TensorProto },
): Promise<PredictResponse> {
  const budget = expansionBudget();
  const sent = {
    names: Object.keys(request.inputs),
    decode: (name: string) => decodeInput(request.inputs[name] ?? TensorProto.create(), name, budget),
  };
  const result = await predict(manager, requiredSpec(request.modelSpec), sent, { outputFilter: request.outputFilter, deadline });
  const response = predictResultToProto({ ...result, outputs: {} });
  response.outputs = Object.create(null);
  for (const [name, output] of Object.entries(result.outputs)) response.outputs[name] = encode(output);
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
  return metadataToProto(modelMetadata(manager, spec), defaultTensor);
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
function decodeInput(proto: TensorProto, name: string, budget: ExpansionBudget): SentInput {
  const dtype = dtypeFromWire(proto.dtype);
  return dtype === "resource" || dtype === "variant" ? { dtype } : tensorFromProto(proto, `input "${name}"`, budget);
}

interface UnaryOptions<Request, Response> {
  readonly rpc: Rpc<Request, Response>;
  readonly serialize: (response: Response | Buffer) => Buffer;
  readonly context: FrontContext;
  readonly cutPeer: (peer: string) => void;
}

function unary<Request, Response>(options: UnaryOptions<Request, Response>): handleUnaryCall<Request, Response | Buffer> {
  const { rpc, serialize, context, cutPeer } = options;
  return (call: ServerUnaryCall<Request, Response | Buffer>, callback: sendUnaryData<Response | Buffer>) => {
    const startedAt = performance.now();
    const gated: GatedCall<Response | Buffer> = {
      request: requestOf(rpc, call),
      answer: () => rpc.answer(call.request, deadlineOf(call)),
      corrupt: (response) => Buffer.alloc(Math.max(serialize(response).length, 1), 0xff),
      closeConnection: () => cutPeer(call.getPeer()),
      ...callerOf(call),
    };
    const count = (code: StatusCode) => {
      const { transport, method, model = "" } = gated.request;
      const latencyMs = performance.now() - startedAt;
      context.metrics.addCall({ transport, method, model, code, latencyMs, examples: rpc.examples?.(call.request) });
    };
    context.gate.run(gated).then(
      (response) => {
        if (response === undefined) return;
        count("OK");
        callback(null, response);
      },
      (error: unknown) => {
        count(failureOf(error).code);
        callback(statusOf(error));
      },
    );
  };
}

function callerOf(call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>): Caller {
  return {
    isGone: () => call.cancelled,
    onGone: (run) => {
      call.once("cancelled", run);
      return () => call.off("cancelled", run);
    },
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
