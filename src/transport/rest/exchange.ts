/** One HTTP exchange as a promise that keeps to the caller's deadline and signal. */
import { validateHeaderName, validateHeaderValue } from "node:http";
import type { Dispatcher } from "undici";
import { atDeadline, minRemainingMs, onAbort, passedBeforeAnswer, passedBeforeSending, unlessAborted } from "../../deadline.js";
import { metadataFailure } from "../../error-hints.js";
import { formatCall, isServingError, ServingError, servingErrorOf } from "../../errors.js";
import type { CallMetadata, TransportCallOptions } from "../transport.js";
import type { Dispatchers } from "./connector.js";
import { type RestCallContext, restError, rpcErrorFromAnswer, rpcErrorFromConnection } from "./error.js";

/** Errors are short; more is cut, whoever sent it. */
const maxErrorBytes = 64 * 1024;

/** The server takes a larger body for an empty one if it is compressed. */
const maxGzipBytes = 100 * 1024 ** 2;

/** What is asked of the server. */
export interface RestRequest {
  readonly path: string;
  /** Sent with POST; without a body: GET. */
  readonly body?: Uint8Array | undefined;
}

/** What an exchange needs from its transport. */
export interface RestConnection {
  /** Scheme, host and port of the server. */
  readonly origin: string;
  readonly dispatchers: Dispatchers;
  /** Aborts when the transport is closed. */
  readonly closed: AbortSignal;
  /** Bodies of at least this many bytes are compressed. */
  readonly gzipMinBytes: number;
  /** Bodies of 200 answers that are longer end the call. */
  readonly maxResponseBytes: number;
}

