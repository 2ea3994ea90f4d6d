/** What gRPC peers do wrong with connections and their frames. */
import { tensor } from "../../src/index.js";
import type { FaultCase } from "./fault-case.js";
import { answerWell, broken, onCall, onConnection, onFirstCall, onHandshake, rpcError, soon, succeeds, timedOut } from "./grpc-case.js";
import {
  dataFrames,
  errorCodes,
  flags,
  frame,
  frameTypes,
  goaway,
  grpcMessage,
  headersFrame,
  maxFrameSize,
  ping,
  rstStream,
  settings,
  settingsAck,
  windowUpdate,
} from "./grpc-frames.js";
import { goodResponse } from "./grpc-messages.js";
import type { GrpcConnection, GrpcStream } from "./grpc-peer.js";
import { startNobody } from "./socket-peer.js";

const lost = rpcError("UNAVAILABLE", /./, /connection was lost|before they are up/);

/** The client may bear it until the deadline or end the connection, as long as it does not grow. */
const flooded = rpcError(["DEADLINE_EXCEEDED", "UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"]);

/** The port speaks something else. */
const notGrpc = rpcError("UNAVAILABLE", /Protocol error/, /not in gRPC/);

/** A request that does not fit into the windows of a connection at once. */
const largeInputs = { x: tensor("float32", [2 ** 20], new Float32Array(2 ** 20)) };

const noBytes = Buffer.alloc(0);

/** Cases about the way to an HTTP/2 connection. */
const connecting: readonly FaultCase[] = [
  { name: "is not there", start: () => startNobody("grpc"), expected: rpcError("UNAVAILABLE", /ECONNREFUSED/, /nothing listens/) },
  onConnection("accepts and stays silent", () => undefined, timedOut, soon),
  onConnection("closes at once", ({ socket }) => void socket.end(), lost),
  onConnection("resets at once", (connection) => connection.reset(), lost),
  onConnection(
    "closes after the preface",
    async (connection) => {
      await connection.preface();
      connection.socket.end();
    },
    lost,
  ),
  onConnection(
    "resets after the preface",
    async (connection) => {
      await connection.preface();
      connection.reset();
    },
    lost,
  ),
  onConnection(
    "sends half a SETTINGS frame and stays silent",
    async (connection) => {
      await connection.preface();
      connection.send(settings([[3, 100]]).subarray(0, 11));
    },
    timedOut,
    soon,
  ),
  onConnection(
    "sends half a SETTINGS frame and resets",
    async (connection) => {
      await connection.preface();
      connection.send(settings([[3, 100]]).subarray(0, 11));
      connection.resetAfterWriting();
    },
    lost,
  ),
  onConnection("sends GOAWAY instead of SETTINGS", (connection) => connection.send(goaway(0, errorCodes.NO_ERROR)), notGrpc),
  onConnection("sends garbage instead of SETTINGS", (connection) => connection.send(Buffer.alloc(512, 0xa5)), notGrpc),
  onConnection("sends zeros instead of SETTINGS", (connection) => connection.send(Buffer.alloc(512)), notGrpc),
  onConnection(
    "answers in HTTP/1.1",
    ({ socket }) => void socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    notGrpc,
  ),
  onConnection("answers with a TLS alert", ({ socket }) => void socket.end(Buffer.of(0x15, 3, 3, 0, 2, 2, 40)), lost),
  onConnection("greets like an SSH server", (connection) => connection.send(Buffer.from("SSH-2.0-OpenSSH_9.6\r\n")), notGrpc),
  onConnection(
    "sends SETTINGS of a length that is no multiple of 6",
    (connection) => connection.send(frame(frameTypes.settings, 0, 0, Buffer.alloc(7))),
    broken,
    soon,
  ),
  onConnection(
    "sends SETTINGS with a window beyond 2^31 - 1",
    (connection) => connection.send(settings([[4, 2 ** 31]])),
    rpcError("UNAVAILABLE", /Flow control error/),
  ),
  onConnection("sends SETTINGS with a frame size of 1", (connection) => connection.send(settings([[5, 1]])), notGrpc),
];

