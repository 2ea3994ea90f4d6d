/** Which models, versions and labels the server has, how a model spec finds one of them, and what replaces them. */
import { isDeepStrictEqual } from "node:util";
import { onAbort, untilAborted } from "../deadline.js";
import type { ServingError } from "../errors.js";
import { type ModelConfig, type ModelServerConfig, pickVersions } from "../model-server-config.js";
import type { ModelSpec } from "../model-spec.js";
import type { ModelVersionState, ModelVersionStatus } from "../transport/transport.js";
import { Batching } from "./batching.js";
import { repeat } from "./clock.js";
import { checkModelList, checkPlatforms, checkSamePlatforms } from "./config-checks.js";
import { LabelMap } from "./label-map.js";
import { loadWithRetries, servableFrom, type VersionName } from "./load-version.js";
import { type GivenModels, givenConfig, modelsFrom, type VersionLabels, wholeVersion } from "./model-map.js";
import { type ModelManagerOptions, type ModelSettings, modelSettings } from "./model-options.js";
import { refusal } from "./refusal.js";
import type { Servable } from "./servable.js";
import type { ServableHandle, ServableSource } from "./servable-handle.js";
import { type LoadSource, ServedModel, type VersionError, type VersionSource } from "./served-model.js";
import { versionFolders } from "./version-folders.js";

/**
 * Puts a version of a model into a state, for tests: `setVersionState("digits", 4, "LOADING")`,
 * `setVersionState("digits", 4, "END", { code: "INTERNAL", message: "no such file" })`.
 *
 * Only `AVAILABLE` versions are served, and only those with a servable can be it; a call without version gets the newest. A model or
 * version that is not there yet becomes known and shows in GetModelStatus. It stays in its state until it is put into another one, or a
 * reload, or folders that come or go, load or unload it.
 *
 * @param error - Why it failed, a `ServingError` or anything of its shape; shows in GetModelStatus.
 * @throws TypeError or RangeError if an argument is malformed, or the version shall be available and has no servable.
 */
export type SetVersionState = (model: string, version: number | bigint, state: ModelVersionState, error?: VersionError) => void;

/** When the models of a configuration are waited for, as the real server calls them. */
type Awaited = "model" | "servable";

