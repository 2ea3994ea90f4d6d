/** The edge where a gRPC status becomes an {@link RpcError}. */
import { type ErrorSubject, RpcError, type StatusCode, statusCodeFromNumber } from "../../errors.js";

/** Which call an error is about. */
export interface GrpcCallContext extends ErrorSubject {
  /** Address of the server. */
  readonly endpoint: string;
}

/** Transport name on the errors of this folder. */
const transport = "grpc";

/** What grpc-js puts behind every failed connection, with nothing behind it where the name was resolved. */
const emptyNote = /\. Resolution note: $/;

/**
 * The error for what grpc-js reported: code and text of its status.
 *
 * Anything else that is thrown while a call is made counts as `INTERNAL`.
 */
export function rpcErrorFromStatus(cause: unknown, context: GrpcCallContext): RpcError {
  const { code, details } = cause as { code?: unknown; details?: unknown };
  const name: StatusCode = typeof code === "number" ? statusCodeFromNumber(code) : "INTERNAL";
  const text =
    typeof details === "string" ? details : cause instanceof Error ? cause.message : "unexpected answer: grpc-js could not read it";
  const noted = text.replace(emptyNote, "");
  // OpenSSL ends what it says with a line break.
  const line = noted.startsWith("No connection established") ? noted.replaceAll("\n", "") : noted;
  return new RpcError({ ...context, transport, code: name, serverMessage: line, cause });
}

/** The error for a call that ends here, without a word from the server. */
export function localRpcError(code: StatusCode, text: string, context: GrpcCallContext, cause?: unknown): RpcError {
  return new RpcError({ ...context, transport, code, serverMessage: text, cause });
}
