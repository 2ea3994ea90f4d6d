/** Client for TensorFlow Serving: `PredictionClient`, tensors and errors. */

export type { PredictInputs } from "./client/inputs.js";
export type { CallOptions, ClientOptions, PredictOptions } from "./client/options.js";
export { PredictionClient } from "./client/prediction-client.js";
export {
  type ErrorModelSpec,
  FormatError,
  isServingError,
  RpcError,
  ServingError,
  SignatureError,
  type StatusCode,
  TensorError,
} from "./errors.js";
export type { ModelLike, ModelSpec } from "./model-spec.js";
export type { InputValue, Signature, TensorSpec } from "./signature.js";
export type { DType, UnsupportedDType, ValuesOf } from "./tensor/dtype.js";
export {
  type AnyTensor,
  isTensor,
  type Nested,
  Tensor,
  type TensorLike,
  type TensorOf,
  type TensorValues,
  tensor,
  tensorFrom,
  toFloat32,
} from "./tensor/tensor.js";
export type {
  CallMetadata,
  ModelMetadata,
  ModelVersionState,
  ModelVersionStatus,
  PredictResult,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportPredictOptions,
} from "./transport/transport.js";
