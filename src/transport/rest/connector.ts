/** What carries the requests of one transport: connections to the server, or to the proxy that the environment names. */
import type { Socket } from "node:net";
import { buildConnector, type Dispatcher, EnvHttpProxyAgent, Pool } from "undici";
import { ServingError } from "../../errors.js";
import type { TlsCredentials } from "../tls.js";

/** When an attempt to connect is given up, in milliseconds; grpc-js waits as long. */
const connectTimeoutMs = 20_000;

// Waiting is limited by each call's deadline, which covers connecting, headers and body.
const poolOptions = { pipelining: 1, keepAliveTimeout: 4000, headersTimeout: 0, bodyTimeout: 0 } as const;

/** What a transport sends its requests with. */
export interface Dispatchers {
  /**
   * The dispatcher for a request that is made now.
   *
   * @throws ServingError if the TLS credentials or the environment's proxy cannot be used.
   */
  forRequest(): Dispatcher;
  /** Whether there is a connection at all; a proxy's is not known and counts as there. */
  isConnected(): boolean;
  /** Give up all attempts to connect. */
  abandon(): void;
  /** End all connections. */
  destroy(): Promise<void>;
}

/** Requests that go straight to the server. */
export function createDirectDispatcher(origin: string, tls: TlsCredentials | undefined): Dispatchers {
  const { connect, abandon } = createConnector(tls);
  const pool = new Pool(origin, { ...poolOptions, connect });
  return { forRequest: () => pool, isConnected: () => pool.stats.connected > 0, abandon, destroy: () => pool.destroy() };
}

/**
 * Requests that go through the proxy that the environment names for them, if it names one.
 *
 * undici makes all connections of a proxied agent with the same certificates, so files that have changed mean another agent.
 */
export function createProxiedDispatchers(tls: TlsCredentials | undefined): Dispatchers {
  const connector = createConnector(tls);
  const open = new Set<Dispatcher>();
  /** Connections to a proxy: undici does not know of the TLS handshakes that take place inside. */
  const tunnels = new Set<Socket>();
  let current: { readonly agent: Dispatcher; readonly context: unknown } | undefined;

  function renewed(context: ReturnType<TlsCredentials["context"]> | undefined): Dispatcher {
    const requestTls = tls === undefined || context === undefined ? {} : { requestTls: { ...tlsSettings(tls), secureContext: context } };
    const agent = proxyAgent({
      ...poolOptions,
      ...requestTls,
      connect: connector.connect,
      clientFactory: (proxy: URL, options: object) => proxyPool(proxy, options as Pool.Options),
    });
    if (current !== undefined) retire(current.agent);
    open.add(agent);
    current = { agent, context };
    return agent;
  }

  /** Connections to the proxy itself. It is given no longer to answer than a server to be connected. */
  function proxyPool(proxy: URL, { connect }: Pool.Options): Pool {
    const tracked = typeof connect === "function" ? { connect: connector.track(kept(connect)) } : {};
    return new Pool(proxy, { ...tracked, headersTimeout: connectTimeoutMs });
  }

  function kept(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) =>
      connect(options, (...result) => {
        const [, socket] = result;
        if (socket !== null) tunnels.add(socket.once("close", () => tunnels.delete(socket)));
        callback(...result);
      });
  }

  function retire(agent: Dispatcher): void {
    // It lets its requests end; one that is destroyed meanwhile has no connections left to fail with.
    agent.close().then(
      () => open.delete(agent),
      () => open.delete(agent),
    );
  }

  return {
    forRequest() {
      // Only new connections need to know, but the agent does not ask then; a look at each file takes microseconds.
      const context = tls?.context();
      return current !== undefined && current.context === context ? current.agent : renewed(context);
    },
    isConnected: () => true,
    abandon: connector.abandon,
    async destroy() {
      await Promise.all([...open].map((agent) => agent.destroy()));
      for (const socket of tunnels) socket.destroy();
    },
  };
}

function proxyAgent(options: EnvHttpProxyAgent.Options): Dispatcher {
  try {
    return new EnvHttpProxyAgent(options);
  } catch {
    // A TypeError that holds the whole URL, and with it perhaps a password.
    const message = "proxy: expected HTTP_PROXY and HTTPS_PROXY to be URLs, such as http://proxy:3128";
    throw new ServingError(message, { code: "FAILED_PRECONDITION" });
  }
}

/** What a pool connects with. */
export interface RestConnector {
  readonly connect: buildConnector.connector;
  /** Another way to connect whose attempts {@link abandon} ends too. */
  track(connect: buildConnector.connector): buildConnector.connector;
  /** Give up all attempts to connect. */
  abandon(): void;
}

/**
 * A connector that knows its running attempts.
 *
 * undici lets them go on after the call has met its deadline, and each keeps the process alive, `unref` or not.
 */
export function createConnector(tls?: TlsCredentials): RestConnector {
  const connecting = new Set<Socket>();

  function track(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) => {
      // The types say nothing of the socket that comes back while it connects.
      const socket = connect(options, (...result) => {
        if (socket !== undefined) connecting.delete(socket);
        callback(...result);
      }) as Socket | undefined;
      if (socket !== undefined) connecting.add(socket);
    };
  }

  return {
    connect: track(tls === undefined ? buildConnector({ timeout: connectTimeoutMs }) : secureConnector(tls)),
    track,
    abandon() {
      for (const socket of connecting) socket.destroy(new Error("no call waits for this connection"));
      connecting.clear();
    },
  };
}

/** How undici encrypts, apart from the secure context itself. */
function tlsSettings({ serverName, rejectUnauthorized }: TlsCredentials) {
  return { timeout: connectTimeoutMs, rejectUnauthorized, ...(serverName === undefined ? {} : { servername: serverName }) };
}

/** Connects with what the credentials hold at that time. A connector resumes TLS sessions, so each context gets one of its own. */
function secureConnector(tls: TlsCredentials): buildConnector.connector {
  let built: { readonly context: unknown; readonly connect: buildConnector.connector } | undefined;
  return (options, callback) => {
    try {
      const context = tls.context();
      if (built?.context !== context) built = { context, connect: buildConnector({ ...tlsSettings(tls), secureContext: context }) };
    } catch (error) {
      // A ServingError, for the call that waits for the connection; undici expects to hear of it later.
      queueMicrotask(() => callback(error as Error, null));
      return;
    }
    const named = tls.serverName === undefined ? options : { ...options, servername: tls.serverName };
    return keepingAlerts(built.connect(named, callback) as Socket | undefined);
  };
}

/**
 * A socket whose first error is the one that counts.
 *
 * With TLS 1.3 a server refuses a client certificate after the handshake, by an alert and the end of the connection. undici (7.30) waits
 * for the end and reports that alone.
 */
function keepingAlerts(socket: Socket | undefined): Socket | undefined {
  return socket?.once("error", (error) => socket.destroy(error));
}
