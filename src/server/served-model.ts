/** The versions of one model and their states, as GetModelStatus tells them. */
import type { ServingError, StatusCode } from "../errors.js";
import type { ModelVersionState, ModelVersionStatus } from "../transport/transport.js";
import type { Servable } from "./servable.js";

/** Where the servable of a version comes from: it is there, or has to be loaded. */
export type VersionSource = Servable | (() => Promise<Servable>);

/** What is loaded. */
export interface Wanted {
  readonly version: bigint;
  /** False once nobody has a use for the outcome. */
  readonly isWanted: () => boolean;
}

/**
 * Loads what has to be loaded, perhaps in several attempts.
 *
 * @throws ServingError whatever goes wrong.
 */
export type LoadSource = (source: () => Promise<Servable>, wanted: Wanted) => Promise<Servable>;

/** Why a version failed: a `ServingError`, or anything of its shape. */
export interface VersionError {
  readonly code: StatusCode;
  readonly message: string;
}

/** A servable and the calls that run on it. */
export class LoadedServable {
  readonly servable: Servable;
  #calls = 0;
  #onIdle: () => void = () => undefined;

  constructor(servable: Servable) {
    this.servable = servable;
  }

  /** Count a call until what comes back is called. */
  hold(): () => void {
    this.#calls++;
    return () => {
      if (--this.#calls === 0) this.#onIdle();
    };
  }

  /** Run something once no call is running: at once, or when the last one ends. */
  whenIdle(run: () => void): void {
    if (this.#calls === 0) run();
    else this.#onIdle = run;
  }
}

interface Version {
  readonly state: ModelVersionState;
  readonly error?: VersionError | undefined;
  /** Kept in every state a test puts the version into, so that it can become available again. */
  readonly loaded?: LoadedServable | undefined;
  /** Being loaded or unloaded, not just said to be. */
  readonly isBusy?: boolean;
}

/** Whether a model that was just added has come up, or why not. */
export type Arrival = "available" | "pending" | { readonly version: bigint; readonly error: VersionError };

/** What a {@link ServedModel} is given. */
export interface ServedModelOptions {
  readonly load: LoadSource;
  /** Called after every change of a state. */
  readonly onChange: (version: bigint, state: ModelVersionState, error: VersionError | undefined) => void;
}

/** One model; versions that were there once are never forgotten, as in the real server. */
export class ServedModel {
  readonly #versions = new Map<bigint, Version>();
  readonly #options: ServedModelOptions;
  /** The versions wanted now. */
  #sources: ReadonlyMap<bigint, VersionSource> = new Map();

  constructor(options: ServedModelOptions) {
    this.#options = options;
  }

  /**
   * Serve these versions and no others.
   *
   * They are compared by their numbers only: those that were wanted before stay as they are, failed ones included, and what is still there
   * is not loaded again. Old versions are unloaded once a wanted one is available.
   */
  serve(sources: ReadonlyMap<bigint, VersionSource>): void {
    const before = this.#sources;
    this.#sources = sources;
    const added = descending(sources.keys()).filter((version) => !before.has(version));
    // Nothing new: states that a test has set stay.
    if (added.length === 0 && sources.size === before.size) return;
    for (const version of added) this.#want(version);
    this.#unloadUnwanted();
  }

  /** The servable of a version, if it is available. */
  available(version: bigint): LoadedServable | undefined {
    const known = this.#versions.get(version);
    return known?.state === "AVAILABLE" ? known.loaded : undefined;
  }

  /** The newest available version. */
  latest(): bigint | undefined {
    let latest: bigint | undefined;
    for (const [version, { state }] of this.#versions) {
      if (state === "AVAILABLE" && (latest === undefined || version > latest)) latest = version;
    }
    return latest;
  }

  /** States of all versions there ever were, highest first. */
  statuses(): ModelVersionStatus[] {
    return descending(this.#versions.keys()).map((version) => {
      const { state = "UNKNOWN", error } = this.#versions.get(version) ?? {};
      return { version, state, errorCode: error?.code ?? "OK", errorMessage: error?.message ?? "" };
    });
  }

  /**
   * Put a version into a state, whatever it was in.
   *
   * @param given - The version's servable, where it is known without loading.
   * @returns Whether that could be done: without a servable no version is available.
   */
  script(version: bigint, status: { state: ModelVersionState; error?: VersionError | undefined }, given: Servable | undefined): boolean {
    const loaded = this.#versions.get(version)?.loaded ?? (given === undefined ? undefined : new LoadedServable(given));
    if (status.state === "AVAILABLE" && loaded === undefined) return false;
    this.#put(version, { ...status, loaded });
    return true;
  }

  /** How far a model is whose versions are all new. */
  arrival(): Arrival {
    const wanted = descending(this.#sources.keys());
    if (wanted.some((version) => this.available(version) !== undefined)) return "available";
    const [highest] = wanted;
    if (highest === undefined || wanted.some((version) => this.#versions.get(version)?.state !== "END")) return "pending";
    return { version: highest, error: this.#versions.get(highest)?.error ?? { code: "OK", message: "" } };
  }

  #want(version: bigint): void {
    const known = this.#versions.get(version);
    // What is being loaded serves for this, and what is being unloaded is loaded again when that is done.
    if (known?.state === "AVAILABLE" || known?.isBusy) return;
    const source = this.#sources.get(version);
    if (source !== undefined) this.#load(version, source);
  }

  #load(version: bigint, source: VersionSource): void {
    this.#put(version, { state: "START" });
    const loading = this.#put(version, { state: "LOADING", isBusy: true });
    if (typeof source !== "function") {
      this.#put(version, { state: "AVAILABLE", loaded: new LoadedServable(source) });
      return;
    }
    // Scripted meanwhile: what this load made is no longer asked for.
    const isCurrent = () => this.#versions.get(version) === loading;
    const settle = (outcome: Version) => {
      if (isCurrent()) this.#put(version, outcome);
      this.#unloadUnwanted();
    };
    this.#options.load(source, { version, isWanted: () => isCurrent() && this.#sources.has(version) }).then(
      (servable) => settle({ state: "AVAILABLE", loaded: new LoadedServable(servable) }),
      ({ code, message }: ServingError) => settle({ state: "END", error: { code, message } }),
    );
  }

  /** Preserves availability: nothing is unloaded before a wanted version has taken over, unless none is wanted. */
  #unloadUnwanted(): void {
    const replaced = [...this.#sources.keys()].some((version) => this.available(version) !== undefined);
    if (!replaced && this.#sources.size > 0) return;
    for (const version of this.#versions.keys()) {
      const loaded = this.#sources.has(version) ? undefined : this.available(version);
      if (loaded !== undefined) this.#unload(version, loaded);
    }
  }

  /** Running calls end first; new ones do not find the version any more. */
  #unload(version: bigint, loaded: LoadedServable): void {
    const unloading = this.#put(version, { state: "UNLOADING", isBusy: true });
    loaded.whenIdle(() => {
      if (this.#versions.get(version) !== unloading) return;
      this.#put(version, { state: "END" });
      this.#want(version);
      this.#unloadUnwanted();
    });
  }

  #put(version: bigint, entry: Version): Version {
    this.#versions.set(version, entry);
    this.#options.onChange(version, entry.state, entry.error);
    return entry;
  }
}

function descending(versions: Iterable<bigint>): bigint[] {
  return [...versions].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
}
