/** The versions of one model and their states, as GetModelStatus tells them. */
import type { ServingError, StatusCode } from "../errors.js";
import type { ModelVersionState, ModelVersionStatus } from "../transport/transport.js";
import { failureOf } from "./refusal.js";
import { isServable, type Servable } from "./servable.js";

/** Where the servable of a version comes from: it is there, or has to be loaded. */
export type VersionSource = Servable | (() => Servable | Promise<Servable>);

/** Why a version failed: a `ServingError`, or anything of its shape. */
export interface VersionError {
  readonly code: StatusCode;
  readonly message: string;
}

interface Version {
  readonly state: ModelVersionState;
  readonly error?: VersionError | undefined;
  /** Kept in every state, so that a version can become available again. */
  readonly servable?: Servable | undefined;
  /** Being loaded, not just said to be. */
  readonly isLoading?: boolean;
}

/** Whether a model that was just added has come up, or why not. */
export type Arrival = "available" | "pending" | { readonly version: bigint; readonly error: VersionError };

/** One model; versions that were there once are never forgotten, as in the real server. */
export class ServedModel {
  readonly #versions = new Map<bigint, Version>();
  readonly #onChange: () => void;
  /** The versions wanted now. */
  #sources: ReadonlyMap<bigint, VersionSource> = new Map();

  /** @param onChange - Called after every change of a state. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /**
   * Serve these versions and no others.
   *
   * Those that were wanted before stay as they are, failed ones included, and what is still there is not loaded again. Old versions are
   * unloaded once a wanted one is available.
   */
  serve(sources: ReadonlyMap<bigint, VersionSource>): void {
    const before = this.#sources;
    this.#sources = sources;
    for (const version of descending(sources.keys())) {
      const source = sources.get(version);
      const isThere = this.available(version) !== undefined || this.#versions.get(version)?.isLoading === true;
      if (!before.has(version) && !isThere && source !== undefined) this.#load(version, source);
    }
    this.#unloadUnwanted();
  }

  /** The servable of a version, if it is available. */
  available(version: bigint): Servable | undefined {
    const known = this.#versions.get(version);
    return known?.state === "AVAILABLE" ? known.servable : undefined;
  }

  /** The newest available version. */
  latest(): bigint | undefined {
    return descending(this.#versions.keys()).find((version) => this.available(version) !== undefined);
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
    const servable = given ?? this.#versions.get(version)?.servable;
    if (status.state === "AVAILABLE" && servable === undefined) return false;
    this.#put(version, { ...status, servable });
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

  #load(version: bigint, source: VersionSource): void {
    if (typeof source !== "function") {
      this.#put(version, { state: "AVAILABLE", servable: source });
      return;
    }
    const loading = this.#put(version, { state: "LOADING", isLoading: true });
    const settle = (loaded: Version) => {
      // Loaded again or scripted meanwhile: what this load made is no longer asked for.
      if (this.#versions.get(version) !== loading) return;
      this.#put(version, this.#sources.has(version) ? loaded : { state: "END" });
      this.#unloadUnwanted();
    };
    load(source).then(
      (servable) => settle({ state: "AVAILABLE", servable }),
      (error: ServingError) => settle({ state: "END", error: { code: error.code, message: error.message } }),
    );
  }

  /** Preserves availability: nothing is unloaded before a wanted version has taken over, unless none is wanted. */
  #unloadUnwanted(): void {
    const replaced = [...this.#sources.keys()].some((version) => this.available(version) !== undefined);
    if (!replaced && this.#sources.size > 0) return;
    for (const version of this.#versions.keys()) {
      if (this.available(version) !== undefined && !this.#sources.has(version)) this.#put(version, { state: "END" });
    }
  }

  #put(version: bigint, entry: Version): Version {
    this.#versions.set(version, entry);
    this.#onChange();
    return entry;
  }
}

/** @throws ServingError whatever goes wrong. */
async function load(source: () => Servable | Promise<Servable>): Promise<Servable> {
  try {
    const servable = await source();
    if (!isServable(servable))
      throw new TypeError(`loadServable: expected a servable, got ${servable === null ? "null" : typeof servable}`);
    return servable;
  } catch (error) {
    throw failureOf(error);
  }
}

function descending(versions: Iterable<bigint>): bigint[] {
  return [...versions].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
}
