/**
 * Our words for the model server's configuration (`ModelServerConfig`, tensorflow_serving/config/model_server_config.proto), a look at its
 * form, and its rules for paths and versions.
 */
import { assertOptionNames } from "./option-checks.js";
import { describeNotPlain, isPlainObject } from "./plain-object.js";
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

/** Versions are int64. */
export const maxVersion = 2n ** 63n - 1n;
const maxCount = 2 ** 32 - 1;

/** What TensorFlow Serving takes for a base path: an absolute path, or a URI such as `gs://bucket/model`. */
export function isAbsoluteBasePath(basePath: string): boolean {
  return basePath.startsWith("/") || /^[a-z][a-z0-9+.-]*:\/\//i.test(basePath);
}

/** The version that a child of a base path is by its name; `undefined` for names that are no number, which servers ignore. */
export function versionOfFolder(name: string): bigint | undefined {
  return /^\d+$/.test(name) && BigInt(name) <= maxVersion ? BigInt(name) : undefined;
}

/** The versions that a policy names, each once; `undefined` where they depend on those there are. */
export function namedVersions(policy: VersionPolicy | undefined): bigint[] | undefined {
  return typeof policy === "object" && "specific" in policy ? [...new Set(policy.specific.map(BigInt))] : undefined;
}

/** The versions that a policy picks among those there are, newest first. */
export function pickVersions(versions: Iterable<bigint>, policy: VersionPolicy = { latest: 1 }): bigint[] {
  const known = [...versions].sort((a, b) => (a < b ? 1 : -1));
  if (policy === "all") return known;
  if ("specific" in policy) {
    const named = new Set(namedVersions(policy));
    return known.filter((version) => named.has(version));
  }
  // As in the real server 0 counts as 1.
  return known.slice(0, Math.max(1, policy.latest));
}

/**
 * Check the form of a configuration: members, types and ranges. What it means plays no part.
 *
 * @throws TypeError or RangeError naming the model, what was expected and what came.
 */
export function assertModelServerConfig(config: ModelServerConfig): void {
  const models: unknown = config?.models;
  if (!Array.isArray(models)) throw new TypeError(`config: expected { models: [...] }, got ${describe(config)}`);
  assertOptionNames(config, { known: { models: true }, of: "config" });
  for (const [index, model] of models.entries()) checkModelConfig(model, index);
}

/**
 * Check the form of a configuration that is to be sent; what is merely wrong (a relative path, a label on a version that is not loaded)
 * the server tells.
 *
 * It also refuses what the server would refuse and remember: after a model with neither or both of platform and type, every reload
 * fails until the process is restarted (trap 39 of TensorFlow Serving 2.20).
 *
 * @throws TypeError or RangeError naming the model, what was expected and what came.
 */
export function assertReloadable(config: ModelServerConfig): void {
  assertModelServerConfig(config);
  for (const [index, model] of config.models.entries()) {
    if (model.name === "") throw new TypeError(`config.models[${index}]: expected name to be a non-empty string, got ""`);
    checkPlatform(model);
  }
}

const members = {
  name: true,
  basePath: true,
  modelPlatform: true,
  modelType: true,
  versionPolicy: true,
  versionLabels: true,
  loggingConfig: true,
} as const;

function checkModelConfig(model: ModelConfig, index: number): void {
  if (typeof model !== "object" || model === null) {
    throw new TypeError(`config.models[${index}]: expected an object, got ${describe(model)}`);
  }
  assertOptionNames(model, { known: members, of: `config.models[${index}]` });
  checkText(model.name, `config.models[${index}]: name`);
  const what = `config: model "${model.name}"`;
  checkText(model.basePath, `${what}: basePath`);
  if (model.modelPlatform !== undefined) checkText(model.modelPlatform, `${what}: modelPlatform`);
  if (model.modelType !== undefined && model.modelType !== "TENSORFLOW" && model.modelType !== "OTHER") {
    throw new TypeError(`${what}: expected modelType "TENSORFLOW" or "OTHER", got ${describe(model.modelType)}`);
  }
  checkVersionPolicy(model.versionPolicy, `${what}: versionPolicy`);
  checkVersionLabels(model.versionLabels, what);
  if (model.loggingConfig !== undefined && (typeof model.loggingConfig !== "object" || model.loggingConfig === null)) {
    throw new TypeError(`${what}: expected loggingConfig to be an object, got ${describe(model.loggingConfig)}`);
  }
}

function checkPlatform({ name, modelPlatform = "", modelType }: ModelConfig): void {
  if ((modelPlatform !== "") !== (modelType !== undefined)) return;
  const got = modelPlatform === "" ? "neither" : "both";
  const why = "a server refuses this and then every later reload until it is restarted, so it is not sent";
  throw new TypeError(
    `config: model "${name}": expected modelPlatform (normally "tensorflow") or the deprecated modelType, got ${got}; ${why}`,
  );
}

function checkVersionLabels(labels: unknown, what: string): void {
  if (labels === undefined) return;
  if (!isPlainObject(labels)) throw new TypeError(`${what}: expected versionLabels to be an object, got ${describeNotPlain(labels)}`);
  for (const [label, version] of Object.entries(labels)) checkVersion(version, `${what}: version label "${label}"`);
}

function checkVersionPolicy(policy: unknown, what: string): void {
  if (policy === undefined || policy === "all") return;
  const choices: { latest?: unknown; specific?: unknown } = typeof policy === "object" && policy !== null ? policy : {};
  assertOptionNames(choices, { known: { latest: true, specific: true }, of: what });
  const { latest, specific } = choices;
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
  if (isWhole && BigInt.asIntN(64, BigInt(version as bigint)) === BigInt(version as bigint)) return;
  throw new RangeError(`${what}: expected a version of 64 bits such as 1n, got ${describe(version)}`);
}

function checkText(value: unknown, what: string): void {
  if (typeof value !== "string") throw new TypeError(`${what}: expected a string, got ${describe(value)}`);
}
