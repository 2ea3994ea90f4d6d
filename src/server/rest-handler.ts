/** The REST front: paths, verbs, bodies and status codes as in TensorFlow Serving 2.20.0 (`http_rest_api_handler.cc`, `http_server.cc`). */
import type { Server, Socket } from "node:net";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { ServingError, StatusCode } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import type { Caller, GatedCall } from "./call-gate.js";
import type { FrontContext } from "./front-context.js";
import { createHttpServer, errorPage, type HttpAnswer, type HttpRequest } from "./http-connection.js";
import { classify, regress } from "./inference-service.js";
import { type JsonBody, parseBody } from "./json-body.js";
import { examplesFromJson } from "./json-examples.js";
import { metadataJson, statusJson } from "./json-metadata.js";
import { inputsFromJson } from "./json-request.js";
import { classifyJson, errorJson, predictJson, regressJson } from "./json-response.js";
import type { Metrics } from "./metrics.js";
import type { ModelManager } from "./model-manager.js";
import { checkMethodName, findSignature, modelMetadata, run } from "./predict-service.js";
import { type BinaryString, binary, textFromBinary } from "./pretty-json.js";
import { failureOf, refusal } from "./refusal.js";
import { serverRequest } from "./request-log.js";

const maxInflatedBytes = 100 * 1024 ** 2;

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

// The whole target has to match, a query string included; letter case does not count, except in the verbs.
const postPath = /^\/v1\/models\/([^/:]+)(?:\/versions\/(\d+)|\/labels\/([^/:]+))?:(classify|regress|predict)$/i;
const getPath = /^\/v1\/models(?:\/([^/:]+))?(?:\/versions\/(\d+)|\/labels\/([^/:]+))?(\/metadata)?$/i;

const maxInt64 = 2n ** 63n - 1n;

type Headers = HttpAnswer["headers"];

const jsonHeaders: Headers = [["Content-Type", "application/json"]];
const textHeaders: Headers = [["Content-Type", "text/plain"]];

const corsHeaders: Headers = [
  ["Access-Control-Allow-Origin", "*"],
  ["Access-Control-Allow-Methods", "POST, GET"],
  ["Access-Control-Allow-Headers", "Content-Type"],
];

