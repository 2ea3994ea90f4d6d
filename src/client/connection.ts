/** From what a client was pointed at to the transport that carries its calls. */
import { settleWithin } from "../deadline.js";
import type { EndpointStatus } from "../middleware/endpoint-pool.js";
import { withRetry } from "../middleware/retry.js";
import type { Middleware, Transport } from "../transport/transport.js";
import type { Call, Calls } from "./calls.js";
import type { ClientOptions, ClientSettings } from "./options.js";
import { openServers, ownServer, type Servers } from "./servers.js";
import { SignatureLookup } from "./signature-lookup.js";
import { addressOf, type Destination, destinationOf, formatDestination, parseDestination, settleTls, targetFromHost } from "./target.js";

/** Servers that can be called, with the middleware around them, and the signatures they tell. */
export interface Connection {
  readonly transport: Transport;
  readonly signatures: SignatureLookup;
  readonly servers: Servers;
}

/** Makes a client's one {@link Connection} when it is first needed. */
export class Connector {
  readonly #to: Destination | Transport;
  readonly #calls: Calls;
  readonly #settings: ClientSettings;
  #opening: Promise<Connection> | undefined;
  #current: Connection | undefined;

  constructor(to: Destination | Transport, calls: Calls, settings: ClientSettings) {
    this.#to = to;
    this.#calls = calls;
    this.#settings = settings;
    if (!isDestination(to)) this.#current = this.#connectionTo(ownServer(to, settings));
  }

  /** The connection, once its transport is loaded. */
  get current(): Connection | undefined {
    return this.#current;
  }

  /** The connection; waiting for its transport to load is part of the call's time. */
  async connect(call: Call): Promise<Connection> {
    return this.#current ?? this.#open(call);
  }

  /** What is known of the servers. */
  endpoints(): readonly EndpointStatus[] {
    if (this.#current !== undefined) return this.#current.servers.endpoints();
    const targets = isDestination(this.#to) && "targets" in this.#to ? this.#to.targets : [];
    return targets.map((target) => ({ address: addressOf(target), state: "idle", inFlight: 0 }));
  }

  /** Free everything. */
  async close(): Promise<void> {
    // A transport that could not be loaded has nothing to close, and its callers have been told.
    const connection = this.#current ?? (await this.#opening?.catch(() => undefined));
    await connection?.transport.close();
  }

  async #open(call: Call): Promise<Connection> {
    if (this.#opening === undefined) {
      // Without a connection there is a destination.
      this.#opening = openServers(this.#to as Destination, this.#settings).then((servers) => this.#connectionTo(servers));
      // A module that could not be read now may be readable at the next call.
      this.#opening.catch(() => {
        this.#opening = undefined;
      });
    }
    const connection = await settleWithin(this.#opening, call.options, () => this.#calls.deadlineError(call, "loading the transport"));
    this.#current = connection;
    return connection;
  }

  #connectionTo(servers: Servers): Connection {
    const { retry, middleware } = this.#settings;
    const retrying = retry === false ? servers.transport : withRetry(servers.transport, retry);
    const transport = wrapped(withBatchingOnDemand(retrying, originOf(this.#to)), middleware);
    return { transport, signatures: new SignatureLookup(transport, this.#calls, this.#settings), servers };
  }
}

/** A transport that batches calls which ask for it; what that takes is loaded with the first of them. */
function withBatchingOnDemand(next: Transport, origin: { readonly endpoint: string; readonly transport: string }): Transport {
  let loading: Promise<Transport> | undefined;
  let batching: Transport | undefined;
  const load = async () => {
    try {
      const { withBatching } = await import("../batching/batching-transport.js");
      batching = withBatching(next, origin);
      return batching;
    } finally {
      // A module that could not be read now may be readable at the next call.
      loading = undefined;
    }
  };
  return {
    ...next,
    predict(spec, inputs, options) {
      if (options.batch === undefined || options.batch === false) return next.predict(spec, inputs, options);
      if (batching !== undefined) return batching.predict(spec, inputs, options);
      loading ??= load();
      return loading.then((loaded) => loaded.predict(spec, inputs, options));
    },
    close: () => (batching ?? next).close(),
  };
}

/** How errors that no server made name where calls go. */
function originOf(to: Destination | Transport) {
  if (!isDestination(to)) return { endpoint: "", transport: "custom" };
  return { endpoint: formatDestination(to), transport: to.transport };
}

/**
 * Where the arguments of a client's constructor point.
 *
 * @throws TypeError or RangeError if they are not valid.
 */
export function destinationFrom(to: unknown, port: number | undefined, { transport, tls }: ClientOptions): Destination | Transport {
  if (port !== undefined) {
    if (typeof to !== "string") throw new TypeError("a port goes only with a host name");
    return settleTls(destinationOf([targetFromHost(to, port, checkTransportOption(transport))]), tls !== undefined);
  }
  if (transport !== undefined) {
    throw new TypeError('option transport goes only with (host, port); a target says it by its scheme: "grpc://" or "http://"');
  }
  return typeof to === "string" || Array.isArray(to) ? settleTls(parseDestination(to), tls !== undefined) : checkTransport(to);
}

/** Whether calls go over our own transports, to be loaded, rather than the caller's. */
export function isDestination(to: Destination | Transport): to is Destination {
  return !("predict" in to);
}

function checkTransportOption(transport: unknown): "grpc" | "rest" {
  if (transport === undefined) return "grpc";
  if (transport !== "grpc" && transport !== "rest") throw new TypeError(`transport: expected "grpc" or "rest", got ${String(transport)}`);
  return transport;
}

function checkTransport(to: unknown): Transport {
  if (isTransport(to)) return to;
  throw new TypeError(
    `expected a host and port, a target string, an array of them or a Transport, got ${to === null ? "null" : typeof to}`,
  );
}

/** The transport inside all middleware, of which the first is outermost. */
function wrapped(inner: Transport, middleware: readonly Middleware[]): Transport {
  return middleware.reduceRight((next, wrap, index) => {
    const outer: unknown = wrap(next);
    if (isTransport(outer)) return outer;
    throw new TypeError(`middleware[${index}]: expected it to return a Transport, got ${outer === null ? "null" : typeof outer}`);
  }, inner);
}

function isTransport(value: unknown): value is Transport {
  const candidate = value as Partial<Transport> | null | undefined;
  return typeof candidate?.predict === "function" && typeof candidate.close === "function";
}
