/** Raw HTTP/1 peers: text written by hand on a socket, so that every stage of an exchange can be broken. */
import type { Socket } from "node:net";
import type { FaultPeer } from "./fault-case.js";
import { startSocketPeer } from "./socket-peer.js";

/** A request as it came, without its body. */
export interface RawRequest {
  readonly method: string;
  readonly path: string;
  /** How many requests came before it, on all connections. */
  readonly index: number;
}

/** Answers one request, rightly or not. */
export type RawAnswer = (socket: Socket, request: RawRequest) => void;

/** What a peer does at each stage; where it says nothing it waits. */
export interface RestScript {
  /** A connection is there; nothing has been read from it. */
  connected?(socket: Socket): void;
  /** The head of a request has come, and not yet all of its body; what follows is read and thrown away. */
  headCame?(socket: Socket): void;
  /** A whole request has come. */
  answer?: RawAnswer;
}

/** Start a peer on a free port of the loopback interface. */
export function startRestPeer(script: RestScript): Promise<FaultPeer> {
  return startSocketPeer("http", restConnection(script));
}

/** What runs a script for each connection. */
export function restConnection(script: RestScript): SocketScript {
  const counter = { requests: 0 };
  return (socket) => {
    script.connected?.(socket);
    if (!socket.destroyed) readRequests(socket, script, counter);
  };
}

function readRequests(socket: Socket, { headCame, answer }: RestScript, counter: { requests: number }): void {
  let unread = Buffer.alloc(0);
  const read = (chunk: Buffer): void => {
    unread = Buffer.concat([unread, chunk]);
    for (let head = headOf(unread); head !== undefined; head = headOf(unread)) {
      if (unread.length < head.endOfBody) {
        if (headCame === undefined) return;
        socket.off("data", read).resume();
        headCame(socket);
        return;
      }
      unread = unread.subarray(head.endOfBody);
      answer?.(socket, { method: head.method, path: head.path, index: counter.requests++ });
    }
  };
  socket.on("data", read);
}

/** What the head of a request says, once it is there. */
function headOf(bytes: Buffer): { method: string; path: string; endOfBody: number } | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const [method = "", path = ""] = head.split(" ", 2);
  const bodyBytes = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  return { method, path, endOfBody: end + 4 + bodyBytes };
}

/** Does something on a connection, whatever was asked: an answer, too. */
export type SocketScript = (socket: Socket) => void;

/** A body: text, or bytes as they are. */
export type RawBody = string | Uint8Array;

/** What a raw answer is made from. */
export interface RawResponse {
  /** @defaultValue `"200 OK"` */
  readonly status?: string;
  /** Lines of the head, without their ends. @defaultValue content-type JSON and the body's length */
  readonly headers?: readonly string[];
  readonly body?: RawBody;
}

/** The bytes of an answer; what is not given is as it should be. */
export function rawResponse({ status = "200 OK", headers, body = "" }: RawResponse): Buffer {
  const bytes = Buffer.from(body);
  const lines = headers ?? ["content-type: application/json", `content-length: ${bytes.length}`];
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${[status, ...lines].join("\r\n")}\r\n\r\n`, "latin1"), bytes]);
}

/** An answer that is sent in one piece; the connection stays open. */
export function sends(response: RawResponse): RawAnswer {
  const bytes = rawResponse(response);
  return (socket) => void socket.write(bytes);
}

/** A whole answer with status 200 and this body. */
export function sendsJson(body: RawBody): RawAnswer {
  return sends({ body });
}

/** Bytes as they are, be they HTTP or not. */
export function sendsRaw(bytes: RawBody): SocketScript {
  return (socket) => void socket.write(bytes);
}

/** Bytes as they are, and the end of the connection right behind them. */
export function endsWith(bytes: RawBody): SocketScript {
  return (socket) => void socket.end(bytes);
}

/** Bytes as they are; once they are on their way the connection is reset. */
export function resetsAfter(bytes: RawBody): SocketScript {
  return (socket) => void socket.write(bytes, () => setImmediate(() => reset(socket)));
}

/** End a connection with a reset and nothing else: `resetAndDestroy()` closes it first, which is all that the client then sees. */
export function reset(socket: Socket): void {
  // What `resetAndDestroy()` sets before it closes.
  Object.assign(socket, { resetAndClosing: true }).destroy();
}

/** Some bytes, and then the same bytes again and again, as fast as the client takes them. */
export function pours(start: RawBody, again: RawBody): SocketScript {
  return (socket) => {
    const pour = (): void => {
      // The other side stops reading when it has had enough; what it does not take is not made.
      while (socket.writable && socket.write(again));
    };
    socket.on("drain", pour);
    socket.write(start);
    pour();
  };
}

/** Some bytes, and then the same bytes again and again, some time apart. */
export function drips(start: RawBody, again: RawBody, pauseMs: number): RawAnswer {
  return (socket) => {
    socket.write(start);
    const timer = setInterval(() => socket.write(again), pauseMs).unref();
    socket.once("close", () => clearInterval(timer));
  };
}

/** Bytes that come one by one. */
export function dripsOnce(bytes: RawBody, pauseMs: number): RawAnswer {
  return (socket) => {
    const rest = [...Buffer.from(bytes)];
    const timer = setInterval(() => {
      const byte = rest.shift();
      if (byte === undefined) clearInterval(timer);
      else socket.write(Uint8Array.of(byte));
    }, pauseMs).unref();
    socket.once("close", () => clearInterval(timer));
  };
}

/** One dimension of unknown size, as protobuf JSON writes it. */
const anySize = { dim: [{ size: "-1", name: "" }], unknown_rank: false };

/** Outputs of a signature: dtypes by name, in TensorFlow's words. */
export type RawOutputs = Readonly<Record<string, string>>;

/** A signature from a float vector `x` to vectors. */
export function rawSignature(outputs: RawOutputs = { y: "DT_FLOAT" }) {
  const info = (dtype: string) => ({ dtype, tensor_shape: anySize, name: "" });
  return {
    inputs: { x: info("DT_FLOAT") } as Record<string, unknown>,
    outputs: Object.fromEntries(Object.entries(outputs).map(([name, dtype]) => [name, info(dtype) as unknown])),
    method_name: "tensorflow/serving/predict",
  };
}

/** An answer of GetModelMetadata with this as its one signature. */
export function metadataBody(signature: unknown = rawSignature()): string {
  const map = { signature_def: { serving_default: signature } };
  return JSON.stringify({ model_spec: { name: "m", signature_name: "", version: "1" }, metadata: { signature_def: map } });
}

/** Answers questions for metadata as a server should, and everything else as given: what follows the look-up of a signature. */
export function afterMetadata(answer: RawAnswer, outputs?: RawOutputs): RawAnswer {
  const answerMetadata = sendsJson(metadataBody(rawSignature(outputs)));
  return (socket, request) => (request.path.endsWith("/metadata") ? answerMetadata : answer)(socket, request);
}
