/** The bridge between our words and the generated messages for Classify, Regress and MultiInference, in both directions. */
import type { Example as ExampleProto } from "../gen/tensorflow/core/example/example.js";
import type { Feature as FeatureProto } from "../gen/tensorflow/core/example/feature.js";
import type { ClassificationResponse, ClassificationResult } from "../gen/tensorflow_serving/apis/classification.js";
import type { MultiInferenceRequest, MultiInferenceResponse } from "../gen/tensorflow_serving/apis/inference.js";
import type { Input } from "../gen/tensorflow_serving/apis/input.js";
import type { ModelSpec as ModelSpecProto } from "../gen/tensorflow_serving/apis/model.js";
import type { RegressionResponse, RegressionResult } from "../gen/tensorflow_serving/apis/regression.js";
import { FormatError } from "./errors.js";
import type { Example, Feature } from "./example-codec.js";
import { bigintFromLong, longFromBigint, mapRecord, modelSpecFromProto, modelSpecToProto } from "./messages.js";
import type { ModelSpec } from "./model-spec.js";
import type {
  AnsweringModel,
  ClassifyResult,
  InferenceTask,
  MultiInferenceResult,
  RegressResult,
  ScoredLabel,
} from "./transport/transport.js";

/** Method names of signatures and of MultiInference tasks (tensorflow/core/public: `kClassifyMethodName`, `kRegressMethodName`). */
export const inferenceMethodNames = { classify: "tensorflow/serving/classify", regress: "tensorflow/serving/regress" } as const;

// Examples

/** The message for an example; without features it is empty. */
export function exampleToProto(example: Example): ExampleProto {
  const feature = mapRecord(example, featureToProto);
  return { features: Object.keys(feature).length === 0 ? undefined : { feature } };
}

function featureToProto(feature: Feature): FeatureProto {
  switch (feature.kind) {
    case "float":
      return { floatList: { value: [...feature.values] } };
    case "int64":
      return { int64List: { value: feature.values.map(longFromBigint) } };
    case "bytes":
      return { bytesList: { value: [...feature.values] } };
    case "none":
      return {};
  }
}

/** The example in a message; bytes are views into it. */
export function exampleFromProto(proto: ExampleProto): Example {
  return mapRecord(proto.features?.feature ?? {}, featureFromProto);
}

function featureFromProto({ floatList, int64List, bytesList }: FeatureProto): Feature {
  if (floatList !== undefined) return { kind: "float", values: floatList.value };
  if (int64List !== undefined) return { kind: "int64", values: int64List.value.map(bigintFromLong) };
  if (bytesList !== undefined) return { kind: "bytes", values: bytesList.value };
  return { kind: "none", values: [] };
}

/** The input of a request: a list of examples, with a context where there is one. */
export function inputToProto(examples: readonly Example[], context: Example | undefined): Input {
  const list = { examples: examples.map(exampleToProto) };
  if (context === undefined) return { exampleList: list };
  return { exampleListWithContext: { ...list, context: exampleToProto(context) } };
}

/** Examples and context of a request; no examples where the input is not set, as the server counts them. */
export function examplesFromInput(input: Input | undefined): { readonly examples: Example[]; readonly context?: Example } {
  const { examples = [], context } = input?.exampleListWithContext ?? { ...input?.exampleList, context: undefined };
  return { examples: examples.map(exampleFromProto), ...(context === undefined ? {} : { context: exampleFromProto(context) }) };
}

// Classify, Regress

/** The message that answers a Classify call. */
export function classificationsToProto({ results, modelSpec }: ClassifyResult): ClassificationResponse {
  return { modelSpec: modelSpecToProto(modelSpec), result: classificationResult(results) };
}

function classificationResult(results: readonly (readonly ScoredLabel[])[]): ClassificationResult {
  return { classifications: results.map((classes) => ({ classes: [...classes] })) };
}

/**
 * What Classify answered.
 *
 * @throws FormatError if the answer holds no result.
 */
export function classificationsFromProto(proto: ClassificationResponse): ClassifyResult {
  return { results: labelsOf(proto.result), modelSpec: answeringModel(proto.modelSpec) };
}

function labelsOf(result: ClassificationResult | undefined): ScoredLabel[][] {
  if (result === undefined) throw new FormatError("classify: expected a result, got an answer without one");
  return result.classifications.map(({ classes }) => classes.map(({ label, score }) => ({ label, score })));
}

/** The message that answers a Regress call. */
export function regressionsToProto({ results, modelSpec }: RegressResult): RegressionResponse {
  return { modelSpec: modelSpecToProto(modelSpec), result: regressionResult(results) };
}

function regressionResult(results: readonly number[]): RegressionResult {
  return { regressions: results.map((value) => ({ value })) };
}

/**
 * What Regress answered.
 *
 * @throws FormatError if the answer holds no result.
 */
export function regressionsFromProto(proto: RegressionResponse): RegressResult {
  return { results: valuesOf(proto.result), modelSpec: answeringModel(proto.modelSpec) };
}

function valuesOf(result: RegressionResult | undefined): number[] {
  if (result === undefined) throw new FormatError("regress: expected a result, got an answer without one");
  return result.regressions.map(({ value }) => value);
}

function answeringModel(proto: ModelSpecProto | undefined): AnsweringModel {
  const { name = "", version, signatureName = "" } = proto ?? {};
  return { name, ...(version === undefined ? {} : { version: bigintFromLong(version) }), signatureName };
}

// MultiInference

/** The request of a MultiInference call. */
export function multiInferenceRequestToProto(
  tasks: readonly InferenceTask[],
  examples: readonly Example[],
  context: Example | undefined,
): MultiInferenceRequest {
  return {
    tasks: tasks.map(({ spec, method }) => ({ modelSpec: modelSpecToProto(spec), methodName: inferenceMethodNames[method] })),
    input: inputToProto(examples, context),
  };
}

/** A task as it was asked for: nothing is checked, and a model spec that was not set has an empty name. */
export interface AskedTask {
  readonly spec: ModelSpec;
  /** One of {@link inferenceMethodNames}, or what else the caller wrote. */
  readonly methodName: string;
}

/** What a MultiInference call asks for. */
export function multiInferenceRequestFromProto(proto: MultiInferenceRequest): {
  readonly tasks: AskedTask[];
  readonly examples: Example[];
  readonly context?: Example;
} {
  const tasks = proto.tasks.map(({ modelSpec, methodName }) => ({
    spec: modelSpec === undefined ? { name: "" } : modelSpecFromProto(modelSpec),
    methodName,
  }));
  return { tasks, ...examplesFromInput(proto.input) };
}

/** The message that answers a MultiInference call. */
export function multiInferenceResultToProto({ results }: MultiInferenceResult): MultiInferenceResponse {
  return {
    results: results.map((result) => ({
      modelSpec: modelSpecToProto(result.modelSpec),
      ...(result.method === "classify"
        ? { classificationResult: classificationResult(result.results) }
        : { regressionResult: regressionResult(result.results) }),
    })),
  };
}

/**
 * What MultiInference answered, in the order of the tasks.
 *
 * @throws FormatError if an entry holds no result.
 */
export function multiInferenceResultFromProto(proto: MultiInferenceResponse): MultiInferenceResult {
  return {
    results: proto.results.map(({ modelSpec, classificationResult, regressionResult }) => {
      const model = { modelSpec: answeringModel(modelSpec) };
      if (classificationResult !== undefined) return { method: "classify", results: labelsOf(classificationResult), ...model };
      return { method: "regress", results: valuesOf(regressionResult), ...model };
    }),
  };
}
