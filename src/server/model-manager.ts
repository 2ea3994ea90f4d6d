/** Which models, versions and labels the server has, and how a model spec finds one of them. */
import { ServingError, type StatusCode } from "../errors.js";
import type { ModelSpec } from "../model-spec.js";
import type { ModelVersionStatus } from "../transport/transport.js";
import { isServable, type Servable } from "./servable.js";

/** Models by name; a bare servable is version 1. */
export type ModelMap = Readonly<Record<string, Servable | Readonly<Record<number, Servable>>>>;

/** Versions by label, by model name. */
export type VersionLabels = Readonly<Record<string, Readonly<Record<string, number | bigint>>>>;

/** The servable that answers a request. */
export interface ServableHandle {
  readonly name: string;
  readonly version: bigint;
  readonly servable: Servable;
}

/** A request that the server refuses, in the words of TensorFlow Serving. */
export function refusal(code: StatusCode, message: string, cause?: unknown): ServingError {
  return new ServingError(message, { code, cause });
}

/** The models of one server. */
export class ModelManager {
  readonly #models = new Map<string, ReadonlyMap<bigint, Servable>>();
  readonly #labels = new Map<string, ReadonlyMap<string, bigint>>();

  /** @throws TypeError or RangeError if a model, version or label is malformed, or a label names a version that is not there. */
  constructor(models: ModelMap, versionLabels: VersionLabels = {}) {
    if (typeof models !== "object" || models === null) throw new TypeError("models: expected a record { name: servable }");
    for (const [name, model] of Object.entries(models)) {
      if (name === "") throw new TypeError("models: expected a name that is not empty");
      this.#models.set(name, versionsOf(name, model));
    }
    for (const [name, labels] of Object.entries(versionLabels)) {
      this.#labels.set(name, new Map(Object.entries(labels).map(([label, version]) => [label, this.#labelled(name, label, version)])));
    }
  }

  /** @throws ServingError with the code and text of the real server if there is no such model, version or label. */
  resolve(spec: ModelSpec): ServableHandle {
    const { name } = spec;
    if (name === "") throw refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.");
    const versions = this.#models.get(name);
    const version = this.#versionOf(spec, versions);
    const servable = version === undefined ? undefined : versions?.get(version);
    if (version === undefined || servable === undefined) {
      const wanted = version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
      throw refusal("NOT_FOUND", `Servable not found for request: ${wanted}`);
    }
    return { name, version, servable };
  }

  /** States of one version or of all, highest first; a label is ignored, as in the real server. */
  statuses(spec: ModelSpec): ModelVersionStatus[] {
    const versions = [...(this.#models.get(spec.name)?.keys() ?? [])];
    if (spec.version !== undefined) {
      const version = BigInt(spec.version);
      if (!versions.includes(version)) throw refusal("NOT_FOUND", `Could not find version ${version} of model ${spec.name}`);
      return [available(version)];
    }
    if (versions.length === 0) throw refusal("NOT_FOUND", `Could not find any versions of model ${spec.name}`);
    return versions.sort((a, b) => (a < b ? 1 : -1)).map(available);
  }

  #versionOf(spec: ModelSpec, versions: ReadonlyMap<bigint, Servable> | undefined): bigint | undefined {
    if (spec.version !== undefined) return BigInt(spec.version);
    if (spec.versionLabel !== undefined) {
      const version = this.#labels.get(spec.name)?.get(spec.versionLabel);
      if (version === undefined) throw refusal("INVALID_ARGUMENT", `Unrecognized servable version label: ${spec.versionLabel}`);
      return version;
    }
    return [...(versions?.keys() ?? [])].reduce<bigint | undefined>(
      (latest, next) => (latest === undefined || next > latest ? next : latest),
      undefined,
    );
  }

  #labelled(name: string, label: string, version: unknown): bigint {
    const number = typeof version === "bigint" || Number.isSafeInteger(version) ? BigInt(version as bigint | number) : undefined;
    if (number === undefined || this.#models.get(name)?.has(number) !== true) {
      throw new RangeError(`versionLabels: label "${label}" of model "${name}" names version ${String(version)}, which is not served`);
    }
    return number;
  }
}

function available(version: bigint): ModelVersionStatus {
  return { version, state: "AVAILABLE", errorCode: "OK", errorMessage: "" };
}

function versionsOf(name: string, model: unknown): ReadonlyMap<bigint, Servable> {
  if (isServable(model)) return new Map([[1n, model]]);
  if (typeof model === "string") {
    throw new TypeError(
      `model "${name}": running SavedModel folders is not available in this version: pass a servable, got ${JSON.stringify(model)}`,
    );
  }
  if (typeof model !== "object" || model === null) throw new TypeError(`model "${name}": expected a servable, got ${typeof model}`);
  const versions = new Map<bigint, Servable>();
  for (const [key, value] of Object.entries(model)) {
    if (!/^(0|[1-9]\d{0,17})$/.test(key))
      throw new RangeError(`model "${name}": expected version numbers as keys, got ${JSON.stringify(key)}`);
    if (typeof value === "string") versionsOf(name, value);
    if (!isServable(value)) throw new TypeError(`model "${name}", version ${key}: expected a servable, got ${typeof value}`);
    versions.set(BigInt(key), value);
  }
  if (versions.size === 0) throw new TypeError(`model "${name}": expected at least one version`);
  return versions;
}
