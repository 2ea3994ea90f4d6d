/** Which models, versions and labels the server has, how a model spec finds one of them, and how a reload replaces them. */
import { type ModelConfig, type ModelServerConfig, maxVersion, pickVersions } from "../model-server-config.js";
import type { ModelSpec } from "../model-spec.js";
import type { ModelVersionState, ModelVersionStatus } from "../transport/transport.js";
import { checkModelList, checkPlatforms, checkSamePlatforms, knownPlatform } from "./config-checks.js";
import { type ModelMap, servablesFrom } from "./model-map.js";
import { refusal } from "./refusal.js";
import type { Servable } from "./servable.js";
import { ServedModel, type VersionError, type VersionSource } from "./served-model.js";
import { versionFolders } from "./version-folders.js";

/** Versions by label, by model name. */
export type VersionLabels = Readonly<Record<string, Readonly<Record<string, number | bigint>>>>;

/**
 * Turns the folder of a version into a servable; a rejection is a load failure, a `ServingError` with its code.
 *
 * @param versionDir - The folder, such as `/models/digits/3`.
 */
export type LoadServable = (versionDir: string, model: { readonly name: string; readonly version: bigint }) => Servable | Promise<Servable>;

/**
 * Puts a version of a model into a state, for tests: `setVersionState("digits", 4, "LOADING")`,
 * `setVersionState("digits", 4, "END", { code: "INTERNAL", message: "no such file" })`.
 *
 * Only `AVAILABLE` versions are served, and only those with a servable can be it; a call without version gets the newest. A model or
 * version that is not there yet becomes known and shows in GetModelStatus. It stays in its state until it is put into another one, or a
 * reload loads or unloads it.
 *
 * @param error - Why it failed, a `ServingError` or anything of its shape; shows in GetModelStatus.
 * @throws TypeError or RangeError if an argument is malformed, or the version shall be available and has no servable.
 */
export type SetVersionState = (model: string, version: number | bigint, state: ModelVersionState, error?: VersionError) => void;

/** Options of {@link ModelManager}. */
export interface ModelManagerOptions {
  readonly models?: ModelMap | undefined;
  readonly versionLabels?: VersionLabels | undefined;
  readonly loadServable?: LoadServable | undefined;
}

/** The servable that answers a request. */
export interface ServableHandle {
  readonly name: string;
  readonly version: bigint;
  readonly servable: Servable;
}

type Labels = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

