/**
 * Classify, Regress and MultiInference: the calls that take examples.
 *
 * Order, codes and texts are those of TensorFlow Serving 2.20.0 (`classifier.cc`, `regressor.cc`, `multi_inference.cc`).
 */
import { ServingError } from "../errors.js";
import { type Example, encodeExample } from "../example-codec.js";
import { type AskedTask, inferenceMethodNames } from "../inference-messages.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import type { Signature } from "../signature.js";
import { type AnyTensor, tensor } from "../tensor/tensor.js";
import type { AnsweringModel, ClassifyResult, MultiInferenceResult, RegressResult, ScoredLabel } from "../transport/transport.js";
import { callServable, checkMethodName, findSignature, run, subjectOf } from "./predict-service.js";
import { refusal } from "./refusal.js";
import type { ExampleFeatures } from "./servable.js";
import { type ServableHandle, type ServableSource, whileHeld } from "./servable-handle.js";
import { signatureText } from "./signature-text.js";

/** What all of these calls are given. */
export interface SentExamples {
  readonly examples: readonly Example[];
  /** Features that every example has unless it has one of the name itself. */
  readonly context?: Example | undefined;
  /** In milliseconds of `performance.now()`; infinite for none. */
  readonly deadline: number;
}

/** A signature that has passed the checks of its method. */
interface Task {
  readonly handle: ServableHandle;
  readonly signatureName: string;
  readonly signature: Signature;
}

/**
 * Answer a Classify call.
 *
 * @throws ServingError as the real server answers.
 */
export async function classify(manager: ServableSource, spec: ModelSpec, sent: SentExamples): Promise<ClassifyResult> {
  const task = taskOf(manager.resolve(spec), spec);
  checkClassifySignature(task);
  return { results: await whileHeld(task.handle, () => labelsOf(task, sent)), modelSpec: answeringModel(task) };
}

/**
 * Answer a Regress call.
 *
 * @throws ServingError as the real server answers.
 */
export async function regress(manager: ServableSource, spec: ModelSpec, sent: SentExamples): Promise<RegressResult> {
  const task = taskOf(manager.resolve(spec), spec);
  checkRegressSignature(task);
  return { results: await whileHeld(task.handle, () => valuesOf(task, sent)), modelSpec: answeringModel(task) };
}

/**
 * Answer a MultiInference call; the model and its version are those of the first task.
 *
 * @throws ServingError as the real server answers.
 */
export async function multiInference(
  manager: ServableSource,
  asked: readonly AskedTask[],
  sent: SentExamples,
): Promise<MultiInferenceResult> {
  const handle = manager.resolve(asked[0]?.spec ?? { name: "" });
  const tasks = checkedTasks(handle, asked);
  return whileHeld(handle, async () => {
    const results: MultiInferenceResult["results"] = [];
    for (const { method, task } of tasks) {
      const modelSpec = answeringModel(task);
      if (method === "classify") results.push({ method, results: await labelsOf(task, sent), modelSpec });
      else results.push({ method, results: await valuesOf(task, sent), modelSpec });
    }
    return { results };
  });
}

function taskOf(handle: ServableHandle, spec: ModelSpec): Task {
  const signatureName = signatureNameOf(spec);
  const signature = findSignature(handle, signatureName);
  if (signature === undefined) throw invalid(`No signature was found with the name: ${signatureName}`);
  return { handle, signatureName, signature };
}

function checkedTasks(handle: ServableHandle, asked: readonly AskedTask[]): { method: "classify" | "regress"; task: Task }[] {
  const seen = new Set<string>();
  return asked.map(({ spec, methodName }) => {
    if (spec.name === "") throw invalid("Found ModelSpec with an empty model name.");
    if (spec.name !== handle.name) throw invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.");
    const signatureName = signatureNameOf(spec);
    if (seen.has(signatureName)) throw invalid(`Duplicate evaluation of signature: ${signatureName}`);
    seen.add(signatureName);
    const signature = findSignature(handle, signatureName);
    if (signature === undefined) throw invalid(`Requested signature not found in model graph: ${signatureName}`);
    const task = { handle, signatureName, signature };
    if (methodName === inferenceMethodNames.classify) {
      checkClassifySignature(task);
      return { method: "classify", task };
    }
    if (methodName !== inferenceMethodNames.regress) throw refusal("UNIMPLEMENTED", `Unsupported signature method_name: ${methodName}`);
    checkRegressSignature(task);
    return { method: "regress", task };
  });
}

// Signatures

function checkClassifySignature({ handle, signature }: Task): void {
  checkMethodName(handle, signature, "classify");
  const outputs = Object.keys(signature.outputs);
  if (Object.keys(signature.inputs).length !== 1) throw invalid("Expected one input Tensor.");
  if (outputs.length !== 1 && outputs.length !== 2) throw invalid(`Expected one or two output Tensors, found ${outputs.length}`);
  if (!Object.hasOwn(signature.inputs, "inputs")) {
    throw invalid(`No classification inputs found in SignatureDef: ${signatureText(signature)}`);
  }
  if (!outputs.includes("classes") && !outputs.includes("scores")) {
    const expected = 'Expected classification signature outputs to contain at least one of "classes" or "scores".';
    throw invalid(`${expected} Signature was: ${signatureText(signature)}`);
  }
}

