/** What decides whether calls may share a request, and what a call without rows answers. */
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import type { Signature } from "../signature.js";
import { dtypes, isDType } from "../tensor/dtype.js";
import { type AnyTensor, Tensor } from "../tensor/tensor.js";
import type { PredictResult, TensorMap, TransportPredictOptions } from "../transport/transport.js";
import type { BatchMember } from "./batcher.js";

/** How much of a batch a call takes whose inputs all have the same number of rows; `undefined` for others, which cannot share a request. */
export function callSize(inputs: TensorMap): BatchMember | undefined {
  let [rows, bytes, lastRowBytes] = [-1, 0, 0];
  let isUnequal = false;
  for (const name in inputs) {
    const tensor = inputs[name] as AnyTensor;
    const [ownRows] = tensor.shape;
    // Without rows, whatever the others have: such a call must not be sent to a server that batches.
    if (ownRows === 0) return noRows;
    isUnequal ||= ownRows === undefined || (rows !== -1 && ownRows !== rows);
    if (ownRows === undefined || isUnequal) continue;
    rows = ownRows;
    if (tensor.dtype === "string") {
      const lastRowAt = tensor.values.length - tensor.values.length / rows;
      bytes += stringBytes(tensor.values, 0);
      lastRowBytes += stringBytes(tensor.values, lastRowAt);
    } else {
      bytes += tensor.values.byteLength;
      lastRowBytes += tensor.values.byteLength / rows;
    }
  }
  return rows === -1 || isUnequal ? undefined : { rows, bytes, lastRowBytes };
}

/** The size of a call that has no rows, or none that count. */
export const noRows: BatchMember = Object.freeze({ rows: 0, bytes: 0, lastRowBytes: 0 });

function stringBytes(values: readonly Uint8Array[], start: number): number {
  let total = 0;
  for (let index = start; index < values.length; index++) total += (values[index] as Uint8Array).length;
  return total;
}

/** Numbers for metadata, which is the same for two calls only if it is the same object: it may hold what tells callers apart. */
const metadataNumbers = new WeakMap<object, number>();
let nextMetadataNumber = 1;

function metadataNumber(metadata: object | undefined): number {
  if (metadata === undefined) return 0;
  const known = metadataNumbers.get(metadata);
  if (known !== undefined) return known;
  metadataNumbers.set(metadata, nextMetadataNumber);
  return nextMetadataNumber++;
}

/** Text that two calls have in common exactly if they may share a request. */
export function batchKey(spec: ModelSpec, inputs: TensorMap, options: TransportPredictOptions): string {
  const { metadata, outputFilter, restFormat = "", retry } = options;
  let key = `${modelKey(spec)} ${metadataNumber(metadata)} ${restFormat} ${retry === false}`;
  if (outputFilter !== undefined) for (const name of outputFilter) key += ` >${sized(name)}`;
  const names = Object.keys(inputs);
  if (names.length > 1) names.sort();
  for (const name of names) {
    const { dtype, shape } = inputs[name] as AnyTensor;
    key += ` ${sized(name)} ${dtype}`;
    for (let axis = 1; axis < shape.length; axis++) key += ` ${shape[axis]}`;
  }
  return key;
}

/** Text that stands for a model, version or label, and signature. */
export function modelKey(spec: ModelSpec): string {
  const { name, version, versionLabel } = spec;
  const which = version !== undefined ? `:${version}` : versionLabel !== undefined ? `@${sized(versionLabel)}` : "";
  return `${sized(name)}${which} ${sized(signatureNameOf(spec))}`;
}

/** A text that ends where its length says, whatever stands in it. Joined by hand: JSON.stringify takes several times as long. */
function sized(text: string): string {
  return `${text.length}:${text}`;
}

const fixedTensors = new WeakMap<Signature, string | false>();

/** What has the same number of rows in every call, as the signature tells, such as `output "y"`; `undefined` if nothing is known to. */
export function tensorOfFixedRows(signature: Signature): string | undefined {
  let tensor = fixedTensors.get(signature);
  if (tensor === undefined) {
    const { inputs, outputs } = signature;
    const [input, output] = [nameOfFixedRows(inputs), nameOfFixedRows(outputs)];
    tensor = input !== undefined ? `input "${input}"` : output !== undefined && `output "${output}"`;
    fixedTensors.set(signature, tensor);
  }
  return tensor === false ? undefined : tensor;
}

function nameOfFixedRows(specs: Signature["inputs"]): string | undefined {
  return Object.entries(specs).find(([, { shape }]) => shape !== null && shape[0] !== null)?.[0];
}

/**
 * The answer to a call without rows, where the signature tells it: outputs without rows. A server that batches may be ended by such a call.
 *
 * @returns `undefined` where some inputs have rows, the signature is not known, or an output's shape does not follow from it.
 */
export function answerWithoutRows(
  spec: ModelSpec,
  inputs: TensorMap,
  { signature, outputFilter = [] }: TransportPredictOptions,
): PredictResult | undefined {
  const isEmpty = Object.values(inputs).every(({ shape }) => shape[0] === 0);
  if (signature === undefined || !isEmpty || nameOfFixedRows(signature.inputs) !== undefined) return undefined;
  const outputs: PredictResult["outputs"] = Object.create(null);
  const names = outputFilter.length === 0 ? Object.keys(signature.outputs) : outputFilter;
  for (const name of names) {
    const output = Object.hasOwn(signature.outputs, name) ? signature.outputs[name] : undefined;
    const [rows, ...rest] = output?.shape ?? [0];
    if (output === undefined || rows !== null || !isDType(output.dtype)) return undefined;
    const fixed = rest.filter((dim) => dim !== null);
    if (fixed.length < rest.length) return undefined;
    outputs[name] = new Tensor(output.dtype, [0, ...fixed], new dtypes[output.dtype].array() as never, 0) as AnyTensor;
  }
  const version = spec.version === undefined ? {} : { version: BigInt(spec.version) };
  return { outputs, modelSpec: { name: spec.name, ...version, signatureName: signatureNameOf(spec) } };
}
