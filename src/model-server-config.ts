/**
 * Our words for the model server's configuration (`ModelServerConfig`, tensorflow_serving/config/model_server_config.proto), and a look at
 * it before it is sent.
 */
import { describe } from "./tensor/values.js";

/** Which models a server serves: what `reloadConfig` takes. It replaces the whole list. */
export interface ModelServerConfig {
  readonly models: readonly ModelConfig[];
}

/** Which versions of a model are served: the newest n, these, or all. */
export type VersionPolicy = { readonly latest: number } | { readonly specific: readonly bigint[] } | "all";

/** One model of a {@link ModelServerConfig}. */
export interface ModelConfig {
  readonly name: string;
  /** Folder of the version folders, as the server sees it. */
  readonly basePath: string;
  /** Normally `"tensorflow"`; a model without a platform fails to load. */
  readonly modelPlatform?: string;
  /** Deprecated upstream, kept as read. */
  readonly modelType?: string;
  /** @defaultValue the newest version */
  readonly versionPolicy?: VersionPolicy;
  /** Versions by label. */
  readonly versionLabels?: Readonly<Record<string, bigint>>;
  /** Request logging, kept as read; the stock server cannot log and refuses it. */
  readonly loggingConfig?: unknown;
}

const maxVersion = 2n ** 63n - 1n;
const maxCount = 2 ** 32 - 1;

/**
 * Check the form of a configuration; what is merely wrong (a relative path, a label on a version that is not loaded) the server tells.
 *
 * It also refuses what the server would refuse and remember: after a model with neither or both of platform and type, every reload
 * fails until the process is restarted (trap 39 of TensorFlow Serving 2.20).
 *
 * @throws TypeError or RangeError naming the model, what was expected and what came.
 */
export function checkModelServerConfig(config: ModelServerConfig): void {
  const models: unknown = config?.models;
  if (!Array.isArray(models)) throw new TypeError(`config: expected { models: [...] }, got ${describe(config)}`);
  for (const [index, model] of models.entries()) checkModelConfig(model, index);
}

function checkModelConfig(model: ModelConfig, index: number): void {
  if (typeof model !== "object" || model === null) {
    throw new TypeError(`config.models[${index}]: expected an object, got ${describe(model)}`);
  }
  if (typeof model.name !== "string" || model.name === "") {
    throw new TypeError(`config.models[${index}]: expected name to be a non-empty string, got ${describe(model.name)}`);
  }
  const what = `config: model "${model.name}"`;
  checkText(model.basePath, `${what}: basePath`);
  checkPlatform(model, what);
  checkVersionPolicy(model.versionPolicy, `${what}: versionPolicy`);
  for (const [label, version] of Object.entries(model.versionLabels ?? {})) checkVersion(version, `${what}: version label "${label}"`);
  if (model.loggingConfig !== undefined && (typeof model.loggingConfig !== "object" || model.loggingConfig === null)) {
    throw new TypeError(`${what}: expected loggingConfig to be an object, got ${describe(model.loggingConfig)}`);
  }
}

function checkPlatform({ modelPlatform, modelType }: ModelConfig, what: string): void {
  if (modelPlatform !== undefined) checkText(modelPlatform, `${what}: modelPlatform`);
  if (modelType !== undefined && modelType !== "TENSORFLOW" && modelType !== "OTHER") {
    throw new TypeError(`${what}: expected modelType "TENSORFLOW" or "OTHER", got ${describe(modelType)}`);
  }
  const hasPlatform = modelPlatform !== undefined && modelPlatform !== "";
  if (hasPlatform !== (modelType !== undefined)) return;
  const got = hasPlatform ? "both" : "neither";
  const why = "a server refuses this and then every later reload until it is restarted, so it is not sent";
  throw new TypeError(`${what}: expected modelPlatform (normally "tensorflow") or the deprecated modelType, got ${got}; ${why}`);
}

function checkVersionPolicy(policy: unknown, what: string): void {
  if (policy === undefined || policy === "all") return;
  const { latest, specific } = (typeof policy === "object" && policy !== null ? policy : {}) as { latest?: unknown; specific?: unknown };
  if ((latest === undefined) === (specific === undefined)) {
    throw new TypeError(`${what}: expected "all", { latest: n } or { specific: [...] }, got ${describe(policy)}`);
  }
  if (latest !== undefined && !(Number.isInteger(latest) && (latest as number) >= 0 && (latest as number) <= maxCount)) {
    throw new RangeError(`${what}: expected latest to be a whole number from 0 to 2^32 - 1, got ${describe(latest)}`);
  }
  if (specific === undefined) return;
  if (!Array.isArray(specific)) throw new TypeError(`${what}: expected specific to be a list of versions, got ${describe(specific)}`);
  for (const version of specific) checkVersion(version, what);
}

function checkVersion(version: unknown, what: string): void {
  // The types ask for bigint; callers in JavaScript may have whole numbers.
  const isWhole = typeof version === "bigint" || Number.isSafeInteger(version);
  if (isWhole && (version as bigint) >= 0 && (version as bigint) <= maxVersion) return;
  throw new RangeError(`${what}: expected a version from 0n to 2^63 - 1, got ${describe(version)}`);
}

function checkText(value: unknown, what: string): void {
  if (typeof value !== "string") throw new TypeError(`${what}: expected a string, got ${describe(value)}`);
}
