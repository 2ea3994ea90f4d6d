/** One unary call as a promise that keeps to the caller's deadline and signal. */
import { type Channel, connectivityState, type StatusObject, status } from "@grpc/grpc-js";
import { atDeadline, minRemainingMs, onAbort, passedBeforeAnswer, passedBeforeSending, untilAborted } from "../../deadline.js";
import { metadataFailure } from "../../error-hints.js";
import { formatCall, isServingError, ServingError, servingErrorOf, tensorErrorOf } from "../../errors.js";
import type { RunningCall } from "../../running-calls.js";
import type { CallMetadata, TransportCallOptions } from "../transport.js";
import { metadataToGrpc } from "./call-metadata.js";
import type { Channels, UnaryChannel } from "./channels.js";
import { type GrpcCallContext, localRpcError, rpcErrorFromStatus } from "./error.js";
import { lazyMessage } from "./frame.js";

/** One call to make. */
export interface UnaryCall<Result> {
  readonly path: string;
  readonly context: GrpcCallContext;
  /** The request; what it throws is the caller's mistake. */
  encode(): Buffer;
  /** The result in a response. */
  decode(response: Uint8Array): Result;
}

/**
 * Send one request and wait for its response.
 *
 * It uses the channel's calls instead of `Client.makeUnaryRequest`, which makes an Error with a stack for every call. One promise carries
 * the whole call, since each one around it costs as much as decoding a small tensor.
 *
 * @throws RpcError for every status but OK.
 * @throws ServingError where the metadata function fails or the TLS credentials cannot be used; nothing was sent then.
 * @throws TensorError for an output that is no tensor.
 * @throws The `reason` of the signal, as it is, once that aborts; the call is cancelled then, or never sent.
 */
export function unaryCall<Result>(channels: Channels, call: UnaryCall<Result>, options: TransportCallOptions): Promise<Result> {
  const { metadata } = options;
  if (typeof metadata !== "function") return sent(channels, call, options, metadata);
  return askedMetadata(metadata, options, call.context).then((given) => sent(channels, call, options, given));
}

function sent<Result>(
  channels: Channels,
  { path, context, encode, decode }: UnaryCall<Result>,
  { signal, deadline }: TransportCallOptions,
  metadata: CallMetadata = {},
): Promise<Result> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const headers = metadataToGrpc(metadata);
    const request = encoded(encode, context);
    const lazy = lazyMessage(request);
    const remainingMs = deadline - performance.now();
    if (remainingMs < minRemainingMs) throw deadlineExceeded(context, passedBeforeSending);
    if (channels.closed) throw localRpcError("CANCELLED", "the transport is closed", context);
    const channel = channelFor(channels, context);
    const { connection, running, heardAt } = channel;
    // grpc-js keeps the deadline only where the call has to wait for a connection: it alone knows when it sends it then.
    const isConnected = connection.getConnectivityState(false) === connectivityState.READY;
    if (isConnected) headers.set("grpc-timeout", timeoutText(remainingMs));
    const grpcDeadline = isConnected ? Number.POSITIVE_INFINITY : Date.now() + remainingMs;
    let call: ReturnType<Channel["createCall"]> | undefined;
    let isCancelled = false;
    let hasHeaders = false;
    let response: Uint8Array | undefined;
    const cancel = () => {
      isCancelled = true;
      call?.cancelWithStatus(status.CANCELLED, "cancelled by the client");
    };
    const underWay: RunningCall = {
      deadline: isConnected ? deadline : Number.POSITIVE_INFINITY,
      cancel,
      expire() {
        reject(deadlineExceeded(context, passedBeforeAnswer));
        if (channel.heardAt === heardAt) channels.doubt(channel, true);
        cancel();
      },
    };
    const release =
      signal &&
      onAbort(signal, () => {
        reject(signal.reason);
        cancel();
      });
    running.add(underWay);
    try {
      call = connection.createCall(path, grpcDeadline, undefined, null, undefined);
      call.start(headers, {
        onReceiveMetadata() {
          hasHeaders = true;
        },
        onReceiveMessage(message: Buffer) {
          // A second message would stand behind it unread, until the deadline: looking for one takes a twentieth of each call's CPU time.
          response = message;
        },
        onReceiveStatus(result) {
          if (!isConnected && !hasHeaders && result.code === status.DEADLINE_EXCEEDED) channels.doubt(channel, false);
          else if (!isCancelled) channel.heardAt = performance.now();
          running.delete(underWay);
          release?.();
          try {
            if (lazy?.failure !== undefined) throw requestError(lazy.failure, context);
            const loss = lossIn(result, hasHeaders);
            if (loss !== undefined) throw localRpcError("UNAVAILABLE", `Connection dropped: ${loss}`, context, result);
            resolve(resultOf(result, response, decode, context));
          } catch (error) {
            reject(error);
          }
        },
      });
      call.sendMessageWithContext({}, request);
      call.startRead();
      call.halfClose();
    } catch (cause) {
      running.delete(underWay);
      release?.();
      reject(rpcErrorFromStatus(cause, context));
      // Some of it may be on its way.
      cancel();
    }
  });
}

