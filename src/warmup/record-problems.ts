/**
 * What is wrong with a record for the server that replays it.
 *
 * Source: TensorFlow Serving 2.20.0, `saved_model_warmup_util.cc`, `predict_util.cc`, `classifier.cc`, `regressor.cc`, `multi_inference.cc`.
 */
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { inputDifferences, outputFilterDifferences, type Signature } from "../signature.js";
import { quotedName, quotedNames } from "../tensor/names.js";
import { isCall } from "./prediction-log.js";
import type { CallRecord, MultiInferenceRecord, PredictRecord, UnusableRecord, WarmupRecord } from "./warmup-record.js";

/** What comes of something wrong: the version does not load, nothing is warmed up, or what is there may not be what was meant. */
export type Severity = "blocks-loading" | "useless" | "suspicious";

/** One thing that is wrong with a record. */
export interface RecordProblem {
  readonly severity: Severity;
  readonly message: string;
}

/** Signatures of a model by name. */
export type Signatures = Readonly<Record<string, Signature>>;

const unusable: Readonly<Record<UnusableRecord["kind"], RecordProblem>> = {
  empty: { severity: "useless", message: "a log of no kind: servers count it and run nothing" },
  sessionRun: { severity: "blocks-loading", message: 'a session_run log: servers refuse it ("Unsupported log_type for warmup: 5")' },
  predictStreamed: {
    severity: "blocks-loading",
    message: 'a predict_streamed log: servers refuse it ("Unsupported log_type for warmup: 7")',
  },
};

/**
 * All that is wrong with a record.
 *
 * Shapes count like names and dtypes. Servers themselves do not compare them; what fails is the operation that does not take one.
 *
 * @param signatures - Those of the model; without them only what is wrong for any model is found.
 */
export function recordProblems(record: WarmupRecord, signatures: Signatures | undefined): RecordProblem[] {
  if (!isCall(record)) return [unusable[record.kind]];
  return callProblems(record, signatures).map((message) => ({ severity: "blocks-loading", message }));
}

/** All that is wrong with a call, one sentence each; otherwise as {@link recordProblems}. */
export function callProblems(call: CallRecord, signatures: Signatures | undefined): string[] {
  if (call.kind === "predict") return predictProblems(call, signatures);
  const problems = call.kind === "multiInference" ? tasksProblems(call, signatures) : methodProblems(call.kind, call.modelSpec, signatures);
  return call.examples.length === 0 ? ["examples: expected at least one, got none", ...problems] : problems;
}

function predictProblems({ modelSpec, inputs, outputFilter = [] }: PredictRecord, signatures: Signatures | undefined): string[] {
  const problems = [
    ...Object.keys(inputs)
      .filter((name) => inputs[name]?.shape[0] === 0)
      .map((name) => `input ${quotedName(name)} has no rows: a server with batching waits for ever for such a record, or aborts`),
    ...repeated(outputFilter).map((name) => `output ${quotedName(name)} is wanted more than once`),
  ];
  if (signatures === undefined) return problems;
  const signature = signatureOf(signatures, modelSpec);
  if (signature === undefined) return [...problems, unknownSignature(signatures, modelSpec)];
  return [
    ...problems,
    ...inputDifferences(signature, inputs),
    ...outputFilterDifferences(signature, outputFilter),
    ...valuelessOutputs(signature, outputFilter),
  ];
}

/** Wanted outputs that stand for an operation without a value, one sentence each: such as the one of `__saved_model_init_op`. */
function valuelessOutputs({ outputs = {} }: Signature, outputFilter: readonly string[]): string[] {
  const wanted = outputFilter.length === 0 ? Object.keys(outputs) : outputFilter.filter((name) => Object.hasOwn(outputs, name));
  return wanted
    .filter((name) => outputs[name]?.dtype === "invalid")
    .map((name) => `output ${quotedName(name)} is of dtype invalid, an operation without a value: servers cannot fetch it`);
}

function tasksProblems({ tasks }: MultiInferenceRecord, signatures: Signatures | undefined): string[] {
  const names = [...new Set(tasks.map(({ model }) => model.name))];
  const problems = repeated(tasks.map(({ model }) => signatureNameOf(model))).map(
    (name) => `signature ${quotedName(name)} is in more than one task`,
  );
  if (tasks.length === 0) problems.push("tasks: expected at least one, got none");
  if (names.includes("")) problems.push("tasks: expected the name of a model in each, got none");
  if (names.length > 1) problems.push(`tasks: expected the name of one model in all, got ${quotedNames(names)}`);
  return [...problems, ...tasks.flatMap(({ model, method }) => methodProblems(method, model, signatures))];
}

/** What keeps a signature from being one for a method; servers go by its inputs and outputs, not by the method's name in it. */
function methodProblems(method: "classify" | "regress", spec: ModelSpec, signatures: Signatures | undefined): string[] {
  if (signatures === undefined) return [];
  const signature = signatureOf(signatures, spec);
  if (signature === undefined) return [unknownSignature(signatures, spec)];
  const problems: string[] = [];
  const [inputs, outputs] = [Object.keys(signature.inputs), Object.keys(signature.outputs)];
  const subject = `signature ${quotedName(signatureNameOf(spec))}, used for ${method}`;
  if (inputs.length !== 1 || !Object.hasOwn(signature.inputs, "inputs") || signature.inputs["inputs"]?.dtype !== "string") {
    problems.push(`${subject}: expected one input, "inputs", of string, got ${quotedNames(inputs)}`);
  }
  const fits = method === "regress" ? isRegression(outputs) : isClassification(outputs);
  if (!fits) problems.push(`${subject}: expected ${wantedOutputs[method]}, got ${quotedNames(outputs)}`);
  return problems;
}

const wantedOutputs = { regress: 'one output, "outputs"', classify: 'one or two outputs, "classes" or "scores" among them' } as const;

function isRegression(outputs: readonly string[]): boolean {
  return outputs.length === 1 && outputs[0] === "outputs";
}

function isClassification(outputs: readonly string[]): boolean {
  return outputs.length <= 2 && (outputs.includes("classes") || outputs.includes("scores"));
}

/** The signature a record is for, by own names only. */
export function signatureOf(signatures: Signatures, spec: ModelSpec): Signature | undefined {
  const name = signatureNameOf(spec);
  return Object.hasOwn(signatures, name) ? signatures[name] : undefined;
}

function unknownSignature(signatures: Signatures, spec: ModelSpec): string {
  return `signature ${quotedName(signatureNameOf(spec))} is not in the model, whose signatures are ${quotedNames(Object.keys(signatures))}`;
}

/** Names that are in a list more than once, each once. */
function repeated(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return [...new Set(names.filter((name) => seen.size === seen.add(name).size))];
}
