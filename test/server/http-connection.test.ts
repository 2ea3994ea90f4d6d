import { once } from "node:events";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createHttpServer, type HttpRequest } from "../../src/server/http-connection.js";
import { converse, rawHttp } from "./raw-http.js";

let server: Server;
let port: number;
const seen: HttpRequest[] = [];
beforeAll(async () => {
  server = createHttpServer(async (request) => {
    seen.push(request);
    if (request.target === "/ended") await once(request.socket, "end");
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

  it("keeps a body of tiny chunks in memory of its own size", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const [socket] = await Promise.all([accepted(), once(client(), "connect")]);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const bytes = Buffer.concat([lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("1\r\nx\r\n".repeat(200_000))]);
    clients[0]?.write(bytes);
    await expect.poll(() => socket.bytesRead, { timeout: 10_000 }).toBe(bytes.length);
    collectGarbage();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000);
  });

  it("answers all requests of a client that shuts its writing side behind them, then ends the connection", async () => {
    const socket = client();
    const all = text(socket);
    socket.end(Buffer.concat([lines("GET /ended HTTP/1.1"), lines("GET /b HTTP/1.1"), lines("GET /c HTTP/1.1")]));
    expect((await all).match(/HTTP\/1\.1 200 OK/g)).toHaveLength(3);
    await expect.poll(() => connections(server)).toBe(0);
  });

  it.each([
    ["before a request", ""],
    ["within a head", "GET / HTTP/1.1\r\nA: 1\r\n"],
    ["within a body", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel"],
    ["within a chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
  ])("ends the connection of a client that shuts its writing side %s", async (_where, sent) => {
    const socket = client();
    socket.end(sent);
    expect(await text(socket)).toBe("");
    await expect.poll(() => connections(server)).toBe(0);
  });

  it.each(["GET", "HEAD", "DELETE", "OPTIONS"])("looks neither at the expectation of %s nor at a length that is none", async (method) => {
    const parts = [lines(`${method} / HTTP/1.1`, "Expect: x", "Content-Length: -1"), lines("GET /b HTTP/1.1")];
    const { answers } = await converse(port, [Buffer.concat(parts)], { answers: method === "HEAD" ? 1 : 2, timeoutMs: 5_000 });
    expect(answers[0]?.status).toBe(200);
    await expect.poll(() => seen.map((request) => request.method)).toEqual([method, "GET"]);
  });

  it.each([
    ["a length", lines("GET / HTTP/1.1", "Content-Length: 5"), "hello"],
    ["chunks", lines("GET / HTTP/1.1", "Transfer-Encoding: chunked"), "5\r\nhello\r\n0\r\n\r\n"],
  ])("takes the body of a GET with %s for no request", async (_form, head, body) => {
    const { answers } = await converse(port, [head, Buffer.from(body), lines("GET /b HTTP/1.1")], { answers: 2, timeoutMs: 5_000 });
    expect(answers.map((answer) => answer.body.toString())).toEqual(["GET 5", "GET 0"]);
  });

  it("takes a chunk extension behind a blank", async () => {
    const body = Buffer.from("3 ;x=1\r\nabc\r\n0 \r\n\r\n");
    const answer = await rawHttp(port, Buffer.concat([lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), body]));
    expect(answer.body.toString()).toBe("POST 3");
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

/** Connections of the tests' own. */
const clients: Socket[] = [];
afterEach(() => {
  for (const socket of clients.splice(0)) socket.destroy();
});

/** A connection whose writing and reading sides end on their own. */
function client(): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  clients.push(socket);
  return socket;
}

/** The server's side of the next connection. */
async function accepted(): Promise<Socket> {
  const [socket] = await once(server, "connection");
  return socket;
}

/** Everything the server writes until it ends its side. */
async function text(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  await once(socket, "end");
  return Buffer.concat(parts).toString("latin1");
}

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
    [
      "a chunk extension without a blank",
      [lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("1;a=b\r\nx\r\n0\r\n\r\n")],
      413,
    ],
    ["a chunk that nothing ends", [lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("1\r\nx0\r\n\r\n")], 413],
    ["bytes behind a chunk", [lines("POST / HTTP/1.1", "Transfer-Encoding: chunked"), Buffer.from("1\r\nxyz\r\n0\r\n\r\n")], 413],
    ["an expectation of POST", [lines("POST / HTTP/1.1", "Expect: x", "Content-Length: 1")], 417],
  ])("%s", async (_what, parts, status) => {
    const { answers, connection } = await converse(port, parts, { answers: 1, timeoutMs: 5_000, closeGraceMs: 5_000 });
    expect({ statuses: answers.map((answer) => answer.status), connection }).toEqual({ statuses: [status], connection: "closed" });
    expect(seen).toEqual([]);
  });
});
