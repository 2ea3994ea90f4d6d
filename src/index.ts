/** Client for TensorFlow Serving: `PredictionClient`, tensors and errors. */

export type {
  ModelClient,
  ModelExampleOptions,
  ModelOptions,
  ModelPredictManyOptions,
  ModelPredictOptions,
} from "./client/model-client.js";
export {
  defineModel,
  type InputDefinition,
  type ModelDefinition,
  type OutputDefinition,
  type SignatureDefinition,
} from "./client/model-definition.js";
export type { CallOptions, ClientOptions, ExampleOptions, PredictOptions, WaitOptions } from "./client/options.js";
export type { Items, PredictManyError, PredictManyItem, PredictManyOptions, PredictManyResult } from "./client/predict-many.js";
export { PredictionClient } from "./client/prediction-client.js";
export type {
  DefaultSignatureName,
  InputOf,
  ModelInputs,
  ModelOutputs,
  SignatureNameOf,
  TypedExampleOptions,
  TypedModelClient,
  TypedPredictManyOptions,
  TypedPredictOptions,
  TypedPredictResult,
} from "./client/typed-model.js";
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
export type { Example, Feature } from "./example-codec.js";
export type { ExampleLike, FeatureRecord, FeatureValue } from "./example-values.js";
export type { InferenceTaskLike } from "./inference-inputs.js";
export type { ConcurrencyOptions } from "./middleware/concurrency-limit.js";
export type { EndpointStatus } from "./middleware/endpoint-pool.js";
export type { RetryOptions } from "./middleware/retry.js";
export type { ModelConfig, ModelServerConfig, VersionPolicy } from "./model-server-config.js";
export type { ModelLike, ModelSpec } from "./model-spec.js";
export type { PredictInputs } from "./predict-inputs.js";
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
export type { PemSource, TlsOptions } from "./transport/tls.js";
export type {
  AnsweringModel,
  BatchEvent,
  BatchingOptions,
  CallMetadata,
  ClassifyResult,
  InferenceTask,
  Middleware,
  ModelMetadata,
  ModelVersionState,
  ModelVersionStatus,
  MultiInferenceResult,
  PredictResult,
  RegressResult,
  ScoredLabel,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportExampleOptions,
  TransportPredictOptions,
} from "./transport/transport.js";
