import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Example as ExampleProto } from "../../../gen/tensorflow/core/example/example.js";
import { ClassificationRequest, ClassificationResponse } from "../../../gen/tensorflow_serving/apis/classification.js";
import { RegressionResponse } from "../../../gen/tensorflow_serving/apis/regression.js";
import { bytes, float, int64 } from "../../../src/example.js";
import { decodeExample, type Example, encodeExample } from "../../../src/example-codec.js";
import { exampleFrom, type FeatureRecord } from "../../../src/example-values.js";
import { isBase64Object, parseJson } from "../../../src/tensor/json.js";
import type { JsonObject, JsonValue } from "../../../src/tensor/json-parser.js";
import { readClassifyBody, readRegressBody, writeExamplesBody } from "../../../src/transport/rest/example-bodies.js";
import { type Exchange, exchanges } from "../../server/golden-exchanges.js";
import { type RecordedFeatures, recordedExample } from "../../support/recorded-examples.js";

const fixture = (path: string) => readFileSync(new URL(`../../fixtures/${path}`, import.meta.url));
const base64 = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? "", "base64"));
const parse = (text: string) => parseJson(new TextEncoder().encode(text));

interface Derived {
  readonly name: string;
  readonly file: string;
  readonly signature_name: string;
  readonly context?: RecordedFeatures;
  readonly examples: readonly RecordedFeatures[];
  readonly examples_as_sent?: readonly RecordedFeatures[];
  readonly example_b64: readonly string[];
  readonly error?: string;
}
const derived = (JSON.parse(fixture("rest_examples/index.json").toString()) as { entries: Derived[] }).entries;
const accepted = derived.filter(({ error }) => error === undefined);
/** Refused for a value, not for the form of the body, which our writer alone decides. */
const refused = derived.filter(({ name, error }) => error !== undefined && name !== "no_examples" && name !== "example_not_object");

type GrpcExchange = Exchange & { readonly response: { readonly bytes?: string } };
const recorded = exchanges("classify-regress");
const pairs = recorded
  .filter(({ id }) => id.endsWith("/rest"))
  .map((rest) => ({ id: rest.id, rest, grpc: recorded.find(({ id }) => id === rest.id.replace(/rest$/, "grpc")) as GrpcExchange }));
const answered = (method: string) =>
  pairs.filter(({ rest }) => rest.response.status === 200 && rest.request.target?.endsWith(`:${method}`));

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** A body with every feature as a list, text as bytes and booleans as the numbers the server takes them for. */
function normalized(body: JsonValue): JsonValue {
  const { signature_name = "", context = null, examples } = body as JsonObject;
  const record = (value: JsonValue | undefined) =>
    Object.fromEntries(Object.entries(value as JsonObject).map(([name, feature]) => [name, [feature].flat().map(element)]));
  return { signature_name, context: context === null ? null : record(context), examples: (examples as JsonValue[]).map(record) };
}

function element(value: JsonValue): JsonValue {
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "string") return new TextEncoder().encode(value);
  return isBase64Object(value) ? base64(value.b64 as string) : value;
}

describe("writeExamplesBody", () => {
  it.each(accepted)("says what the body the server reads says: $name", (entry) => {
    const examples = (entry.examples_as_sent ?? entry.examples).map(recordedExample);
    const context = entry.context === undefined ? undefined : recordedExample(entry.context);
    const body = writeExamplesBody(entry.signature_name === "" ? undefined : entry.signature_name, examples, context);
    expect(normalized(parseJson(body))).toEqual(normalized(parseJson(fixture(`rest_examples/${entry.file}`))));
  });

  it.each(pairs)("says what was sent to the real server beside the same gRPC request: $id", ({ rest, grpc }) => {
    const request = ClassificationRequest.decode(base64(grpc.request.bytes));
    const protos = request.input?.exampleList?.examples ?? [];
    const examples = protos.map((proto) => decodeExample(ExampleProto.encode(proto).finish(), "it"));
    const body = writeExamplesBody(request.modelSpec?.signatureName, examples);
    expect(normalized(parseJson(body))).toEqual(normalized(parse(rest.request.body ?? "")));
  });

  it("leaves out what was not given", () => {
    expect(text(writeExamplesBody(undefined, [exampleFrom({}, "it")]))).toBe('{"examples":[{}]}');
    const context = exampleFrom({ u: 7n }, "it");
    expect(text(writeExamplesBody('s"', [], context))).toBe('{"signature_name":"s\\"","context":{"u":7},"examples":[]}');
  });
});

