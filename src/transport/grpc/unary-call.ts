/** One unary call as a promise that keeps to the caller's deadline and signal. */
import { type Channel, status } from "@grpc/grpc-js";
import type { CallMetadata, TransportCallOptions } from "../transport.js";
import { metadataToGrpc } from "./call-metadata.js";
import { type GrpcCallContext, localRpcError, rpcErrorFromStatus } from "./error.js";

/**
 * Less than this left, and the call is not sent: TensorFlow Serving cuts the deadline to whole milliseconds and takes 0 as no limit, so
 * the graph would run to its end for nobody.
 */
const minRemainingMs = 2;

/** What a call needs from its channel. */
export interface UnaryChannel {
  readonly connection: Channel;
  /** Calls under way; whoever closes the channel cancels them. */
  readonly running: Set<{ cancel(): void }>;
  /** Whether the channel takes no more calls. */
  readonly closed: boolean;
}

/**
 * Send one request and wait for its response, both as bytes.
 *
 * It uses the channel's calls instead of `Client.makeUnaryRequest`, which makes an Error with a stack for every call.
 *
 * @throws RpcError for every status but OK.
 * @throws The `reason` of the signal, as it is, once that aborts; the call is cancelled then, or never sent.
 */
export async function unaryCall(
  channel: UnaryChannel,
  path: string,
  request: Buffer,
  options: TransportCallOptions,
  context: GrpcCallContext,
): Promise<Uint8Array> {
  options.signal?.throwIfAborted();
  const metadata = metadataToGrpc(await callMetadata(options, context));
  const remainingMs = options.deadline - performance.now();
  if (remainingMs < minRemainingMs) throw deadlineExceeded(context);
  if (channel.closed) throw localRpcError("CANCELLED", "the transport is closed", context);
  return await untilAborted(options.signal, (resolve, reject) => {
    const call = channel.connection.createCall(path, Date.now() + remainingMs, undefined, null, undefined);
    const cancel = () => call.cancelWithStatus(status.CANCELLED, "cancelled by the client");
    const running = { cancel };
    let response: Uint8Array | undefined;
    channel.running.add(running);
    call.start(metadata, {
      onReceiveMetadata() {},
      onReceiveMessage(message: Buffer) {
        response = message;
      },
      onReceiveStatus(result) {
        channel.running.delete(running);
        if (result.code !== status.OK) reject(rpcErrorFromStatus(result, context));
        else if (response === undefined) reject(localRpcError("INTERNAL", "the server sent no message", context));
        else resolve(response);
      },
    });
    call.sendMessageWithContext({}, request);
    call.startRead();
    call.halfClose();
    return cancel;
  });
}

/** The metadata of this attempt; a function that does not answer in time cannot hold the call up. */
async function callMetadata(options: TransportCallOptions, context: GrpcCallContext): Promise<CallMetadata> {
  const { metadata = {}, signal, deadline } = options;
  if (typeof metadata !== "function") return metadata;
  return await untilAborted(signal, (resolve, reject) => {
    const timer = setTimeout(() => reject(deadlineExceeded(context)), Math.min(deadline - performance.now(), maxTimerMs));
    const stop = () => clearTimeout(timer);
    Promise.resolve().then(metadata).then(resolve, reject).finally(stop);
    return stop;
  });
}

/** Node fires timers beyond 2^31 - 1 ms at once. */
const maxTimerMs = 2 ** 31 - 1;

/** Like `new Promise`, but rejects with the signal's reason on abort; `start` gives back what stops the work. */
function untilAborted<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = () => {
      stop();
      reject(signal?.reason);
    };
    const done = () => signal?.removeEventListener("abort", onAbort);
    const stop = start(
      (value) => {
        done();
        resolve(value);
      },
      (error) => {
        done();
        reject(error);
      },
    );
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

function deadlineExceeded(context: GrpcCallContext) {
  return localRpcError("DEADLINE_EXCEEDED", "the deadline passed before the call was sent", context);
}
