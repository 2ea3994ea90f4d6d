/** The models a server is given: as JavaScript, or by where their versions are. */
import { mapRecord } from "../messages.js";
import { type ModelConfig, maxVersion } from "../model-server-config.js";
import { knownPlatform } from "./config-checks.js";
import { isServable, type Servable } from "./servable.js";

/** Models by name; a bare servable is version 1, a text the base path whose numbered folders are the versions. */
export type ModelMap = Readonly<Record<string, Servable | string | Readonly<Record<number, Servable>>>>;

/** Versions by label, by model name. */
export type VersionLabels = Readonly<Record<string, Readonly<Record<string, number | bigint>>>>;

/** A {@link ModelMap} taken apart. */
export interface GivenModels {
  readonly servables: ReadonlyMap<string, ReadonlyMap<bigint, Servable>>;
  /** Base paths by name. */
  readonly basePaths: ReadonlyMap<string, string>;
}

/** @throws TypeError or RangeError if a model or version is malformed. */
export function modelsFrom(models: ModelMap): GivenModels {
  if (typeof models !== "object" || models === null) throw new TypeError("models: expected a record { name: servable }");
  const servables = new Map<string, ReadonlyMap<bigint, Servable>>();
  const basePaths = new Map<string, string>();
  for (const [name, model] of Object.entries(models)) {
    if (name === "") throw new TypeError("models: expected a name that is not empty");
    if (typeof model === "string") basePaths.set(name, model);
    else servables.set(name, versionsOf(name, model));
  }
  return { servables, basePaths };
}

function versionsOf(name: string, model: unknown): ReadonlyMap<bigint, Servable> {
  if (isServable(model)) return new Map([[1n, model]]);
  if (typeof model !== "object" || model === null) {
    throw new TypeError(`model "${name}": expected a servable or a base path, got ${model === null ? "null" : typeof model}`);
  }
  const versions = new Map<bigint, Servable>();
  for (const [key, value] of Object.entries(model)) {
    if (!/^(0|[1-9]\d{0,17})$/.test(key))
      throw new RangeError(`model "${name}": expected version numbers as keys, got ${JSON.stringify(key)}`);
    if (!isServable(value)) throw new TypeError(`model "${name}", version ${key}: expected a servable, got ${typeof value}`);
    versions.set(BigInt(key), value);
  }
  if (versions.size === 0) throw new TypeError(`model "${name}": expected at least one version`);
  return versions;
}

/**
 * The configuration that models and their labels make: all versions of servables, and the newest of each base path.
 *
 * @throws RangeError if a label names no version, or one that a servable does not have.
 */
export function givenConfig({ servables, basePaths }: GivenModels, versionLabels: VersionLabels): ModelConfig[] {
  const labels = new Map(Object.entries(versionLabels));
  for (const [name, versions] of labels) {
    for (const [label, version] of Object.entries(versions)) {
      const whole = wholeVersion(version);
      if (whole !== undefined && (basePaths.has(name) || servables.get(name)?.has(whole))) continue;
      throw new RangeError(`versionLabels: label "${label}" of model "${name}" names version ${String(version)}, which is not served`);
    }
  }
  const config = (name: string, basePath: string) => {
    const versionsByLabel = mapRecord(labels.get(name) ?? {}, (version) => BigInt(version));
    return { name, basePath, modelPlatform: knownPlatform, versionLabels: versionsByLabel };
  };
  return [
    ...[...servables.keys()].map((name) => ({ ...config(name, "/"), versionPolicy: "all" as const })),
    ...[...basePaths].map(([name, basePath]) => config(name, basePath)),
  ];
}

/** A version from 0 to 2^63 - 1; `undefined` for anything else. */
export function wholeVersion(version: unknown): bigint | undefined {
  if (typeof version !== "bigint" && !Number.isSafeInteger(version)) return undefined;
  const whole = BigInt(version as bigint | number);
  return whole >= 0n && whole <= maxVersion ? whole : undefined;
}