describe("the conversion of plain values", () => {
  const record = (value: JsonValue) => {
    const features = Object.entries(value as JsonObject).map(([name, feature]) => {
      const list = [feature].flat().map((item) => (typeof item === "boolean" || isBase64Object(item) ? element(item) : item));
      return [name, list];
    });
    return Object.fromEntries(features) as FeatureRecord;
  };
  const examplesIn = (file: string) => (parseJson(fixture(`rest_examples/${file}`)) as JsonObject)["examples"] as JsonValue[];

  const alone = accepted.filter(({ context }) => context === undefined);
  it.each(alone)("gives the tf.Example that the server makes of the same JSON: $name", ({ file, examples, example_b64 }) => {
    const converted = examplesIn(file).map((value) => exampleFrom(record(value), "it"));
    expect(converted).toEqual(examples.map(recordedExample));
    // The server marks an example without features as having had some; Python and this package do not.
    const encoded = converted.map((example) =>
      Object.keys(example).length === 0 ? "CgA=" : Buffer.from(encodeExample(example)).toString("base64"),
    );
    expect(encoded).toEqual(example_b64);
  });

  it.each(refused)("refuses what the server refuses: $name", ({ file }) => {
    const [value] = examplesIn(file);
    expect(() => exampleFrom(value as FeatureRecord, "examples[0]")).toThrow(/^examples\[0\]: feature "x": expected /);
  });
});

describe("the JSON of an example", () => {
  const printed = (example: Example) => text(writeExamplesBody(undefined, [example])).slice('{"examples":['.length, -"]}".length);
  const write = (features: FeatureRecord) => printed(exampleFrom(features, "it"));

  it("prints floats with a point or an exponent and integers with neither (trap 3)", () => {
    expect(write({ x: 1, y: [2, -0, 0.1, 1e21, 1e-7, 16777216] })).toBe('{"x":1.0,"y":[2.0,-0.0,0.1,1e+21,1e-7,16777216.0]}');
    expect(write({ n: int64(1), m: [2n ** 63n - 1n, -(2n ** 63n)] })).toBe('{"n":1,"m":[9223372036854775807,-9223372036854775808]}');
  });

  it("prints NaN and infinities as bare tokens (trap 1)", () => {
    expect(write({ x: [Number.NaN, Infinity, -Infinity] })).toBe('{"x":[NaN,Infinity,-Infinity]}');
  });

  it("prints every float32 so that it reads back equal and as a float", () => {
    const bits = new Uint32Array(20_000).map((_, i) => Math.imul(i + 1, 2_654_435_761));
    const values = [...new Float32Array(bits.buffer)].filter(Number.isFinite);
    const { x } = parse(write({ x: values })) as { x: JsonValue[] };
    expect(x.filter((value) => typeof value !== "number")).toEqual([]);
    expect(Float32Array.from(x as number[])).toEqual(Float32Array.from(values));
  });

  it("prints text where the bytes are UTF-8 and base64 elsewhere", () => {
    expect(write({ s: ["grün", '"\n\u0000', Uint8Array.of(0xff, 0)], t: "a" })).toBe(
      '{"s":["grün","\\"\\n\\u0000",{"b64":"/wA="}],"t":"a"}',
    );
  });

  it("prints an empty list for a feature without values, whatever its kind", () => {
    expect(write({ a: [], b: float([]), c: int64([]), d: bytes([]) })).toBe('{"a":[],"b":[],"c":[],"d":[]}');
  });

  it("escapes names, and keeps those of members of Object", () => {
    const example = exampleFrom(JSON.parse('{"__proto__": 1, "a\\"": 2}') as FeatureRecord, "it");
    expect(printed(example)).toBe('{"__proto__":1.0,"a\\"":2.0}');
  });
});

