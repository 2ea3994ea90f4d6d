/** The edge where HTTP answers and failed connections become an {@link RpcError} with the code gRPC would give. */
import { type ErrorModelSpec, RpcError, type StatusCode } from "../../errors.js";
import { parseJson } from "../../tensor/json.js";

/** Which call an error is about. */
export interface RestCallContext {
  /** RPC name in camelCase. */
  readonly method: string;
  readonly modelSpec: ErrorModelSpec;
  /** `host:port` of the server. */
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

/** Codes by HTTP status: the server's own table backwards; where several share one, the likeliest. */
const codes: Readonly<Record<number, StatusCode>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ABORTED",
  413: "RESOURCE_EXHAUSTED",
  429: "RESOURCE_EXHAUSTED",
  499: "CANCELLED",
  500: "INTERNAL",
  501: "UNIMPLEMENTED",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** Texts that tell the code better than the status: over gRPC the same fault has this code. */
const codesByText: readonly { readonly text: RegExp; readonly code: StatusCode }[] = [
  { text: /^Serving signature name: ".*" not found in signature def/s, code: "FAILED_PRECONDITION" },
];

const notTheApi = "this is not TensorFlow Serving's REST API: check host, port (8501 by default, not gRPC's 8500) and path prefix";

/** How much of a body that is not the API's own stands in a message. */
const excerptChars = 200;

/** The error for an answer whose status is not 200. */
export function rpcErrorFromAnswer({ status, contentType, body }: HttpAnswer, context: RestCallContext): RpcError {
  const text = errorText(body);
  if (text !== undefined) {
    const code = codesByText.find((known) => known.text.test(text))?.code ?? codes[status] ?? "UNKNOWN";
    return new RpcError({ ...context, transport, code, serverMessage: text });
  }
  // 404 as HTML means that the path is not one of the API; the model may well exist.
  const isHtml = contentType.includes("html");
  const code = status === 404 ? "UNIMPLEMENTED" : (codes[status] ?? "UNKNOWN");
  const start = new TextDecoder().decode(body).replace(/\s+/g, " ").trim().slice(0, excerptChars);
  const serverMessage = `HTTP ${status} ${isHtml ? "with an HTML page" : start === "" ? "without a body" : "with an unknown body"}${start && `: ${start}`}`;
  return new RpcError({ ...context, transport, code, serverMessage, ...(isHtml || status === 404 ? { hint: notTheApi } : {}) });
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

/** The error for a request that got no whole answer. */
export function rpcErrorFromConnection(cause: unknown, context: RestCallContext): RpcError {
  const { message = "", code: reason = "", name = "" } = cause as { message?: string; code?: string; name?: string };
  // An attempt on several addresses fails with an AggregateError, whose message is empty.
  const text = [message, message.includes(reason) ? "" : reason].filter((part) => part !== "").join(": ") || String(cause);
  // undici leaves the code out where the very first bytes are wrong, as those of a gRPC port are.
  const isGarbage = name === "HTTPParserError" || reason.startsWith("HPE_") || reason === "UND_ERR_RESPONSE";
  return new RpcError({
    ...context,
    transport,
    code: isGarbage ? "INTERNAL" : "UNAVAILABLE",
    serverMessage: isGarbage ? `the answer is not HTTP/1.1: ${text}` : text,
    cause,
    ...(isGarbage ? { hint: notTheApi } : {}),
  });
}

/** The error for a call that ends here, without a word from the server. */
export function restError(code: StatusCode, text: string, context: RestCallContext, options: { cause?: unknown } = {}): RpcError {
  return new RpcError({ ...context, transport, code, serverMessage: text, cause: options.cause });
}
