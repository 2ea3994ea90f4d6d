/** The calls that go through generated code; loaded when one of them is first made, so that Predict alone never loads it. */
import { ClassificationRequest, ClassificationResponse } from "../../../gen/tensorflow_serving/apis/classification.js";
import { GetModelMetadataRequest, GetModelMetadataResponse } from "../../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest, GetModelStatusResponse } from "../../../gen/tensorflow_serving/apis/get_model_status.js";
import { MultiInferenceRequest, MultiInferenceResponse } from "../../../gen/tensorflow_serving/apis/inference.js";
import { ReloadConfigRequest, ReloadConfigResponse } from "../../../gen/tensorflow_serving/apis/model_management.js";
import { RegressionRequest, RegressionResponse } from "../../../gen/tensorflow_serving/apis/regression.js";
import { modelServerConfigToProto } from "../../config-messages.js";
import { type StatusCode, statusCodeFromNumber } from "../../errors.js";
import type { Example } from "../../example-codec.js";
import {
  classificationsFromProto,
  inputToProto,
  multiInferenceRequestToProto,
  multiInferenceResultFromProto,
  regressionsFromProto,
} from "../../inference-messages.js";
import { metadataFromProto, modelSpecToProto, signatureDefField, statusesFromProto } from "../../messages.js";
import type { ModelServerConfig } from "../../model-server-config.js";
import type { ModelSpec } from "../../model-spec.js";
import type {
  ClassifyResult,
  InferenceTask,
  ModelMetadata,
  ModelVersionStatus,
  MultiInferenceResult,
  RegressResult,
} from "../transport.js";

/** One method: its path, and both directions of its messages. */
export interface GeneratedCall<Request, Result> {
  readonly path: string;
  encode(request: Request): Uint8Array;
  decode(bytes: Uint8Array): Result;
}

/** What a request over examples is made from. */
export interface ExamplesRequest<About> {
  readonly about: About;
  readonly examples: readonly Example[];
  readonly context: Example | undefined;
}

const predictionService = "/tensorflow.serving.PredictionService";
const modelService = "/tensorflow.serving.ModelService";

/** PredictionService.Classify. */
export const classifyCall: GeneratedCall<ExamplesRequest<ModelSpec>, ClassifyResult> = {
  path: `${predictionService}/Classify`,
  encode({ about, examples, context }) {
    const request = { modelSpec: modelSpecToProto(about), input: inputToProto(examples, context) };
    return ClassificationRequest.encode(request).finish();
  },
  decode: (bytes) => classificationsFromProto(ClassificationResponse.decode(bytes)),
};

/** PredictionService.Regress. */
export const regressCall: GeneratedCall<ExamplesRequest<ModelSpec>, RegressResult> = {
  path: `${predictionService}/Regress`,
  encode({ about, examples, context }) {
    const request = { modelSpec: modelSpecToProto(about), input: inputToProto(examples, context) };
    return RegressionRequest.encode(request).finish();
  },
  decode: (bytes) => regressionsFromProto(RegressionResponse.decode(bytes)),
};

/** PredictionService.MultiInference. */
export const multiInferenceCall: GeneratedCall<ExamplesRequest<readonly InferenceTask[]>, MultiInferenceResult> = {
  path: `${predictionService}/MultiInference`,
  encode: ({ about, examples, context }) => MultiInferenceRequest.encode(multiInferenceRequestToProto(about, examples, context)).finish(),
  decode: (bytes) => multiInferenceResultFromProto(MultiInferenceResponse.decode(bytes)),
};

/** PredictionService.GetModelMetadata, asked for the signatures. */
export const getModelMetadataCall: GeneratedCall<ModelSpec, ModelMetadata> = {
  path: `${predictionService}/GetModelMetadata`,
  encode(spec) {
    const request = GetModelMetadataRequest.create({ modelSpec: modelSpecToProto(spec), metadataField: [signatureDefField] });
    return GetModelMetadataRequest.encode(request).finish();
  },
  decode: (bytes) => metadataFromProto(GetModelMetadataResponse.decode(bytes)),
};

/** ModelService.GetModelStatus. */
export const getModelStatusCall: GeneratedCall<ModelSpec, ModelVersionStatus[]> = {
  path: `${modelService}/GetModelStatus`,
  encode: (spec) => GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: modelSpecToProto(spec) })).finish(),
  decode: (bytes) => statusesFromProto(GetModelStatusResponse.decode(bytes)),
};

/** ModelService.HandleReloadConfigRequest; the answer repeats the outcome of the call. */
export const reloadConfigCall: GeneratedCall<ModelServerConfig, { readonly code: StatusCode; readonly message: string }> = {
  path: `${modelService}/HandleReloadConfigRequest`,
  encode: (config) => ReloadConfigRequest.encode({ config: modelServerConfigToProto(config), metricNames: [] }).finish(),
  decode(bytes) {
    const { errorCode = 0, errorMessage = "" } = ReloadConfigResponse.decode(bytes).status ?? {};
    return { code: statusCodeFromNumber(errorCode), message: errorMessage };
  },
};
