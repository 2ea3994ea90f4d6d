/** From what callers pass as inputs to the tensors that are sent. */
import { SignatureError } from "./errors.js";
import { describeNotPlain, isPlainObject } from "./plain-object.js";
import { assertInputsFit, type InputValue, inputsFromPlain, type Signature, soleInputName } from "./signature.js";
import { type AnyTensor, isTensor, type TensorLike, tensorFrom } from "./tensor/tensor.js";
import type { TensorMap } from "./transport/transport.js";

/** Inputs of a predict call: values by input name, or the bare value for a model with one input. */
export type PredictInputs = Readonly<Record<string, InputValue>> | InputValue;

/**
 * The inputs where they can be sent as they are: a record of nothing but tensors.
 *
 * @throws TypeError if inputs are missing.
 */
export function tensorsOnly(inputs: PredictInputs): TensorMap | undefined {
  if (inputs === undefined || inputs === null) throw new TypeError(`inputs: expected a record or a value, got ${inputs}`);
  return isNamed(inputs) && Object.values(inputs).every(isTensor) ? (inputs as TensorMap) : undefined;
}

/**
 * The tensors to send to a signature.
 *
 * @param subject - What is tried, as it stands at the start of messages.
 * @throws SignatureError listing every difference; without `check` only what cannot be converted.
 */
export function inputsFor(signature: Signature, inputs: PredictInputs, subject: string, check: boolean): TensorMap {
  const tensors = tensorsOnly(inputs);
  if (tensors === undefined) {
    const named = isNamed(inputs) ? inputs : { [soleInputName(signature, subject)]: inputs };
    return inputsFromPlain(signature, named, subject, { check });
  }
  if (check) assertInputsFit(signature, tensors, subject);
  return tensors;
}

/** Name for a bare value in a call that the server is going to refuse. */
const unknownInputName = "inputs";

/** Tensors by the values' own looks, for a signature that the model does not have: the server's own error is to come back. */
export function inputsWithoutSignature(inputs: PredictInputs, subject: string): TensorMap {
  const named = isNamed(inputs) ? inputs : { [unknownInputName]: inputs };
  const tensors: Record<string, AnyTensor> = Object.create(null);
  for (const [name, value] of Object.entries(named)) {
    try {
      tensors[name] = isTensor(value) ? value : tensorFrom(value as TensorLike);
    } catch (error) {
      throw new SignatureError(subject, [`input "${name}": ${(error as Error).message}`]);
    }
  }
  return tensors;
}

/**
 * Whether inputs are values by name rather than one bare value.
 *
 * @throws TypeError for an object that is neither.
 */
export function isNamed(inputs: PredictInputs): inputs is Readonly<Record<string, InputValue>> {
  if (typeof inputs !== "object" || isTensor(inputs) || Array.isArray(inputs) || ArrayBuffer.isView(inputs)) return false;
  if (isPlainObject(inputs)) return true;
  throw new TypeError(`inputs: expected a plain object of values by name, or one value, got ${describeNotPlain(inputs)}`);
}
