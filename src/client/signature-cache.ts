/** The one cache of signatures: a model's metadata is fetched once for all who need it. */

import { settleWithin, type WaitLimits } from "../deadline.js";
import { isServingError } from "../errors.js";
import type { ModelSpec } from "../model-spec.js";
import type { ModelMetadata, TransportCallOptions } from "../transport/transport.js";

/** What a {@link SignatureCache} is made from. */
export interface SignatureCacheOptions {
  /** Age at which the entry of a model without a pinned version is fetched again; `Infinity` where answers tell the version. */
  readonly maxAgeMs: number;
  /** Clock, in milliseconds. */
  readonly now: () => number;
}

/** Metadata as it was fetched. */
export interface CachedMetadata {
  readonly metadata: ModelMetadata;
  /** When the fetch began, by the cache's clock: changes on the server since then may be missing. */
  readonly startedAt: number;
}

/** One fetch that several callers may wait for. */
interface Flight {
  readonly startedAt: number;
  readonly result: Promise<CachedMetadata>;
  /** What the fetch sends, credentials included. */
  readonly metadata: TransportCallOptions["metadata"];
  readonly ended: AbortController;
  /** How many wait for it. */
  waiting: number;
}

/** Who waits for an entry, and how new it has to be. */
export interface Wanted extends WaitLimits {
  /** Start of the oldest fetch that will do. @defaultValue any */
  readonly notBefore?: number | undefined;
  /** What the fetch sends, credentials included. */
  readonly metadata?: TransportCallOptions["metadata"];
  /** Fetch the metadata, with limits of its own: the caller that began the fetch may leave before the others, and only then the signal aborts. */
  readonly fetch: (signal: AbortSignal) => Promise<ModelMetadata>;
  readonly onDeadline: () => Error;
}

/** Metadata by model name, version and label. Failed fetches are not kept. */
export class SignatureCache {
  readonly #entries = new Map<string, CachedMetadata>();
  readonly #flights = new Map<string, Flight>();
  readonly #options: SignatureCacheOptions;

  constructor(options: SignatureCacheOptions) {
    this.#options = options;
  }

  /** The metadata of a model where it is known and not too old. */
  peek(spec: ModelSpec): CachedMetadata | undefined {
    // Calls with tensors over gRPC never fill it, and ask at each call.
    if (this.#entries.size === 0) return undefined;
    const entry = this.#entries.get(keyOf(spec));
    if (entry === undefined) return undefined;
    const expires = spec.version === undefined && this.#options.now() - entry.startedAt >= this.#options.maxAgeMs;
    return expires ? undefined : entry;
  }

  /** The metadata of a model, from the cache, from a fetch that is under way, or from a new one. */
  async get(spec: ModelSpec, wanted: Wanted): Promise<CachedMetadata> {
    const notBefore = wanted.notBefore ?? Number.NEGATIVE_INFINITY;
    const entry = this.peek(spec);
    if (entry !== undefined && entry.startedAt >= notBefore) return entry;
    const running = this.#flights.get(keyOf(spec));
    if (running === undefined || running.startedAt < notBefore) return this.#wait(spec, this.#start(spec, wanted), wanted);
    try {
      return await this.#wait(spec, running, wanted);
    } catch (error) {
      // Another caller's credentials were refused, which says nothing of this one's.
      if (!isRefusal(error) || running.metadata === wanted.metadata) throw error;
      return this.#wait(spec, this.#start(spec, wanted), wanted);
    }
  }

  /** Forget a model, and what fetches that are under way will say of it. */
  drop(spec: ModelSpec): void {
    this.#entries.delete(keyOf(spec));
    this.#flights.delete(keyOf(spec));
  }

  async #wait(spec: ModelSpec, flight: Flight, wanted: Wanted): Promise<CachedMetadata> {
    flight.waiting++;
    try {
      return await settleWithin(flight.result, wanted, wanted.onDeadline);
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) this.#end(spec, flight);
    }
  }

  /** Nobody waits any more: what still runs would only hold timers and sockets. */
  #end(spec: ModelSpec, flight: Flight): void {
    if (this.#flights.get(keyOf(spec)) === flight) this.#flights.delete(keyOf(spec));
    flight.ended.abort();
  }

  #start(spec: ModelSpec, { fetch, metadata: sent }: Wanted): Flight {
    const key = keyOf(spec);
    const startedAt = this.#options.now();
    // `then` never calls back before `flight` is set.
    const isLatest = (): boolean => this.#flights.get(key) === flight;
    const ended = new AbortController();
    const result = fetch(ended.signal)
      .then((metadata) => {
        const entry: CachedMetadata = { metadata, startedAt };
        if (isLatest()) this.#entries.set(key, entry);
        return entry;
      })
      .finally(() => {
        if (isLatest()) this.#flights.delete(key);
      });
    const flight: Flight = { startedAt, result, metadata: sent, ended, waiting: 0 };
    this.#flights.set(key, flight);
    // All who waited may have left by the time it fails.
    result.catch(() => undefined);
    return flight;
  }
}

function isRefusal(error: unknown): boolean {
  return isServingError(error) && (error.code === "UNAUTHENTICATED" || error.code === "PERMISSION_DENIED");
}

function keyOf(spec: ModelSpec): string {
  return JSON.stringify([spec.name, spec.version?.toString() ?? null, spec.versionLabel ?? null]);
}
