/** What the client can add to a server's complaint: how the call differs from the signature. */
import { RpcError } from "../errors.js";
import { defaultSignatureName, type ModelSpec } from "../model-spec.js";
import { inputDifferences, outputFilterDifferences, type Signature } from "../signature.js";
import type { ModelMetadata, TensorMap } from "../transport/transport.js";
import type { PredictOptions } from "./options.js";

/** An empty name stands for the default, as on the server. */
function signatureNameOf(spec: ModelSpec): string {
  return spec.signatureName || defaultSignatureName;
}

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
    const names = Object.keys(metadata.signatures).map((name) => `"${name}"`);
    return `the model has no signature "${signatureNameOf(spec)}", only ${names.join(", ") || "(none)"}`;
  }
  const differences = [...inputDifferences(signature, tensors), ...outputFilterDifferences(signature, options.outputFilter ?? [])];
  return differences.length === 0 ? undefined : differences.join("; ");
}

/** The same error with a hint that is more to the point than the general one for its text. */
export function withHint(error: RpcError, method: string, hint: string): RpcError {
  const { code, retryable, modelSpec, endpoint, transport, serverMessage, cause } = error;
  return new RpcError({ code, retryable, modelSpec, endpoint, transport, serverMessage, cause, method, hint });
}