/** Whether two answers agree within the rounding of one run to the next. */
const close = (given: number, expected: number) =>
  Object.is(given, expected) || Math.abs(given - expected) <= 1e-6 * Math.max(1, Math.abs(expected));

describe("readClassifyBody", () => {
  it.each(answered("classify"))("reads what gRPC answered: $id", ({ rest, grpc }) => {
    const results = readClassifyBody(Buffer.from(rest.response.body ?? ""));
    const expected = ClassificationResponse.decode(base64(grpc.response.bytes)).result?.classifications.map(({ classes }) => classes) ?? [];
    expect(results.map((classes) => classes.map(({ label }) => label))).toEqual(
      expected.map((classes) => classes.map(({ label }) => label)),
    );
    const scores = results.flat().map(({ score }) => score);
    expect(scores.filter((score, i) => !close(score, expected.flat()[i]?.score ?? Number.NaN))).toEqual([]);
    expect(scores).toEqual(scores.map(Math.fround));
  });

  it("reads NaN and infinite scores", () => {
    expect(readClassifyBody(Buffer.from('{"results": [[["a", NaN], ["b", -Infinity]], []]}'))).toEqual([
      [
        { label: "a", score: Number.NaN },
        { label: "b", score: -Infinity },
      ],
      [],
    ]);
  });

  it("reads a label that is not UTF-8 with replacement characters", () => {
    const body = Buffer.from('{"results": [[["a\xff", 1.0]]]}', "latin1");
    expect(readClassifyBody(body)).toEqual([[{ label: "a\ufffd", score: 1 }]]);
  });

  it.each([
    ["[]", "expected the answer to be a JSON object"],
    ["{}", "expected results to be a list, got nothing"],
    ['{"results": {}}', "expected results to be a list, got Object"],
    ['{"results": [1.0]}', "expected results[0] to be a list, got Number"],
    ['{"results": [[], ["a"]]}', "expected results[1][0] to be a list, got String"],
    ['{"results": [[["a"]]]}', "expected results[0][0] to be a label and a score, got a list of 1"],
    ['{"results": [[["a", 1.0, 2.0]]]}', "expected results[0][0] to be a label and a score, got a list of 3"],
    ['{"results": [[[1.0, "a"]]]}', "expected the label of results[0][0] to be text, got Number"],
    ['{"results": [[["a", null]]]}', "expected the score of results[0][0] to be a number, got Null"],
  ])("rejects %s", (body, message) => {
    expect(() => readClassifyBody(Buffer.from(body))).toThrow(message);
  });
});

describe("readRegressBody", () => {
  it.each(answered("regress"))("reads what gRPC answered: $id", ({ rest, grpc }) => {
    const results = readRegressBody(Buffer.from(rest.response.body ?? ""));
    const expected = RegressionResponse.decode(base64(grpc.response.bytes)).result?.regressions.map(({ value }) => value) ?? [];
    expect(results.length).toBe(expected.length);
    expect(results.filter((value, i) => !close(value, expected[i] ?? Number.NaN))).toEqual([]);
    expect(results).toEqual(results.map(Math.fround));
  });

  it("reads NaN, infinities and whole numbers without a point", () => {
    expect(readRegressBody(Buffer.from('{"results": [NaN, Infinity, -Infinity, -0.0, 3]}'))).toEqual([
      Number.NaN,
      Infinity,
      -Infinity,
      -0,
      3,
    ]);
  });

  it.each([
    ['{"result": [1.0]}', "expected results to be a list, got nothing"],
    ['{"results": [[1.0]]}', "expected results[0] to be a number, got Array"],
    ['{"results": ["1"]}', "expected results[0] to be a number, got String"],
  ])("rejects %s", (body, message) => {
    expect(() => readRegressBody(Buffer.from(body))).toThrow(message);
  });
});
