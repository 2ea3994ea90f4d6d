import { once } from "node:events";
import { type AddressInfo, connect, type Server } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createHttpServer, type HttpRequest } from "../../src/server/http-connection.js";
import { converse, rawHttp } from "./raw-http.js";

let server: Server;
let port: number;
const seen: HttpRequest[] = [];
beforeAll(async () => {
  server = createHttpServer(async (request) => {
    seen.push(request);
    return { status: 200, headers: [["Content-Type", "text/plain"]], body: `${request.method} ${request.body.length}` };
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
});
afterEach(() => void seen.splice(0));
afterAll(() => void server.close());

const lines = (...all: string[]) => Buffer.from(`${all.join("\r\n")}\r\n\r\n`, "latin1");

describe("createHttpServer", () => {
  // What it answers to the recorded requests is compared in golden.test.ts.

  it("reads a request that comes byte by byte", async () => {
    const bytes = Buffer.concat([lines("POST /a HTTP/1.1", "A: 1", "Content-Length: 5"), Buffer.from("hello")]);
    const parts = Array.from(bytes, (byte) => [Buffer.of(byte), { pauseMs: 0 }]).flat();
    const { answers } = await converse(port, parts, { answers: 1, timeoutMs: 5_000 });
    expect(answers[0]?.body.toString()).toBe("POST 5");
  });

  it("joins values of one header and lines that continue one", async () => {
    await rawHttp(port, lines("GET / HTTP/1.1", "A: 1", "B:2", "  3", "a:  4 "));
    expect({ ...seen[0]?.headers }).toEqual({ a: "1, 4", b: "2 3" });
  });

  it("reads a chunked body with trailers, and the request behind it", async () => {
    const body = "3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
    const bytes = Buffer.concat([lines("POST / HTTP/1.1", "Transfer-Encoding: Chunked"), Buffer.from(body), lines("GET /b HTTP/1.1")]);
    const { answers } = await converse(port, [bytes], { answers: 2, timeoutMs: 5_000 });
    expect(answers.map((answer) => answer.body.toString())).toEqual(["POST 13", "GET 0"]);
  });

  it("takes megabytes of a body", async () => {
    const body = Buffer.alloc(5 * 1024 * 1024, "x");
    const answer = await rawHttp(port, Buffer.concat([lines("POST / HTTP/1.1", `Content-Length: ${body.length}`), body]));
    expect(answer.body.toString()).toBe(`POST ${body.length}`);
  });

  it("ends connections between two requests when the server closes, others with their answer", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const closing = createHttpServer(async ({ target }) => {
      if (target === "/held") await held;
      return { status: 200, headers: [], body: target };
    });
    closing.listen(0, "127.0.0.1");
    await once(closing, "listening");
    const { port: closingPort } = closing.address() as AddressInfo;
    const idle = connect(closingPort, "127.0.0.1");
    await once(idle, "connect");
    const running = converse(closingPort, [lines("GET /held HTTP/1.1")], { answers: 1, timeoutMs: 5_000, closeGraceMs: 5_000 });
    await expect.poll(() => connections(closing)).toBe(2);
    const closed = once(closing, "close");
    closing.close();
    await once(idle.resume(), "close");
    release();
    expect(await running).toMatchObject({ connection: "closed", answers: [{ status: 200 }] });
    await closed;
  });
});

function connections(of: Server): Promise<number> {
  return new Promise((resolve) => of.getConnections((_error, count) => resolve(count)));
}

describe("rejects", () => {
  it.each([
    ["a head without end", [Buffer.alloc(300 * 1024, "a")], 400],
    ["many headers", [lines("GET / HTTP/1.1", ...Array.from({ length: 3_000 }, (_, index) => `h${index}: ${"x".repeat(100)}`))], 400],
    ["a header without a colon", [lines("GET / HTTP/1.1", "nothing")], 400],
    ["a continued line behind no header", [lines("GET / HTTP/1.1", " nothing")], 400],
    ["another version", [lines("GET / HTTP/2.0")], 400],
    ["a length that is negative", [lines("POST / HTTP/1.1", "Content-Length: -1")], 400],
    ["a length beyond a GiB", [lines("POST / HTTP/1.1", "Content-Length: 1073741825")], 413],
    ["a length beyond all numbers", [lines("POST / HTTP/1.1", `Content-Length: ${"9".repeat(400)}`)], 413],
    ["a chunk beyond a GiB", [lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("40000001\r\n")], 413],
    ["a chunk extension", [lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("1;a=b\r\nx\r\n0\r\n\r\n")], 413],
  ])("%s", async (_what, parts, status) => {
    const { answers, connection } = await converse(port, parts, { answers: 1, timeoutMs: 5_000, closeGraceMs: 5_000 });
    expect({ statuses: answers.map((answer) => answer.status), connection }).toEqual({ statuses: [status], connection: "closed" });
    expect(seen).toEqual([]);
  });
});
