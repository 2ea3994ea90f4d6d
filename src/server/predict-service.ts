/**
 * What every front of the server does with a request: find the servable, check, run, check the answer.
 *
 * Order, codes and texts are those of TensorFlow Serving 2.20.0 (`predict_util.cc`, `get_model_metadata_impl.cc`).
 */
import { maxTimerMs } from "../deadline.js";
import { inferenceMethodNames } from "../inference-messages.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { type Signature, tensorNameOf } from "../signature.js";
import type { DType, UnsupportedDType } from "../tensor/dtype.js";
import { type AnyTensor, tensor } from "../tensor/tensor.js";
import type { ModelMetadata, PredictResult, TensorMap } from "../transport/transport.js";
import type { RunModel } from "./batching.js";
import { failureOf, refusal } from "./refusal.js";
import { type PredictContext, tensorsFromOutputs } from "./servable.js";
import { leaveRunning, type ServableHandle, type ServableSource, whileHeld } from "./servable-handle.js";

/** An input that was sent: a tensor, or one whose dtype this package has no tensors for but TensorFlow has. */
export type SentInput = AnyTensor | { readonly dtype: UnsupportedDType };

/** The inputs of a request, decoded one by one because refusals come in that order. */
export interface SentInputs {
  readonly names: readonly string[];
  /** @throws TensorError if the input cannot be decoded. */
  decode(name: string): SentInput;
}

/** The short names TensorFlow prints for dtypes, where they are not ours. */
const tensorFlowNames: Readonly<Record<string, string>> = { float32: "float", float64: "double", float16: "half" };

/** A dtype as TensorFlow's messages name it. */
export function tensorFlowDType(dtype: DType | UnsupportedDType): string {
  return tensorFlowNames[dtype] ?? dtype;
}

/** Signature of a servable, by own names only. */
export function findSignature(handle: ServableHandle, name: string): Signature | undefined {
  const { signatures } = handle.loaded.servable;
  return Object.hasOwn(signatures, name) ? signatures[name] : undefined;
}

/**
 * Answer a Predict call as gRPC does.
 *
 * @param deadline - In milliseconds of `performance.now()`; infinite for none.
 * @throws ServingError as the real server answers.
 */
export async function predict(
  manager: ServableSource,
  spec: ModelSpec,
  sent: SentInputs,
  options: { readonly outputFilter: readonly string[]; readonly deadline: number },
): Promise<PredictResult> {
  const handle = manager.resolve(spec);
  const signatureName = signatureNameOf(spec);
  const signature = findSignature(handle, signatureName);
  if (signature === undefined) throw refusal("FAILED_PRECONDITION", `Serving signature key "${signatureName}" not found.`);
  checkMethodName(handle, signature, "predict");
  const inputs = collectInputs(signature, sent);
  checkOutputFilter(signature, options.outputFilter);
  return run(handle, signatureName, inputs, options);
}

/**
 * Run a servable on inputs that are complete, in a batch with others where the server makes batches.
 *
 * @throws ServingError if a dtype differs, the deadline passes, the servable fails, or its answer does not fit the signature.
 */
export async function run(
  handle: ServableHandle,
  signatureName: string,
  inputs: Readonly<Record<string, SentInput>>,
  { outputFilter, deadline }: { readonly outputFilter: readonly string[]; readonly deadline: number },
): Promise<PredictResult> {
  const { loaded, batching } = handle;
  const signature = findSignature(handle, signatureName) as Signature;
  checkDTypes(signature, inputs);
  // Their dtypes are those of the signature now, so all of them are tensors.
  const tensors = inputs as TensorMap;
  const outputs = outputFilter.length > 0 ? outputFilter : Object.keys(signature.outputs);
  const runModel: RunModel = async (given, until) => {
    const invoke = (context: PredictContext) => loaded.servable.predict(given, context);
    const answer = await callServable(handle, { signatureName, deadline: until }, invoke);
    return tensorsFromOutputs(answer, signature, outputs, subjectOf(handle, signatureName));
  };
  const computed = await whileHeld(handle, () =>
    batching === undefined
      ? runModel(tensors, deadline)
      : batching.run({ loaded, signatureName, signature, inputs: tensors, outputs, deadline }, runModel),
  );
  return { outputs: computed, modelSpec: { name: handle.name, version: handle.version, signatureName } };
}

/** @throws ServingError if the server checks method names and that of the signature is not one for this call. */
export function checkMethodName(
  { checksMethodNames }: ServableHandle,
  { methodName }: Signature,
  method: "predict" | "classify" | "regress",
): void {
  const { classify, regress } = inferenceMethodNames;
  const allowed = method === "predict" ? ["tensorflow/serving/predict", classify, regress] : [inferenceMethodNames[method]];
  if (!checksMethodNames || allowed.includes(methodName)) return;
  if (method === "predict") {
    const names = allowed.join(", ");
    throw refusal("INTERNAL", `Expected prediction signature method_name to be one of {${names}}. Was: ${methodName}`);
  }
  const kind = method === "classify" ? "classification" : "regression";
  throw refusal("INVALID_ARGUMENT", `Expected ${kind} signature method_name to be ${allowed[0]}. Was: ${methodName}`);
}

/** What errors of a servable's making call it. */
export function subjectOf({ name, version }: ServableHandle, signatureName: string): string {
  return `model "${name}" version ${version}, signature "${signatureName}"`;
}

/** Signatures of the model a spec means. */
export function modelMetadata(manager: ServableSource, spec: ModelSpec): ModelMetadata {
  const { name, version, loaded } = manager.resolve(spec);
  return { modelSpec: { name, version }, signatures: Object.assign(Object.create(null), loaded.servable.signatures) };
}