/** An HTTP server that answers for the models, not yet listening. */
export function createRestServer(context: FrontContext): Server {
  const { metrics, settings } = context;
  const { metricsPath, enableRestCors } = settings;
  const cors = enableRestCors ? corsHeaders : [];
  const answerTo = async (request: HttpRequest): Promise<HttpAnswer | undefined> => {
    const { target } = request;
    const path = target.replace(/\?.*/s, "");
    if (path === metricsPath) return metricsAnswer(metrics, target, path);
    if (!/^\/v1\//i.test(target)) return errorPage(404);
    const answer = await respond(context, request);
    return answer && { ...answer, headers: [...answer.headers, ...cors] };
  };
  return createHttpServer(async (request) => {
    const answer = await answerTo(request);
    // Calls have been held already, but not pages and what asks for no call.
    if (answer !== undefined) await context.gate.hold(callerOn(request.socket));
    return answer;
  });
}

function metricsAnswer(metrics: Metrics, target: string, path: string): HttpAnswer {
  if (target === path) return { status: 200, headers: textHeaders, body: binary(metrics.text()) };
  return { status: 400, headers: textHeaders, body: `Unexpected path: ${target}. Should be ${path}` };
}

async function respond(context: FrontContext, request: HttpRequest): Promise<HttpAnswer | undefined> {
  const startedAt = performance.now();
  const { method, target, headers } = request;
  let call: RestCall | undefined;
  const count = (code: StatusCode) => {
    const latencyMs = performance.now() - startedAt;
    context.metrics.addCall({ transport: "rest", method: call?.method, model: call?.spec.name ?? "", code, latencyMs });
  };
  try {
    if (method === "OPTIONS") {
      const allowed = /https?:\/\//.test(headers["origin"] ?? "");
      count(allowed ? "OK" : "INVALID_ARGUMENT");
      return { status: allowed ? 200 : 400, headers: [], body: "" };
    }
    call = callFrom(method, target, await inflated(request));
    const text = await context.gate.run(gatedCall(context, request, call));
    if (text === undefined) return undefined;
    // Only a version beyond int64 has no text.
    count(text === "" ? "INVALID_ARGUMENT" : "OK");
    return { status: text === "" ? 400 : 200, headers: jsonHeaders, body: text };
  } catch (error) {
    const { code, message } = failureOf(error);
    count(code);
    return { status: httpStatuses[code] ?? 500, headers: jsonHeaders, body: errorJson(message) };
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
    if (tail === "predict" || tail === "classify" || tail === "regress") return { spec, method: tail, body: bodyOrError(bytes, tail) };
  }
  throw refusal("INVALID_ARGUMENT", `Malformed request: ${verb} ${url}`);
}

function bodyOrError(bytes: Uint8Array, method: "predict" | "classify" | "regress"): JsonBody | ServingError {
  try {
    // Within examples the last of several features of a name counts, everywhere else the first.
    return parseBody(bytes, method === "predict" ? {} : { lastWinsFromDepth: 1 });
  } catch (error) {
    return failureOf(error);
  }
}

function gatedCall(context: FrontContext, { headers, socket }: HttpRequest, call: RestCall): GatedCall<BinaryString> {
  const signatureName = "body" in call && "signatureName" in call.body ? call.body.signatureName : undefined;
  return {
    ...callerOn(socket),
    request: serverRequest({ transport: "rest", method: call.method, spec: { ...call.spec, signatureName }, headers }),
    answer: () => answerCall(context, call),
    corrupt: (text) => "\xff".repeat(text.length),
    closeConnection: () => socket.destroy(),
  };
}

/** Who waits at the other end of a connection. */
function callerOn(socket: Socket): Caller {
  let hasLeft = false;
  return {
    isGone: () => hasLeft || socket.destroyed,
    onGone: (run) => {
      const leave = () => {
        hasLeft = true;
        run();
      };
      // Closing a connection looks like shutting its writing side: while a call waits here its client is taken to have given up.
      if (socket.readableEnded) queueMicrotask(leave);
      for (const event of ["end", "close"]) socket.on(event, leave);
      return () => {
        for (const event of ["end", "close"]) socket.off(event, leave);
      };
    },
  };
}

async function answerCall({ manager, settings }: FrontContext, call: RestCall): Promise<BinaryString> {
  const { spec } = call;
  if (spec.version !== undefined && spec.version > maxInt64) return "";
  if (!("body" in call)) {
    if (spec.name === "") throw refusal("INVALID_ARGUMENT", "Missing model name in request.");
    return call.method === "getModelMetadata" ? metadataJson(modelMetadata(manager, spec)) : statusJson(manager.statuses(spec));
  }
  const { method, body } = call;
  if (body instanceof Error) throw body;
  const deadline = settings.restTimeoutMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + settings.restTimeoutMs;
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
  checkMethodName(handle, signature, "predict");
  const { format, inputs } = inputsFromJson(body, signature);
  const { outputs } = await run(handle, signatureName, inputs, { outputFilter: [], deadline });
  return predictJson(outputs, format);
}

function specFrom([, name, version, label]: RegExpExecArray): ModelSpec {
  const decoded = name === undefined ? "" : percentDecoded(name);
  if (version !== undefined) return { name: decoded, version: BigInt(version) };
  return label === undefined ? { name: decoded } : { name: decoded, versionLabel: percentDecoded(label) };
}

function percentDecoded(text: string): string {
  return textFromBinary(text.replace(/%(..)/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))));
}

const gunzipAsync = promisify(gunzip);

/** A body without its gzip; as in the real server one that cannot be inflated counts as empty. */
async function inflated({ headers, body }: HttpRequest): Promise<Uint8Array> {
  if (headers["content-encoding"]?.includes("gzip") !== true) return body;
  try {
    const bytes = await gunzipAsync(body, { maxOutputLength: maxInflatedBytes });
    // The real server goes by the size in the trailer, which with several members is that of the last.
    return body.readUInt32LE(body.length - 4) === bytes.length ? bytes : new Uint8Array(0);
  } catch {
    // A zlib error or a size over the limit: the answer says that the document is empty.
    return new Uint8Array(0);
  }
}
