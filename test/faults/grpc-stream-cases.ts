/** What gRPC peers do wrong with one call: its headers, its frames, its status. */
import { deflateSync, gzipSync } from "node:zlib";
import type { StatusCode } from "../../src/index.js";
import type { FaultCase } from "./fault-case.js";
import { answerWell, broken, onCall, rpcError, soon, succeeds, timedOut } from "./grpc-case.js";
import {
  dataFrames,
  type errorCodes,
  flags,
  frame,
  frameTypes,
  grpcMessage,
  type Headers,
  headerBlock,
  headersFrame,
  maxFrameSize,
} from "./grpc-frames.js";
import { goodResponse } from "./grpc-messages.js";
import type { GrpcStream } from "./grpc-peer.js";

/** The call may end at once or at its deadline, as long as it does not grow. */
const anyEnd = rpcError(["DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "UNIMPLEMENTED"]);

/** A unary call has one answer (PROTOCOL-HTTP2.md, "Responses"); nobody looks for a second, so the call never ends by itself. */
const tooManyMessages = rpcError("DEADLINE_EXCEEDED");

const wordsOnly = /^(?!.*\[object Object\])/;

const mebibyte = 2 ** 20;

/** What a peer may send that nobody reads: the window that the transport gives each call. */
const unreadBytes = 16 * mebibyte;

/** What the gRPC specification makes of the error codes of HTTP/2 (PROTOCOL-HTTP2.md, "Errors"). */
const codesOfResets: Readonly<Record<keyof typeof errorCodes, StatusCode | readonly StatusCode[]>> = {
  NO_ERROR: "UNAVAILABLE",
  PROTOCOL_ERROR: "INTERNAL",
  INTERNAL_ERROR: "INTERNAL",
  FLOW_CONTROL_ERROR: "INTERNAL",
  SETTINGS_TIMEOUT: "INTERNAL",
  // The specification has none for these two.
  STREAM_CLOSED: ["INTERNAL", "UNKNOWN"],
  HTTP_1_1_REQUIRED: ["INTERNAL", "UNKNOWN"],
  FRAME_SIZE_ERROR: "INTERNAL",
  REFUSED_STREAM: "UNAVAILABLE",
  CANCEL: "CANCELLED",
  COMPRESSION_ERROR: "INTERNAL",
  CONNECT_ERROR: "INTERNAL",
  ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
  INADEQUATE_SECURITY: "PERMISSION_DENIED",
};

const resets: readonly FaultCase[] = Object.entries(codesOfResets).map(([code, expected]) =>
  onCall(`ends the call with RST_STREAM ${code}`, (stream) => stream.reset(code as keyof typeof errorCodes), rpcError(expected)),
);

/** Cases about calls that end early. */
const ending: readonly FaultCase[] = [
  onCall("ends the call with RST_STREAM after the headers", (stream) => stream.headers().reset("INTERNAL_ERROR"), rpcError("INTERNAL")),
  onCall(
    "ends the call with RST_STREAM after the message",
    (stream) => stream.headers().message(goodResponse).reset("NO_ERROR"),
    rpcError("INTERNAL"),
  ),
  onCall(
    "answers, then resets the call that has ended",
    (stream) => {
      answerWell(stream);
      stream.reset("CANCEL");
    },
    succeeds,
  ),
  onCall("sends no trailers", (stream) => stream.headers().message(goodResponse).end(), rpcError(["INTERNAL", "UNKNOWN"])),
  onCall("sends neither message nor trailers", (stream) => stream.headers().end(), rpcError(["INTERNAL", "UNKNOWN"])),
  onCall("sends trailers without a message and status 0", (stream) => stream.headers().trailers(), rpcError("INTERNAL", /sent no message/)),
  onCall(
    "sends nothing but trailers with status 0",
    (stream) => trailersOnly(stream, { "grpc-status": "0" }),
    rpcError("INTERNAL", /sent no message/),
  ),
  onCall(
    "sends a message and then fails the call",
    (stream) => stream.headers().message(goodResponse).trailers({ "grpc-status": "5", "grpc-message": "gone" }),
    rpcError("NOT_FOUND", /gone/),
  ),
];

/** Cases about the frames of gRPC. */
const framing: readonly FaultCase[] = [
  onCall("cuts the message short", (stream) => stream.headers().message(goodResponse, { length: 1000 }).trailers(), rpcError("INTERNAL")),
  onCall(
    "cuts the message's prefix short",
    (stream) =>
      stream
        .headers()
        .data(Buffer.of(0, 0, 0))
        .trailers(),
    rpcError("INTERNAL"),
  ),
  onCall(
    "declares a message of 4 GiB and stays silent",
    (stream) => stream.headers().message(goodResponse, { length: 2 ** 32 - 1 }),
    timedOut,
    soon,
  ),
  onCall(
    "declares a message of 4 GiB and ends the call",
    (stream) =>
      stream
        .headers()
        .message(goodResponse, { length: 2 ** 32 - 1 })
        .trailers(),
    rpcError("INTERNAL"),
  ),
  onCall(
    "declares a message beyond maxResponseBytes",
    (stream) => stream.headers().message(goodResponse, { length: mebibyte + 1 }),
    rpcError("RESOURCE_EXHAUSTED", /larger than max/, /maxResponseBytes/),
    { options: { maxResponseBytes: mebibyte } },
  ),
  onCall(
    "declares a message shorter than it is",
    (stream) => stream.headers().message(goodResponse, { length: 10 }).trailers(),
    rpcError("INTERNAL"),
  ),
  onCall("sends two messages", (stream) => stream.headers().message(goodResponse).message(goodResponse).trailers(), tooManyMessages, soon),
  onCall(
    "sends an empty message before the answer",
    (stream) => stream.headers().message(Buffer.alloc(0)).message(goodResponse).trailers(),
    tooManyMessages,
    soon,
  ),
  onCall("sends empty messages without end", (stream) => endless(stream, Buffer.alloc(16_380)), anyEnd, {
    ...soon,
    maxGrowthBytes: unreadBytes + 8 * mebibyte,
  }),
  onCall("sends messages of 1 MiB without end", (stream) => endless(stream, grpcMessage(Buffer.alloc(mebibyte))), anyEnd, {
    ...soon,
    maxGrowthBytes: unreadBytes + 8 * mebibyte,
  }),
  onCall(
    "sends a body of 1 GiB that it declared, beyond the deadline",
    (stream) => endless(stream, Buffer.alloc(mebibyte), 2 ** 30),
    timedOut,
    { ...soon, maxGrowthBytes: 2 ** 30 + 8 * mebibyte },
  ),
  onCall(
    "sends a body without end, with maxResponseBytes",
    (stream) => endless(stream, Buffer.alloc(mebibyte), 2 ** 31),
    rpcError("RESOURCE_EXHAUSTED", /larger than max/),
    { options: { maxResponseBytes: mebibyte }, maxGrowthBytes: 9 * mebibyte },
  ),
  onCall(
    "sends the declared body of 16 MiB and then more without end",
    (stream) => endless(stream, Buffer.alloc(mebibyte), 16 * mebibyte),
    anyEnd,
    // The message twice, as grpc-js puts its pieces together, and what comes after it.
    { ...soon, maxGrowthBytes: 32 * mebibyte + unreadBytes + 8 * mebibyte },
  ),
];

/** Cases about compression, which the client does not ask for. */
const compressing: readonly FaultCase[] = [
  onCall(
    "sets the compressed flag without an encoding",
    (stream) => stream.headers().message(goodResponse, { isCompressed: true }).trailers(),
    rpcError("INTERNAL", wordsOnly),
  ),
  onCall(
    "names an encoding that nobody knows",
    (stream) => stream.headers({ "grpc-encoding": "snappy" }).message(goodResponse, { isCompressed: true }).trailers(),
    rpcError(["UNIMPLEMENTED", "INTERNAL"], wordsOnly),
  ),
  onCall(
    "compresses with gzip as it says",
    (stream) => stream.headers({ "grpc-encoding": "gzip" }).message(gzipSync(goodResponse), { isCompressed: true }).trailers(),
    succeeds,
  ),
  onCall(
    "compresses with deflate as it says",
    (stream) => stream.headers({ "grpc-encoding": "deflate" }).message(deflateSync(goodResponse), { isCompressed: true }).trailers(),
    succeeds,
  ),
  onCall(
    "says gzip and sends garbage",
    (stream) => stream.headers({ "grpc-encoding": "gzip" }).message(Buffer.alloc(64, 7), { isCompressed: true }).trailers(),
    rpcError("INTERNAL"),
  ),
  onCall(
    "cuts the gzip stream short",
    (stream) =>
      stream.headers({ "grpc-encoding": "gzip" }).message(gzipSync(goodResponse).subarray(0, 30), { isCompressed: true }).trailers(),
    rpcError("INTERNAL"),
  ),
  onCall(
    "says deflate and sends gzip",
    (stream) => stream.headers({ "grpc-encoding": "deflate" }).message(gzipSync(goodResponse), { isCompressed: true }).trailers(),
    rpcError("INTERNAL"),
  ),
  onCall(
    "sends a gzip bomb of 1 GiB, with maxResponseBytes",
    (stream) => stream.headers({ "grpc-encoding": "gzip" }).message(gzipBomb(), { isCompressed: true }).trailers(),
    rpcError("RESOURCE_EXHAUSTED", /./, /maxResponseBytes/),
    {
      timeoutMs: 20_000,
      options: { maxResponseBytes: 4 * mebibyte },
      maxGrowthBytes: 12 * mebibyte,
    },
  ),
  onCall(
    "sends a gzip bomb of 16 MiB that unpacks to garbage",
    (stream) =>
      stream
        .headers({ "grpc-encoding": "gzip" })
        .message(gzipSync(Buffer.alloc(16 * mebibyte)), { isCompressed: true })
        .trailers(),
    rpcError("INTERNAL"),
    { timeoutMs: 20_000, maxGrowthBytes: 40 * mebibyte },
  ),
];

/** What the gRPC specification makes of HTTP statuses (http-grpc-status-mapping.md). */
const codesOfHttp: Readonly<Record<number, StatusCode>> = {
  301: "UNKNOWN",
  400: "INTERNAL",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "UNIMPLEMENTED",
  429: "UNAVAILABLE",
  500: "UNKNOWN",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "UNAVAILABLE",
};

const html = Buffer.from(`<html><body>${"<p>no gRPC here</p>".repeat(50)}</body></html>`);

const statuses: readonly FaultCase[] = Object.entries(codesOfHttp).map(([status, code]) =>
  onCall(
    `answers with HTTP status ${status} and a page`,
    (stream) => stream.headers({ ":status": status, "content-type": "text/html" }).data(html).end(),
    rpcError(code, new RegExp(`Received HTTP status code ${status}`)),
  ),
);

/** Cases about headers and trailers. */
const headers: readonly FaultCase[] = [
  onCall(
    "answers with HTTP status 200 and a page",
    (stream) => stream.headers({ "content-type": "text/html" }).data(html).end(),
    rpcError(["INTERNAL", "UNKNOWN"]),
  ),
  onCall(
    "answers with HTTP status 200 and JSON",
    (stream) => stream.headers({ "content-type": "application/json" }).data(Buffer.from("{}")).end(),
    rpcError(["INTERNAL", "UNKNOWN"]),
  ),
  onCall(
    "sends no :status",
    (stream) => stream.send(frame(frameTypes.headers, flags.endHeaders, stream.id, headerBlock({ "content-type": "application/grpc" }))),
    rpcError(["INTERNAL", "UNAVAILABLE"]),
  ),
  onCall(
    "sends a :status that is no number",
    (stream) => stream.headers({ ":status": "abc" }).message(goodResponse).trailers(),
    rpcError(["INTERNAL", "UNAVAILABLE", "UNKNOWN"]),
  ),
  onCall("sends status 100 without end", (stream) => stream.connection.pour(headersFrame(stream.id, { ":status": "100" })), anyEnd, soon),
  onCall(
    "sends no grpc-status in the trailers",
    (stream) => stream.headers().message(goodResponse).trailers({ "x-other": "1" }),
    rpcError(["UNKNOWN", "INTERNAL"]),
  ),
  // grpc-js reads it as 0, and the message is there.
  onCall("sends an empty grpc-status", (stream) => stream.headers().message(goodResponse).trailers({ "grpc-status": "" }), succeeds),
  onCall(
    "sends a grpc-status that is no number",
    (stream) => stream.headers().message(goodResponse).trailers({ "grpc-status": "OK" }),
    rpcError(["UNKNOWN", "INTERNAL"]),
  ),
  onCall(
    "sends a grpc-status out of range",
    (stream) => stream.headers().message(goodResponse).trailers({ "grpc-status": "99", "grpc-message": "odd" }),
    rpcError("UNKNOWN", /odd/),
  ),
  onCall(
    "sends a negative grpc-status",
    (stream) => stream.headers().message(goodResponse).trailers({ "grpc-status": "-1" }),
    rpcError(["UNKNOWN", "INTERNAL"]),
  ),
  onCall(
    "sends two grpc-status",
    (stream) =>
      stream
        .headers()
        .message(goodResponse)
        .trailers({ "grpc-status": ["0", "13"] }),
    rpcError(["UNKNOWN", "INTERNAL"]),
  ),
  onCall(
    "sends grpc-status 0 with the headers and 5 in the trailers",
    (stream) => stream.headers({ "grpc-status": "0" }).message(goodResponse).trailers({ "grpc-status": "5", "grpc-message": "gone" }),
    rpcError("NOT_FOUND", /gone/),
  ),
  onCall(
    "sends a grpc-message with invalid percent escapes",
    (stream) => trailersOnly(stream, { "grpc-status": "5", "grpc-message": "100%, %zz and %4" }),
    rpcError("NOT_FOUND", /100%, %zz and %4/),
  ),
  onCall(
    "sends a grpc-message whose escapes are no UTF-8",
    (stream) => trailersOnly(stream, { "grpc-status": "5", "grpc-message": "gone %ff%fe away" }),
    rpcError("NOT_FOUND", /gone .* away/),
  ),
  // These two may not stand in a header: grpc-js drops the text, the code stays.
  onCall(
    "sends a grpc-message of raw bytes that are no UTF-8",
    (stream) => trailersOnly(stream, { "grpc-status": "5", "grpc-message": Buffer.from([0x67, 0xff, 0xfe, 0x6f]) }),
    rpcError("NOT_FOUND"),
  ),
  onCall(
    "sends a grpc-message of raw UTF-8",
    (stream) => trailersOnly(stream, { "grpc-status": "5", "grpc-message": "größer" }),
    rpcError("NOT_FOUND"),
  ),
  onCall("sends no grpc-message with an error", (stream) => trailersOnly(stream, { "grpc-status": "3" }), rpcError("INVALID_ARGUMENT")),
  onCall(
    "sends grpc-status-details-bin that is no base64",
    (stream) => trailersOnly(stream, { "grpc-status": "5", "grpc-message": "gone", "grpc-status-details-bin": "%%%" }),
    rpcError("NOT_FOUND", /gone/),
  ),
  onCall(
    "sends headers whose names are in capitals",
    (stream) => stream.headers({ "X-Upper": "1" }),
    rpcError(["INTERNAL", "UNAVAILABLE"]),
  ),
  onCall("sends a header with a line break in its value", (stream) => stream.headers({ "x-split": "a\r\nb: c" }), broken, soon),
  onCall(
    "sends a header block that is no HPACK",
    (stream) => stream.send(frame(frameTypes.headers, flags.endHeaders, stream.id, Buffer.alloc(20, 0xff))),
    broken,
    soon,
  ),
  onCall(
    "refers to a header that no table has",
    (stream) => stream.send(frame(frameTypes.headers, flags.endHeaders, stream.id, Buffer.of(0x88, 0xff, 0x00))),
    broken,
    soon,
  ),
  onCall("sends 5,000 headers", (stream) => manyHeaders(stream, 5000), rpcError(["INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])),
  onCall(
    "sends a header of 1 MiB",
    (stream) => sendBlock(stream, headerBlock({ ":status": "200", "x-giant": "x".repeat(mebibyte) })),
    broken,
    soon,
  ),
  onCall(
    "sends CONTINUATION without end",
    (stream) =>
      stream
        .send(frame(frameTypes.headers, 0, stream.id, headerBlock({ ":status": "200" })))
        .connection.pour(frame(frameTypes.continuation, 0, stream.id, headerBlock({ "x-more": "x".repeat(1000) }))),
    anyEnd,
    soon,
  ),
  onCall(
    "sends empty CONTINUATION without end",
    (stream) =>
      stream
        .send(frame(frameTypes.headers, 0, stream.id, headerBlock({ ":status": "200" })))
        .connection.pour(frame(frameTypes.continuation, 0, stream.id, Buffer.alloc(0))),
    anyEnd,
    soon,
  ),
];

/** Response headers that end the call. */
function trailersOnly(stream: GrpcStream, given: Headers): void {
  stream.trailers({ ":status": "200", "content-type": "application/grpc", ...given });
}

/** Response headers, the head of a message and then bytes without end, as the client's windows allow. */
function endless(stream: GrpcStream, bytes: Uint8Array, declared?: number): Promise<void> {
  stream.headers();
  if (declared !== undefined) stream.data(grpcMessage(Buffer.alloc(0), { length: declared }));
  return stream.connection.pour(dataFrames(stream.id, bytes));
}

/** A header block in as many frames as it needs. */
function sendBlock(stream: GrpcStream, block: Buffer): void {
  for (let start = 0; start < block.length; start += maxFrameSize) {
    const isLast = start + maxFrameSize >= block.length;
    const type = start === 0 ? frameTypes.headers : frameTypes.continuation;
    stream.send(frame(type, isLast ? flags.endHeaders : 0, stream.id, block.subarray(start, start + maxFrameSize)));
  }
}

function manyHeaders(stream: GrpcStream, count: number): void {
  const many = Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-header-${index}`, "value"]));
  sendBlock(stream, headerBlock({ ":status": "200", "content-type": "application/grpc", ...many }));
}

/** A gigabyte of zeros in a megabyte: gzip members follow each other. */
function gzipBomb(): Buffer {
  return Buffer.concat(new Array(1024).fill(gzipSync(Buffer.alloc(mebibyte))));
}

/** What gRPC peers do wrong with one call. */
export const grpcStreamCases: readonly FaultCase[] = [...resets, ...ending, ...framing, ...compressing, ...statuses, ...headers];
