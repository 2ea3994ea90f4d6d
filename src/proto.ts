/**
 * Entry `tfserving/proto`: the generated protobuf messages and gRPC services of TensorFlow 2.20.0 and TensorFlow Serving 2.20.0.
 *
 * The escape hatch for what the client has no words for: building or reading raw messages, mocking a service, calling a method by hand.
 * Each message is an interface and a codec of the same name (`encode`, `decode`, `create`, `fromPartial`); 64-bit fields are `Long` objects,
 * bytes are `Uint8Array`. The shapes follow the vendored protos and may change with their version.
 */

export { Any } from "../gen/google/protobuf/any.js";
export { Example, SequenceExample } from "../gen/tensorflow/core/example/example.js";
export { BytesList, Feature, FeatureList, FeatureLists, Features, FloatList, Int64List } from "../gen/tensorflow/core/example/feature.js";
export { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
export { TensorShapeProto, TensorShapeProto_Dim } from "../gen/tensorflow/core/framework/tensor_shape.js";
export { DataType } from "../gen/tensorflow/core/framework/types.js";
export { RunMetadata, RunOptions } from "../gen/tensorflow/core/protobuf/config.js";
export { MetaGraphDef, SignatureDef, TensorInfo } from "../gen/tensorflow/core/protobuf/meta_graph.js";
export { NamedTensorProto } from "../gen/tensorflow/core/protobuf/named_tensor.js";
export { SavedModel } from "../gen/tensorflow/core/protobuf/saved_model.js";
export {
  Class,
  ClassificationRequest,
  ClassificationResponse,
  ClassificationResult,
  Classifications,
} from "../gen/tensorflow_serving/apis/classification.js";
export { GetModelMetadataRequest, GetModelMetadataResponse, SignatureDefMap } from "../gen/tensorflow_serving/apis/get_model_metadata.js";
export {
  GetModelStatusRequest,
  GetModelStatusResponse,
  ModelVersionStatus,
  ModelVersionStatus_State,
} from "../gen/tensorflow_serving/apis/get_model_status.js";
export { InferenceResult, InferenceTask, MultiInferenceRequest, MultiInferenceResponse } from "../gen/tensorflow_serving/apis/inference.js";
export { ExampleList, ExampleListWithContext, Input } from "../gen/tensorflow_serving/apis/input.js";
export { LogMetadata } from "../gen/tensorflow_serving/apis/logging.js";
export { ModelSpec } from "../gen/tensorflow_serving/apis/model.js";
export { Metric, ReloadConfigRequest, ReloadConfigResponse } from "../gen/tensorflow_serving/apis/model_management.js";
export type { ModelServiceServer } from "../gen/tensorflow_serving/apis/model_service.js";
export { ModelServiceClient, ModelServiceService } from "../gen/tensorflow_serving/apis/model_service.js";
export {
  PredictRequest,
  PredictRequest_RequestOptions,
  PredictRequest_RequestOptions_DeterministicMode,
  PredictResponse,
  PredictStreamedOptions,
  PredictStreamedOptions_RequestState,
} from "../gen/tensorflow_serving/apis/predict.js";
export {
  ClassifyLog,
  MultiInferenceLog,
  PredictionLog,
  PredictLog,
  PredictStreamedLog,
  RegressLog,
  SessionRunLog,
} from "../gen/tensorflow_serving/apis/prediction_log.js";
export type { PredictionServiceServer } from "../gen/tensorflow_serving/apis/prediction_service.js";
export { PredictionServiceClient, PredictionServiceService } from "../gen/tensorflow_serving/apis/prediction_service.js";
export { Regression, RegressionRequest, RegressionResponse, RegressionResult } from "../gen/tensorflow_serving/apis/regression.js";
export type { SessionServiceServer } from "../gen/tensorflow_serving/apis/session_service.js";
export {
  SessionRunRequest,
  SessionRunResponse,
  SessionServiceClient,
  SessionServiceService,
} from "../gen/tensorflow_serving/apis/session_service.js";
export { StatusProto } from "../gen/tensorflow_serving/apis/status.js";
export {
  FileSystemStoragePathSourceConfig,
  FileSystemStoragePathSourceConfig_ServableToMonitor,
  FileSystemStoragePathSourceConfig_ServableVersionPolicy,
  FileSystemStoragePathSourceConfig_ServableVersionPolicy_All,
  FileSystemStoragePathSourceConfig_ServableVersionPolicy_Latest,
  FileSystemStoragePathSourceConfig_ServableVersionPolicy_Specific,
} from "../gen/tensorflow_serving/config/file_system_storage_path_source.js";
export { LogCollectorConfig } from "../gen/tensorflow_serving/config/log_collector_config.js";
export {
  LoggingConfig,
  PerTaskSamplingConfig,
  SamplingConfig,
  SamplingConfig_Attributes,
} from "../gen/tensorflow_serving/config/logging_config.js";
export { ModelConfig, ModelConfigList, ModelServerConfig, ModelType } from "../gen/tensorflow_serving/config/model_server_config.js";
export { MonitoringConfig, PrometheusConfig } from "../gen/tensorflow_serving/config/monitoring_config.js";
export { PlatformConfig, PlatformConfigMap } from "../gen/tensorflow_serving/config/platform_config.js";
export { SSLConfig } from "../gen/tensorflow_serving/config/ssl_config.js";
export {
  BatchingParameters,
  SessionBundleConfig,
} from "../gen/tensorflow_serving/servables/tensorflow/session_bundle_config.js";
export { Code } from "../gen/xla/tsl/protobuf/error_codes.js";
