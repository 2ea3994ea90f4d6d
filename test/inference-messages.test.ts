import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ClassificationRequest, ClassificationResponse } from "../gen/tensorflow_serving/apis/classification.js";
import { MultiInferenceRequest, MultiInferenceResponse } from "../gen/tensorflow_serving/apis/inference.js";
import { RegressionRequest, RegressionResponse } from "../gen/tensorflow_serving/apis/regression.js";
import { FormatError } from "../src/errors.js";
import type { Example } from "../src/example-codec.js";
import {
  classificationsFromProto,
  classificationsToProto,
  exampleFromProto,
  examplesFromInput,
  exampleToProto,
  inputToProto,
  multiInferenceRequestFromProto,
  multiInferenceRequestToProto,
  multiInferenceResultFromProto,
  multiInferenceResultToProto,
  regressionsFromProto,
  regressionsToProto,
} from "../src/inference-messages.js";
import { modelSpecToProto } from "../src/messages.js";

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/protos/${name}.bin`, import.meta.url)));

const plain: Example = { x: { kind: "float", values: [1] } };
const rich: Example = {
  id: { kind: "int64", values: [7n] },
  tags: { kind: "bytes", values: [Uint8Array.of(97), Uint8Array.of(255, 0)] },
  x: { kind: "float", values: [2.5, -3] },
};

describe("examples", () => {
  const every: Example = {
    ...rich,
    extreme: { kind: "int64", values: [-(2n ** 63n), 2n ** 63n - 1n] },
    empty: { kind: "float", values: [] },
    nothing: { kind: "none", values: [] },
    ["__proto__"]: { kind: "float", values: [1] },
  };

  it("come back the same, kinds of empty features included", () => {
    const back = exampleFromProto(exampleToProto(every));
    expect(Object.getPrototypeOf(back)).toBeNull();
    expect({ ...back }).toEqual(every);
  });

  it("without features are empty messages, and empty messages have no features", () => {
    expect(exampleToProto({})).toEqual({ features: undefined });
    expect({ ...exampleFromProto({ features: undefined }) }).toEqual({});
  });

  it("are a list with context only where there is one", () => {
    expect(Object.keys(inputToProto([plain], undefined))).toEqual(["exampleList"]);
    expect(Object.keys(inputToProto([plain], {}))).toEqual(["exampleListWithContext"]);
  });

  it("are none where the input is not set", () => {
    expect(examplesFromInput(undefined)).toEqual({ examples: [] });
    expect(examplesFromInput({})).toEqual({ examples: [] });
  });
});

describe("requests made by TensorFlow", () => {
  const spec = { name: "m", version: 3n, signatureName: "classify" };
  const encodeClassify = (context?: Example, named: typeof spec | { name: string } = spec) =>
    ClassificationRequest.encode({ modelSpec: modelSpecToProto(named), input: inputToProto([plain, rich], context) }).finish();

  it("are what we write, bytes and all", () => {
    expect(ClassificationRequest.decode(encodeClassify())).toEqual(ClassificationRequest.decode(fixture("classify_request")));
    const context: Example = { u: { kind: "bytes", values: [Uint8Array.of(120)] } };
    expect(ClassificationRequest.decode(encodeClassify(context, { name: "m" }))).toEqual(
      ClassificationRequest.decode(fixture("classify_context")),
    );
    const tasks = [
      { spec: { name: "m", signatureName: "classify" }, method: "classify" },
      { spec: { name: "m", signatureName: "regress" }, method: "regress" },
    ] as const;
    expect(
      MultiInferenceRequest.decode(MultiInferenceRequest.encode(multiInferenceRequestToProto(tasks, [plain, rich], undefined)).finish()),
    ).toEqual(MultiInferenceRequest.decode(fixture("multi_request")));
  });

  it("are read", () => {
    const { examples, context } = examplesFromInput(RegressionRequest.decode(fixture("regress_request")).input);
    expect(examples.map((example) => ({ ...example }))).toEqual([plain, rich]);
    expect({ ...context }).toEqual({ ctx: { kind: "float", values: [1.5] } });
    expect(examplesFromInput(RegressionRequest.decode(fixture("regress_empty_list")).input)).toEqual({ examples: [] });
    const multi = multiInferenceRequestFromProto(MultiInferenceRequest.decode(fixture("multi_request")));
    expect(multi.tasks).toEqual([
      { spec: { name: "m", signatureName: "classify" }, methodName: "tensorflow/serving/classify" },
      { spec: { name: "m", signatureName: "regress" }, methodName: "tensorflow/serving/regress" },
    ]);
    expect(multi.examples).toHaveLength(2);
  });

  it("keep what no task of ours has, for the server to refuse", () => {
    const proto = MultiInferenceRequest.create({ tasks: [{ methodName: "other" }] });
    expect(multiInferenceRequestFromProto(proto)).toEqual({ tasks: [{ spec: { name: "" }, methodName: "other" }], examples: [] });
  });
});

describe("answers made by TensorFlow", () => {
  const classified = {
    results: [
      [
        { label: "a", score: 0.75 },
        { label: "b", score: 0.25 },
      ],
      [],
    ],
    modelSpec: { name: "m", version: 3n, signatureName: "classify" },
  };

  it("are read and written: classify", () => {
    const proto = ClassificationResponse.decode(fixture("classify_response"));
    expect(classificationsFromProto(proto)).toEqual(classified);
    expect(ClassificationResponse.decode(ClassificationResponse.encode(classificationsToProto(classified)).finish())).toEqual(proto);
  });

  it("are read and written: regress", () => {
    const proto = RegressionResponse.decode(fixture("regress_response"));
    const read = regressionsFromProto(proto);
    expect(read).toEqual({ results: [2.5, Number.NaN, -0], modelSpec: { name: "m", version: 1n, signatureName: "" } });
    // ts-proto takes -0 for the default and leaves it out.
    const written = RegressionResponse.decode(
      RegressionResponse.encode(regressionsToProto({ ...read, results: [2.5, Number.NaN, 0] })).finish(),
    );
    expect(written.result?.regressions).toEqual([{ value: 2.5 }, { value: Number.NaN }, { value: 0 }]);
    expect(written.modelSpec).toEqual(proto.modelSpec);
  });

  it("are read and written: multiInference", () => {
    const proto = MultiInferenceResponse.decode(fixture("multi_response"));
    const read = multiInferenceResultFromProto(proto);
    expect(read).toEqual({
      results: [
        { method: "classify", results: [[{ label: "a", score: 1 }]], modelSpec: { name: "m", version: 1n, signatureName: "classify" } },
        { method: "regress", results: [Math.fround(0.1)], modelSpec: { name: "m", version: 1n, signatureName: "regress" } },
      ],
    });
    expect(MultiInferenceResponse.decode(MultiInferenceResponse.encode(multiInferenceResultToProto(read)).finish())).toEqual(proto);
  });

  it.each([
    ["classify", () => classificationsFromProto(ClassificationResponse.create())],
    ["regress", () => regressionsFromProto(RegressionResponse.create())],
    ["multiInference", () => multiInferenceResultFromProto(MultiInferenceResponse.create({ results: [{}] }))],
  ])("are refused without a result: %s", (_method, read) => {
    expect(read).toThrow(FormatError);
  });
});
