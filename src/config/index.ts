/** Entry `tfserving/config`: the configuration files of a model server, read, written, checked, compared and applied. */
export type { ModelConfig, ModelServerConfig, VersionPolicy } from "../model-server-config.js";
export { type AppliedConfig, type ApplyOptions, applyModelServerConfig, type ConfigClient } from "./apply.js";
export { type BatchingParameters, formatBatchingParameters, parseBatchingParameters } from "./batching-parameters.js";
export { type CheckOptions, checkModelServerConfig, type Finding } from "./check.js";
export { type ConfigChange, diffModelServerConfigs } from "./diff.js";
export { type LabelMovePlan, planLabelMove } from "./label-move.js";
export { formatModelServerConfig, parseModelServerConfig } from "./model-server-config.js";
export { formatMonitoringConfig, type MonitoringConfig, type PrometheusConfig, parseMonitoringConfig } from "./monitoring-config.js";
export {
  type AnyMessage,
  formatPlatformConfigMap,
  type PlatformConfig,
  type PlatformConfigMap,
  parsePlatformConfigMap,
  type SavedModelBundleSourceAdapterConfig,
  type SessionBundleConfig,
} from "./platform-config.js";
export { formatSSLConfig, parseSSLConfig, type SSLConfig } from "./ssl-config.js";
