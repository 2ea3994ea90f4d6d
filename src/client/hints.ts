/** What the client can add to a server's complaint: how the call differs from the signature. */
import { formatCall, isServingError, RpcError, ServingError } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { inputDifferences, outputFilterDifferences, type Signature } from "../signature.js";
import { quotedNames } from "../tensor/names.js";
import type { ModelMetadata, TensorMap } from "../transport/transport.js";
import type { CallSubject } from "./calls.js";
import type { PredictOptions } from "./options.js";

/** The signature a spec names, where the model has it. */
export function signatureOf(metadata: ModelMetadata, spec: ModelSpec): Signature | undefined {
  const name = signatureNameOf(spec);
  return Object.hasOwn(metadata.signatures, name) ? metadata.signatures[name] : undefined;
}

/** How a predict call differs from the signature it names, in one line. */
export function describeDifference(
  metadata: ModelMetadata,
  spec: ModelSpec,
  tensors: TensorMap,
  options: PredictOptions,
): string | undefined {
  const signature = signatureOf(metadata, spec);
  if (signature === undefined) {
    return `the model has no signature "${signatureNameOf(spec)}", only ${quotedNames(Object.keys(metadata.signatures))}`;
  }
  const differences = [...inputDifferences(signature, tensors), ...outputFilterDifferences(signature, options.outputFilter ?? [])];
  return differences.length === 0 ? undefined : differences.join("; ");
}

/** That another version answers than the one whose signature was known, at the start of a hint; empty where that is not so. */
export function describeChange(known: ModelMetadata | undefined, now: ModelMetadata | undefined): string {
  const [before, after] = [known?.modelSpec.version, now?.modelSpec.version];
  if (before === undefined || after === undefined || before === after) return "";
  return `version ${after} has taken over from version ${before}: `;
}

/** A failure of a look-up as one of the call that needed it. */
export function errorOfLookUp(call: CallSubject, error: ServingError): ServingError {
  if (isServingError(error, "RpcError")) return errorOfCall(call, error);
  const { code, retryable, hint, cause, message } = error;
  const own = `${code}: ${formatCall("getModelMetadata", call.spec)}: `;
  const text = message.startsWith(own) ? message.slice(own.length) : message;
  return new ServingError(`${code}: ${formatCall(call.method, call.spec)}: ${text}`, { code, retryable, hint, cause });
}

/** The same error as one of this call, with a hint that is more to the point than its own where there is one. */
export function errorOfCall({ method, spec }: CallSubject, error: RpcError, hint = error.hint): RpcError {
  const { code, retryable, endpoint, transport, serverMessage, cause } = error;
  return new RpcError({ code, retryable, modelSpec: spec, endpoint, transport, serverMessage, cause, method, hint });
}
