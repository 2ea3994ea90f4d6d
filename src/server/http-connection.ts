/**
 * HTTP/1 as the real server's library speaks it (libevent 2.1.12, `http.c`): what it takes, which page answers what it does not take, and
 * the order of its headers. The parser of Node.js differs in all three.
 */
import { createServer, type Server, type Socket } from "node:net";
import { ByteQueue, ByteReader } from "./byte-reader.js";
import type { BinaryString } from "./pretty-json.js";

/** A request that has come in whole. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query as sent; of a target with scheme and host only what is behind them. */
  readonly target: string;
  /** By lower-case name, null prototype; several values of one name are joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** The connection it came on. */
  readonly socket: Socket;
}

/** What answers a request. */
export interface HttpAnswer {
  readonly status: number;
  /** Headers of its own; those about the connection and the length are added. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: BinaryString;
  /** Whether the connection ends with it. */
  readonly close?: boolean;
}

/** Answers a request; `undefined` where nobody is left to answer. */
export type HttpHandler = (request: HttpRequest) => Promise<HttpAnswer | undefined>;

const maxBodyBytes = 1024 ** 3;
const maxHeadBytes = 256 * 1024;

const methods: ReadonlySet<string> = new Set(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]);

/** Those whose length and expectation are looked at (`evhttp_method_may_have_body`). */
const methodsWithBody: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  409: "Conflict",
  413: "Request Entity Too Large",
  417: "Expectation Failed",
  429: "Client Error",
  499: "Client Error",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Time-out",
};

/** A server of TCP connections that speak HTTP, not yet listening. Once it stops listening each connection ends with its next answer. */
export function createHttpServer(handle: HttpHandler): Server {
  const idle = new Set<Socket>();
  // A client may shut its writing side behind its last request and still wait for answers.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    // Nobody is left to answer: what waits for the socket learns it from its end.
    socket.on("error", () => undefined);
    const connection = new Connection(socket, { handle, idle, isClosing: () => !server.listening });
    void connection.serve().finally(() => socket.destroySoon());
  });
  const close = server.close.bind(server);
  server.close = (whenClosed) => {
    close(whenClosed);
    for (const socket of idle) socket.destroy();
    return server;
  };
  return server;
}

/** The page for what never reaches the API. */
export function errorPage(status: number): HttpAnswer {
  const reason = reasons[status];
  const body = `<HTML><HEAD>\n<TITLE>${status} ${reason}</TITLE>\n</HEAD><BODY>\n<H1>${reason}</H1>\n</BODY></HTML>\n`;
  const headers = [
    ["Content-Type", "text/html"],
    ["Connection", "close"],
  ] as const;
  return { status, headers, body, close: true };
}

/** First line and headers of a request. */
interface Head {
  readonly method: string;
  readonly target: string;
  /** Of HTTP/1: 0 or 1. */
  readonly minor: number;
  /** Whether the target names scheme and host, as for a proxy. */
  readonly isAbsolute: boolean;
  readonly headers: Record<string, string>;
}

/** Bytes that are no request the library takes; its page with this status ends the connection. */
class Refused extends Error {
  readonly status: number;
  readonly head: Head | undefined;

  constructor(status: number, head?: Head) {
    super(`refused with ${status}`);
    this.status = status;
    this.head = head;
  }
}

interface ConnectionOptions {
  readonly handle: HttpHandler;
  /** Sockets that wait for a request: they end when the server stops listening. */
  readonly idle: Set<Socket>;
  readonly isClosing: () => boolean;
}