function channelFor(channels: Channels, context: GrpcCallContext): UnaryChannel {
  try {
    return channels.forCall();
  } catch (error) {
    throw isServingError(error) ? servingErrorOf(context, error) : error;
  }
}

function encoded(encode: () => Buffer, context: GrpcCallContext): Buffer {
  try {
    return encode();
  } catch (error) {
    throw requestError(error, context);
  }
}

/** The caller's mistake in a request; one in an input names the call, too. */
function requestError(error: unknown, context: GrpcCallContext): unknown {
  return isServingError(error, "TensorError") ? tensorErrorOf(context, error) : error;
}

/** What to call the loss of a connection that grpc-js does not report as one. */
function lossIn({ code, details }: StatusObject, hasHeaders: boolean): string | undefined {
  if (code !== status.INTERNAL) return undefined;
  // The end of calls that a server of Node.js cuts off together with their connection.
  if (!hasHeaders && details.startsWith("Received RST_STREAM with code 0")) return details;
  return details.startsWith("Received RST_STREAM") && details.includes("SSL routines") ? "a TLS record was damaged on its way" : undefined;
}

/** What a finished call answered, or its error. */
function resultOf<Result>(
  result: StatusObject,
  response: Uint8Array | undefined,
  decode: (response: Uint8Array) => Result,
  context: GrpcCallContext,
): Result {
  if (result.code !== status.OK) throw rpcErrorFromStatus(result, context);
  if (response === undefined) throw localRpcError("INTERNAL", "unexpected answer: the server sent no message", context);
  try {
    return decode(response);
  } catch (cause) {
    // Anything but an output that is no tensor means that the server speaks another language.
    if (isServingError(cause, "TensorError")) throw tensorErrorOf(context, cause);
    throw localRpcError("INTERNAL", `unexpected answer: ${(cause as Error).message}`, context, cause);
  }
}

/** The value of `grpc-timeout`: at most 8 digits and a unit ("Requests" in the gRPC specification, PROTOCOL-HTTP2.md). */
function timeoutText(remainingMs: number): string {
  const ms = Math.ceil(remainingMs);
  return ms < 1e8 ? `${ms}m` : `${Math.min(Math.ceil(ms / 1000), 99_999_999)}S`;
}

/** The metadata of this attempt; a function that does not answer in time cannot hold the call up. */
function askedMetadata(
  ask: () => Promise<CallMetadata>,
  { signal, deadline }: TransportCallOptions,
  context: GrpcCallContext,
): Promise<CallMetadata> {
  return untilAborted(signal, (resolve, reject) => {
    const stop = atDeadline(deadline, () => reject(deadlineExceeded(context, passedBeforeSending)));
    const fail = (cause: unknown) => reject(metadataError(cause, context));
    Promise.resolve().then(ask).then(resolve, fail).finally(stop);
    return stop;
  });
}

function metadataError(cause: unknown, { method, modelSpec }: GrpcCallContext): ServingError {
  const { code, text, hint } = metadataFailure(cause);
  return new ServingError(`${code}: ${formatCall(method, modelSpec)}: ${text}`, { code, hint, cause });
}

function deadlineExceeded(context: GrpcCallContext, text: string) {
  return localRpcError("DEADLINE_EXCEEDED", text, context);
}
