import { describe, expect, it } from "vitest";
import { PredictRequest, PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import type { ModelSpec } from "../src/model-spec.js";
import { decodePredictResponse, EncodedPredictRequest } from "../src/predict-codec.js";
import { tensor } from "../src/tensor/tensor.js";

describe("EncodedPredictRequest", () => {
  const specs: ModelSpec[] = [
    { name: "m" },
    { name: "模型", signatureName: "serving_default" },
    { name: "m", version: 0 },
    { name: "m", version: 300 },
    { name: "m", version: 2n ** 63n - 1n, signatureName: "s" },
    { name: "m", versionLabel: "canary" },
    { name: "m", versionLabel: "" },
  ];

  it.each(specs)("writes %o as the generated code does", (spec) => {
    const request = new EncodedPredictRequest(spec, {}).toBuffer();
    const { modelSpec } = PredictRequest.decode(request);
    expect(modelSpec?.name).toBe(spec.name);
    expect(modelSpec?.signatureName).toBe(spec.signatureName ?? "");
    expect(modelSpec?.version?.toString()).toBe(spec.version?.toString());
    expect(modelSpec?.versionLabel).toBe(spec.versionLabel);
  });

  it("writes inputs and output filter, at any place of a larger buffer", () => {
    const inputs = { x: tensor("float32", [2, 0], []), é: tensor("string", [1], ["a"]) };
    const request = new EncodedPredictRequest({ name: "m" }, inputs, ["y", "ü"]);
    const target = Buffer.alloc(request.length + 7, 0xff);
    expect(request.copy(target, 5)).toBe(request.length);
    const decoded = PredictRequest.decode(new Uint8Array(target.subarray(5, 5 + request.length)));
    expect(decoded.outputFilter).toEqual(["y", "ü"]);
    expect(Object.keys(decoded.inputs)).toEqual(["x", "é"]);
    expect(decoded.inputs["é"]?.stringVal).toEqual([new TextEncoder().encode("a")]);
    expect([...target.subarray(0, 5), ...target.subarray(-2)]).toEqual(new Array(7).fill(0xff));
  });
});

describe("EncodedPredictRequest rejects", () => {
  const bytes = (length: number) => new Uint8Array(length);

  it.each([
    ["longer", [bytes(9)]],
    ["shorter", [bytes(0)]],
    ["more than there were", [bytes(1), bytes(1)]],
  ])("an input whose strings became %s, also where the next one makes up for it, and keeps the error", (_, values) => {
    const x = tensor("string", [1], [bytes(2)]);
    const request = new EncodedPredictRequest({ name: "m" }, { w: tensor("float32", [], [1]), x, y: tensor("uint8", [20], bytes(20)) });
    x.values.splice(0, 1, ...values);
    const thrown = expect.objectContaining({
      name: "TensorError",
      message: expect.stringMatching(/^input "x" changed .*: expected 12 bytes/),
    });
    expect(() => request.toBuffer()).toThrow(thrown);
    expect(request.failure).toEqual(thrown);
  });

  it("a model that became another one", () => {
    const spec = { name: "m" };
    const request = new EncodedPredictRequest(spec, {});
    spec.name = "longer";
    expect(() => request.toBuffer()).toThrow(/^the model or the output filter changed .*: expected 5 bytes, got 10$/);
  });

  it("without repeating a long name whole", () => {
    const x = tensor("string", [1], ["a"]);
    const request = new EncodedPredictRequest({ name: "m" }, { ["x".repeat(1e6)]: x });
    x.values[0] = bytes(0);
    expect(() => request.toBuffer()).toThrow(/^input "x{100}\.\.\." \(1000000 characters\) changed/);
  });
});

describe("decodePredictResponse", () => {
  const y = { dtype: 1, tensorShape: { dim: [{ size: 2 }] }, floatVal: [1, 2] };
  const other = { ...y, floatVal: [3, 4] };
  const encode = (response: Parameters<typeof PredictResponse.fromPartial>[0]) =>
    PredictResponse.encode(PredictResponse.fromPartial(response)).finish();

  it("reads outputs and the model spec", () => {
    const bytes = encode({ modelSpec: { name: "m", version: 2 ** 52, signatureName: "s" }, outputs: { y } });
    const { outputs, modelSpec } = decodePredictResponse(bytes);
    expect(modelSpec).toEqual({ name: "m", version: 2n ** 52n, signatureName: "s" });
    expect(Object.getPrototypeOf(outputs)).toBeNull();
    expect(outputs["y"]?.values).toEqual(Float32Array.of(1, 2));
  });

  it("lets the last of two outputs of one name count, whatever the order of fields", () => {
    const bytes = Buffer.concat([encode({ outputs: { y } }), encode({ modelSpec: { name: "m" } }), encode({ outputs: { y: other } })]);
    expect(decodePredictResponse(bytes).outputs["y"]?.values).toEqual(Float32Array.of(3, 4));
  });

  it("looks at the last of two outputs of one name only", () => {
    const bytes = Buffer.concat([encode({ outputs: { y: { ...y, dtype: 20 } } }), encode({ outputs: { y: other } })]);
    expect(decodePredictResponse(bytes).outputs["y"]?.values).toEqual(Float32Array.of(3, 4));
  });

  it("refuses more outputs than any model has, before they take memory", () => {
    const outputs = (count: number) => Buffer.concat(new Array<Uint8Array>(count).fill(Uint8Array.of(0x0a, 4, 0x12, 2, 0x08, 3)));
    expect(Object.keys(decodePredictResponse(outputs(65_536)).outputs)).toEqual([""]);
    expect(() => decodePredictResponse(outputs(65_537))).toThrow("expected at most 65536 outputs in one message, got more");
  });

  it("merges a value that comes in two parts, and takes the name from behind it", () => {
    // entry: value { dtype: int32, shape [1] }, key "y", value { int_val 7 }
    const entry = [0x12, 8, 0x08, 3, 0x12, 4, 0x12, 2, 0x08, 1, 0x0a, 1, 0x79, 0x12, 2, 0x38, 7];
    expect(decodePredictResponse(Uint8Array.from([0x0a, entry.length, ...entry])).outputs["y"]?.values).toEqual(Int32Array.of(7));
  });

  it("reads a value in half a million parts in time that grows with their number only", () => {
    const part = [0x12, 2, 0x08, 3];
    const body = [...[0x0a, 1, 0x79], ...[0x12, 6, 0x12, 4, 0x12, 2, 0x08, 1], ...new Array(500_000).fill(part).flat(), 0x12, 2, 0x38, 7];
    const head = PredictResponse.encode(PredictResponse.fromPartial({})).uint32(0x0a).uint32(body.length).finish();
    const start = performance.now();
    const { outputs } = decodePredictResponse(Uint8Array.from([...head, ...body]));
    expect(outputs["y"]?.values).toEqual(Int32Array.of(7));
    expect(performance.now() - start).toBeLessThan(2000);
  });

  it.each([
    ["unpacked values", [0x50, 0x01], 9],
    ["empty packed lists", [0x2a, 0x00], 1],
  ])("refuses a list in too many pieces only where they hold something: %s", (_, piece, dtype) => {
    const pieces = new Uint8Array(2_500_000 * piece.length);
    for (let i = 0; i < pieces.length; i++) pieces[i] = piece[i % piece.length] as number;
    const tensorHead = [0x08, dtype, 0x12, 4, 0x12, 2, 0x08, 1];
    const field = (tag: number, body: Uint8Array) =>
      Buffer.concat([PredictResponse.encode(PredictResponse.fromPartial({})).uint32(tag).uint32(body.length).finish(), body]);
    const value = field(0x12, Buffer.concat([Uint8Array.from(tensorHead), pieces]));
    const bytes = field(0x0a, Buffer.concat([Uint8Array.from([0x0a, 1, 0x79]), value]));
    if (dtype === 9) expect(() => decodePredictResponse(bytes)).toThrow("at most 1000000 pieces");
    else expect(decodePredictResponse(bytes).outputs["y"]?.values).toEqual(Float32Array.of(0));
  });

  it("keeps outputs named like members of Object", () => {
    const bytes = Buffer.from(encode({ outputs: { aaaaaaaaa: y } }))
      .toString("latin1")
      .replace("aaaaaaaaa", "__proto__");
    const { outputs } = decodePredictResponse(Buffer.from(bytes, "latin1"));
    expect(Object.keys(outputs)).toEqual(["__proto__"]);
  });

  it.each([
    ["a", 100, "a".repeat(100)],
    ["a", 101, `${"a".repeat(100)}..." (101 characters)`],
    ["é", 1e6, `${"é".repeat(100)}..." (1000000 characters)`],
  ])("names an output it rejects, cutting long names: %s x %i", (letter, length, named) => {
    const bytes = encode({ outputs: { [letter.repeat(length)]: { dtype: 20 } } });
    expect(() => decodePredictResponse(bytes)).toThrow(
      `output "${named}${length > 100 ? "" : '"'}: expected a dtype that tensors can have, got resource`,
    );
  });

  it.each([
    ["a field beyond the end", [0x0a, 5, 1]],
    ["an endless varint", new Array(11).fill(0xff)],
    ["field number 0", [0x02, 0]],
    ["an open group", [0x1b, 0x1b]],
  ])("rejects %s", (_, bytes) => {
    expect(() => decodePredictResponse(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ name: "FormatError" }));
  });
});
