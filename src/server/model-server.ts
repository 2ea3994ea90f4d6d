/** The embedded model server: both fronts over one set of models. */

import { isIPv6 } from "node:net";
import { maxTimerMs } from "../deadline.js";
import { assertCount, assertOptionNames, type OptionNames } from "../option-checks.js";
import { CallGate } from "./call-gate.js";
import type { Faults } from "./faults.js";
import { type FrontOptions, frontSettings } from "./front-options.js";
import { Fronts } from "./fronts.js";
import { Metrics } from "./metrics.js";
import { ModelManager, type SetVersionState } from "./model-manager.js";
import type { ModelOptions } from "./model-options.js";
import type { ServerRequest } from "./request-log.js";

/** Options of {@link startModelServer}; unknown ones are refused. */
export interface ModelServerOptions extends ModelOptions, FrontOptions {
  /**
   * Threads of gRPC (`--grpc_max_threads`), of which one runs no calls: so many less one run at a time, and one more fails at once with
   * `RESOURCE_EXHAUSTED`. A call whose deadline has passed counts until its function ends.
   *
   * @defaultValue no limit
   */
  readonly maxGrpcThreads?: number | undefined;
  /** Address that both ports listen on; there is no authentication, so anything but loopback opens the models to the network. @defaultValue `"127.0.0.1"` */
  readonly host?: string;
  /** Port of gRPC; 0 takes a free one. @defaultValue 0 */
  readonly grpcPort?: number;
  /** Port of REST; 0 takes a free one. @defaultValue 0 */
  readonly restPort?: number;
}

/** Options of {@link ModelServer.restart}. */
export interface RestartOptions {
  /** How long the server stays away, refusing connections. @defaultValue 0 */
  readonly downMs?: number | undefined;
}

const restartDefaults = Object.freeze({ downMs: 0 });

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
  /** Faults that calls meet, over gRPC and REST alike. */
  readonly faults: Faults;
  /** The latest 1,000 calls of the API, newest last, whatever became of them; the list goes on growing while it is looked at. */
  readonly requests: readonly ServerRequest[];
  /**
   * Answer nothing until {@link ModelServer.resume}, while both ports stay open: new calls wait, running ones run but their answers wait. A
   * call whose client gives up is forgotten, and `close()` resumes.
   */
  pause(): void;
  /** Answer again, first of all what has waited. */
  resume(): void;
  /**
   * Lose every connection at once, with the calls on it, as in a crash; refuse connections for `downMs`, then listen again on the same
   * ports. Models, faults, requests and a pause stay.
   *
   * @throws TypeError or RangeError if the options are malformed; Error if the server is closed or restarts already; the system's error if
   * another process has taken a port meanwhile: both ports are closed then, until the next restart.
   */
  restart(options?: RestartOptions): Promise<void>;
  /**
   * Stop listening, wait up to 5 s for running calls, then end what is left. Pauses, delays and waits for more requests of a batch end at
   * once. Closing twice is harmless.
   */
  close(): Promise<void>;
}

const optionNames: OptionNames<ModelServerOptions> = {
  known: {
    models: true,
    versionLabels: true,
    allowVersionLabelsForUnavailableModels: true,
    modelConfigFile: true,
    modelConfigFilePollMs: true,
    fileSystemPollMs: true,
    loadServable: true,
    maxLoadRetries: true,
    loadRetryIntervalMs: true,
    enableModelWarmup: true,
    batching: true,
    onStateChange: true,
    onLoadFailure: true,
    maxGrpcThreads: true,
    restTimeoutMs: true,
    enableRestCors: true,
    monitoring: true,
    enableHealthService: true,
    enableSignatureMethodNameCheck: true,
    enableSerializationAsTensorContent: true,
    host: true,
    grpcPort: true,
    restPort: true,
  },
};

/** Where clients reach a server that listens on every address. */
const loopbackOf: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/**
 * Start a server that speaks the gRPC and REST APIs of TensorFlow Serving and answers with JavaScript servables.
 *
 * As with the real server its ports open once every model has an available version; for a base path without versions that is never.
 *
 * @throws TypeError or RangeError if an option is malformed or unknown; ServingError with the text at which the real server ends, if a
 * configuration is refused or a model cannot be loaded; the system's error if a port is taken.
 */
export async function startModelServer(options: ModelServerOptions = {}): Promise<ModelServer> {
  assertOptionNames(options, optionNames);
  const settings = frontSettings(options);
  const metrics = new Metrics();
  const manager = new ModelManager({ ...options, onBatching: (event) => metrics.addBatching(event) });
  const { host = "127.0.0.1", grpcPort = 0, restPort = 0, maxGrpcThreads } = options;
  checkPort("grpcPort", grpcPort);
  checkPort("restPort", restPort);
  if (typeof host !== "string" || host === "") throw new TypeError(`host: expected an address such as "127.0.0.1", got ${String(host)}`);
  if (maxGrpcThreads !== undefined) assertCount("maxGrpcThreads", maxGrpcThreads, 2);

  const gate = new CallGate(maxGrpcThreads);
  const fronts = new Fronts({ manager, gate, metrics, settings }, { host, grpcPort, restPort });
  const close = async () => {
    manager.close();
    await fronts.close();
    manager.refuseWaiting();
  };
  try {
    await manager.start();
    await fronts.open();
  } catch (error) {
    await close();
    throw error;
  }
  const reached = bracketed(loopbackOf[host] ?? host);
  return {
    grpcPort: fronts.grpc.number,
    restPort: fronts.rest.number,
    grpcTarget: `${reached}:${fronts.grpc.number}`,
    restTarget: `http://${reached}:${fronts.rest.number}`,
    setVersionState: (model, version, state, error) => manager.setVersionState(model, version, state, error),
    faults: gate.faults,
    requests: gate.requests,
    pause: () => gate.pause(),
    resume: () => gate.resume(),
    restart: async (restartOptions = {}) => fronts.restart(downMsFrom(restartOptions)),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

function checkPort(name: string, port: unknown): void {
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535) {
    throw new RangeError(`${name}: expected a port from 0 to 65535, got ${String(port)}`);
  }
}

function downMsFrom(options: RestartOptions): number {
  assertOptionNames(options, { known: { downMs: true } });
  const { downMs = restartDefaults.downMs } = options;
  if (!(typeof downMs === "number" && downMs >= 0 && downMs <= maxTimerMs)) {
    throw new RangeError(`downMs: expected a number of milliseconds from 0 to ${maxTimerMs}, got ${String(downMs)}`);
  }
  return downMs;
}
