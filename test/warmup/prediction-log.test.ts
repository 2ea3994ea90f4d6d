import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TensorProto } from "../../gen/tensorflow/core/framework/tensor.js";
import { LogMetadata } from "../../gen/tensorflow_serving/apis/logging.js";
import { PredictionLog } from "../../gen/tensorflow_serving/apis/prediction_log.js";
import { tensorFromProto, tensorToProto } from "../../src/messages.js";
import { tensor } from "../../src/tensor/tensor.js";
import { decodePredictionLog, encodePredictionLog } from "../../src/warmup/prediction-log.js";
import type { WarmupRecord } from "../../src/warmup/warmup-record.js";

const folder = new URL("../fixtures/protos/", import.meta.url);
const { entries } = JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as { entries: { name: string; message: string }[] };
const logs = entries.filter(({ message }) => message === "tensorflow.serving.PredictionLog").map(({ name }) => name);

function bytesOf(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`${name}.bin`, folder)));
}

/** A log whose tensors all have the one form that this package writes. */
function normalized(bytes: Uint8Array): PredictionLog {
  const log = PredictionLog.decode(new Uint8Array(bytes));
  const outputs = log.predictLog?.response?.outputs ?? {};
  for (const [name, proto] of Object.entries(outputs)) outputs[name] = tensorToProto(tensorFromProto(proto, name));
  // ts-proto takes -0 for the default and leaves it out.
  for (const regression of log.regressLog?.response?.result?.regressions ?? []) regression.value += 0;
  return log;
}

/** A length-delimited field; short ones are enough here. */
function field(tag: number, ...content: Uint8Array[]): Uint8Array {
  const bytes = Buffer.concat(content);
  return Uint8Array.of(tag, bytes.length, ...bytes);
}

/** Where texts stand in logs, by the tags on the way to each. */
const textPaths: readonly [string, readonly number[]][] = [
  ["the name of a model", [0x32, 0x0a, 0x0a, 0x0a]],
  ["the name of a signature", [0x12, 0x0a, 0x0a, 0x1a]],
  ["the name of an input", [0x32, 0x0a, 0x12, 0x0a]],
  ["the name of a wanted output", [0x32, 0x0a, 0x1a]],
  ["the name of a feature", [0x1a, 0x0a, 0x12, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a]],
  ["the method of a task", [0x22, 0x0a, 0x0a, 0x12]],
  ["the name of an answer's output", [0x32, 0x12, 0x0a, 0x0a]],
  ["an answer's label", [0x12, 0x12, 0x0a, 0x0a, 0x0a, 0x0a]],
  ["a tag in the metadata", [0x0a, 0x1a]],
];

const examples = [
  { x: { kind: "float", values: [1] } },
  {
    id: { kind: "int64", values: [7n] },
    tags: { kind: "bytes", values: [Uint8Array.of(97), Uint8Array.of(255, 0)] },
    x: { kind: "float", values: [2.5, -3] },
  },
] as const;
const x = tensor("float32", [3], [1, 2, 5]);

const expected: Record<string, WarmupRecord> = {
  log_predict: {
    kind: "predict",
    modelSpec: { name: "half_plus_two" },
    inputs: { x },
    response: {
      outputs: { y: tensor("float32", [3], [2.5, 3, 4.5]) },
      modelSpec: { name: "half_plus_two", version: 123n, signatureName: "serving_default" },
    },
    logMetadata: LogMetadata.encode(
      LogMetadata.fromPartial({
        modelSpec: { name: "m", version: 1 as never },
        samplingConfig: { samplingRate: 0.25 },
        savedModelTags: ["serve"],
      }),
    ).finish(),
  },
  log_predict_request_only: { kind: "predict", modelSpec: { name: "half_plus_two" }, inputs: { x } },
  log_classify: {
    kind: "classify",
    modelSpec: { name: "m", version: 3n, signatureName: "classify" },
    examples,
    response: {
      results: [
        [
          { label: "a", score: 0.75 },
          { label: "b", score: 0.25 },
        ],
        [],
      ],
      modelSpec: { name: "m", version: 3n, signatureName: "classify" },
    },
  },
  log_regress: {
    kind: "regress",
    modelSpec: { name: "m" },
    examples,
    context: { ctx: { kind: "float", values: [1.5] } },
    response: { results: [2.5, Number.NaN, -0], modelSpec: { name: "m", version: 1n, signatureName: "" } },
  },
  log_multi_inference: {
    kind: "multiInference",
    tasks: [
      { model: { name: "m", signatureName: "classify" }, method: "classify" },
      { model: { name: "m", signatureName: "regress" }, method: "regress" },
    ],
    examples,
    response: {
      results: [
        {
          method: "classify",
          results: [[{ label: "a", score: 1 }]],
          modelSpec: { name: "m", version: 1n, signatureName: "classify" },
        },
        { method: "regress", results: [Math.fround(0.1)], modelSpec: { name: "m", version: 1n, signatureName: "regress" } },
      ],
    },
  },
  log_session_run: { kind: "sessionRun", bytes: bytesOf("log_session_run") },
  log_predict_streamed: { kind: "predictStreamed", bytes: bytesOf("log_predict_streamed") },
  log_empty: { kind: "empty", bytes: new Uint8Array() },
};