const states: ReadonlySet<string> = new Set(["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]);

/** The models of one server. */
export class ModelManager implements ServableSource {
  readonly #settings: ModelSettings;
  readonly #configFile: string | undefined;
  /** Servables given as JavaScript serve a configuration that lists them, whatever stands at the base path. */
  readonly #given: GivenModels;
  /** What the options say without a configuration file. */
  readonly #givenConfig: readonly ModelConfig[];
  readonly #batching: Batching | undefined;
  readonly #labels = new LabelMap();
  /** Every model there ever was. */
  readonly #models = new Map<string, ServedModel>();
  /** The configuration last accepted; that its models can be served is found out later. */
  #configured: readonly ModelConfig[] = [];
  /** The configuration that folders are looked at for; a reload waits for the models it adds to it. */
  #monitored: readonly ModelConfig[] = [];
  #reloads: Promise<unknown> = Promise.resolve();
  readonly #watchers = new Set<() => void>();
  readonly #closing = new AbortController();
  /** Base paths that were complained about. */
  readonly #unreadable = new Set<string>();
  /** What was last wrong with the configuration file. */
  #fileComplaint = "";

  /**
   * Servables given as JavaScript are available at once, unless there is a configuration file.
   *
   * @throws TypeError or RangeError if an option is malformed, or a label names a version of a servable that is not there.
   */
  constructor(options: ModelManagerOptions = {}) {
    this.#settings = modelSettings(options);
    this.#configFile = options.modelConfigFile;
    const { models, versionLabels, clock } = this.#settings;
    this.#given = modelsFrom(models);
    this.#givenConfig = givenConfig(this.#given, versionLabels);
    this.#batching = options.batching === undefined ? undefined : new Batching(options.batching, clock, this.#settings.onBatching);
    if (this.#configFile === undefined) this.#serveGiven();
    else assertOnlyServables(this.#given, versionLabels);
  }

  #serveGiven(): void {
    const servables = this.#givenConfig.filter(({ name }) => this.#given.servables.has(name));
    for (const { name } of servables) this.#model(name).serve(this.#given.servables.get(name) ?? new Map());
    this.#configured = servables;
    this.#monitored = servables;
    if (servables.length > 0) this.#labels.replace(this.#checkedLabels(servables));
  }

  /**
   * Load what is in folders, and go on looking at them and at the configuration file; resolves once every model has an available version.
   *
   * As in the real server this waits without limit for base paths in which there is no version.
   *
   * @throws ServingError as the real server ends at the start: for a configuration that it refuses, and for models that cannot be loaded.
   */
  async start(): Promise<void> {
    const file = this.#configFile;
    const { fileSystemPollMs, modelConfigFilePollMs } = this.#settings;
    const hasFolders = this.#given.basePaths.size > 0;
    const models = file !== undefined ? await readModels(file) : hasFolders ? this.#givenConfig : undefined;
    this.#repeat(fileSystemPollMs, () => this.poll());
    if (models !== undefined) await this.#replaceInTurn(models, "servable");
    if (file !== undefined) this.#repeat(modelConfigFilePollMs, () => this.#applyFile(file));
  }

  /** Until the server is closed; 0 is never. */
  #repeat(intervalMs: number, run: () => Promise<void>): void {
    if (intervalMs > 0 && !this.#closing.signal.aborted) onAbort(this.#closing.signal, repeat(this.#settings.clock, intervalMs, run));
  }

  /** Stop looking at files and waiting for models, and let no request wait for others of its batch; what is served stays. */
  close(): void {
    this.#closing.abort(refusal("UNAVAILABLE", "The server was closed before the models became available"));
    this.#batching?.flush();
  }

  /** Refuse what still waits for a thread of batching, once nobody is left to take its answer. */
  refuseWaiting(): void {
    this.#batching?.close();
  }

  /** @throws ServingError with the code and text of the real server if there is no such model, version or label. */
  resolve(spec: ModelSpec): ServableHandle {
    const { name } = spec;
    if (name === "") throw refusal("INVALID_ARGUMENT", "ModelSpec has no name specified.");
    const model = this.#models.get(name);
    const version = this.#versionOf(spec, model);
    const loaded = version === undefined ? undefined : model?.available(version);
    if (version === undefined || loaded === undefined) {
      const wanted = version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
      throw refusal("NOT_FOUND", `Servable not found for request: ${wanted}`);
    }
    const checksMethodNames = this.#settings.enableSignatureMethodNameCheck;
    return { name, version, loaded, batching: this.#batching, checksMethodNames };
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
    const servable = this.#given.servables.get(name)?.get(number);
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
    return this.#replaceInTurn(config.models, "model");
  }

  /** Look at all folders now: serve what the configuration picks there, and unload the models it does not list. */
  async poll(): Promise<void> {
    const monitored = this.#monitored;
    const listed = new Set(monitored.map(({ name }) => name));
    for (const [name, model] of this.#models) if (!listed.has(name)) model.serve(new Map());
    const found = await Promise.all(monitored.map((model) => this.#sourcesOf(model)));
    // Another configuration came meanwhile.
    if (this.#monitored !== monitored || this.#closing.signal.aborted) return;
    // As in the real server a base path that cannot be read leaves every model as it is.
    if (found.includes(undefined)) return;
    for (const [index, { name, versionPolicy }] of monitored.entries()) {
      const sources = [...(found[index] ?? [])];
      const picked = new Set(pickVersions(new Map(sources).keys(), versionPolicy));
      this.#model(name).serve(new Map(sources.filter(([version]) => picked.has(version))));
    }
  }

  // Configurations

  /** A file that is missing, empty or refused leaves everything as it is. */
  async #applyFile(path: string): Promise<void> {
    let complaint = "";
    try {
      const models = await readModels(path);
      if (models !== undefined) await this.#replaceInTurn(models, "model");
    } catch (error) {
      complaint = (error as Error).message;
    }
    if (this.#closing.signal.aborted) return;
    // The real server logs it each time.
    if (complaint !== "" && complaint !== this.#fileComplaint) process.emitWarning(complaint, { code: "TFSERVING_MODEL_CONFIG_FILE" });
    this.#fileComplaint = complaint;
  }

  #replaceInTurn(models: readonly ModelConfig[], awaited: Awaited): Promise<void> {
    const turn = this.#reloads.then(() => this.#replace(models, awaited));
    // A failed reload is its caller's, not that of the next one.
    this.#reloads = turn.catch(() => undefined);
    return turn;
  }

  async #replace(models: readonly ModelConfig[], awaited: Awaited): Promise<void> {
    checkModelList(models);
    checkSamePlatforms(this.#configured, models);
    // Remembered before the checks below, as in the real server.
    this.#configured = models;
    const labels = this.#checkedLabels(models);
    checkPlatforms(models);
    this.#labels.replace(labels);
    const before = new Set(this.#monitored.map(({ name }) => name));
    // The same again, as a file that is read at intervals says it, must not undo a look that is under way.
    if (!isDeepStrictEqual(models, this.#monitored)) this.#monitored = models;
    // Nobody else looks, or not soon.
    if (awaited === "servable" || this.#settings.fileSystemPollMs === 0) await this.poll();
    await this.#arrived(
      models.filter(({ name }) => !before.has(name)),
      awaited,
    );
    if (models.some(({ loggingConfig }) => loggingConfig !== undefined)) {
      throw refusal("INVALID_ARGUMENT", "No request-logger-creator provided.");
    }
  }

  #checkedLabels(models: readonly ModelConfig[]): ReturnType<LabelMap["checked"]> {
    return this.#labels.checked(models, {
      isAvailable: (name, version) => this.#isAvailable(name, version),
      allowUnavailable: this.#settings.allowVersionLabelsForUnavailableModels,
    });
  }

  // Versions

  async #sourcesOf({ name, basePath }: ModelConfig): Promise<ReadonlyMap<bigint, VersionSource> | undefined> {
    const given = this.#given.servables.get(name);
    if (given !== undefined) return given;
    const folders = await versionFolders(basePath);
    if (folders === undefined) this.#tellOfUnreadable(name, basePath);
    if (folders === undefined) return undefined;
    return new Map(Array.from(folders, ([version, folder]) => [version, () => this.#loadFolder(folder, { name, version })]));
  }

  async #loadFolder(folder: string, model: VersionName): Promise<Servable> {
    const servable = await servableFrom(this.#settings.loadServable, folder, model);
    if (!this.#settings.enableModelWarmup) return servable;
    // Loaded when needed, like what reads configurations: a server of JavaScript servables starts without them.
    const { replayWarmup } = await import("./warmup-replay.js");
    const checksMethodNames = this.#settings.enableSignatureMethodNameCheck;
    await replayWarmup(folder, servable, { version: model.version, batching: this.#batching, checksMethodNames });
    return servable;
  }

  /** Once; the real server logs it at every look, and waits. */
  #tellOfUnreadable(name: string, basePath: string): void {
    if (this.#unreadable.has(basePath)) return;
    this.#unreadable.add(basePath);
    const then = "until it can, no version of any model is loaded or unloaded";
    process.emitWarning(`model "${name}": the base path ${basePath} cannot be read; ${then}`, { code: "TFSERVING_BASE_PATH" });
  }

  /** @throws ServingError UNKNOWN if a model has failed, naming each of them. */
  async #arrived(models: readonly ModelConfig[], awaited: Awaited): Promise<void> {
    const arrivals = await Promise.all(models.map(({ name }) => this.#arrival(name)));
    const failures = arrivals.filter((arrival) => arrival !== "");
    if (failures.length === 0) return;
    throw refusal("UNKNOWN", `${failures.length} ${awaited}(s) did not become available: {${failures.join("")}}`);
  }

  /** Empty once a model is available, or what the real server says of its failure. */
  #arrival(name: string): Promise<string> {
    const model = this.#model(name);
    return untilAborted<string>(this.#closing.signal, (resolve) => {
      const look = () => {
        const arrival = model.arrival();
        if (arrival === "pending") return;
        this.#watchers.delete(look);
        if (arrival === "available") resolve("");
        else resolve(`{{name: ${name} version: ${arrival.version}} due to error: ${arrival.error.code}: ${arrival.error.message}}, `);
      };
      this.#watchers.add(look);
      look();
      return () => this.#watchers.delete(look);
    });
  }

  #model(name: string): ServedModel {
    const known = this.#models.get(name);
    if (known !== undefined) return known;
    const onChange = (version: bigint, state: ModelVersionState, error: VersionError | undefined) => {
      const change = { name, version, state, ...(error === undefined ? {} : { error }) };
      tell(() => this.#settings.onStateChange(change), { option: "onStateChange", code: "TFSERVING_ON_STATE_CHANGE" });
      for (const look of this.#watchers) look();
    };
    const model = new ServedModel({ load: this.#loadOf(name), onChange });
    this.#models.set(name, model);
    return model;
  }

  #loadOf(name: string): LoadSource {
    const { clock, maxLoadRetries: maxRetries, loadRetryIntervalMs: intervalMs, onLoadFailure } = this.#settings;
    const onFailure = (version: bigint, error: ServingError, attempt: number) =>
      tell(() => onLoadFailure({ name, version, error, attempt }), { option: "onLoadFailure", code: "TFSERVING_ON_LOAD_FAILURE" });
    return loadWithRetries({ maxRetries, intervalMs, onFailure }, clock, this.#closing.signal);
  }

  #isAvailable(name: string, version: bigint): boolean {
    return this.#models.get(name)?.available(version) !== undefined;
  }

  #versionOf(spec: ModelSpec, model: ServedModel | undefined): bigint | undefined {
    if (spec.version !== undefined) return BigInt(spec.version);
    return spec.versionLabel === undefined ? model?.latest() : this.#labels.version(spec.name, spec.versionLabel);
  }
}

/** The models in a configuration file; `undefined` for a file without a list. */
async function readModels(path: string): Promise<readonly ModelConfig[] | undefined> {
  const { readConfigFile } = await import("./config-file.js");
  return (await readConfigFile(path))?.models;
}

/** @throws TypeError if the options say what only the configuration file may say. */
function assertOnlyServables({ basePaths }: GivenModels, versionLabels: VersionLabels): void {
  const [name] = [...basePaths.keys(), ...Object.keys(versionLabels)];
  if (name !== undefined) throw new TypeError(`model "${name}": expected its base path and labels in the modelConfigFile only`);
}

/** Calls a function of the options; what it throws is a warning. */
function tell(call: () => void, { option, code }: { readonly option: string; readonly code: string }): void {
  try {
    call();
  } catch (error) {
    process.emitWarning(`${option}: ${String(error)}`, { code });
  }
}
