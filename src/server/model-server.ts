/** The embedded model server: both fronts over one set of models. */

import type { Server as HttpServer } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { assertOptionNames, type OptionNames } from "../option-names.js";
import { createGrpcServer } from "./grpc-service.js";
import { type LoadServable, ModelManager, type SetVersionState, type VersionLabels } from "./model-manager.js";
import type { ModelMap } from "./model-map.js";
import { createRestServer } from "./rest-handler.js";

/** Options of {@link startModelServer}; unknown ones are refused. */
export interface ModelServerOptions {
  /**
   * Models by name: a servable (version 1), or servables by version number. All versions are served until a reload says otherwise; a
   * configuration that lists a model of these by its name serves these servables, those that its version policy picks (without one the
   * newest), whatever its base path.
   *
   * @defaultValue no models
   */
  readonly models?: ModelMap;
  /** Versions by label, by model name. @defaultValue no labels */
  readonly versionLabels?: VersionLabels;
  /** Makes servables of version folders that a reload names. @defaultValue they fail to load: `END`, `UNIMPLEMENTED` */
  readonly loadServable?: LoadServable;
  /** Address that both ports listen on; there is no authentication, so anything but loopback opens the models to the network. @defaultValue `"127.0.0.1"` */
  readonly host?: string;
  /** Port of gRPC; 0 takes a free one. @defaultValue 0 */
  readonly grpcPort?: number;
  /** Port of REST; 0 takes a free one. @defaultValue 0 */
  readonly restPort?: number;
}

/** A running server. It keeps the process alive until it is closed. */
export interface ModelServer extends AsyncDisposable {
  /** The port gRPC listens on. */
  readonly grpcPort: number;
  /** The port REST listens on. */
  readonly restPort: number;
  /** What a client takes for gRPC: `127.0.0.1:8500`. */
  readonly grpcTarget: string;
  /** What a client takes for REST: `http://127.0.0.1:8501`. */
  readonly restTarget: string;
  /** Puts a version into a state for a test, as {@link SetVersionState} says; calls see it at once. */
  readonly setVersionState: SetVersionState;
  /** Stop listening, wait up to 5 s for running calls, then end what is left. Closing twice is harmless. */
  close(): Promise<void>;
}

const optionNames: OptionNames<ModelServerOptions> = {
  known: { models: true, versionLabels: true, loadServable: true, host: true, grpcPort: true, restPort: true },
  notYet: ["modelConfigFile"],
};

/** How long `close()` waits for running calls. */
const closeGraceMs = 5_000;

/** Where clients reach a server that listens on every address. */
const loopbackOf: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/**
 * Start a server that speaks the gRPC and REST APIs of TensorFlow Serving and answers with JavaScript servables.
 *
 * @throws TypeError or RangeError if an option is malformed, unknown or not available in this version; the system's error if a port is taken.
 */
export async function startModelServer(options: ModelServerOptions = {}): Promise<ModelServer> {
  assertOptionNames(options, optionNames);
  const manager = new ModelManager(options);
  const { host = "127.0.0.1", grpcPort = 0, restPort = 0 } = options;
  checkPort("grpcPort", grpcPort);
  checkPort("restPort", restPort);
  if (typeof host !== "string" || host === "") throw new TypeError(`host: expected an address such as "127.0.0.1", got ${String(host)}`);

  const grpc = createGrpcServer(manager);
  const rest = createRestServer(manager);
  const boundGrpc = await bindGrpc(grpc, `${bracketed(host)}:${grpcPort}`);
  let boundRest: number;
  try {
    boundRest = await listen(rest, host, restPort);
  } catch (error) {
    grpc.forceShutdown();
    throw error;
  }
  const reached = bracketed(loopbackOf[host] ?? host);
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= closeBoth(grpc, rest);
    return closed;
  };
  return {
    grpcPort: boundGrpc,
    restPort: boundRest,
    grpcTarget: `${reached}:${boundGrpc}`,
    restTarget: `http://${reached}:${boundRest}`,
    setVersionState: (model, version, state, error) => manager.setVersionState(model, version, state, error),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function bindGrpc(server: GrpcServer, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

function listen(server: HttpServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

async function closeBoth(grpc: GrpcServer, rest: HttpServer): Promise<void> {
  const ended = Promise.all([
    new Promise<void>((resolve) => grpc.tryShutdown(() => resolve())),
    new Promise<void>((resolve) => rest.close(() => resolve())),
  ]);
  rest.closeIdleConnections();
  const timer = setTimeout(() => {
    grpc.forceShutdown();
    rest.closeAllConnections();
  }, closeGraceMs);
  await ended;
  clearTimeout(timer);
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

function checkPort(name: string, port: unknown): void {
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535) {
    throw new RangeError(`${name}: expected a port from 0 to 65535, got ${String(port)}`);
  }
}
