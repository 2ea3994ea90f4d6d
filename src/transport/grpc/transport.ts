/** Calls over gRPC: one channel to one server. */
import { Channel, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { type ErrorModelSpec, isServingError } from "../../errors.js";
import type { ModelSpec } from "../../model-spec.js";
import { decodePredictResponse, EncodedPredictRequest } from "../../predict-codec.js";
import type { Transport, TransportCallOptions } from "../transport.js";
import { localRpcError } from "./error.js";
import { framed } from "./frame.js";
import { unaryCall } from "./unary-call.js";

/** Options of {@link createGrpcTransport}. */
export interface GrpcTransportOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path`. */
  target: string;
  /** Sent as `:authority` instead of the target. */
  authority?: string | undefined;
  /** Time between keepalive pings while calls run, in milliseconds. @defaultValue 310_000 */
  keepaliveMs?: number | undefined;
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
  // grpc-js refuses responses above 4 MiB by default; the server has no limit.
  "grpc.max_receive_message_length": unlimited,
  "grpc.max_send_message_length": unlimited,
  // Its retries switch themselves off above 1 MiB, and a DNS TXT record could configure others.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.keepalive_permit_without_calls": 0,
  // Connect to the address given, as the REST transport does, whatever http_proxy says.
  "grpc.enable_http_proxy": 0,
};

const predictPath = "/tensorflow.serving.PredictionService/Predict";

/**
 * A transport over plaintext gRPC to one server.
 *
 * It connects at the first call. While no call runs, its connection does not keep the process alive.
 */
export function createGrpcTransport(options: GrpcTransportOptions): Transport {
  const { target, authority, keepaliveMs = grpcTransportDefaults.keepaliveMs } = options;
  const connection = new Channel(channelTarget(target), credentials.createInsecure(), {
    ...channelDefaults,
    "grpc.keepalive_time_ms": keepaliveMs,
    ...(authority === undefined ? {} : { "grpc.default_authority": authority }),
  });
  const channel = { connection, running: new Set<{ cancel(): void }>(), closed: false };

  async function call<Result>(
    method: string,
    path: string,
    spec: ModelSpec,
    request: Buffer,
    callOptions: TransportCallOptions,
    decode: (response: Uint8Array) => Result,
  ): Promise<Result> {
    const context = { method, modelSpec: errorModelSpec(spec), endpoint: target };
    const response = await unaryCall(channel, path, request, callOptions, context);
    try {
      return decode(response);
    } catch (cause) {
      // A TensorError names the output already; anything else means the server speaks another language.
      if (isServingError(cause, "TensorError")) throw cause;
      throw localRpcError("INTERNAL", (cause as Error).message, context, cause);
    }
  }

  return {
    async predict(spec, inputs, callOptions) {
      const request = await framed(new EncodedPredictRequest(spec, inputs, callOptions.outputFilter));
      return await call("predict", predictPath, spec, request, callOptions, decodePredictResponse);
    },
    async getModelMetadata(spec, callOptions) {
      const { path, encode, decode } = (await import("./generated-calls.js")).getModelMetadataCall;
      return await call("getModelMetadata", path, spec, Buffer.from(encode(spec)), callOptions, decode);
    },
    async getModelStatus(spec, callOptions) {
      const { path, encode, decode } = (await import("./generated-calls.js")).getModelStatusCall;
      return await call("getModelStatus", path, spec, Buffer.from(encode(spec)), callOptions, decode);
    },
    async close() {
      channel.closed = true;
      for (const running of channel.running) running.cancel();
      connection.close();
    },
  };
}

/** The spec as errors show it: fields that are not set are absent. */
function errorModelSpec({ name, version, versionLabel, signatureName }: ModelSpec): ErrorModelSpec {
  return {
    name,
    ...(version === undefined ? {} : { version }),
    ...(versionLabel === undefined ? {} : { versionLabel }),
    ...(signatureName === undefined ? {} : { signatureName }),
  };
}

/** The target in grpc-js's grammar; without the scheme a host named like one, `dns:8500`, would be taken for it. */
function channelTarget(target: string): string {
  return target.startsWith("unix:") ? target : `dns:${target}`;
}