function checkRegressSignature({ handle, signature }: Task): void {
  checkMethodName(handle, signature, "regress");
  if (Object.keys(signature.inputs).length !== 1) throw invalid("Expected one input Tensor.");
  if (Object.keys(signature.outputs).length !== 1) throw invalid("Expected one output Tensor.");
  if (!Object.hasOwn(signature.inputs, "inputs")) throw invalid(`No regression inputs found in SignatureDef: ${signatureText(signature)}`);
  if (!Object.hasOwn(signature.outputs, "outputs")) {
    throw invalid(`No regression outputs found in SignatureDef: ${signatureText(signature)}`);
  }
}

// Running

async function labelsOf(task: Task, sent: SentExamples): Promise<ScoredLabel[][]> {
  const examples = mergedExamples(sent);
  const { classify } = task.handle.loaded.servable;
  if (classify === undefined) return labelsFromOutputs(task, examples.length, await runGraph(task, examples, sent.deadline));
  const answer: unknown = await callServable(task.handle, { ...task, deadline: sent.deadline }, (context) =>
    classify.call(task.handle.loaded.servable, examples.map(featuresOf), context),
  );
  const ok = Array.isArray(answer) && answer.length === examples.length && answer.every((item) => isScoredLabels(item));
  if (!ok) throw fault(task, `classify has to return a list of { label, score } for each of the ${examples.length} examples`);
  // Scores are floats on the wire.
  return (answer as ScoredLabel[][]).map((classes) => classes.map(({ label, score }) => ({ label, score: Math.fround(score) })));
}

async function valuesOf(task: Task, sent: SentExamples): Promise<number[]> {
  const examples = mergedExamples(sent);
  const { regress } = task.handle.loaded.servable;
  if (regress === undefined) return valuesFromOutputs(task, examples.length, await runGraph(task, examples, sent.deadline));
  const answer: unknown = await callServable(task.handle, { ...task, deadline: sent.deadline }, (context) =>
    regress.call(task.handle.loaded.servable, examples.map(featuresOf), context),
  );
  const ok = Array.isArray(answer) && answer.length === examples.length && answer.every((value) => typeof value === "number");
  if (!ok) throw fault(task, `regress has to return a number for each of the ${examples.length} examples`);
  return (answer as number[]).map(Math.fround);
}

function isScoredLabels(item: unknown): boolean {
  const isOne = (one: Partial<ScoredLabel> | null) => typeof one?.label === "string" && typeof one.score === "number";
  return Array.isArray(item) && item.every(isOne);
}

/** Run `predict` as the real server runs a graph: on all examples at once, serialized. */
async function runGraph(task: Task, examples: readonly Example[], deadline: number): Promise<Record<string, AnyTensor>> {
  const inputs = { inputs: tensor("string", [examples.length], examples.map(encodeExample)) };
  const outputFilter = Object.keys(task.signature.outputs).filter((name) => ["classes", "scores", "outputs"].includes(name));
  return (await run(task.handle, task.signatureName, inputs, { outputFilter, deadline })).outputs;
}

function labelsFromOutputs(task: Task, rows: number, { classes, scores }: Record<string, AnyTensor>): ScoredLabel[][] {
  const labels = classes === undefined ? undefined : checkedOutput(task, "classes", classes).as("string").values;
  const values = scores === undefined ? undefined : checkedOutput(task, "scores", scores).as("float32").values;
  const shape = (classes ?? scores)?.shape ?? [];
  const [count, width = 0] = shape;
  const same = classes === undefined || scores === undefined || classes.shape.join() === scores.shape.join();
  if (shape.length !== 2 || count !== rows || !same) throw fault(task, `predict has to return classes and scores of shape [${rows}, n]`);
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: width }, (_, column) => {
      const index = row * width + column;
      return { label: Buffer.from(labels?.[index] ?? []).toString(), score: values?.[index] ?? 0 };
    }),
  );
}

function valuesFromOutputs(task: Task, rows: number, { outputs }: Record<string, AnyTensor>): number[] {
  const shape = outputs?.shape.join() ?? "";
  if (outputs === undefined || (shape !== `${rows}` && shape !== `${rows},1`)) {
    throw fault(task, `predict has to return outputs of shape [${rows}] or [${rows}, 1]`);
  }
  return Array.from(checkedOutput(task, "outputs", outputs).as("float32").values);
}

function checkedOutput(task: Task, name: string, output: AnyTensor): AnyTensor {
  const dtype = name === "classes" ? "string" : "float32";
  if (output.dtype !== dtype) throw fault(task, `the output "${name}" has to be ${dtype}, the signature says ${output.dtype}`);
  return output;
}

// Examples

/** @throws ServingError INVALID_ARGUMENT if there are none. */
function mergedExamples({ examples, context }: SentExamples): readonly Example[] {
  if (examples.length === 0) throw invalid("Input is empty.");
  return context === undefined ? examples : examples.map((example) => Object.assign(Object.create(null), context, example) as Example);
}

function featuresOf(example: Example): ExampleFeatures {
  const features: Record<string, ExampleFeatures[string]> = Object.create(null);
  for (const [name, { kind, values }] of Object.entries(example)) if (kind !== "none") features[name] = values;
  return features;
}

function answeringModel({ handle, signatureName }: Task): AnsweringModel {
  return { name: handle.name, version: handle.version, signatureName };
}

/** What a servable did wrong. */
function fault(task: Task, text: string): ServingError {
  return new ServingError(`${subjectOf(task.handle, task.signatureName)}: ${text}`, { code: "INTERNAL" });
}

function invalid(text: string): ServingError {
  return refusal("INVALID_ARGUMENT", text);
}
