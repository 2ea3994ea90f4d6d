/** REST peers that speak another protocol, bad HTTP, or good HTTP with the wrong things in it. */
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import type { FaultCase, FaultExpectation } from "./fault-case.js";
import { atPredict, type CaseDetails, late, notHttp, refused, succeeds, unexpected } from "./rest-expectations.js";
import {
  afterMetadata,
  drips,
  endsWith,
  pours,
  type RawBody,
  type RawResponse,
  rawResponse,
  sends,
  sendsJson,
  sendsRaw,
  startRestPeer,
} from "./rest-peer.js";

const goodBody = '{"outputs": [2.5, 3, 4.5]}';
const good = sendsJson(goodBody);

/** Answers a whole request with bytes that are not HTTP, or not quite. */
function garbage(name: string, bytes: RawBody, details: CaseDetails = {}): FaultCase {
  return atPredict(name, sendsRaw(bytes), notHttp, details);
}

const http2Settings = Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
const http2GoAway = Uint8Array.of(0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const tlsAlert = Uint8Array.of(0x15, 3, 1, 0, 2, 2, 0x46);

const protocols: readonly FaultCase[] = [
  garbage("answers with the SETTINGS of HTTP/2", http2Settings),
  garbage("answers as a gRPC port does", Buffer.concat([http2Settings, http2GoAway])),
  garbage("answers with the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  garbage("answers with a TLS alert", tlsAlert),
  { name: "greets with a TLS alert", start: () => startRestPeer({ connected: (socket) => socket.write(tlsAlert) }), expected: notHttp },
  {
    name: "greets as an SSH server",
    start: () => startRestPeer({ connected: (socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n") }),
    expected: notHttp,
  },
  garbage("answers as a Redis server", "-ERR unknown command 'POST'\r\n"),
  garbage("answers with random bytes", Buffer.from("9f3c00ff1b7a6d2e88c4a10d0a55e2", "hex")),
  garbage("answers with NULs", new Uint8Array(4096)),
  atPredict("answers with NULs without end", pours("", new Uint8Array(2 ** 16)), notHttp),
  atPredict("answers with letters without end", pours("", "x".repeat(2 ** 16)), notHttp),
  garbage("answers with a body without a head", goodBody),
  garbage("answers with a request", "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
];

/** undici compares the length with what has come before it says what is wrong with the head. */
/** Heads beyond the 16 KiB that are read of them. */
const tooManyHeaders = { name: "RpcError", code: "INTERNAL", text: /Headers Overflow/, hint: /./ } satisfies FaultExpectation;

const heads: readonly FaultCase[] = [
  garbage("answers in HTTP/9.9", "HTTP/9.9 200 OK\r\n\r\n"),
  garbage("leaves out the protocol", "200 OK\r\n\r\n"),
  garbage("has letters for a status", "HTTP/1.1 abc OK\r\n\r\n"),
  garbage("has a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
  garbage("has a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
  garbage("has a negative status", "HTTP/1.1 -200 OK\r\n\r\n"),
  garbage("leaves out the blank line between head and body", `HTTP/1.1 200 OK\r\ncontent-length: 26\r\n${goodBody}`),
  garbage("has a header without a colon", "HTTP/1.1 200 OK\r\ncontent-length 26\r\n\r\n"),
  garbage("has NULs in a header", `HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 26\r\n\r\n${goodBody}`),
  garbage("has a negative content-length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
  garbage("has a content-length in letters", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"),
  garbage("has a content-length beyond 64 bits", `HTTP/1.1 200 OK\r\ncontent-length: ${"9".repeat(30)}\r\n\r\n`),
  garbage("has two lengths that differ", `HTTP/1.1 200 OK\r\ncontent-length: 26\r\ncontent-length: 5\r\n\r\n${goodBody}`),
  garbage("has a length and chunks", `HTTP/1.1 200 OK\r\ncontent-length: 26\r\ntransfer-encoding: chunked\r\n\r\n${goodBody}`),
  atPredict("sends 100,000 headers", sends({ headers: Array.from({ length: 100_000 }, (_, i) => `x-${i}: y`) }), tooManyHeaders),
  atPredict("sends headers without end", pours("HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(1000)), tooManyHeaders),
  atPredict("sends one header of a megabyte", sends({ headers: [`x: ${"y".repeat(2 ** 20)}`] }), tooManyHeaders),
  atPredict("sends a header name of a megabyte", sends({ headers: [`${"x".repeat(2 ** 20)}: y`] }), tooManyHeaders),
  atPredict("sends a header without end", pours("HTTP/1.1 200 OK\r\nx: ", "y".repeat(2 ** 16)), tooManyHeaders),
  atPredict("sends headers without end, slowly", drips("HTTP/1.1 200 OK\r\n", "x: y\r\n", 20), late),
  atPredict("sends a reason without end", drips("HTTP/1.1 200 ", "O".repeat(1024), 5), late),
  atPredict(
    "sends trailers without end",
    pours("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x: y\r\n".repeat(1000)),
    tooManyHeaders,
  ),
  atPredict("sends early hints without end", pours("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000)), late),
  atPredict("sends early hints without end, slowly", drips("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 1), late),
  garbage("sends 100 Continue though nothing asked for it", `HTTP/1.1 100 Continue\r\n\r\n${rawResponse({ body: goodBody })}`),
  garbage("switches protocols though nothing asked for it", "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"),
];

const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

const lengths: readonly FaultCase[] = [
  garbage("has a chunk size in letters", `${chunked}zz\r\n{}\r\n0\r\n\r\n`),
  garbage("has a negative chunk size", `${chunked}-5\r\nabcde\r\n0\r\n\r\n`),
  garbage("has a chunk size beyond 64 bits", `${chunked}${"f".repeat(20)}\r\n{}`),
  garbage("has a chunk that is longer than its size", `${chunked}2\r\n{"outputs": [1]}\r\n0\r\n\r\n`),
  garbage("has no chunk size", `${chunked}\r\n\r\n`),
  atPredict("sends a chunk extension without end", drips(`${chunked}5;`, "a".repeat(2 ** 12), 5), late),
  atPredict(
    "sends a body that is longer than declared",
    sendsRaw(`HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n${goodBody} and more`),
    succeeds,
  ),
  atPredict("declares less than the body has", sendsRaw(`HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n${goodBody}`), unexpected(/offset/)),
  atPredict("declares a body of 0 bytes", sendsJson(""), unexpected(/document is empty/)),
  atPredict("ends a body without a length with the connection", endsWith(`HTTP/1.1 200 OK\r\n\r\n${goodBody}`), succeeds),
  atPredict("answers in HTTP/1.0", endsWith(`HTTP/1.0 200 OK\r\n\r\n${goodBody}`), succeeds),
  {
    name: "puts an answer of its own between two that are asked for",
    start: () => {
      const answer = afterMetadata(good);
      const smuggled = rawResponse({ status: "500 Smuggled" });
      return startRestPeer({
        answer(socket, request) {
          answer(socket, request);
          if (request.index === 0) socket.write(smuggled);
        },
      });
    },
    options: { retry: {} },
    expected: succeeds,
  },
];

const bombBytes = 64 * 2 ** 20;

/** An answer in an encoding that was not asked for. */
function encoded(encoding: string, compress: (bytes: Uint8Array) => Uint8Array): readonly FaultCase[] {
  const answer = (body: Uint8Array, status = "200 OK"): RawResponse => ({
    status,
    headers: [`content-encoding: ${encoding}`, `content-length: ${body.length}`],
    body,
  });
  // Made when it is needed: it takes a third of a second.
  const startBomb = () => startRestPeer({ answer: afterMetadata(sends(answer(compress(new Uint8Array(bombBytes).fill(0x20))))) });
  return [
    atPredict(`answers in ${encoding} unasked`, sends(answer(compress(Buffer.from(goodBody)))), unexpected(/offset/)),
    { name: `sends 64 MiB of blanks as a few KiB of ${encoding}`, start: startBomb, expected: unexpected(/offset/) },
    atPredict(
      `reports an error in ${encoding} unasked`,
      sends(answer(compress(Buffer.from('{"error": "busy"}')), "503 Busy")),
      refused("UNAVAILABLE", /HTTP 503 with an unknown body/),
    ),
  ];
}

const html = "<!DOCTYPE html><html><body><h1>Nothing to see here</h1></body></html>";

/** An answer of something that is no model server. */
function page(status: string, expected: FaultExpectation): FaultCase {
  return atPredict(
    `answers ${status} with an HTML page`,
    sends({ status, headers: ["content-type: text/html", `content-length: ${html.length}`], body: html }),
    expected,
  );
}

const pages: readonly FaultCase[] = [
  page("200 OK", unexpected(/Invalid value/)),
  page("201 Created", refused("UNKNOWN", /HTTP 201/)),
  page("206 Partial Content", refused("UNKNOWN", /HTTP 206/)),
  page("400 Bad Request", refused("INVALID_ARGUMENT", /HTTP 400 with an HTML page/, /not TensorFlow Serving's REST API/)),
  page("401 Unauthorized", refused("UNAUTHENTICATED", /HTTP 401/, /credentials/)),
  page("403 Forbidden", refused("PERMISSION_DENIED", /HTTP 403/, /credentials/)),
  page("404 Not Found", refused("UNIMPLEMENTED", /HTTP 404/, /not TensorFlow Serving's REST API/)),
  page("405 Method Not Allowed", refused("UNKNOWN", /HTTP 405/, /not TensorFlow Serving's REST API/)),
  page("407 Proxy Authentication Required", refused("UNAUTHENTICATED", /HTTP 407/, /credentials/)),
  page("413 Content Too Large", refused("RESOURCE_EXHAUSTED", /HTTP 413/, /size limit/)),
  page("429 Too Many Requests", refused("RESOURCE_EXHAUSTED", /HTTP 429/, /send fewer at once/)),
  page("431 Request Header Fields Too Large", refused("RESOURCE_EXHAUSTED", /HTTP 431/, /metadata is too large/)),
  page("500 Internal Server Error", refused("INTERNAL", /HTTP 500/, /not TensorFlow Serving's REST API/)),
  page("502 Bad Gateway", refused("UNAVAILABLE", /HTTP 502/, /a proxy answered/)),
  page("503 Service Unavailable", refused("UNAVAILABLE", /HTTP 503/, /a proxy answered/)),
  page("504 Gateway Timeout", refused("DEADLINE_EXCEEDED", /HTTP 504/, /a proxy/)),
  page("599 Whatever", refused("UNKNOWN", /HTTP 599/)),
  page("999 Request denied", refused("UNKNOWN", /HTTP 999/)),
];

/** A redirect to a place of the same peer that would answer well. */
function redirect(status: string): FaultCase {
  const away = sends({ status, headers: ["location: /elsewhere", "content-length: 0"] });
  return {
    name: `answers ${status} with a place that would answer`,
    start: () =>
      startRestPeer({ answer: afterMetadata((socket, request) => (request.path === "/elsewhere" ? good : away)(socket, request)) }),
    expected: refused("UNKNOWN", new RegExp(`HTTP ${status.slice(0, 3)}`)),
  };
}

const statuses: readonly FaultCase[] = [
  ...["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"].map(redirect),
  atPredict("answers 204 without a body", sends({ status: "204 No Content", headers: [] }), refused("UNKNOWN", /HTTP 204 without a body/)),
  atPredict(
    "answers 304 without a body",
    sends({ status: "304 Not Modified", headers: [] }),
    refused("UNKNOWN", /HTTP 304 without a body/),
  ),
  atPredict("answers 201 with a good body", sends({ status: "201 Created", body: goodBody }), refused("UNKNOWN", /HTTP 201/)),
  atPredict(
    "answers 200 with a good body and another content-type",
    sends({ headers: ["content-type: text/html; charset=utf-16", "content-length: 26"], body: goodBody }),
    succeeds,
  ),
  atPredict(
    "answers 200 with an error",
    sendsJson('{"error": "out of memory"}'),
    unexpected(/expected "outputs" in the answer, got "error"/),
  ),
  {
    name: "refuses a large request before it has come, and reads on",
    start: () =>
      startRestPeer({
        answer: afterMetadata(good),
        headCame: (socket) => void socket.write(rawResponse({ status: "413 Content Too Large", body: html })),
      }),
    inputs: { x: new Float32Array(2 ** 21) },
    maxGrowthBytes: 32 * 2 ** 20,
    // Where the connection ends before the answer is read it is lost.
    expected: { name: "RpcError", code: ["RESOURCE_EXHAUSTED", "UNAVAILABLE"], hint: /size limit|connection was lost/ },
  },
];

/** A body of an error, which is as good as it can be but for what the name says. */
function errorBody(name: string, body: RawBody, expected: FaultExpectation, status = "400 Bad Request"): FaultCase {
  return atPredict(`reports an error with ${name}`, sends({ status, body }), expected);
}

const unknownBody = refused("INVALID_ARGUMENT", /HTTP 400 with an unknown body/);

const errors: readonly FaultCase[] = [
  errorBody("no body", "", refused("INVALID_ARGUMENT", /HTTP 400 without a body/)),
  errorBody("a number for text", '{"error": 5}', unknownBody),
  errorBody("an object for text", '{"error": {"message": "no"}}', unknownBody),
  errorBody("null for text", '{"error": null}', unknownBody),
  errorBody("a list", '["error"]', unknownBody),
  errorBody("a JSON string", '"error"', unknownBody),
  errorBody("JSON that is cut", '{"error": "Servable not fou', unknownBody),
  errorBody("JSON that nests 100,000 deep", `{"error": ${"[".repeat(100_000)}`, unknownBody),
  errorBody("only blanks", " ".repeat(10_000), refused("INVALID_ARGUMENT", /HTTP 400 without a body/)),
  errorBody("bytes that are no UTF-8", Buffer.from('{"error": "caf\xe9"}', "latin1"), refused("INVALID_ARGUMENT", /: caf\ufffd$/)),
  errorBody("random bytes", Buffer.from("9f3c00ff1b7a6d2e88c4a10d0a55e2", "hex"), unknownBody),
  errorBody("a text of 8 MiB", JSON.stringify({ error: "x".repeat(2 ** 23) }), refused("INVALID_ARGUMENT", /^.{0,400}$/)),
  errorBody("a page of 8 MiB", "<p>".repeat(2 ** 22), refused("INVALID_ARGUMENT", /^.{0,400}$/)),
  atPredict("reports an error without end", pours("HTTP/1.1 503 Busy\r\n\r\n", "x".repeat(2 ** 16)), refused("UNAVAILABLE", /HTTP 503/)),
  atPredict(
    "reports an error in chunks without end",
    pours("HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n", `8000\r\n${"x".repeat(2 ** 15)}\r\n`),
    refused("INTERNAL", /HTTP 500/),
  ),
  errorBody(
    "a text of the server's",
    '{"error": "Servable not found for request: Latest(m)"}',
    refused("NOT_FOUND", /Servable not found/, /no such model or version/),
    "404 Not Found",
  ),
];

/** REST peers that speak bad HTTP or have bad answers. */
export const restHttpCases: readonly FaultCase[] = [
  ...protocols,
  ...heads,
  ...lengths,
  ...encoded("gzip", gzipSync),
  ...encoded("deflate", deflateSync),
  ...encoded("br", brotliCompressSync),
  ...pages,
  ...statuses,
  ...errors,
];