/** One connection: a request is read once the one before it is answered, so pipelined ones are answered in order. */
class Connection {
  readonly #socket: Socket;
  readonly #reader: ByteReader;
  readonly #options: ConnectionOptions;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#reader = new ByteReader(socket);
    this.#options = options;
  }

  /** Resolves when the connection shall end. */
  async serve(): Promise<void> {
    try {
      while (await this.#serveOne());
    } catch (error) {
      // Whatever else there is comes of a connection that broke.
      if (error instanceof Refused) await this.#send(errorPage(error.status), error.head);
    }
  }

  /** Whether another request may follow. */
  async #serveOne(): Promise<boolean> {
    const { handle, isClosing } = this.#options;
    const head = await this.#readHead();
    const body = await this.#readBody(head);
    const answer = await handle({ ...head, body, socket: this.#socket });
    if (answer === undefined) return false;
    const close = answer.close === true || isClosing() || !keepsAlive(head);
    await this.#send({ ...answer, close }, head);
    return !close;
  }

  async #readHead(): Promise<Head> {
    const { idle } = this.#options;
    if (!this.#reader.hasBytes) idle.add(this.#socket);
    const first = await this.#line(400).finally(() => idle.delete(this.#socket));
    const [, method, target, minor] = /^(\S+) (.*) HTTP\/1\.(\d)$/.exec(first) ?? [];
    if (method === undefined || target === undefined || /[^\x21-\x7e]|%(?![0-9a-f]{2})/i.test(target)) throw new Refused(400);
    const path = target.replace(/^https?:\/\/[^/]*/i, "");
    return { method, target: path, minor: Number(minor), isAbsolute: path !== target, headers: await this.#readHeaders() };
  }

  async #readHeaders(): Promise<Record<string, string>> {
    const headers: Record<string, string> = Object.create(null);
    let name = "";
    let length = 0;
    for (let line = await this.#line(400); line !== ""; line = await this.#line(400)) {
      length += line.length;
      const [, field, value] = /^([^:\s][^:]*):(.*)$/s.exec(line) ?? [];
      // A line that begins with a blank continues the one before.
      if (length > maxHeadBytes || (field === undefined && (name === "" || !/^[ \t]/.test(line)))) throw new Refused(400);
      if (field !== undefined) name = field.toLowerCase();
      const before = headers[name];
      const own = (value ?? line).trim();
      headers[name] = before === undefined ? own : `${before}${field === undefined ? " " : ", "}${own}`;
    }
    return headers;
  }

  async #readBody(head: Head): Promise<Buffer> {
    const { method, headers, minor } = head;
    if (!methods.has(method)) throw new Refused(501, head);
    const mayHaveBody = methodsWithBody.has(method);
    const isChunked = headers["transfer-encoding"]?.toLowerCase() === "chunked";
    // Of several lengths the first counts.
    const lengthText = isChunked ? "0" : (headers["content-length"]?.split(",")[0] ?? "0");
    const isLength = /^\d+$/.test(lengthText);
    if (!isLength && mayHaveBody) throw new Refused(400, head);
    // Unlike in the real server a body that comes with GET is read too: it would be taken for the next request.
    const length = isLength ? Number(lengthText) : 0;
    if (length > maxBodyBytes) throw new Refused(413, head);
    const expectation = minor === 0 || !mayHaveBody ? undefined : headers["expect"]?.toLowerCase();
    if (expectation !== undefined) {
      if (expectation !== "100-continue") throw new Refused(417, head);
      if (!this.#reader.hasBytes) this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    return isChunked ? this.#readChunks() : this.#reader.bytes(length);
  }

  async #readChunks(): Promise<Buffer> {
    const body = new ByteQueue();
    for (;;) {
      const sizeText = await this.#line(413);
      const size = Number.parseInt(sizeText, 16);
      // Chunk extensions are ignored behind a blank, else refused as sizes that are no number.
      if (!/^[0-9a-f]{1,8}( |$)/i.test(sizeText) || body.length + size > maxBodyBytes) throw new Refused(413);
      if (size === 0) break;
      body.push(await this.#reader.bytes(size));
      if ((await this.#line(413)) !== "") throw new Refused(413);
    }
    await this.#readHeaders();
    return body.take(body.length);
  }

  /** @param status - What answers a line that is too long. */
  async #line(status: number): Promise<string> {
    const line = await this.#reader.line(maxHeadBytes);
    if (line === undefined) throw new Refused(status);
    return line;
  }

  /** @param head - Absent where it could not be read. */
  async #send({ status, headers, body, close }: HttpAnswer, head: Head | undefined): Promise<void> {
    const { minor = 1, method, isAbsolute } = head ?? {};
    const lines = headers.map(([name, value]) => `${name}: ${value}`);
    const has = (name: string) => headers.some(([own]) => own === name);
    if (minor > 0) lines.push(`Date: ${new Date().toUTCString()}`);
    else if (close !== true) lines.push("Connection: keep-alive");
    // Without a length the end of the connection ends the body.
    if ((minor > 0 || close !== true) && method !== "CONNECT") lines.push(`Content-Length: ${body.length}`);
    if (!has("Content-Type")) lines.push("Content-Type: text/html; charset=ISO-8859-1");
    if (close === true && minor > 0 && isAbsolute !== true && !has("Connection")) lines.push("Connection: close");
    // Unlike the real server's: a body would be read as the beginning of the next answer.
    const sent = method === "HEAD" ? "" : body;
    const text = `HTTP/1.${Math.min(minor, 1)} ${status} ${reasons[status]}\r\n${lines.join("\r\n")}\r\n\r\n${sent}`;
    await new Promise<void>((resolve) => this.#socket.write(text, "latin1", () => resolve()));
  }
}

/** Whether the client may send another request behind this one. */
function keepsAlive({ minor, headers, isAbsolute }: Head): boolean {
  // A proxy would have to ask for it in a header of its own, which nobody sends.
  if (isAbsolute) return false;
  const wish = headers["connection"]?.toLowerCase();
  return minor > 0 ? wish !== "close" : wish === "keep-alive";
}
