/** Requests that the server refuses. */
import { isServingError, ServingError, type StatusCode } from "../errors.js";

/** A request that the server refuses, in the words of TensorFlow Serving. */
export function refusal(code: StatusCode, message: string, cause?: unknown): ServingError {
  return new ServingError(message, { code, cause });
}

/** An error of the user's code as the answer to a call: errors of this package keep their code and words, all others are INTERNAL. */
export function failureOf(error: unknown): ServingError {
  if (isServingError(error) && error.code !== "OK") {
    return refusal(error.code, isServingError(error, "RpcError") ? error.serverMessage : error.message, error);
  }
  return refusal("INTERNAL", error instanceof Error ? error.message : String(error), error);
}