/** Cases about connections that end while a call runs. */
const losing: readonly FaultCase[] = [
  onHandshake("resets after SETTINGS", (connection) => connection.reset(), lost),
  onHandshake(
    "resets after the request's headers",
    async (connection) => {
      await connection.requestHeaders();
      connection.reset();
    },
    lost,
  ),
  onHandshake(
    "resets in the middle of the request's body",
    async (connection) => {
      await connection.frame(({ type }) => type === frameTypes.data);
      connection.reset();
    },
    lost,
    { inputs: largeInputs },
  ),
  onHandshake(
    "stops reading in the middle of the request's body",
    async (connection) => {
      await connection.frame(({ type }) => type === frameTypes.data);
      connection.socket.pause();
    },
    timedOut,
    { ...soon, inputs: largeInputs },
  ),
  onCall("resets after the request", ({ connection }) => connection.reset(), lost),
  onCall("closes after the request", ({ connection }) => connection.socket.end(), lost),
  onCall("stays silent after the request", () => undefined, timedOut, soon),
  onCall("resets after the response's headers", (stream) => stream.headers().connection.resetAfterWriting(), lost),
  onCall("stays silent after the response's headers", (stream) => stream.headers(), timedOut, soon),
  onCall(
    "resets in the middle of a response frame",
    (stream) =>
      stream
        .headers()
        .send(dataFrames(stream.id, grpcMessage(goodResponse)).subarray(0, 20))
        .connection.resetAfterWriting(),
    lost,
  ),
  onCall(
    "stays silent in the middle of a response frame",
    (stream) => stream.headers().send(dataFrames(stream.id, grpcMessage(goodResponse)).subarray(0, 20)),
    timedOut,
    soon,
  ),
  onCall(
    "resets after the message, before the trailers",
    (stream) => stream.headers().message(goodResponse).connection.resetAfterWriting(),
    lost,
  ),
  onCall("closes after the message, before the trailers", (stream) => stream.headers().message(goodResponse).connection.socket.end(), lost),
  onCall("stays silent after the message, before the trailers", (stream) => stream.headers().message(goodResponse), timedOut, soon),
  onCall(
    "sends the answer byte by byte, beyond the deadline",
    (stream) => stream.headers().connection.drip(dataFrames(stream.id, grpcMessage(goodResponse)), 20),
    timedOut,
    soon,
  ),
  onHandshake("opens no window for the request's body", () => undefined, timedOut, { ...soon, inputs: largeInputs }),
];

/** Cases about GOAWAY. */
const leaving: readonly FaultCase[] = [
  onCall(
    "sends GOAWAY that leaves the call out",
    ({ connection }) => connection.send(goaway(0, errorCodes.NO_ERROR)),
    rpcError("UNAVAILABLE"),
  ),
  onCall(
    "sends GOAWAY that leaves the call out and closes",
    ({ connection }) => connection.socket.end(goaway(0, errorCodes.NO_ERROR)),
    rpcError("UNAVAILABLE"),
  ),
  onCall(
    "sends GOAWAY that includes the call, and answers it",
    (stream) => answerWell(stream.send(goaway(stream.id, errorCodes.NO_ERROR))),
    succeeds,
  ),
  onCall(
    "sends GOAWAY that includes the call, and closes without an answer",
    ({ connection, id }) => connection.socket.end(goaway(id, errorCodes.NO_ERROR)),
    lost,
  ),
  onCall(
    "sends GOAWAY for too many pings and closes",
    ({ connection, id }) => connection.socket.end(goaway(id, errorCodes.ENHANCE_YOUR_CALM, "too_many_pings")),
    rpcError(["UNAVAILABLE", "RESOURCE_EXHAUSTED"], /./, /keepalive pings/),
  ),
  onCall(
    "sends GOAWAY for too many pings and stays silent",
    ({ connection, id }) => connection.send(goaway(id, errorCodes.ENHANCE_YOUR_CALM, "too_many_pings")),
    rpcError(["UNAVAILABLE", "RESOURCE_EXHAUSTED"], /./, /keepalive pings/),
  ),
  onCall(
    "sends GOAWAY with PROTOCOL_ERROR",
    ({ connection, id }) => connection.socket.end(goaway(id, errorCodes.PROTOCOL_ERROR, "no")),
    broken,
  ),
  onCall(
    "sends GOAWAY with INTERNAL_ERROR",
    ({ connection, id }) => connection.socket.end(goaway(id, errorCodes.INTERNAL_ERROR, "no")),
    broken,
  ),
  onHandshake(
    "sends GOAWAY right after SETTINGS, on every connection",
    ({ socket }) => void socket.end(goaway(0, errorCodes.NO_ERROR)),
    rpcError(["UNAVAILABLE", "DEADLINE_EXCEEDED"]),
  ),
];