function collectInputs(signature: Signature, sent: SentInputs): Record<string, SentInput> {
  const expected = Object.keys(signature.inputs);
  const defaults = expected.filter((name) => signature.inputs[name]?.default !== undefined);
  if (sent.names.length > expected.length || (sent.names.length < expected.length && defaults.length === 0)) {
    throw refusal("INVALID_ARGUMENT", sizeMismatch(sent.names, expected));
  }
  const inputs: Record<string, SentInput> = Object.create(null);
  const sentNames = new Set(sent.names);
  const used: string[] = [];
  for (const name of expected) {
    if (sentNames.has(name)) {
      inputs[name] = decode(sent, name);
      used.push(name);
      continue;
    }
    const value = signature.inputs[name]?.default;
    if (value === undefined) {
      const feed = `${name}(feed name: ${tensorNameOf(name, signature.inputs[name])})`;
      throw refusal(
        "INVALID_ARGUMENT",
        `Signature input alias: ${feed} not found in request and no default value provided. ` +
          `Inputs expected to be in the request {${sorted(sent.names)}}, or default input alias set: ${sorted(defaults)}`,
      );
    }
    inputs[name] = copyTensor(value);
  }
  if (used.length !== sent.names.length) {
    const text = `Inputs contains invalid name. Used request inputs: ${sorted(used)}, request input: ${sorted(sent.names)}`;
    throw refusal("INVALID_ARGUMENT", text);
  }
  return inputs;
}

function sizeMismatch(sent: readonly string[], expected: readonly string[]): string {
  const [sentNames, expectedNames] = [new Set(sortedByBytes(sent)), new Set(sortedByBytes(expected))];
  const extra = [...sentNames].filter((name) => !expectedNames.has(name)).join();
  const missing = [...expectedNames].filter((name) => !sentNames.has(name)).join();
  return (
    `input size does not match signature: ${sent.length}!=${expected.length} ` +
    `len({${[...sentNames].join()}}) != len({${[...expectedNames].join()}}). Sent extra: {${extra}}. Missing but required: {${missing}}.`
  );
}

function decode(sent: SentInputs, name: string): SentInput {
  try {
    return sent.decode(name);
  } catch (cause) {
    throw refusal("INVALID_ARGUMENT", `tensor parsing error: ${name}`, cause);
  }
}

function checkOutputFilter(signature: Signature, outputFilter: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of outputFilter) {
    if (!Object.hasOwn(signature.outputs, name)) {
      const known = sorted(Object.keys(signature.outputs));
      const text = `output tensor alias not found in signature: ${name} Outputs expected to be in the set {${known}}.`;
      throw refusal("INVALID_ARGUMENT", text);
    }
    if (seen.has(name)) throw refusal("INVALID_ARGUMENT", `duplicate output tensor alias: ${name}`);
    seen.add(name);
  }
}

/** The graph counts its arguments in the order of their names. */
function checkDTypes(signature: Signature, inputs: Readonly<Record<string, SentInput>>): void {
  for (const [index, name] of sortedByBytes(Object.keys(inputs)).entries()) {
    const want = signature.inputs[name]?.dtype;
    const got = inputs[name]?.dtype;
    if (want === undefined || got === undefined || want === got) continue;
    const text = `Expects arg[${index}] to be ${tensorFlowDType(want)} but ${tensorFlowDType(got)} is provided`;
    throw refusal("INVALID_ARGUMENT", text);
  }
}

/**
 * What a servable's function answers, or DEADLINE_EXCEEDED when that comes first; the function is told by its signal.
 *
 * The servable is held, and the thread of the call is not free, until the function itself has ended.
 *
 * @throws ServingError if the deadline passes or the function fails.
 */
export async function callServable<T>(
  { version, loaded }: ServableHandle,
  { signatureName, deadline }: { readonly signatureName: string; readonly deadline: number },
  invoke: (context: PredictContext) => T | Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let stop: () => void = () => undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    stop = afterDeadline(deadline, () => {
      const error = refusal("DEADLINE_EXCEEDED", "Timed out waiting for notification");
      // First the call, then the signal: what the servable makes of its abort must not become the answer.
      reject(error);
      controller.abort(error);
    });
  });
  const release = loaded.hold();
  const invoked = (async () => invoke({ signatureName, version, signal: controller.signal }))();
  const ended = invoked.then(release, release);
  try {
    return await Promise.race([expired, invoked]);
  } catch (error) {
    const failure = failureOf(error);
    leaveRunning(failure, ended);
    throw failure;
  } finally {
    stop();
  }
}

/** Run something at a deadline, without keeping the process alive for it: the server itself does so until it is closed. */
function afterDeadline(deadline: number, run: () => void): () => void {
  const remainingMs = deadline - performance.now();
  if (remainingMs > maxTimerMs) return () => undefined;
  const timer = setTimeout(run, Math.max(remainingMs, 0)).unref();
  return () => clearTimeout(timer);
}

/** A tensor with memory of its own. */
export function copyTensor<T extends AnyTensor>(source: T): T;
export function copyTensor(source: AnyTensor): AnyTensor {
  const values = source.dtype === "string" ? source.values.map((bytes) => bytes.slice()) : source.values.slice();
  return tensor(source.dtype, source.shape, values as never) as AnyTensor;
}

function sorted(names: readonly string[]): string {
  return sortedByBytes(names).join();
}

/** In the order of std::set<std::string>. */
function sortedByBytes(names: readonly string[]): string[] {
  // A request can have very many names: each is encoded once, one character per byte.
  const keyed = names.map((name) => ({ name, key: Buffer.from(name).toString("latin1") }));
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return keyed.map(({ name }) => name);
}
