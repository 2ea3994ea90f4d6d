/** From what callers pass as examples and tasks to what is sent. */
import { type ErrorSubject, formatCall, formatErrorOf, isServingError, SignatureError, tensorErrorOf } from "./errors.js";
import type { Example } from "./example-codec.js";
import { type ExampleLike, exampleFrom } from "./example-values.js";
import { type ModelLike, modelSpecFrom } from "./model-spec.js";
import { describe } from "./tensor/values.js";
import type { InferenceTask } from "./transport/transport.js";

/** One task of a `multiInference` call: a model with the signature to run, and what to do with it. */
export interface InferenceTaskLike {
  readonly model: ModelLike;
  readonly method: "classify" | "regress";
}

/** The examples of a call and what they share. */
export interface CheckedExamples {
  readonly examples: Example[];
  readonly context?: Example;
}

/**
 * Checked examples.
 *
 * @param call - What errors say was tried.
 * @throws TypeError if examples are no list; SignatureError for an empty one, which every server refuses; what `exampleFrom` throws.
 */
export function examplesFrom(examples: readonly ExampleLike[], context: ExampleLike | undefined, call: ErrorSubject): CheckedExamples {
  if (!Array.isArray(examples)) throw new TypeError(`examples: expected a list of examples, got ${describe(examples)}`);
  if (examples.length === 0)
    throw new SignatureError(formatCall(call.method, call.modelSpec), ["examples: expected at least one, got none"]);
  try {
    const checked = examples.map((like: ExampleLike, index) => exampleFrom(like, `examples[${index}]`));
    return { examples: checked, ...(context === undefined ? {} : { context: exampleFrom(context, "context") }) };
  } catch (error) {
    if (isServingError(error, "TensorError")) throw tensorErrorOf(call, error);
    if (isServingError(error, "FormatError")) throw formatErrorOf(call, error);
    throw error;
  }
}

/**
 * Checked tasks, at least one.
 *
 * The server takes the model's version and label from the first task and ignores those of the others, so others may not name another.
 *
 * @throws TypeError if there is no task, or they do not name one model, version and label, or a method is unknown.
 */
export function inferenceTasksFrom(tasks: readonly InferenceTaskLike[]): [InferenceTask, ...InferenceTask[]] {
  if (!Array.isArray(tasks)) throw new TypeError(`tasks: expected a list of { model, method }, got ${describe(tasks)}`);
  const [first, ...others] = tasks.map(taskFrom);
  if (first === undefined) throw new TypeError("tasks: expected at least one, got none");
  for (const [index, { spec }] of others.entries()) {
    for (const field of ["name", "version", "versionLabel"] as const) {
      const given = spec[field]?.toString();
      if (given === undefined || given === first.spec[field]?.toString()) continue;
      const wanted = first.spec[field] === undefined ? `no ${field}` : `${field} ${first.spec[field]}`;
      throw new TypeError(`tasks[${index + 1}]: expected ${wanted} as in the first task, got ${given}`);
    }
  }
  return [first, ...others];
}

function taskFrom(task: InferenceTaskLike, index: number): InferenceTask {
  const { model, method } = task ?? {};
  if (method !== "classify" && method !== "regress") {
    throw new TypeError(`tasks[${index}]: expected method "classify" or "regress", got ${describe(method)}`);
  }
  return { spec: modelSpecFrom(model), method };
}
