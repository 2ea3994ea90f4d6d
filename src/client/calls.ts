/** The life of a client's calls: their clock, their abort, and the end of them all when the client is closed. */
import { setMaxListeners } from "node:events";
import { onAbort, settleWithin } from "../deadline.js";
import { formatCall, RpcError, ServingError, type StatusCode } from "../errors.js";
import type { ModelSpec } from "../model-spec.js";
import { describe } from "../tensor/values.js";
import type { CallMetadata, TransportCallOptions } from "../transport/transport.js";
import { type CallOptions, type ClientSettings, checkCallOptions, mergeMetadata } from "./options.js";
import { type Destination, formatDestination } from "./target.js";

/** How long after the deadline a transport may take to say so. */
const transportGraceMs = 200;

const closedByForce = "the client was closed by force";

/** What a call is about. */
export interface CallSubject {
  /** RPC name in camelCase. */
  readonly method: string;
  /** Absent where the call is about no model. */
  readonly spec?: ModelSpec;
}

/** One running call. */
export type Call<Subject extends CallSubject = CallSubject> = Subject & {
  /** When the call began, in milliseconds of `performance.now()`. */
  readonly startedAt: number;
  /** What the transport is given. */
  readonly options: TransportCallOptions;
  /** Stops listening to the caller's signal. */
  readonly release: (() => void) | undefined;
};

/** A running call about a model. */
export type ModelCall = Call<CallSubject & { readonly spec: ModelSpec }>;

/**
 * Refuse what a caller without a compiler may pass as options.
 *
 * @throws TypeError if the options are no object.
 */
export function assertOptions(options: unknown): void {
  if (typeof options !== "object" || options === null) throw new TypeError(`options: expected an object, got ${describe(options)}`);
}

/** All calls of one client. */
export class Calls {
  readonly #settings: ClientSettings;
  readonly #destination: Destination | undefined;
  /** The metadata of calls that have none of their own: one object, by which batching knows that they may share a request. */
  readonly #metadata: TransportCallOptions["metadata"];
  /** The client's metadata with records that cannot change, such as that of a run of `predictMany`; one object for each, too. */
  readonly #metadataByOwn = new WeakMap<CallMetadata, TransportCallOptions["metadata"]>();
  /** Ends every running call; the signal of all calls whose callers gave none. */
  readonly #forced = new AbortController();
  #running = 0;
  #isClosed = false;
  #whenIdle: (() => void) | undefined;

  /** @param destination - Where calls go; absent for a transport of the caller's own, which is not trusted to keep to deadlines. */
  constructor(settings: ClientSettings, destination: Destination | undefined) {
    this.#settings = settings;
    this.#destination = destination;
    this.#metadata = mergeMetadata(settings.metadata, undefined);
    // Own transports may each add a listener for every call; Node warns above 10.
    setMaxListeners(0, this.#forced.signal);
    // While this stands the signal keeps its one listener, which takes longer to add and remove than all else a call does here.
    onAbort(this.#forced.signal, () => undefined);
  }

  /**
   * Check the options, start the clock, and count the call among the running ones until {@link end}.
   *
   * @throws ServingError `FAILED_PRECONDITION` once the client is closed.
   */
  begin<Subject extends CallSubject>(subject: Subject, options: CallOptions): Call<Subject> {
    const startedAt = performance.now();
    assertOptions(options);
    checkCallOptions(options);
    if (this.#isClosed) throw endedError(subject, "FAILED_PRECONDITION", "the client is closed");
    options.signal?.throwIfAborted();
    const deadline = startedAt + (options.timeoutMs ?? this.#settings.timeoutMs);
    const metadata = options.metadata === undefined ? this.#metadata : this.#metadataWith(options.metadata);
    const { signal, release } = this.#signalFor(options.signal);
    this.#running++;
    // Spelled out: spreading the subject takes longer than all else here. The cast says what the spread would: the spec is the subject's.
    const { method, spec } = subject;
    return { method, spec, startedAt, options: { deadline, signal, metadata, retry: options.retry }, release } as Call<Subject>;
  }

  /** The call has settled. */
  end({ release }: Call): void {
    release?.();
    this.#running--;
    if (this.#running === 0) this.#whenIdle?.();
  }

  /** {@link begin}, the work within the call's limits, and {@link end}. */
  async run<Subject extends CallSubject, Result>(
    subject: Subject,
    options: CallOptions,
    work: (call: Call<Subject>) => Promise<Result>,
  ): Promise<Result> {
    const call = this.begin(subject, options);
    try {
      return await this.bounded(call, work(call));
    } catch (error) {
      throw this.ownError(call, error);
    } finally {
      this.end(call);
    }
  }

  /** Our transports keep to deadline and signal themselves and know more about what these cut off; this is for others and for middleware. */
  bounded<Result>(call: Call, work: Promise<Result>): Promise<Result> {
    if (this.#destination !== undefined && this.#settings.middleware.length === 0) return work;
    const limits = { deadline: call.options.deadline + transportGraceMs, signal: call.options.signal };
    return settleWithin(work, limits, () => this.deadlineError(call, "waiting for the transport"));
  }

  /** Take no more calls, and wait for the running ones. */
  async drain(): Promise<void> {
    this.#isClosed = true;
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
  }

  /** End the running calls. */
  cancelAll(): void {
    this.#forced.abort(new ServingError(`CANCELLED: ${closedByForce}`, { code: "CANCELLED" }));
  }

  /** The error of a call; all that {@link cancelAll} ends reject with one reason, which does not say which they were. */
  ownError(call: CallSubject, error: unknown): unknown {
    if (!this.#forced.signal.aborted || error !== this.#forced.signal.reason) return error;
    return endedError(call, "CANCELLED", closedByForce);
  }

  /** The error of a call whose time ran out on this side. */
  deadlineError(call: CallSubject, doing: string): RpcError {
    return this.error(call, { code: "DEADLINE_EXCEEDED", serverMessage: `time ran out while ${doing}` });
  }

  /** An error of a call that ends on this side. */
  error({ method, spec }: CallSubject, what: Pick<RpcError, "code" | "serverMessage"> & { hint?: string | undefined }): RpcError {
    const destination = this.#destination;
    return new RpcError({
      ...what,
      method,
      modelSpec: spec,
      endpoint: destination === undefined ? "" : formatDestination(destination),
      transport: destination?.transport ?? "custom",
    });
  }

  #metadataWith(own: CallMetadata): TransportCallOptions["metadata"] {
    const metadata = this.#metadataByOwn.get(own) ?? mergeMetadata(this.#settings.metadata, own);
    if (Object.isFrozen(own)) this.#metadataByOwn.set(own, metadata);
    return metadata;
  }

  /** One signal for the caller's abort and for a close by force, which most calls share. */
  #signalFor(own: AbortSignal | undefined): { signal: AbortSignal; release: (() => void) | undefined } {
    const forced = this.#forced.signal;
    if (own === undefined) return { signal: forced, release: undefined };
    const ended = new AbortController();
    const releases = [forced, own].map((signal) => onAbort(signal, () => ended.abort(signal.reason)));
    return {
      signal: ended.signal,
      release() {
        for (const release of releases) release();
      },
    };
  }
}

/** The error of a call that the client's end forbids or ends. */
function endedError({ method, spec }: CallSubject, code: StatusCode, why: string): ServingError {
  return new ServingError(`${code}: ${formatCall(method, spec)}: ${why}`, { code });
}
