/** The options that say which models a server has, and how it treats them. */
import type { BatchingParameters } from "../config/batching-parameters.js";
import { maxTimerMs } from "../deadline.js";
import type { ServingError } from "../errors.js";
import { assertCount } from "../option-checks.js";
import type { ModelVersionState } from "../transport/transport.js";
import type { BatchingEvent } from "./batching.js";
import { type Clock, systemClock } from "./clock.js";
import { type LoadServable, refuseFolder } from "./load-version.js";
import type { ModelMap, VersionLabels } from "./model-map.js";
import type { VersionError } from "./served-model.js";

/** A version has come into a state. */
export interface StateChange {
  readonly name: string;
  readonly version: bigint;
  readonly state: ModelVersionState;
  /** Why it failed. */
  readonly error?: VersionError | undefined;
}

/** An attempt to load a version has failed. */
export interface LoadFailure {
  readonly name: string;
  readonly version: bigint;
  /** What went wrong with the folder, in `loadServable` or in the warm-up; what was thrown there is its `cause`. */
  readonly error: ServingError;
  /** 1 for the first. */
  readonly attempt: number;
}

/** Options of a server's models. */
export interface ModelOptions {
  /**
   * Models by name: a servable (version 1), servables by version number, or the base path whose numbered folders are the versions, of which
   * the newest is served. Of servables all versions are served until a reload says otherwise; a configuration that lists such a model by its
   * name serves these servables, those that its version policy picks (without one the newest), whatever its base path.
   *
   * @defaultValue no models
   */
  readonly models?: ModelMap | undefined;
  /** Versions by label, by model name. @defaultValue no labels */
  readonly versionLabels?: VersionLabels | undefined;
  /**
   * Whether a label may be set on a version that is not available, unless it stands on another one
   * (`--allow_version_labels_for_unavailable_models`). Without it labels cannot be set before their version is available, so not in the
   * configuration a server starts with.
   *
   * @defaultValue false
   */
  readonly allowVersionLabelsForUnavailableModels?: boolean | undefined;
  /**
   * File of the models, a `ModelServerConfig` in protobuf's text format (`--model_config_file`). Only models that it lists are served; of
   * `models` it takes the servables.
   *
   * @defaultValue none: `models` are served
   */
  readonly modelConfigFile?: string | undefined;
  /**
   * How often the file is read and applied again, changed or not, which also undoes reloads; 0 reads it once. A file that is missing or
   * refused then changes nothing. Anything but 0 needs `modelConfigFile`.
   *
   * @defaultValue 0
   */
  readonly modelConfigFilePollMs?: number | undefined;
  /**
   * How often the folders of all models are looked at. Removals, new versions and new policies take effect then, a while after a reload was
   * answered; a base path that is missing defers those of all models. 0 looks at the start and at each reload only (the real server, only
   * at the start).
   *
   * @defaultValue 1000
   */
  readonly fileSystemPollMs?: number | undefined;
  /** Makes servables of version folders. @defaultValue they fail to load: `END`, `UNIMPLEMENTED` */
  readonly loadServable?: LoadServable | undefined;
  /** Further attempts to load a version that failed, which is `LOADING` until then. The real server makes 5. @defaultValue 0 */
  readonly maxLoadRetries?: number | undefined;
  /** Time between attempts to load a version. @defaultValue 60000 */
  readonly loadRetryIntervalMs?: number | undefined;
  /** Whether the warm-up requests in a version folder are run before the version is available; one that fails fails the version. @defaultValue true */
  readonly enableModelWarmup?: boolean | undefined;
  /**
   * Whether Predict, Classify and Regress refuse signatures whose method name does not fit (`--enable_signature_method_name_check`).
   *
   * @defaultValue false
   */
  readonly enableSignatureMethodNameCheck?: boolean | undefined;
  /**
   * Run requests together as a server with `--enable_batching` does, with these parameters; `{}` has the server's defaults. `threadPoolName`
   * has no effect, and a servable's own `classify` and `regress` are called for each request.
   *
   * @defaultValue every request is run by itself
   */
  readonly batching?: BatchingParameters | undefined;
  /** Called whenever a version comes into a state, for logs and for tests that wait for it; what it throws is a warning. */
  readonly onStateChange?: ((change: StateChange) => void) | undefined;
  /**
   * Called for every attempt to load a version that fails, those before the last one too, of which `onStateChange` does not tell: the version
   * is `LOADING` all the while. What it throws is a warning.
   */
  readonly onLoadFailure?: ((failure: LoadFailure) => void) | undefined;
}

/** Defaults of {@link ModelOptions}. */
export const modelDefaults = Object.freeze({
  models: Object.freeze({}),
  versionLabels: Object.freeze({}),
  allowVersionLabelsForUnavailableModels: false,
  modelConfigFilePollMs: 0,
  fileSystemPollMs: 1_000,
  maxLoadRetries: 0,
  loadRetryIntervalMs: 60_000,
  enableModelWarmup: true,
  enableSignatureMethodNameCheck: false,
});

/** Options of {@link ModelManager}. */
export interface ModelManagerOptions extends ModelOptions {
  /** @defaultValue the time of this process */
  readonly clock?: Clock | undefined;
  readonly onBatching?: ((event: BatchingEvent) => void) | undefined;
}

/** {@link ModelManagerOptions} with their defaults; what is optional there has none. */
export type ModelSettings = { readonly [Name in keyof typeof modelDefaults]: NonNullable<ModelOptions[Name]> } & {
  readonly loadServable: LoadServable;
  readonly clock: Clock;
  readonly onStateChange: (change: StateChange) => void;
  readonly onLoadFailure: (failure: LoadFailure) => void;
  readonly onBatching: (event: BatchingEvent) => void;
};

/** @throws TypeError or RangeError if an option of the models is malformed; models and labels themselves are not looked at. */
export function modelSettings(options: ModelManagerOptions): ModelSettings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const nothing = () => undefined;
  const settings: ModelSettings = {
    ...modelDefaults,
    loadServable: refuseFolder,
    clock: systemClock,
    onStateChange: nothing,
    onLoadFailure: nothing,
    onBatching: nothing,
    ...given,
  };
  const { loadServable, enableModelWarmup, enableSignatureMethodNameCheck, allowVersionLabelsForUnavailableModels } = settings;
  if (typeof loadServable !== "function") throw new TypeError("loadServable: expected a function (versionDir, { name, version })");
  const flags = { enableModelWarmup, enableSignatureMethodNameCheck, allowVersionLabelsForUnavailableModels };
  for (const [name, value] of Object.entries(flags)) {
    if (typeof value !== "boolean") throw new TypeError(`${name}: expected true or false, got ${String(value)}`);
  }
  if (options.modelConfigFile !== undefined && (typeof options.modelConfigFile !== "string" || options.modelConfigFile === "")) {
    throw new TypeError(`modelConfigFile: expected a path, got ${JSON.stringify(options.modelConfigFile)}`);
  }
  for (const name of ["modelConfigFilePollMs", "fileSystemPollMs", "loadRetryIntervalMs"] as const) assertMs(name, settings[name]);
  if (settings.modelConfigFilePollMs > 0 && options.modelConfigFile === undefined) {
    throw new TypeError("modelConfigFilePollMs: expected a modelConfigFile to read and apply again");
  }
  assertCount("maxLoadRetries", settings.maxLoadRetries, 0);
  return settings;
}

function assertMs(name: string, value: unknown): void {
  if (typeof value === "number" && value >= 0 && value <= maxTimerMs) return;
  throw new RangeError(`${name}: expected a number from 0 to ${maxTimerMs}, got ${String(value)}`);
}
