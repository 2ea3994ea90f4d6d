/** The bridge between our words and the generated messages for the model server's configuration, in both directions. */
import type { FileSystemStoragePathSourceConfig_ServableVersionPolicy as VersionPolicyProto } from "../gen/tensorflow_serving/config/file_system_storage_path_source.js";
import { LoggingConfig } from "../gen/tensorflow_serving/config/logging_config.js";
import {
  type ModelConfig as ModelConfigProto,
  type ModelServerConfig as ModelServerConfigProto,
  ModelType,
} from "../gen/tensorflow_serving/config/model_server_config.js";
import { bigintFromLong, longFromBigint, mapRecord } from "./messages.js";
import type { ModelConfig, ModelServerConfig, VersionPolicy } from "./model-server-config.js";

/**
 * The message for a configuration.
 *
 * @throws TypeError if a model's `modelType` is no name of the upstream enum.
 */
export function modelServerConfigToProto(config: ModelServerConfig): ModelServerConfigProto {
  return { modelConfigList: { config: config.models.map(modelConfigToProto) } };
}

function modelConfigToProto(model: ModelConfig): ModelConfigProto {
  return {
    name: model.name,
    basePath: model.basePath,
    modelPlatform: model.modelPlatform ?? "",
    modelType: modelTypeToProto(model),
    modelVersionPolicy: model.versionPolicy === undefined ? undefined : versionPolicyToProto(model.versionPolicy),
    versionLabels: mapRecord(model.versionLabels ?? {}, longFromBigint),
    // Kept as read: its shape is the generated one, whichever way it came here.
    loggingConfig: model.loggingConfig === undefined ? undefined : LoggingConfig.fromPartial(model.loggingConfig as object),
  };
}

function modelTypeToProto({ name, modelType }: ModelConfig): ModelType {
  if (modelType === undefined) return ModelType.MODEL_TYPE_UNSPECIFIED;
  const number: unknown = Object.hasOwn(ModelType, modelType) ? ModelType[modelType as keyof typeof ModelType] : undefined;
  if (typeof number !== "number") throw new TypeError(`model "${name}": expected modelType "TENSORFLOW" or "OTHER", got "${modelType}"`);
  return number;
}

function versionPolicyToProto(policy: VersionPolicy): VersionPolicyProto {
  if (policy === "all") return { all: {} };
  if ("latest" in policy) return { latest: { numVersions: policy.latest } };
  return { specific: { versions: policy.specific.map(longFromBigint) } };
}

/** The configuration in a message; nothing is checked. `undefined` where it is no list of models, which is all a reload takes. */
export function modelServerConfigFromProto(proto: ModelServerConfigProto | undefined): ModelServerConfig | undefined {
  const list = proto?.modelConfigList;
  return list === undefined ? undefined : { models: list.config.map(modelConfigFromProto) };
}

function modelConfigFromProto(proto: ModelConfigProto): ModelConfig {
  const { name, basePath, modelPlatform, modelType, modelVersionPolicy, versionLabels, loggingConfig } = proto;
  const versionPolicy = modelVersionPolicy === undefined ? undefined : versionPolicyFromProto(modelVersionPolicy);
  return {
    name,
    basePath,
    ...(modelPlatform === "" ? {} : { modelPlatform }),
    ...(modelType === ModelType.MODEL_TYPE_UNSPECIFIED ? {} : { modelType: ModelType[modelType] ?? String(modelType) }),
    ...(versionPolicy === undefined ? {} : { versionPolicy }),
    ...(Object.keys(versionLabels).length === 0 ? {} : { versionLabels: mapRecord(versionLabels, bigintFromLong) }),
    ...(loggingConfig === undefined ? {} : { loggingConfig }),
  };
}

function versionPolicyFromProto({ latest, all, specific }: VersionPolicyProto): VersionPolicy | undefined {
  if (latest !== undefined) return { latest: latest.numVersions };
  if (all !== undefined) return "all";
  return specific === undefined ? undefined : { specific: specific.versions.map(bigintFromLong) };
}
