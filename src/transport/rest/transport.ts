/** Calls over REST: HTTP/1.1 to one server. */
import { formatCall, isServingError, tensorErrorOf } from "../../errors.js";
import type { Example } from "../../example-codec.js";
import { type ModelSpec, signatureNameOf } from "../../model-spec.js";
import type { TlsCredentials } from "../tls.js";
import type {
  AnsweringModel,
  ModelMetadata,
  PredictResult,
  TensorMap,
  Transport,
  TransportCallOptions,
  TransportExampleOptions,
  TransportPredictOptions,
} from "../transport.js";
import { completeInputs, readPredictBody, writePredictBody } from "./bodies.js";
import { createDirectDispatcher, createProxiedDispatchers } from "./connector.js";
import { type RestCallContext, restError, unimplemented } from "./error.js";
import { readClassifyBody, readRegressBody, writeExamplesBody } from "./example-bodies.js";
import { exchange, type RestRequest } from "./exchange.js";
import { readMetadata, readStatuses } from "./metadata.js";
import { modelPath, statusPath } from "./paths.js";
import { predictRefusal } from "./refusals.js";

/** Options of {@link createRestTransport}. */
export interface RestTransportOptions {
  /** `http://host:port` or `https://host:port`, with the prefix path where there is one and no slash at the end. */
  url: string;
  /** What connections are encrypted with; needed for `https://`. */
  tls?: TlsCredentials | undefined;
  /** `"environment"`: through the proxy that undici finds in the environment. @defaultValue none */
  proxy?: "environment" | undefined;
  /** Request bodies of at least this many bytes are sent gzip-compressed. @defaultValue never */
  gzipMinBytes?: number;
  /** Answers of more bytes are refused; not those that report an error, of which no more than the start is read. @defaultValue unlimited */
  maxResponseBytes?: number | undefined;
}

/**
 * A transport over REST to one server.
 *
 * It connects at the first call. While no call runs, its connections do not keep the process alive.
 */
export function createRestTransport(options: RestTransportOptions): Transport {
  const { url, tls, proxy, gzipMinBytes = Number.POSITIVE_INFINITY, maxResponseBytes = Number.POSITIVE_INFINITY } = options;
  const { origin, host, pathname } = new URL(url);
  const prefix = pathname.replace(/\/+$/, "");
  const endpoint = host + prefix;
  const dispatchers = proxy === undefined ? createDirectDispatcher(origin, tls) : createProxiedDispatchers(tls);
  let running = 0;
  const closing = new AbortController();
  const connection = { origin, dispatchers, closed: closing.signal, gzipMinBytes, maxResponseBytes };

  async function call<Result>(
    method: string,
    spec: ModelSpec,
    request: RestRequest,
    options: TransportCallOptions,
    read: (answer: Uint8Array) => Result,
  ): Promise<Result> {
    const context: RestCallContext = { method, modelSpec: spec, endpoint };
    const bytes = await bytesOf({ ...request, path: prefix + request.path }, options, context);
    try {
      return read(bytes);
    } catch (cause) {
      if (isServingError(cause, "TensorError")) throw tensorErrorOf(context, cause);
      throw restError("INTERNAL", `unexpected answer: ${(cause as Error).message}`, context, { cause });
    }
  }

  async function bytesOf(request: RestRequest, options: TransportCallOptions, context: RestCallContext): Promise<Uint8Array> {
    running++;
    try {
      return await exchange(connection, request, options, context);
    } finally {
      running--;
      if (running === 0) dispatchers.abandon();
    }
  }

  function fetchMetadata(method: string, spec: ModelSpec, options: TransportCallOptions): Promise<ModelMetadata> {
    return call(method, spec, { path: `${modelPath(spec)}/metadata` }, options, readMetadata);
  }

  async function predict(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): Promise<PredictResult> {
    const format = options.restFormat ?? "column";
    const signatureName = signatureNameOf(spec);
    const signature = options.signature ?? (await fetchMetadata("predict", spec, options)).signatures[signatureName];
    const refusal = signature === undefined ? undefined : predictRefusal(signature, inputs, options.outputFilter ?? []);
    if (refusal !== undefined) throw restError("INVALID_ARGUMENT", refusal, { method: "predict", modelSpec: spec, endpoint });
    // The server does not know the signature either, and looks at it before the inputs: the refusal is its own.
    const sent = signature === undefined ? {} : completeInputs(signature, inputs, format, formatCall("predict", spec));
    const request: RestRequest = {
      path: `${modelPath(spec)}:predict`,
      body: writePredictBody(spec.signatureName, sent, format),
    };
    return await call("predict", spec, request, options, (answer) => {
      if (signature === undefined) throw new Error(`the model answered, but its metadata has no signature "${signatureName}"`);
      return {
        outputs: wantedOutputs(readPredictBody(answer, signature, format), options.outputFilter ?? []),
        modelSpec: answeringModel(spec),
      };
    });
  }

  /** Classify and Regress: the server converts the examples by their looks and asks for no signature. */
  async function infer<Results>(
    method: "classify" | "regress",
    spec: ModelSpec,
    examples: readonly Example[],
    options: TransportExampleOptions,
    read: (answer: Uint8Array) => Results,
  ): Promise<{ results: Results; modelSpec: AnsweringModel }> {
    const body = writeExamplesBody(spec.signatureName, examples, options.context);
    const results = await call(method, spec, { path: `${modelPath(spec)}:${method}`, body }, options, read);
    return { results, modelSpec: answeringModel(spec) };
  }

  return {
    needsSignature: true,
    predict,
    classify: (spec, examples, options) => infer("classify", spec, examples, options, readClassifyBody),
    regress: (spec, examples, options) => infer("regress", spec, examples, options, readRegressBody),
    async multiInference(tasks) {
      throw unimplemented({ method: "multiInference", modelSpec: tasks[0]?.spec, endpoint });
    },
    async reloadConfig() {
      throw unimplemented({ method: "reloadConfig", endpoint });
    },
    getModelMetadata: (spec, options) => fetchMetadata("getModelMetadata", spec, options),
    getModelStatus: (spec, options) => call("getModelStatus", spec, { path: statusPath(spec) }, options, readStatuses),
    async close() {
      closing.abort();
      await dispatchers.destroy();
    },
  };
}

/** What answered, as far as the request tells: the answers over REST name neither model nor version. */
function answeringModel(spec: ModelSpec): AnsweringModel {
  const version = spec.version === undefined ? {} : { version: BigInt(spec.version) };
  return { name: spec.name, ...version, signatureName: signatureNameOf(spec) };
}

/** REST has no output filter: it is applied to the answer. */
function wantedOutputs(outputs: PredictResult["outputs"], outputFilter: readonly string[]): PredictResult["outputs"] {
  if (outputFilter.length === 0) return outputs;
  const wanted: PredictResult["outputs"] = Object.create(null);
  for (const name of outputFilter) wanted[name] = outputs[name] as PredictResult["outputs"][string];
  return wanted;
}
