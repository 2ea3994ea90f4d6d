/** Both fronts of the embedded server and their ports: opened, restarted and closed together. */
import { createServer } from "node:net";
import { type Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { sleep } from "../deadline.js";
import type { CallGate } from "./call-gate.js";
import type { FrontContext } from "./front-context.js";
import { createGrpcServer } from "./grpc-service.js";
import { Port } from "./port.js";
import { createRestServer } from "./rest-handler.js";

/** How long `close()` waits for running calls. */
const closeGraceMs = 5_000;

/** Where the fronts listen; a port of 0 takes a free one. */
export interface FrontAddress {
  readonly host: string;
  readonly grpcPort: number;
  readonly restPort: number;
}

/** The gRPC and the REST front over one set of models. */
export class Fronts {
  readonly grpc: Port;
  readonly rest: Port;
  readonly #grpcServer: GrpcServer;
  readonly #gate: CallGate;
  readonly #closing = new AbortController();
  #restarting: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(context: FrontContext, { host, grpcPort, restPort }: FrontAddress) {
    this.#gate = context.gate;
    const cutPeer = (peer: string) => this.grpc.cutPeer(peer);
    this.#grpcServer = createGrpcServer(context, { cutPeer, closing: this.#closing.signal });
    // grpc-js opens ports too, but then keeps their connections to itself, and once it is shut down it cannot listen again.
    const injector = this.#grpcServer.createConnectionInjector(ServerCredentials.createInsecure());
    this.grpc = new Port(host, grpcPort, () => createServer((socket) => injector.injectConnection(socket)));
    this.rest = new Port(host, restPort, () => createRestServer(context));
  }

  /** Listen on both ports, or on none. */
  async open(): Promise<void> {
    await this.grpc.open();
    try {
      await this.rest.open();
    } catch (error) {
      await this.grpc.crash();
      throw error;
    }
  }

  /** Cut every connection at once and listen again after a time. */
  restart(downMs: number): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new Error("restart: the server is closed"));
    if (this.#restarting !== undefined) return Promise.reject(new Error("restart: the server is restarting already"));
    this.#restarting = this.#restart(downMs).finally(() => {
      this.#restarting = undefined;
    });
    return this.#restarting;
  }

  async #restart(downMs: number): Promise<void> {
    await Promise.all([this.grpc.crash(), this.rest.crash()]);
    await sleep(downMs, this.#closing.signal);
    await this.open();
  }

  /** Stop listening, wait for running calls, then end what is left. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort(new Error("restart: the server was closed before it listened again"));
    // Whoever restarts the server is told; here it counts only that no port opens any more.
    await this.#restarting?.catch(() => undefined);
    this.#gate.close();
    const ended = Promise.all([
      this.grpc.close(),
      this.rest.close(),
      new Promise<void>((resolve) => this.#grpcServer.tryShutdown(() => resolve())),
    ]);
    const timer = setTimeout(() => {
      this.#grpcServer.forceShutdown();
      // Also what never came to speak HTTP/2.
      this.grpc.cut();
      this.rest.cut();
    }, closeGraceMs);
    await ended;
    clearTimeout(timer);
  }
}