describe("decodePredictionLog", () => {
  it("is tried on every recorded log", () => {
    expect(Object.keys(expected).sort()).toEqual(logs.sort());
  });

  it.each(logs)("reads %s", (name) => {
    expect(decodePredictionLog(bytesOf(name))).toEqual(expected[name]);
  });

  it("reads what is not set as empty", () => {
    expect(decodePredictionLog(Uint8Array.of(0x32, 0))).toEqual({ kind: "predict", modelSpec: { name: "" }, inputs: {} });
    expect(decodePredictionLog(Uint8Array.of(0x12, 0))).toEqual({ kind: "classify", modelSpec: { name: "" }, examples: [] });
  });

  it("takes the last of several kinds", () => {
    expect(decodePredictionLog(Uint8Array.of(0x32, 0, 0x12, 0))).toMatchObject({ kind: "classify" });
    expect(decodePredictionLog(Uint8Array.of(0x32, 0, 0x12, 0, 0x32, 0, 0x0a, 0))).toMatchObject({ kind: "predict" });
  });

  it("merges a kind, a request or metadata that comes in several parts", () => {
    const [modelSpec, filter] = [field(0x0a, field(0x0a, Uint8Array.of(109))), field(0x1a, Uint8Array.of(121))];
    const requests = field(0x32, field(0x0a, modelSpec), field(0x0a, filter));
    const [first, second] = [field(0x32, field(0x0a, modelSpec)), field(0x32, field(0x0a, filter))];
    const merged = { kind: "predict", modelSpec: { name: "m" }, inputs: {}, outputFilter: ["y"] };
    expect(decodePredictionLog(requests)).toEqual(merged);
    expect(decodePredictionLog(Buffer.concat([first, field(0x0a, modelSpec), second, field(0x0a, filter)]))).toEqual({
      ...merged,
      logMetadata: Uint8Array.of(...modelSpec, ...filter),
    });
    // Another kind between them takes the place of the first.
    expect(decodePredictionLog(Buffer.concat([first, field(0x12), second]))).toEqual({ ...merged, modelSpec: { name: "" } });
  });

  it.each([
    ["a tensor of a dtype without a form here", { predictLog: { response: { outputs: { y: TensorProto.create({ dtype: 20 }) } } } }],
    ["classifications without a result", { classifyLog: { response: {} } }],
    ["regressions without a result", { regressLog: { response: {} } }],
    ["a task without a result", { multiInferenceLog: { response: { results: [{}] } } }],
  ])("leaves out a response with %s", (_what, log) => {
    const record = decodePredictionLog(PredictionLog.encode(PredictionLog.fromPartial(log)).finish());
    expect(record).toMatchObject({ response: undefined });
  });

  describe("rejects", () => {
    it.each(textPaths)("%s that is not UTF-8", (_what, path) => {
      const bytes = path.reduceRight<Uint8Array>((content, tag) => field(tag, content), Uint8Array.of(0xff));
      expect(() => decodePredictionLog(bytes)).toThrow(
        expect.objectContaining({ name: "FormatError", message: "malformed message: a text that is not UTF-8" }),
      );
    });

    const inputs = { x: TensorProto.create({ dtype: 20 }) };
    it.each([
      ["what is no message", Uint8Array.of(255, 255, 255), "FormatError", /malformed message/],
      ["a request that is no message", Uint8Array.of(0x32, 4, 0x0a, 2, 0x0a, 9), "FormatError", /malformed message/],
      ["a response that is no message", Uint8Array.of(0x32, 4, 0x12, 2, 0x0a, 9), "FormatError", /malformed message/],
      ["an input without a form here", { predictLog: { request: { inputs } } }, "TensorError", /input "x": .*resource/],
      [
        "a task of another method",
        { multiInferenceLog: { request: { tasks: [{ methodName: "tensorflow/serving/predict" }] } } },
        "FormatError",
        /tasks\[0\]: expected the method .*classify or .*regress, got "tensorflow\/serving\/predict"/,
      ],
      ["metadata that is no message", Uint8Array.of(0x0a, 1, 0xff), "FormatError", /malformed message/],
      ["metadata that is no message in a log of no use", Uint8Array.of(0x2a, 0, 0x0a, 1, 0xff), "FormatError", /malformed message/],
    ])("%s", (_what, log, name, message) => {
      const bytes = log instanceof Uint8Array ? log : PredictionLog.encode(PredictionLog.fromPartial(log)).finish();
      expect(() => decodePredictionLog(bytes)).toThrow(expect.objectContaining({ name, message: expect.stringMatching(message) }));
    });
  });
});

describe("encodePredictionLog", () => {
  it.each(logs)("writes %s so that the generated code reads the same", (name) => {
    const written = encodePredictionLog(decodePredictionLog(bytesOf(name)));
    expect(normalized(written)).toEqual(normalized(bytesOf(name)));
  });

  it("refuses metadata that is no LogMetadata", () => {
    const record = { kind: "predict", modelSpec: { name: "m" }, inputs: {}, logMetadata: Uint8Array.of(0xff) } as const;
    expect(() => encodePredictionLog(record)).toThrow(expect.objectContaining({ name: "FormatError" }));
  });
});
