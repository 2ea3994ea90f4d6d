/** REST peers whose connections are refused, lost, or kept open for nothing. */
import type { FaultCase } from "./fault-case.js";
import { atPredict, late, lost, succeeds } from "./rest-expectations.js";
import {
  afterMetadata,
  drips,
  dripsOnce,
  endsWith,
  pours,
  type RawAnswer,
  type RestScript,
  rawResponse,
  reset,
  resetsAfter,
  sends,
  sendsJson,
  startRestPeer,
} from "./rest-peer.js";
import { startNobody } from "./socket-peer.js";

const good = sendsJson('{"outputs": [2.5, 3, 4.5]}');
const goodBytes = rawResponse({ body: '{"outputs": [2.5, 3, 4.5]}' });

/** More than a socket takes at once: four megabytes of JSON, written into six times as many bytes. */
const large = { inputs: { x: new Float32Array(2 ** 21) }, maxGrowthBytes: 32 * 2 ** 20 } as const;

/** A large predict call that meets this while it sends its body. */
function whileSending(name: string, headCame: RestScript["headCame"] & object, more: Omit<FaultCase, "name" | "start">): FaultCase {
  return { name, start: () => startRestPeer({ answer: afterMetadata(good), headCame }), ...large, ...more };
}

/** The first connection answers look-up and call, and meets the next request like this; later connections answer. */
function atReuse(name: string, answer: RawAnswer, more: Omit<FaultCase, "name" | "start">): FaultCase {
  const start = () =>
    startRestPeer({
      answer: (socket, request) => (request.index === 2 ? answer : afterMetadata(good))(socket, request),
    });
  return { name, start, callsBefore: 1, ...more };
}

/** Fails the first call after the look-up, then answers. */
const oncePerPeer = (failing: RawAnswer): RawAnswer =>
  afterMetadata((socket, request) => (request.index === 1 ? failing : good)(socket, request));

const neverAccepts: FaultCase = {
  name: "refuses connections",
  start: () => startNobody("http"),
  expected: { name: "RpcError", code: "UNAVAILABLE", text: /ECONNREFUSED/, hint: /nothing listens there/ },
};

/** Connections that are lost, stage by stage. */
const losses: readonly FaultCase[] = [
  neverAccepts,
  { name: "closes connections at once", start: () => startRestPeer({ connected: (socket) => socket.end() }), expected: lost },
  { name: "resets connections at once", start: () => startRestPeer({ connected: reset }), expected: lost },
  {
    name: "resets the connection after the look-up's request",
    start: () => startRestPeer({ answer: reset }),
    expected: { ...lost, text: /predict half_plus_two/ },
  },
  atPredict("closes the connection after the request", (socket) => socket.end(), lost),
  atPredict("resets the connection after the request", reset, lost),
  whileSending("closes the connection in the middle of a large request", (socket) => socket.destroy(), { expected: lost }),
  whileSending("resets the connection in the middle of a large request", reset, { expected: lost }),
  atPredict("resets the connection in the middle of the status line", resetsAfter(goodBytes.subarray(0, 7)), lost),
  atPredict("resets the connection after the status line", resetsAfter("HTTP/1.1 200 OK\r\n"), lost),
  atPredict("resets the connection in the middle of a header", resetsAfter("HTTP/1.1 200 OK\r\ncontent-ty"), lost),
  atPredict("resets the connection after the headers", resetsAfter("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"), lost),
  atPredict("resets the connection in the middle of the body", resetsAfter(goodBytes.subarray(0, -8)), lost),
  atPredict(
    "resets the connection in the middle of a chunk",
    resetsAfter('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{"outputs": ['),
    lost,
  ),
  atPredict(
    "resets the connection in the middle of an error's body",
    resetsAfter('HTTP/1.1 503 Busy\r\ncontent-length: 99\r\n\r\n{"er'),
    lost,
  ),
  atPredict("closes the connection in the middle of the head", endsWith("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n"), lost),
  atPredict("closes the connection before the declared length", endsWith(goodBytes.subarray(0, -8)), lost),
  atPredict(
    "closes the connection before the last chunk",
    endsWith('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"outputs": [2]}\r\n'),
    lost,
  ),
];