const states: ReadonlySet<string> = new Set(["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]);

/** The models of one server. */
export class ModelManager {
  /** Models given as JavaScript: what a configuration that lists them serves, whatever stands at the base path. */
  readonly #servables: ReadonlyMap<string, ReadonlyMap<bigint, Servable>>;
  readonly #loadServable: LoadServable;
  /** Every model there ever was. */
  readonly #models = new Map<string, ServedModel>();
  #labels: Labels;
  /** The configuration last accepted; that its models can be served is found out later. */
  #configured: readonly ModelConfig[];
  /** Names of the models served; a reload waits for those it adds. */
  #served: ReadonlySet<string>;
  #reloads: Promise<unknown> = Promise.resolve();
  readonly #watchers = new Set<() => void>();

  /** @throws TypeError or RangeError if a model, version or label is malformed, or a label names a version that is not there. */
  constructor({ models = {}, versionLabels = {}, loadServable = refuseFolder }: ModelManagerOptions) {
    if (typeof loadServable !== "function") throw new TypeError("loadServable: expected a function (versionDir, { name, version })");
    this.#servables = servablesFrom(models);
    this.#loadServable = loadServable;
    for (const [name, versions] of this.#servables) this.#model(name).serve(versions);
    this.#served = new Set(this.#servables.keys());
    this.#configured = [...this.#served].map((name) => ({ name, basePath: "", modelPlatform: knownPlatform }));
    this.#labels = mapValues(Object.entries(versionLabels), (labels, name) =>
      mapValues(Object.entries(labels), (version, label) => this.#labelled(name, label, version)),
    );
  }

  /** @throws ServingError with the code and text of the real server if there is no such model, version or label. */
  resolve(spec: ModelSpec): ServableHandle {
    const { name } = spec;
    if (name === "") throw refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.");
    const model = this.#models.get(name);
    const version = this.#versionOf(spec, model);
    const servable = version === undefined ? undefined : model?.available(version);
    if (version === undefined || servable === undefined) {
      const wanted = version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
      throw refusal("NOT_FOUND", `Servable not found for request: ${wanted}`);
    }
    return { name, version, servable };
  }

  /** States of one version or of all, highest first; a label is ignored, as in the real server. */
  statuses(spec: ModelSpec): ModelVersionStatus[] {
    const all = this.#models.get(spec.name)?.statuses() ?? [];
    if (spec.version !== undefined) {
      const wanted = BigInt(spec.version);
      const found = all.filter(({ version }) => version === wanted);
      if (found.length === 0) throw refusal("NOT_FOUND", `Could not find version ${wanted} of model ${spec.name}`);
      return found;
    }
    if (all.length === 0) throw refusal("NOT_FOUND", `Could not find any versions of model ${spec.name}`);
    return all;
  }

  /** As {@link SetVersionState} says. */
  setVersionState(name: string, version: number | bigint, state: ModelVersionState, error?: VersionError): void {
    const number = wholeVersion(version);
    if (typeof name !== "string" || name === "") throw new TypeError("setVersionState: expected a model name that is not empty");
    if (number === undefined) throw new RangeError(`setVersionState: expected a version from 0 to 2^63 - 1, got ${String(version)}`);
    if (!states.has(state)) throw new TypeError(`setVersionState: expected a state such as "LOADING", got ${JSON.stringify(state)}`);
    const servable = this.#servables.get(name)?.get(number);
    const done = this.#model(name).script(number, { state, error }, servable);
    if (!done) throw new RangeError(`setVersionState: version ${number} of model "${name}" has no servable, so it cannot be AVAILABLE`);
  }

  /**
   * Replace the whole configuration; settles once every model it adds is available or has failed.
   *
   * One reload runs at a time. A model whose base path holds no version keeps it, and those behind it, waiting, as in the real server.
   *
   * @throws ServingError as the real server answers.
   */
  reload(config: ModelServerConfig): Promise<void> {
    const turn = this.#reloads.then(() => this.#replace(config.models));
    // A failed reload is its caller's, not that of the next one.
    this.#reloads = turn.catch(() => undefined);
    return turn;
  }

  async #replace(models: readonly ModelConfig[]): Promise<void> {
    checkModelList(models);
    checkSamePlatforms(this.#configured, models);
    // Remembered before the checks below, as in the real server.
    this.#configured = models;
    const labels = this.#checkedLabels(models);
    checkPlatforms(models);
    this.#labels = labels;
    const added = models.filter(({ name }) => !this.#served.has(name));
    const listed = new Set(models.map(({ name }) => name));
    for (const name of this.#served) if (!listed.has(name)) this.#models.get(name)?.serve(new Map());
    this.#served = listed;
    await Promise.all(models.map((model) => this.#serve(model)));
    await this.#arrived(added);
    if (models.some(({ loggingConfig }) => loggingConfig !== undefined)) {
      throw refusal("INVALID_ARGUMENT", "No request-logger-creator provided.");
    }
  }

  async #serve({ name, basePath, versionPolicy }: ModelConfig): Promise<void> {
    const sources = this.#servables.get(name) ?? (await this.#foldersOf(name, basePath));
    if (sources === undefined) return;
    const picked = pickVersions(sources.keys(), versionPolicy);
    this.#model(name).serve(new Map(picked.flatMap((version) => pair(version, sources.get(version)))));
  }

  async #foldersOf(name: string, basePath: string): Promise<ReadonlyMap<bigint, VersionSource> | undefined> {
    const folders = await versionFolders(basePath);
    if (folders === undefined) return undefined;
    const loadServable = this.#loadServable;
    return mapValues(folders, (folder, version) => () => loadServable(folder, { name, version }));
  }

  /** @throws ServingError UNKNOWN if a model has failed, naming each of them. */
  async #arrived(models: readonly ModelConfig[]): Promise<void> {
    const arrivals = await Promise.all(models.map(({ name }) => this.#arrival(name)));
    const failures = arrivals.filter((arrival) => arrival !== "");
    if (failures.length === 0) return;
    throw refusal("UNKNOWN", `${failures.length} model(s) did not become available: {${failures.join("")}}`);
  }

  /** Empty once a model is available, or what the real server says of its failure. */
  #arrival(name: string): Promise<string> {
    const model = this.#model(name);
    return new Promise((resolve) => {
      const look = () => {
        const arrival = model.arrival();
        if (arrival === "pending") return;
        this.#watchers.delete(look);
        if (arrival === "available") resolve("");
        else resolve(`{{name: ${name} version: ${arrival.version}} due to error: ${arrival.error.code}: ${arrival.error.message}}, `);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #model(name: string): ServedModel {
    const known = this.#models.get(name);
    if (known !== undefined) return known;
    const model = new ServedModel(() => {
      for (const look of this.#watchers) look();
    });
    this.#models.set(name, model);
    return model;
  }

  #versionOf(spec: ModelSpec, model: ServedModel | undefined): bigint | undefined {
    if (spec.version !== undefined) return BigInt(spec.version);
    if (spec.versionLabel === undefined) return model?.latest();
    const version = this.#labels.get(spec.name)?.get(spec.versionLabel);
    if (version === undefined) throw refusal("INVALID_ARGUMENT", `Unrecognized servable version label: ${spec.versionLabel}`);
    return version;
  }

  #checkedLabels(models: readonly ModelConfig[]): Labels {
    const check = (name: string, version: bigint): bigint => {
      if (this.#models.get(name)?.available(version) !== undefined) return version;
      const text = `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`;
      throw refusal("FAILED_PRECONDITION", text);
    };
    return new Map(
      models.map(({ name, versionLabels = {} }) => [name, mapValues(Object.entries(versionLabels), (version) => check(name, version))]),
    );
  }

  #labelled(name: string, label: string, version: unknown): bigint {
    const number = wholeVersion(version);
    if (number === undefined || this.#models.get(name)?.available(number) === undefined) {
      throw new RangeError(`versionLabels: label "${label}" of model "${name}" names version ${String(version)}, which is not served`);
    }
    return number;
  }
}

/** A folder needs somebody who can load it. */
const refuseFolder: LoadServable = (versionDir) => {
  throw refusal("UNIMPLEMENTED", `This server runs JavaScript servables; to serve ${versionDir} start it with the option loadServable`);
};

function wholeVersion(version: unknown): bigint | undefined {
  if (typeof version !== "bigint" && !Number.isSafeInteger(version)) return undefined;
  const whole = BigInt(version as bigint | number);
  return whole >= 0n && whole <= maxVersion ? whole : undefined;
}

function pair<K, V>(key: K, value: V | undefined): [K, V][] {
  return value === undefined ? [] : [[key, value]];
}

function mapValues<K, From, To>(entries: Iterable<readonly [K, From]>, convert: (value: From, key: K) => To): Map<K, To> {
  const mapped = new Map<K, To>();
  for (const [key, value] of entries) mapped.set(key, convert(value, key));
  return mapped;
}
