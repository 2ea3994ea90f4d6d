/** From what a client was pointed at to the transport that carries its calls. */
import { settleWithin } from "../deadline.js";
import type { Middleware, Transport } from "../transport/transport.js";
import type { Call, Calls } from "./calls.js";
import { loadTransport } from "./load-transport.js";
import type { ClientOptions, ClientSettings } from "./options.js";
import { SignatureLookup } from "./signature-lookup.js";
import { parseTarget, type Target, targetFromHost } from "./target.js";

/** A transport that is loaded, with the middleware around it, and the signatures it fetches. */
export interface Connection {
  readonly transport: Transport;
  readonly signatures: SignatureLookup;
}

/** Makes a client's one {@link Connection} when it is first needed. */
export class Connector {
  readonly #to: Target | Transport;
  readonly #calls: Calls;
  readonly #settings: ClientSettings;
  #transport: Promise<Transport> | undefined;
  #current: Connection | undefined;

  constructor(to: Target | Transport, calls: Calls, settings: ClientSettings) {
    this.#to = to;
    this.#calls = calls;
    this.#settings = settings;
    if (!isTarget(to)) this.#current = this.#connectionOver(to);
  }

  /** The connection, once its transport is loaded. */
  get current(): Connection | undefined {
    return this.#current;
  }

  /** The connection; waiting for its transport to load is part of the call's time. */
  async connect(call: Call): Promise<Connection> {
    return this.#current ?? this.#load(call);
  }

  /** Free everything. */
  async close(): Promise<void> {
    // A transport that could not be loaded has nothing to close, and its callers have been told.
    const transport = this.#current?.transport ?? (await this.#transport?.catch(() => undefined));
    await transport?.close();
  }

  async #load(call: Call): Promise<Connection> {
    if (this.#transport === undefined) {
      // Without a connection there is a target.
      this.#transport = loadTransport(this.#to as Target, this.#settings);
      // A module that could not be read now may be readable at the next call.
      this.#transport.catch(() => {
        this.#transport = undefined;
      });
    }
    const transport = await settleWithin(this.#transport, call.options, () => this.#calls.deadlineError(call, "loading the transport"));
    this.#current ??= this.#connectionOver(transport);
    return this.#current;
  }

  #connectionOver(inner: Transport): Connection {
    const transport = wrapped(inner, this.#settings.middleware);
    return { transport, signatures: new SignatureLookup(transport, this.#calls, this.#settings) };
  }
}

/**
 * Where the arguments of a client's constructor point.
 *
 * @throws TypeError or RangeError if they are not valid.
 */
export function destinationOf(to: unknown, port: number | undefined, { transport }: ClientOptions): Target | Transport {
  if (port !== undefined) {
    if (typeof to !== "string") throw new TypeError("a port goes only with a host name");
    return targetFromHost(to, port, checkTransportOption(transport));
  }
  if (transport !== undefined) {
    throw new TypeError('option transport goes only with (host, port); a target says it by its scheme: "grpc://" or "http://"');
  }
  return typeof to === "string" ? parseTarget(to) : checkTransport(to);
}

/** Whether a destination is one of our own transports, to be loaded, rather than the caller's. */
export function isTarget(to: Target | Transport): to is Target {
  return !("predict" in to);
}

function checkTransportOption(transport: unknown): "grpc" | "rest" {
  if (transport === undefined) return "grpc";
  if (transport !== "grpc" && transport !== "rest") throw new TypeError(`transport: expected "grpc" or "rest", got ${String(transport)}`);
  return transport;
}

function checkTransport(to: unknown): Transport {
  if (Array.isArray(to)) throw new TypeError("several targets (replicas) are not supported in this version: pass one");
  if (isTransport(to)) return to;
  throw new TypeError(`expected a host and port, a target string or a Transport, got ${to === null ? "null" : typeof to}`);
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
