/** Calls over gRPC: one channel to one server. */
import { Channel, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { maxTimerMs } from "../../deadline.js";
import type { ModelSpec } from "../../model-spec.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../predict-codec.js";
import type { Transport, TransportCallOptions } from "../transport.js";
import { type GrpcCallContext, localRpcError } from "./error.js";
import { framed } from "./frame.js";
import type { GeneratedCall } from "./generated-calls.js";
import { RunningCalls } from "./running-calls.js";
import { unaryCall } from "./unary-call.js";

/** Options of {@link createGrpcTransport}. */
export interface GrpcTransportOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path`. */
  target: string;
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
  // While a server cannot be reached, calls fail at once until the next attempt; by default that may be two minutes after it is up.
  "grpc.initial_reconnect_backoff_ms": 250,
  "grpc.max_reconnect_backoff_ms": 2000,
  // Connect to the address given, as the REST transport does, whatever http_proxy says.
  "grpc.enable_http_proxy": 0,
};

const predictPath = "/tensorflow.serving.PredictionService/Predict";

/**
 * A transport over plaintext gRPC to one server.
 *
 * It connects at the first call. While no call runs, its connection does not keep the process alive. What grpc-js cannot end is a connection
 * to a peer that accepts TCP but never speaks HTTP/2: closed or not, it stays until the peer ends it.
 */
export function createGrpcTransport(options: GrpcTransportOptions): Transport {
  const { target, authority, keepaliveMs = grpcTransportDefaults.keepaliveMs, maxResponseBytes = Number.POSITIVE_INFINITY } = options;
  const connection = new Channel(channelTarget(target), credentials.createInsecure(), {
    ...channelDefaults,
    "grpc.keepalive_time_ms": Math.min(keepaliveMs, maxTimerMs),
    // grpc-js refuses responses above 4 MiB by default; the server has no limit.
    "grpc.max_receive_message_length": Number.isFinite(maxResponseBytes) ? maxResponseBytes : unlimited,
    ...(authority === undefined ? {} : { "grpc.default_authority": authority }),
  });
  const channel = { connection, running: new RunningCalls(), closed: false };

  /** A call through generated code, which is loaded now if this is the first. */
  async function generatedCall<Request, Result>(
    context: GrpcCallContext,
    pick: (calls: GeneratedCalls) => GeneratedCall<Request, Result>,
    request: Request,
    callOptions: TransportCallOptions,
  ): Promise<Result> {
    const { path, encode, decode } = pick(await import("./generated-calls.js"));
    return await unaryCall(channel, { path, context, encode: () => Buffer.from(encode(request)), decode }, callOptions);
  }

  const contextOf = (method: string, modelSpec?: ModelSpec): GrpcCallContext => ({ method, modelSpec, endpoint: target });

  return {
    predict(spec, inputs, callOptions) {
      const encode = () => framed(new EncodedPredictRequest(spec, inputs, callOptions.outputFilter));
      const context = contextOf("predict", spec);
      return unaryCall(channel, { path: predictPath, context, encode, decode: decodePredictResponse }, callOptions);
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
      channel.closed = true;
      channel.running.close();
      connection.close();
    },
  };
}

type GeneratedCalls = typeof import("./generated-calls.js");

/** The target in grpc-js's grammar; without the scheme a host named like one, `dns:8500`, would be taken for it. */
function channelTarget(target: string): string {
  return target.startsWith("unix:") ? target : `dns:${target}`;
}
