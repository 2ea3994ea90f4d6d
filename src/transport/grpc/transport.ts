/** Calls over gRPC: one channel to one server. */
import type { ChannelOptions } from "@grpc/grpc-js";
import { maxTimerMs } from "../../deadline.js";
import type { ModelSpec } from "../../model-spec.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../predict-codec.js";
import type { TlsCredentials } from "../tls.js";
import type { Transport, TransportCallOptions } from "../transport.js";
import { createChannels } from "./channels.js";
import { type GrpcCallContext, localRpcError } from "./error.js";
import { framed } from "./frame.js";
import type { GeneratedCall } from "./generated-calls.js";
import { unaryCall } from "./unary-call.js";

/** Options of {@link createGrpcTransport}. */
export interface GrpcTransportOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path`. */
  target: string;
  /** Stands before the path of every method. @defaultValue nothing */
  prefix?: string | undefined;
  /** What connections are encrypted with. @defaultValue not encrypted */
  tls?: TlsCredentials | undefined;
  /** `"environment"`: through the proxy that grpc-js finds in the environment. @defaultValue none */
  proxy?: "environment" | undefined;
  /** Sent as `:authority` instead of the target. */
  authority?: string | undefined;
  /** Time between keepalive pings while calls run, in milliseconds. @defaultValue 310_000 */
  keepaliveMs?: number | undefined;
  /** Answers of more bytes are refused. @defaultValue unlimited */
  maxResponseBytes?: number | undefined;
}

/** What {@link GrpcTransportOptions} leaves out. */
export const grpcTransportDefaults = Object.freeze({
  // TensorFlow Serving ends a connection at the 5th ping that comes within 5 minutes of the one before while it sends nothing.
  keepaliveMs: 310_000,
});

const unlimited = -1;

const channelDefaults: ChannelOptions = {
  // The default window of 64 KiB makes a response of many MiB wait for round trips.
  "grpc-node.flow_control_window": 16 * 1024 * 1024,
  "grpc.max_send_message_length": unlimited,
  // Statistics of every call, which nobody here reads.
  "grpc.enable_channelz": 0,
  // Its retries switch themselves off above 1 MiB, and a DNS TXT record could configure others.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.keepalive_permit_without_calls": 0,
  // A connection of its own for each channel: one that is opened to probe a server must not wait for another's next attempt to connect.
  "grpc.use_local_subchannel_pool": 1,
  // While a server cannot be reached, calls fail at once until the next attempt; by default that may be two minutes after it is up.
  "grpc.initial_reconnect_backoff_ms": 250,
  "grpc.max_reconnect_backoff_ms": 2000,
};

const predictMethod = "/tensorflow.serving.PredictionService/Predict";

/**
 * A transport over gRPC to one server.
 *
 * It connects at the first call. While no call runs, its connection does not keep the process alive. What grpc-js cannot end is an attempt to
 * reach a host that does not even refuse: closed or not, it stays until the system gives up.
 */
export function createGrpcTransport(options: GrpcTransportOptions): Transport {
  const { target, prefix = "", tls, proxy, authority } = options;
  const { keepaliveMs = grpcTransportDefaults.keepaliveMs, maxResponseBytes = Number.POSITIVE_INFINITY } = options;
  const channelOptions: ChannelOptions = {
    ...channelDefaults,
    // By default, connect to the address given, as the REST transport does, whatever http_proxy says.
    "grpc.enable_http_proxy": proxy === undefined ? 0 : 1,
    "grpc.keepalive_time_ms": Math.min(keepaliveMs, maxTimerMs),
    // grpc-js refuses responses above 4 MiB by default; the server has no limit.
    "grpc.max_receive_message_length": Number.isFinite(maxResponseBytes) ? maxResponseBytes : unlimited,
    ...(authority === undefined ? {} : { "grpc.default_authority": authority }),
  };
  const settings = { target: channelTarget(target), host: hostOf(target), options: channelOptions };
  const channels = createChannels(settings, tls);
  const predictPath = `${prefix}${predictMethod}`;

  /** A call through generated code, which is loaded now if this is the first. */
  async function generatedCall<Request, Result>(
    context: GrpcCallContext,
    pick: (calls: GeneratedCalls) => GeneratedCall<Request, Result>,
    request: Request,
    callOptions: TransportCallOptions,
  ): Promise<Result> {
    const { path, encode, decode } = pick(await import("./generated-calls.js"));
    const call = { path: prefix + path, context, encode: () => Buffer.from(encode(request)), decode };
    return await unaryCall(channels, call, callOptions);
  }

  const contextOf = (method: string, modelSpec?: ModelSpec): GrpcCallContext => ({ method, modelSpec, endpoint: target + prefix });

  return {
    predict(spec, inputs, callOptions) {
      const encode = () => framed(new EncodedPredictRequest(spec, inputs, callOptions.outputFilter));
      const context = contextOf("predict", spec);
      return unaryCall(channels, { path: predictPath, context, encode, decode: decodePredictResponse }, callOptions);
    },
    classify(spec, examples, callOptions) {
      const request = { about: spec, examples, context: callOptions.context };
      return generatedCall(contextOf("classify", spec), (calls) => calls.classifyCall, request, callOptions);
    },
    regress(spec, examples, callOptions) {
      const request = { about: spec, examples, context: callOptions.context };
      return generatedCall(contextOf("regress", spec), (calls) => calls.regressCall, request, callOptions);
    },
    multiInference(tasks, examples, callOptions) {
      const request = { about: tasks, examples, context: callOptions.context };
      return generatedCall(contextOf("multiInference", tasks[0]?.spec), (calls) => calls.multiInferenceCall, request, callOptions);
    },
    getModelMetadata(spec, callOptions) {
      return generatedCall(contextOf("getModelMetadata", spec), (calls) => calls.getModelMetadataCall, spec, callOptions);
    },
    getModelStatus(spec, callOptions) {
      return generatedCall(contextOf("getModelStatus", spec), (calls) => calls.getModelStatusCall, spec, callOptions);
    },
    async reloadConfig(config, callOptions) {
      const context = contextOf("reloadConfig");
      const { code, message } = await generatedCall(context, (calls) => calls.reloadConfigCall, config, callOptions);
      if (code !== "OK") throw localRpcError(code, message, context);
    },
    async close() {
      channels.close();
    },
  };
}

type GeneratedCalls = typeof import("./generated-calls.js");

/** The target in grpc-js's grammar; without the scheme a host named like one, `dns:8500`, would be taken for it. */
function channelTarget(target: string): string {
  return target.startsWith("unix:") ? target : `dns:${target}`;
}

/** The host in a target; a server behind a Unix socket is on this one. */
function hostOf(target: string): string {
  return target.startsWith("unix:") ? "localhost" : target.slice(0, target.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}