/** Cases about frames that break HTTP/2, or that are many. */
const frames: readonly FaultCase[] = [
  onCall(
    "sends a frame of a type nobody knows, then answers",
    (stream) => answerWell(stream.send(frame(0xfa, 0, 0, Buffer.alloc(100)))),
    succeeds,
  ),
  onCall(
    "sends a frame larger than SETTINGS_MAX_FRAME_SIZE",
    (stream) => stream.headers().send(frame(frameTypes.data, 0, stream.id, Buffer.alloc(maxFrameSize + 1))),
    broken,
    soon,
  ),
  onCall(
    "declares a frame of 16 MiB",
    (stream) => stream.headers().send(frame(frameTypes.data, 0, stream.id, Buffer.alloc(100), 2 ** 24 - 1)),
    broken,
    soon,
  ),
  onCall("sends DATA on stream 0", (stream) => stream.send(frame(frameTypes.data, 0, 0, Buffer.alloc(5))), broken, soon),
  onCall("sends DATA before the response's headers", (stream) => stream.message(goodResponse), broken, soon),
  onCall(
    "sends DATA with more padding than bytes",
    (stream) => stream.headers().send(frame(frameTypes.data, flags.padded, stream.id, Buffer.of(200, 1, 2, 3))),
    broken,
    soon,
  ),
  onCall(
    "answers a stream that the client never opened",
    (stream) => stream.send(headersFrame(stream.id + 100, { ":status": "200" })),
    broken,
    soon,
  ),
  onCall(
    "sends RST_STREAM for a stream that the client never opened",
    (stream) => stream.send(rstStream(stream.id + 100, 8)),
    broken,
    soon,
  ),
  onCall(
    "pushes a promise",
    (stream) => stream.send(frame(frameTypes.pushPromise, flags.endHeaders, stream.id, Buffer.from([0, 0, 0, 2, 0x82, 0x84, 0x86]))),
    broken,
    soon,
  ),
  onCall(
    "sends CONTINUATION without HEADERS",
    (stream) => stream.send(frame(frameTypes.continuation, flags.endHeaders, stream.id, noBytes)),
    broken,
    soon,
  ),
  onCall(
    "sends another frame between HEADERS and CONTINUATION",
    (stream) => stream.send(frame(frameTypes.headers, 0, stream.id, Buffer.of(0x88)), ping),
    broken,
    soon,
  ),
  onCall("sends WINDOW_UPDATE of 0", (stream) => stream.send(windowUpdate(stream.id, 0)), broken, soon),
  onCall(
    "overflows the window of the call",
    (stream) => stream.send(windowUpdate(stream.id, 2 ** 31 - 1), windowUpdate(stream.id, 2 ** 31 - 1)),
    broken,
    soon,
  ),
  onCall(
    "overflows the window of the connection",
    (stream) => stream.send(windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 2 ** 31 - 1)),
    broken,
    soon,
  ),
  onConnection(
    "allows no streams",
    async (connection) => {
      await connection.preface();
      connection.send(settings([[3, 0]]), settingsAck);
    },
    timedOut,
    soon,
  ),
  flood("acknowledgements of SETTINGS that nobody sent", settingsAck),
  flood("PING", ping),
  flood("SETTINGS", settings()),
  flood("SETTINGS of 1,000 values", settings(Array.from({ length: 1000 }, () => [4, 65_535] as const))),
  flood("WINDOW_UPDATE", windowUpdate(0, 1)),
  flood("PRIORITY", frame(2, 0, 1, Buffer.from([0, 0, 0, 0, 16]))),
  flood("frames of unknown types", frame(0xfa, 0, 0, Buffer.alloc(1000))),
  flood("PING and reads nothing", ping, ({ socket }) => void socket.pause()),
  flood("SETTINGS and reads nothing", settings(), ({ socket }) => void socket.pause()),
  onCall(
    "floods with empty DATA frames",
    (stream) => stream.headers().connection.pour(frame(frameTypes.data, 0, stream.id, noBytes)),
    flooded,
    soon,
  ),
];

/** Cases with the client's retries, as they are by default. */
const retrying: readonly FaultCase[] = [
  onCall("resets every connection after the request, with retries", ({ connection }) => connection.reset(), lost, {
    options: { retry: {} },
  }),
  onCall("refuses every call, with retries", (stream) => stream.reset("REFUSED_STREAM"), rpcError("UNAVAILABLE", /refused/), {
    options: { retry: {} },
  }),
  onFirstCall("resets the first connection after the request, with retries", ({ connection }) => connection.reset()),
  onFirstCall("leaves the first call out by GOAWAY, with retries", ({ connection }) => void connection.socket.end(goaway(0, 0))),
  onFirstCall("refuses the first call, with retries", (stream) => stream.reset("REFUSED_STREAM")),
  onFirstCall("answers the first call with UNAVAILABLE, with retries", (stream) => stream.headers().trailers({ "grpc-status": "14" })),
  {
    ...onFirstCall("breaks HTTP/2 in the first call and closes, with retries", async ({ connection }) => {
      connection.send(frame(frameTypes.data, 0, 0, Buffer.alloc(5)));
      await connection.frame(({ type }) => type === frameTypes.goaway);
      connection.socket.end();
    }),
    timeoutMs: 2000,
    options: { retry: { attemptTimeoutMs: 300 } },
  },
  onHandshake(
    "resets the idle connection as the next call comes, with retries",
    async (connection) => {
      answerWell(await connection.request());
      await connection.requestHeaders();
      connection.reset();
    },
    succeeds,
    { callsBefore: 1, options: { retry: {} } },
  ),
];

/** A peer that sends one frame again and again while a call runs. */
function flood(name: string, bytes: Uint8Array, prepare: (connection: GrpcConnection) => void = () => undefined): FaultCase {
  const script = ({ connection }: GrpcStream) => {
    prepare(connection);
    return connection.pour(bytes);
  };
  return onCall(`floods with ${name}`, script, flooded, soon);
}

/** What gRPC peers do wrong with connections and their frames. */
export const grpcConnectionCases: readonly FaultCase[] = [...connecting, ...losing, ...leaving, ...frames, ...retrying];
