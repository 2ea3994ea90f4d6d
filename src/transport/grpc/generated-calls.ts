/** The calls that go through generated code; loaded when one of them is first made, so that Predict alone never loads it. */
import { GetModelMetadataRequest, GetModelMetadataResponse } from "../../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest, GetModelStatusResponse } from "../../../gen/tensorflow_serving/apis/get_model_status.js";
import { metadataFromProto, modelSpecToProto, signatureDefField, statusesFromProto } from "../../messages.js";
import type { ModelSpec } from "../../model-spec.js";
import type { ModelMetadata, ModelVersionStatus } from "../transport.js";

/** One method: its path, and both directions of its messages. */
interface GeneratedCall<Result> {
  readonly path: string;
  encode(spec: ModelSpec): Uint8Array;
  decode(bytes: Uint8Array): Result;
}

/** PredictionService.GetModelMetadata, asked for the signatures. */
export const getModelMetadataCall: GeneratedCall<ModelMetadata> = {
  path: "/tensorflow.serving.PredictionService/GetModelMetadata",
  encode(spec) {
    const request = GetModelMetadataRequest.create({ modelSpec: modelSpecToProto(spec), metadataField: [signatureDefField] });
    return GetModelMetadataRequest.encode(request).finish();
  },
  decode: (bytes) => metadataFromProto(GetModelMetadataResponse.decode(bytes)),
};

/** ModelService.GetModelStatus. */
export const getModelStatusCall: GeneratedCall<ModelVersionStatus[]> = {
  path: "/tensorflow.serving.ModelService/GetModelStatus",
  encode: (spec) => GetModelStatusRequest.encode(GetModelStatusRequest.create({ modelSpec: modelSpecToProto(spec) })).finish(),
  decode: (bytes) => statusesFromProto(GetModelStatusResponse.decode(bytes)),
};
