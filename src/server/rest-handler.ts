/** The REST front: paths, verbs, bodies and status codes as in TensorFlow Serving 2.20.0 (`http_rest_api_handler.cc`, `http_server.cc`). */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { ServingError, StatusCode } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import type { CallGate, GatedCall } from "./call-gate.js";
import { classify, regress } from "./inference-service.js";
import { type JsonBody, parseBody } from "./json-body.js";
import { examplesFromJson } from "./json-examples.js";
import { metadataJson, statusJson } from "./json-metadata.js";
import { inputsFromJson } from "./json-request.js";
import { classifyJson, errorJson, predictJson, regressJson } from "./json-response.js";
import type { ModelManager } from "./model-manager.js";
import { findSignature, modelMetadata, run } from "./predict-service.js";
import type { BinaryString } from "./pretty-json.js";
import { failureOf, refusal } from "./refusal.js";
import { serverRequest } from "./request-log.js";

/** `--rest_api_timeout_in_ms` of the real server. */
const runTimeoutMs = 30_000;

const maxBodyBytes = 1024 ** 3;
const maxInflatedBytes = 100 * 1024 ** 2;
const maxHeaderBytes = 256 * 1024;

/** What the real server answers for a code; the others are 500. */
const httpStatuses: Partial<Record<StatusCode, number>> = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  CANCELLED: 499,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};

/** Reason phrases of libevent. */
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

const methods: ReadonlySet<string> = new Set(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]);

// The whole target has to match, a query string included; letter case does not count, except in the verbs.
const postPath = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+)|\/labels\/([^/:]+))?:(classify|regress|predict)$/i;
const getPath = /^\/v1\/models(?:\/([^/:]+))?(?:\/versions\/(\d+)|\/labels\/([^/:]+))?(\/metadata)?$/i;

const maxInt64 = 2n ** 63n - 1n;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: BinaryString;
  /** Whether the connection ends with it. */
  readonly close?: boolean;
}

/** An HTTP server that answers for the models, not yet listening. */
export function createRestServer(manager: ModelManager, gate: CallGate): Server {
  const server = createServer(
    { maxHeaderSize: maxHeaderBytes, requireHostHeader: false, keepAliveTimeout: 0, requestTimeout: 0 },
    (request, response) => {
      respond(manager, gate, request).then(
        (answer) => {
          // Nobody is left to answer.
          if (answer === undefined) response.destroy();
          // A server that is closing ends each connection with the answer to its last request.
          else send(response, server.listening ? answer : { ...answer, close: true });
        },
        // The connection broke while the body came in: nobody is left to answer.
        () => response.destroy(),
      );
    },
  );
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => send(response, html(417)));
  server.on("connect", (_request: IncomingMessage, socket: Duplex) => endRaw(socket, 501));
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (!socket.writable) socket.destroy();
    else endRaw(socket, error.code === "HPE_INVALID_METHOD" ? 501 : 400);
  });
  return server;
}

