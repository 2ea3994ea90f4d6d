/** The edge where HTTP answers and failed connections become an {@link RpcError} with the code gRPC would give. */
import { knownFailure } from "../../error-hints.js";
import { type ErrorSubject, RpcError, type StatusCode } from "../../errors.js";
import { parseJson } from "../../tensor/json.js";

/** Which call an error is about. */
export interface RestCallContext extends ErrorSubject {
  /** `host:port` of the server, with the prefix path where there is one. */
  readonly endpoint: string;
}

/** What came back with a status that is not 200. */
export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Transport name on the errors of this folder. */
const transport = "rest";

/**
 * Codes by HTTP status: the server's own table backwards, and what proxies add.
 *
 * Where several share a status the text tells which it is, or else it counts as the first, which is the likeliest.
 */
const codes: Readonly<Record<number, readonly [StatusCode, ...StatusCode[]]>> = {
  400: ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"],
  401: ["UNAUTHENTICATED"],
  403: ["PERMISSION_DENIED"],
  404: ["NOT_FOUND"],
  407: ["UNAUTHENTICATED"],
  409: ["ABORTED", "ALREADY_EXISTS"],
  413: ["RESOURCE_EXHAUSTED"],
  429: ["RESOURCE_EXHAUSTED"],
  431: ["RESOURCE_EXHAUSTED"],
  499: ["CANCELLED"],
  500: ["INTERNAL", "UNKNOWN", "DATA_LOSS"],
  501: ["UNIMPLEMENTED"],
  502: ["UNAVAILABLE"],
  503: ["UNAVAILABLE"],
  504: ["DEADLINE_EXCEEDED"],
};

/** How much of a body that is not the API's own stands in a message. */
const excerptChars = 200;

/** The error for an answer whose status is not 200. */
export function rpcErrorFromAnswer({ status, contentType, body }: HttpAnswer, context: RestCallContext): RpcError {
  const text = errorText(body);
  if (text !== undefined) {
    return new RpcError({ ...context, transport, code: codeOf(status, text), serverMessage: text });
  }
  // 404 as HTML means that the path is not one of the API; the model may well exist.
  const isHtml = contentType.includes("html");
  const code = status === 404 ? "UNIMPLEMENTED" : codeOf(status, "");
  const start = new TextDecoder().decode(body).replace(/\s+/g, " ").trim().slice(0, excerptChars);
  const serverMessage = `HTTP ${status} ${isHtml ? "with an HTML page" : start === "" ? "without a body" : "with an unknown body"}${start && `: ${start}`}`;
  return new RpcError({ ...context, transport, code, serverMessage });
}

/** The code that the same failure has over gRPC. */
function codeOf(status: number, text: string): StatusCode {
  const candidates = codes[status] ?? ["UNKNOWN"];
  return knownFailure(text, candidates)?.code ?? candidates[0];
}

/** The text of the API's own error body, `{"error": "..."}`. */
function errorText(body: Uint8Array): string | undefined {
  try {
    const value = parseJson(body, { maxDepth: 2 });
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) return undefined;
    const text = value["error"];
    return text instanceof Uint8Array ? new TextDecoder().decode(text) : typeof text === "string" ? text : undefined;
  } catch {
    // A FormatError: the body is not JSON, so it is not the API's own; the caller shows its beginning.
    return undefined;
  }
}

/** What undici makes of answers that break the rules of HTTP: lengths that contradict the body or each other, endless headers, 1xx unasked. */
const garbage: ReadonlySet<unknown> = new Set(["UND_ERR_RESPONSE", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "UND_ERR_HEADERS_OVERFLOW"]);

/** Whether undici (7.30) met a status 1xx that nobody asked for, which it has no code for. */
function isUnasked(message: string, name: string): boolean {
  return message === "bad response" || name === "AssertionError";
}

/** The error for a request that got no whole answer. */
export function rpcErrorFromConnection(cause: unknown, context: RestCallContext): RpcError {
  const { message = "", code: reason = "", name = "" } = cause as { message?: string; code?: string; name?: string };
  // An attempt on several addresses fails with an AggregateError, whose message is empty.
  const parts = [message, message.includes(reason) ? "" : reason].filter((part) => part !== "");
  // What OpenSSL says ends with a line break.
  const text = parts.map((part) => part.trim()).join(": ") || String(cause);
  // undici leaves the code out where the very first bytes are wrong, as those of a gRPC port are.
  const isGarbage = name === "HTTPParserError" || reason.startsWith("HPE_") || garbage.has(reason) || isUnasked(message, name);
  return new RpcError({
    ...context,
    transport,
    code: isGarbage ? "INTERNAL" : "UNAVAILABLE",
    serverMessage: isGarbage ? `the answer is not HTTP/1.1: ${text}` : text,
    cause,
  });
}

/** The error for a call that ends here, without a word from the server. */
export function restError(code: StatusCode, text: string, context: RestCallContext, options: { cause?: unknown } = {}): RpcError {
  return new RpcError({ ...context, transport, code, serverMessage: text, cause: options.cause });
}

/** The error for a method that has no form over REST; nothing is sent. */
export function unimplemented(context: RestCallContext): RpcError {
  const serverMessage = `TensorFlow Serving's REST API has no ${context.method}`;
  return new RpcError({ ...context, transport, code: "UNIMPLEMENTED", serverMessage, hint: "use gRPC (port 8500 by default)" });
}