/** A request ready to be sent. */
interface Message {
  readonly path: string;
  /** Names and values in turn, as undici takes them. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
}

/** Why a call was ended here. */
const deadlinePassed = Symbol("deadline passed");
const neverConnected = Symbol("deadline passed without a connection");

const passedBeforeConnection = "the deadline passed before there was a connection";

/**
 * The body of a 200 answer.
 *
 * @throws RpcError for every other answer, a failed connection and the deadline.
 * @throws ServingError where the metadata function fails or the TLS credentials cannot be used; nothing was sent then.
 * @throws The `reason` of the signal, as it is, once that aborts.
 */
export async function exchange(
  connection: RestConnection,
  request: RestRequest,
  options: TransportCallOptions,
  context: RestCallContext,
): Promise<Uint8Array> {
  const { signal } = options;
  signal?.throwIfAborted();
  assertTimeLeft(options, context);
  const controller = new AbortController();
  const end = () => controller.abort();
  const stops = [
    // Aborting ends connections, so this is the time to look.
    atDeadline(options.deadline, () => controller.abort(connection.dispatchers.isConnected() ? deadlinePassed : neverConnected)),
    onAbort(connection.closed, end),
    ...(signal === undefined ? [] : [onAbort(signal, end)]),
  ];
  if (connection.closed.aborted) end();
  let isSent = false;
  try {
    const headers = headersFrom(await unlessAborted(controller.signal, metadataOf(options, context)), request);
    const sendOnce = async (gzipMinBytes: number): Promise<Uint8Array> => {
      const message = await unlessAborted(controller.signal, messageOf(request, headers, gzipMinBytes));
      assertTimeLeft(options, context);
      isSent = true;
      // undici looks at the signal only once it is connected, which a silent address puts off for minutes.
      return await unlessAborted(controller.signal, send(connection, message, controller.signal, context));
    };
    try {
      return await sendOnce(connection.gzipMinBytes);
    } catch (error) {
      if (!isCompressed(request, connection.gzipMinBytes) || !looksEmpty(error)) throw error;
      // What the server fails to unpack it takes for an empty body, and runs nothing.
      return await sendOnce(Number.POSITIVE_INFINITY);
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (controller.signal.reason === deadlinePassed) throw deadlineExceeded(context, isSent ? passedBeforeAnswer : passedBeforeSending);
    if (controller.signal.reason === neverConnected) throw deadlineExceeded(context, isSent ? passedBeforeConnection : passedBeforeSending);
    if (connection.closed.aborted) throw restError("CANCELLED", "the transport is closed", context, { cause: error });
    throw error;
  } finally {
    for (const stop of stops) stop();
  }
}

function assertTimeLeft({ deadline }: TransportCallOptions, context: RestCallContext): void {
  if (deadline - performance.now() < minRemainingMs) throw deadlineExceeded(context, passedBeforeSending);
}

/** The request with its body compressed where that is wanted and the server can take it. */
async function messageOf({ path, body }: RestRequest, headers: readonly string[], gzipMinBytes: number): Promise<Message> {
  if (body === undefined || !isCompressed({ path, body }, gzipMinBytes)) return { path, headers, body };
  return { path, headers: [...headers, "content-encoding", "gzip"], body: await compressed(body) };
}

/** A body compressed by another thread; what that takes is loaded by those who ask for it. */
async function compressed(body: Uint8Array): Promise<Uint8Array> {
  const [{ promisify }, { gzip }] = await Promise.all([import("node:util"), import("node:zlib")]);
  return await promisify(gzip)(body);
}

function isCompressed({ body }: RestRequest, gzipMinBytes: number): boolean {
  return body !== undefined && body.length >= gzipMinBytes && body.length < maxGzipBytes;
}

function looksEmpty(error: unknown): boolean {
  return isServingError(error, "RpcError") && error.serverMessage.includes("The document is empty");
}

async function send(connection: RestConnection, message: Message, signal: AbortSignal, context: RestCallContext): Promise<Uint8Array> {
  const { origin, dispatchers, maxResponseBytes } = connection;
  const { path, body } = message;
  const headers = [...message.headers];
  let answer: { readonly status: number; readonly contentType: string; readonly body: Uint8Array };
  try {
    const method = body === undefined ? "GET" : "POST";
    const response = await dispatchers.forRequest().request({ origin, path, method, headers, body: body ?? null, signal });
    const ok = response.statusCode === 200;
    answer = {
      status: response.statusCode,
      contentType: String(response.headers["content-type"] ?? ""),
      // One byte more tells that there are too many.
      body: await startOf(response.body, ok ? maxResponseBytes + 1 : maxErrorBytes),
    };
  } catch (cause) {
    throw isServingError(cause) ? servingErrorOf(context, cause) : rpcErrorFromConnection(cause, context);
  }
  if (answer.status !== 200) throw rpcErrorFromAnswer(answer, context);
  if (answer.body.length > maxResponseBytes) {
    throw restError("RESOURCE_EXHAUSTED", `the answer is larger than maxResponseBytes (${maxResponseBytes})`, context);
  }
  return answer.body;
}

/** The start of a body; what is longer is left unread, which ends the connection. */
async function startOf(body: Dispatcher.ResponseData["body"], maxBytes: number): Promise<Uint8Array> {
  if (maxBytes === Number.POSITIVE_INFINITY) return new Uint8Array(await body.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}

/** The metadata of this attempt. */
async function metadataOf({ metadata = {} }: TransportCallOptions, { method, modelSpec }: RestCallContext): Promise<CallMetadata> {
  if (typeof metadata !== "function") return metadata;
  try {
    return await metadata();
  } catch (cause) {
    const { code, text, hint } = metadataFailure(cause);
    throw new ServingError(`${code}: ${formatCall(method, modelSpec)}: ${text}`, { code, hint, cause });
  }
}

/** Headers that shape the message itself; a second opinion on them would break it. */
const ownHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "expect",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Names and values in turn, as undici takes them. */
function headersFrom(metadata: CallMetadata, request: RestRequest): string[] {
  const headers = request.body === undefined ? [] : ["content-type", "application/json"];
  for (const [name, value] of Object.entries(metadata)) {
    if (value instanceof Uint8Array)
      throw new TypeError(`metadata "${name}": expected a string, got a Uint8Array, which only gRPC can send`);
    if (ownHeaders.has(name.toLowerCase())) throw new TypeError(`metadata "${name}": the REST transport sets this header itself`);
    // In one line, which says the same as several: on the way to a proxy undici keeps only the last of these.
    const items = (typeof value === "string" ? [value] : value).map((item) => checkHeader(name, item));
    if (items.length > 0) headers.push(name, items.join(", "));
  }
  return headers;
}

function checkHeader(name: string, value: unknown): string {
  if (typeof value !== "string")
    throw new TypeError(`metadata "${name}": expected a string, got ${value === null ? "null" : typeof value}`);
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch (cause) {
    throw new TypeError(`metadata "${name}": ${(cause as Error).message}`, { cause });
  }
  return value;
}

function deadlineExceeded(context: RestCallContext, text: string) {
  return restError("DEADLINE_EXCEEDED", text, context);
}