async function respond(manager: ModelManager, gate: CallGate, request: IncomingMessage): Promise<Answer | undefined> {
  const { method = "" } = request;
  // A proxy's form of the target, which names the server too.
  const url = (request.url ?? "").replace(/^https?:\/\/[^/]*/i, "");
  if (!methods.has(method)) return html(501);
  if (/[^\x21-\x7e]|%(?![0-9a-f]{2})/i.test(url)) return html(400);
  if (!/^\/v1\//i.test(url)) return html(404);
  const body = await readBody(request);
  if (body === undefined) return html(413);
  if (method === "OPTIONS") {
    const allowed = /https?:\/\//.test(request.headers.origin ?? "");
    return { status: allowed ? 200 : 400, type: "text/html; charset=ISO-8859-1", body: "" };
  }
  try {
    const text = await gate.run(gatedCall(manager, request, callFrom(method, url, await inflated(request, body))));
    if (text === undefined) return undefined;
    // Only a version beyond int64 has no text.
    return { status: text === "" ? 400 : 200, type: "application/json", body: text };
  } catch (error) {
    const { code, message } = failureOf(error);
    return { status: httpStatuses[code] ?? 500, type: "application/json", body: errorJson(message) };
  }
}

/** What a request asks for, before anything is looked up. */
type RestCall = { readonly spec: ModelSpec } & (
  | { readonly method: "getModelMetadata" | "getModelStatus" }
  // An error of the body waits until the call is answered: it is a call all the same.
  | { readonly method: "predict" | "classify" | "regress"; readonly body: JsonBody | ServingError }
);

/** @throws ServingError INVALID_ARGUMENT if the path is none of the API. */
function callFrom(verb: string, url: string, bytes: Uint8Array): RestCall {
  const match = verb === "POST" ? postPath.exec(url) : verb === "GET" ? getPath.exec(url) : null;
  if (match !== null) {
    const tail = match[4];
    const spec = specFrom(match);
    // `/METADATA` asks for the status.
    if (verb === "GET") return { spec, method: tail === "/metadata" ? "getModelMetadata" : "getModelStatus" };
    // Capitals match the path but are no verb.
    if (tail === "predict" || tail === "classify" || tail === "regress") return { spec, method: tail, body: bodyOrError(bytes) };
  }
  throw refusal("INVALID_ARGUMENT", `Malformed request: ${verb} ${url}`);
}

function bodyOrError(bytes: Uint8Array): JsonBody | ServingError {
  try {
    return parseBody(bytes);
  } catch (error) {
    return failureOf(error);
  }
}

function gatedCall(manager: ModelManager, { headers, socket }: IncomingMessage, call: RestCall): GatedCall<BinaryString> {
  const signatureName = "body" in call && "signatureName" in call.body ? call.body.signatureName : undefined;
  return {
    request: serverRequest({ transport: "rest", method: call.method, spec: { ...call.spec, signatureName }, headers }),
    answer: () => answerCall(manager, call),
    corrupt: (text) => "\xff".repeat(text.length),
    closeConnection: () => socket.destroy(),
    isGone: () => socket.destroyed,
    onGone: (run) => {
      socket.once("close", run);
      return () => socket.off("close", run);
    },
  };
}

async function answerCall(manager: ModelManager, call: RestCall): Promise<BinaryString> {
  const { spec } = call;
  if (spec.version !== undefined && spec.version > maxInt64) return "";
  if (!("body" in call)) {
    if (spec.name === "") throw refusal("INVALID_ARGUMENT", "Missing model name in request.");
    return call.method === "getModelMetadata" ? metadataJson(modelMetadata(manager, spec)) : statusJson(manager.statuses(spec));
  }
  const { method, body } = call;
  if (body instanceof Error) throw body;
  const deadline = performance.now() + runTimeoutMs;
  if (method === "predict") return predict(manager, spec, body, deadline);
  // All of the JSON is read before the model is looked up.
  const sent = { ...examplesFromJson(body), deadline };
  const asked = { ...spec, signatureName: body.signatureName };
  return method === "classify"
    ? classifyJson((await classify(manager, asked, sent)).results)
    : regressJson((await regress(manager, asked, sent)).results);
}

async function predict(manager: ModelManager, spec: ModelSpec, body: JsonBody, deadline: number): Promise<BinaryString> {
  const handle = manager.resolve(spec);
  const signatureName = signatureNameOf(body);
  const signature = findSignature(handle, signatureName);
  if (signature === undefined) throw refusal("INVALID_ARGUMENT", `Serving signature name: "${signatureName}" not found in signature def`);
  const { format, inputs } = inputsFromJson(body, signature);
  const { outputs } = await run(handle, signatureName, inputs, { outputFilter: [], deadline });
  return predictJson(outputs, format);
}

function specFrom([, name, version, label]: RegExpExecArray): ModelSpec {
  const decoded = name === undefined ? "" : percentDecoded(name);
  if (version !== undefined) return { name: decoded, version: BigInt(version) };
  return label === undefined ? { name: decoded } : { name: decoded, versionLabel: percentDecoded(label) };
}

/** Bytes that are no UTF-8 become replacement characters, so that they name no model. */
function percentDecoded(text: string): string {
  const bytes = text.replace(/%(..)/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}

/** The body, or nothing if it is too large. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  // A body that is too large still gets its answer, so the connection has to outlive the loop.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

const gunzipAsync = promisify(gunzip);

/** A body without its gzip; as in the real server one that cannot be inflated counts as empty. */
async function inflated(request: IncomingMessage, body: Buffer): Promise<Uint8Array> {
  if (!String(request.headers["content-encoding"] ?? "").includes("gzip")) return body;
  try {
    const bytes = await gunzipAsync(body, { maxOutputLength: maxInflatedBytes });
    // The real server goes by the size in the trailer, which with several members is that of the last.
    return body.readUInt32LE(body.length - 4) === bytes.length ? bytes : new Uint8Array(0);
  } catch {
    // A zlib error or a size over the limit: the answer says that the document is empty.
    return new Uint8Array(0);
  }
}

function send(response: ServerResponse, { status, type, body, close }: Answer): void {
  if (close === true) response.setHeader("Connection", "close");
  // The real server names the connection only where it closes it.
  else if (response.shouldKeepAlive) response.removeHeader("Connection");
  response.writeHead(status, reasons[status], { "Content-Type": type, "Content-Length": body.length });
  response.end(body, "latin1");
}

/** The pages of libevent, for what never reaches the API. */
function html(status: number): Answer {
  const reason = reasons[status];
  const body = `<HTML><HEAD>\n<TITLE>${status} ${reason}</TITLE>\n</HEAD><BODY>\n<H1>${reason}</H1>\n</BODY></HTML>\n`;
  return { status, type: "text/html", body, close: true };
}

/** Answer on a connection whose bytes were no request that Node.js takes. */
function endRaw(socket: Duplex, status: number): void {
  const { type, body } = html(status);
  socket.end(
    `HTTP/1.1 ${status} ${reasons[status]}\r\nContent-Type: ${type}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}
