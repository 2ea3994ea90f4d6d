/** Several endpoints as one transport: each call goes to one of those that work. */
import { settleWithin } from "../deadline.js";
import { knownFailure } from "../error-hints.js";
import { isServingError, RpcError, type StatusCode } from "../errors.js";
import type { Transport } from "../transport/transport.js";
import { type AnyCall, transportOf } from "./any-call.js";
import { isHandedBack } from "./concurrency-limit.js";
import { EndpointPool, type EndpointSource, type EndpointStatus, type WayTo } from "./endpoint-pool.js";
import { RepeatedLookup } from "./resolve-name.js";

/** A transport that can tell which endpoints it has. */
export interface BalancedTransport extends Transport {
  /** Its endpoints now; none before a name was resolved. */
  endpoints(): readonly EndpointStatus[];
}

/** Endpoints that stay the same; where an address comes twice, the first counts. */
export interface FixedEndpoints {
  readonly endpoints: readonly EndpointSource[];
}

/** The endpoints behind a name, which is resolved at the first call and then again and again. */
export interface NamedEndpoints {
  /** As it stands in errors, such as `dns:///models:8500`. */
  readonly name: string;
  /** Its endpoints now; rejects with the system's error. */
  resolve(): Promise<readonly EndpointSource[]>;
}

/** Where endpoints come from. */
export type EndpointList = FixedEndpoints | NamedEndpoints;

/** Options of {@link balance}. */
export interface BalanceOptions {
  /** Whether predict needs the signature, on all endpoints alike. */
  readonly needsSignature: boolean;
  /** Which transport carries the calls, for errors. */
  readonly transport: "grpc" | "rest";
  /** Milliseconds; only differences count. @defaultValue `performance.now` */
  readonly now?: (() => number) | undefined;
  /** From 0 up to, not including, 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
}

const systemNow = () => performance.now();

/**
 * A transport that sends each call to the less loaded of two endpoints picked at random, and to none that lost its connection three times
 * in a row: such a one is ejected until, after a second or more, a single call shows that it is back. The last one is never ejected. Calls
 * that wait in the client for an endpoint that is ejected go to another one.
 *
 * `reloadConfig` goes to one endpoint, like every call: with replicas, point a client at each server to reload them all.
 *
 * @throws RangeError if a fixed list is empty.
 */
export function balance(list: EndpointList, options: BalanceOptions): BalancedTransport {
  const { needsSignature, now = systemNow, random = Math.random } = options;
  const pool = new EndpointPool({ now, random });
  const name = "resolve" in list ? watch(list, pool, options) : undefined;
  if ("endpoints" in list) {
    if (list.endpoints.length === 0) throw new RangeError("endpoints: expected at least one, got none");
    pool.update(list.endpoints);
  }

  function run<Result>(call: AnyCall<Result>): Promise<Result> {
    if (name !== undefined) {
      if (pool.isEmpty) return firstAddresses(name, call).then(() => send(call));
      name.lookup.refresh();
    }
    return send(call);
  }

  function send<Result>(call: AnyCall<Result>, avoid = call.options.avoid): Promise<Result> {
    const sent = pool.pick(avoid, mayProbe(call));
    return call.send(sent.transport).then(
      (value) => {
        sent.settled("works");
        return value;
      },
      (error: unknown) => {
        const isBack = isHandedBack(error);
        const way = isBack ? "unknown" : wayAfter(error, call.options.signal);
        sent.settled(way);
        if (way === "lost") name?.lookup.doubt();
        // It has only waited, so this is no second attempt.
        if (isBack) return send(call, [...(avoid ?? []), sent.address]);
        throw error;
      },
    );
  }

  function close(): Promise<void> {
    name?.lookup.close();
    return pool.close();
  }

  return { ...transportOf(run, { needsSignature, close }), endpoints: () => pool.statuses() };
}

/** A name that a pool's endpoints come from. */
interface WatchedName {
  readonly lookup: RepeatedLookup<unknown>;
  readonly name: string;
  readonly transport: string;
}

function watch(list: NamedEndpoints, pool: EndpointPool, { transport, now = systemNow }: BalanceOptions): WatchedName {
  const lookup = new RepeatedLookup({
    ask: async () => {
      const sources = await list.resolve();
      if (sources.length === 0) throw new Error("the name has no address");
      return sources;
    },
    onAnswer: (sources) => pool.update(sources),
    now,
  });
  return { lookup, name: list.name, transport };
}

/** Waits, within the limits of the call, for the addresses that all calls before the first answer wait for. */
function firstAddresses({ lookup, name, transport }: WatchedName, { method, spec, options }: AnyCall): Promise<void> {
  const errorOf = (code: StatusCode, serverMessage: string, cause?: unknown) =>
    new RpcError({ code, method, modelSpec: spec, endpoint: name, transport, serverMessage, cause });
  const answered = lookup.ask().catch((cause: unknown) => {
    if (lookup.isClosed) throw errorOf("CANCELLED", "the transport is closed");
    throw errorOf("UNAVAILABLE", `Name resolution failed: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  });
  return settleWithin(answered, options, () => errorOf("DEADLINE_EXCEEDED", `time ran out while waiting for the addresses of ${name}`));
}

/** Whether a call may find out if an endpoint is back: one that would be sent again, and is not being sent again already. */
function mayProbe({ method, options }: AnyCall): boolean {
  return method !== "reloadConfig" && options.retry !== false && options.avoid === undefined;
}

/** What a failed call says about the way to its endpoint: any word of the server shows that it works. */
function wayAfter(error: unknown, signal: AbortSignal | undefined): WayTo {
  if (signal?.aborted === true && error === signal.reason) return "unknown";
  // Values that cannot be sent or read, and what callers throw.
  if (!isServingError(error, "RpcError")) return "unknown";
  const known = knownFailure(error.serverMessage, [error.code]);
  if (known?.connection === true) return "lost";
  if (known?.notSent === true) return "unknown";
  return error.code === "DEADLINE_EXCEEDED" ? "silent" : "works";
}