/** Peers that take the call's time. */
const silences: readonly FaultCase[] = [
  { name: "accepts connections and stays silent", start: () => startRestPeer({}), expected: late },
  {
    name: "accepts connections and reads nothing",
    start: () => startRestPeer({ connected: (socket) => void setImmediate(() => socket.pause()) }),
    expected: late,
  },
  atPredict("stays silent after the look-up", () => undefined, late),
  whileSending("stops reading in the middle of a large request", (socket) => void socket.pause(), { expected: late }),
  atPredict("stays silent after the status line", (socket) => void socket.write("HTTP/1.1 200 OK\r\n"), late),
  atPredict("stays silent after the headers", (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"), late),
  atPredict("stays silent after a whole body without a length", sends({ headers: [], body: '{"outputs": [1]}' }), late),
  atPredict(
    "stays silent in front of the last chunk",
    (socket) => void socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"outputs": [2]}\r\n'),
    late,
  ),
  atPredict("answers one byte every 20 ms", dripsOnce(goodBytes, 20), late),
  atPredict("sends its error one byte every 20 ms", dripsOnce(rawResponse({ status: "503 Busy", body: '{"error": "busy"}' }), 20), late),
  atPredict("sends a body without end, slowly", drips("HTTP/1.1 200 OK\r\n\r\n[", "1,", 20), late),
  atPredict("sends a body without end", drips("HTTP/1.1 200 OK\r\n\r\n[", "1,".repeat(2 ** 15), 5), late, {
    // Without a limit the answer grows with the time it is given: 64 KiB every 5 ms, and as much again for its parts.
    maxGrowthBytes: 24 * 2 ** 20,
  }),
  atPredict("sends chunks without end, slowly", drips("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "2\r\n1,\r\n", 20), late),
  atPredict("declares 4 GiB and sends the first of them", sends({ headers: ["content-length: 4294967296"], body: "[1," }), late),
];

/** Bodies that end at the caller's limit. */
const limits: readonly FaultCase[] = [
  ["a body without end", "HTTP/1.1 200 OK\r\n\r\n[", "1,".repeat(2 ** 15)],
  ["chunks without end", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", `8000\r\n${"1,".repeat(2 ** 14)}\r\n`],
  ["a body of 4 GiB", "HTTP/1.1 200 OK\r\ncontent-length: 4294967296\r\n\r\n[", "1,".repeat(2 ** 15)],
].map(([what, start = "", again = ""]) =>
  atPredict(
    `sends ${what}, to a client with maxResponseBytes`,
    pours(start, again),
    { name: "RpcError", code: "RESOURCE_EXHAUSTED", text: /larger than maxResponseBytes \(1048576\)/, hint: /size limit/ },
    { options: { maxResponseBytes: 2 ** 20 }, maxGrowthBytes: 9 * 2 ** 20 },
  ),
);

/** Connections that end between calls, and failures that pass. */
const reuse: readonly FaultCase[] = [
  atReuse("closes the idle connection just as a request is sent", (socket) => socket.end(), { expected: succeeds, options: { retry: {} } }),
  atReuse("resets the idle connection just as a request is sent", reset, {
    expected: succeeds,
    options: { retry: {} },
  }),
  atReuse("closes the idle connection just as a request is sent that must not be sent twice", (socket) => socket.end(), { expected: lost }),
  {
    name: "closes the connection behind each answer without a word",
    start: () => startRestPeer({ answer: afterMetadata(endsWith(goodBytes)) }),
    callsBefore: 3,
    options: { retry: {} },
    expected: succeeds,
  },
  {
    name: "closes the connection behind each answer as announced",
    start: () =>
      startRestPeer({
        answer: afterMetadata(endsWith(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 16\r\n\r\n{"outputs": [2]}`)),
      }),
    callsBefore: 3,
    expected: succeeds,
  },
  {
    name: "says that it keeps connections for 0 s",
    start: () =>
      startRestPeer({
        answer: afterMetadata(sends({ headers: ["keep-alive: timeout=0", "content-length: 16"], body: '{"outputs": [2]}' })),
      }),
    callsBefore: 3,
    expected: succeeds,
  },
  {
    name: "resets the first connection, to a client that retries",
    start: () => startRestPeer({ answer: oncePerPeer(reset) }),
    options: { retry: {} },
    expected: succeeds,
  },
  {
    name: "answers 503 once, to a client that retries",
    start: () => startRestPeer({ answer: oncePerPeer(sends({ status: "503 Busy", body: '{"error": "busy"}' })) }),
    options: { retry: {} },
    expected: succeeds,
  },
  atPredict("resets every connection, to a client that retries", reset, lost, { options: { retry: {} } }),
  { ...neverAccepts, name: "refuses connections, to a client that retries", options: { retry: {} } },
];

/** REST peers whose connections are at fault. */
export const restConnectionCases: readonly FaultCase[] = [...losses, ...silences, ...limits, ...reuse];
