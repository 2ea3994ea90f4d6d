/** A gRPC server made of a socket and a script: it says what the script says, when the script says it. */
import type { Socket } from "node:net";
import type { FaultPeer } from "./fault-case.js";
import {
  dataFrames,
  errorCodes,
  flags,
  frame,
  frameHeadSize,
  frameTypes,
  grpcMessage,
  type Headers,
  headersFrame,
  rstStream,
  settings,
  settingsAck,
} from "./grpc-frames.js";
import { startSocketPeer } from "./socket-peer.js";

/** A frame that the client sent. */
interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** Bytes in one write of what is sent without end. */
const pourSize = 16_384;

const okHeaders = { ":status": "200", "content-type": "application/grpc" };

/** One connection to the peer; its script waits for one thing at a time. */
export class GrpcConnection {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  readonly #frames: ReceivedFrame[] = [];
  #wake: (() => void) | undefined;
  #prefaceSeen = false;
  #isDeaf = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      if (this.#isDeaf) return;
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#parse();
      this.#wake?.();
    });
  }

  /** Settles when the client has said that it speaks HTTP/2. */
  async preface(): Promise<void> {
    await this.#until(() => this.#prefaceSeen);
  }

  /** The client's next frame that fits; those before it are forgotten. */
  async frame(fits: (frame: ReceivedFrame) => boolean): Promise<ReceivedFrame> {
    for (;;) {
      await this.#until(() => this.#frames.length > 0);
      const next = this.#frames.shift();
      if (next !== undefined && fits(next)) return next;
    }
  }

  /** Both sides' SETTINGS. */
  async handshake(): Promise<void> {
    await this.preface();
    this.send(settings(), settingsAck);
  }

  /** The headers of the next request; its body may still be on its way. */
  async requestHeaders(): Promise<GrpcStream> {
    const { streamId } = await this.frame(({ type }) => type === frameTypes.headers);
    return new GrpcStream(this, streamId);
  }

  /** The whole next request. */
  async request(): Promise<GrpcStream> {
    const stream = await this.requestHeaders();
    await this.frame((frame) => frame.streamId === stream.id && frame.type === frameTypes.data && (frame.flags & flags.endStream) !== 0);
    return stream;
  }

  /** Send bytes. */
  send(...parts: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(parts));
  }

  /** Send something again and again, as fast as the client takes it, while the connection lasts; nothing more is understood meanwhile. */
  async pour(bytes: Uint8Array): Promise<void> {
    this.#isDeaf = true;
    const many = Buffer.concat(new Array(Math.ceil(pourSize / bytes.length)).fill(bytes));
    while (this.socket.writable) {
      const isTaken = this.socket.write(many);
      await new Promise<void>((resolve) => {
        if (isTaken) setImmediate(resolve);
        else this.socket.once("drain", resolve).once("close", resolve);
      });
    }
  }

  /** Send bytes one by one. */
  drip(bytes: Uint8Array, everyMs: number): void {
    let position = 0;
    const timer = setInterval(() => {
      if (position < bytes.length) this.send(bytes.subarray(position, ++position));
    }, everyMs).unref();
    this.socket.once("close", () => clearInterval(timer));
  }

  /** End the connection with a TCP reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** {@link reset}, once the system has taken what was sent. */
  resetAfterWriting(): void {
    this.socket.write("", () => this.reset());
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #parse(): void {
    if (!this.#prefaceSeen) {
      if (this.#bytes.length < preface.length) return;
      this.#prefaceSeen = true;
      this.#bytes = this.#bytes.subarray(preface.length);
    }
    while (this.#bytes.length >= frameHeadSize) {
      const size = frameHeadSize + this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < size) return;
      this.#frames.push({ type: this.#bytes[3] ?? 0, flags: this.#bytes[4] ?? 0, streamId: this.#bytes.readUInt32BE(5) });
      this.#bytes = this.#bytes.subarray(size);
    }
  }
}

/** One call at the peer. */
export class GrpcStream {
  readonly connection: GrpcConnection;
  readonly id: number;

  constructor(connection: GrpcConnection, id: number) {
    this.connection = connection;
    this.id = id;
  }

  /** Send response headers; without an argument those of a gRPC server. */
  headers(headers: Headers = {}): this {
    return this.send(headersFrame(this.id, { ...okHeaders, ...headers }));
  }

  /** Send DATA frames. */
  data(bytes: Uint8Array): this {
    return this.send(dataFrames(this.id, bytes));
  }

  /** Send one message. */
  message(bytes: Uint8Array, prefix: Parameters<typeof grpcMessage>[1] = {}): this {
    return this.data(grpcMessage(bytes, prefix));
  }

  /** Send the headers that end the call; without an argument those of success. */
  trailers(headers: Headers = { "grpc-status": "0" }): this {
    return this.send(headersFrame(this.id, headers, flags.endStream));
  }

  /** End the call without trailers. */
  end(): this {
    return this.send(frame(frameTypes.data, flags.endStream, this.id, Buffer.alloc(0)));
  }

  /** End the call with RST_STREAM. */
  reset(code: keyof typeof errorCodes): this {
    return this.send(rstStream(this.id, errorCodes[code]));
  }

  /** Send bytes as they are. */
  send(...parts: readonly Uint8Array[]): this {
    this.connection.send(...parts);
    return this;
  }
}

/** What a peer does with each connection. */
export type ConnectionScript = (connection: GrpcConnection) => void | Promise<void>;

/** Start a peer that runs a script for each connection. */
export function startGrpcPeer(script: ConnectionScript): Promise<FaultPeer> {
  return startSocketPeer("grpc", (socket) => void script(new GrpcConnection(socket)));
}
