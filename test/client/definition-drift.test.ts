import { describe, expect, it } from "vitest";
import { assertAsDefined, signatureDrift } from "../../src/client/definition-drift.js";
import type { InputDefinition, SignatureDefinition } from "../../src/client/model-definition.js";
import type { TensorSpec } from "../../src/signature.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";

const methodName = "tensorflow/serving/predict";
const x = { dtype: "float32", shape: [null, 2] } as const;
const two = tensor("float32", [], [2]);

describe("signatureDrift", () => {
  it.each<[string, InputDefinition | undefined, TensorSpec | undefined]>([
    ["the same", x, x],
    ["unknown rank", { ...x, shape: null }, { ...x, shape: null }],
    ["a default", { ...x, shape: [], default: 2 }, { ...x, shape: [], default: two }],
    ["a default that was too long to write", { ...x, optional: true }, { ...x, default: two }],
    [
      "a default of bytes",
      { dtype: "string", shape: [], default: "ä" },
      { dtype: "string", shape: [], default: tensor("string", [], ["ä"]) },
    ],
    ["no float at all", { ...x, shape: [], default: Number.NaN }, { ...x, shape: [], default: tensor("float32", [], [Number.NaN]) }],
  ])("finds none: %s", (_title, defined, served) => {
    expect(signatureDrift({ inputs: { x: defined ?? x }, outputs: {} }, { methodName, inputs: { x: served ?? x }, outputs: {} })).toEqual(
      [],
    );
  });

  it.each<[string, InputDefinition | undefined, TensorSpec | undefined, boolean, boolean]>([
    ["float32 [?, 2] in the definition, int32 [?, 2] in the model", x, { ...x, dtype: "int32" }, true, true],
    ["float32 [?, 2] in the definition, float32 [?, 3] in the model", x, { ...x, shape: [null, 3] }, true, true],
    ["float32 [?, 2] in the definition, float32 [?] in the model", x, { ...x, shape: [null] }, true, true],
    ["float32 [?, 2] in the definition, float32 [4, 2] in the model", x, { ...x, shape: [4, 2] }, false, false],
    ["float32 [?, 2] in the definition, float32 unknown rank in the model", x, { ...x, shape: null }, false, false],
    ["float32 [?, 2] in the definition, not in the model", x, undefined, true, true],
    ["not in the definition, float32 [?, 2] in the model", undefined, x, true, false],
  ])("%s", (text, defined, served, breaksInput, breaksOutput) => {
    const [before, now] = [defined === undefined ? {} : { x: defined }, served === undefined ? {} : { x: served }];
    expect(signatureDrift({ inputs: before, outputs: {} }, { methodName, inputs: now, outputs: {} })).toEqual([
      { text: `input "x": ${text}`, isBreaking: breaksInput },
    ]);
    expect(signatureDrift({ inputs: {}, outputs: before }, { methodName, inputs: {}, outputs: now })).toEqual([
      { text: `output "x": ${text}`, isBreaking: breaksOutput },
    ]);
  });

  // Only calls that leave such an input out, or give it, are wrong: they are refused one by one.
  it.each<[string, InputDefinition | undefined, TensorSpec | undefined]>([
    ["float32 [?, 2], optional in the definition, float32 [?, 2] in the model", { ...x, optional: true }, x],
    ["float32 [?, 2] in the definition, float32 [?, 2], optional in the model", x, { ...x, default: two }],
    ["float32 [?, 2], optional in the definition, not in the model", { ...x, optional: true }, undefined],
    ["not in the definition, float32 [?, 2], optional in the model", undefined, { ...x, default: two }],
    ["default: 3 in the definition, 2 in the model", { ...x, shape: [], default: 3 }, { ...x, shape: [], default: two }],
  ])("finds, but nothing that breaks every call: %s", (text, defined, served) => {
    const [before, now] = [defined === undefined ? {} : { x: defined }, served === undefined ? {} : { x: served }];
    expect(signatureDrift({ inputs: before, outputs: {} }, { methodName, inputs: now, outputs: {} })).toEqual([
      { text: `input "x": ${text}`, isBreaking: false },
    ]);
  });

  it.each<[string, unknown, AnyTensor]>([
    ["default: -0 in the definition, 0 in the model", -0, tensor("float32", [], [0])],
    ["default: [1] in the definition, [2] in the model", [1], tensor("float32", [2], [1, 1])],
    ["default[15]: 0 in the definition, 9 in the model", new Float32Array(16), tensor("float32", [16], new Float32Array(16).fill(9, 15))],
    ["default[1][0]: 3 in the definition, 5 in the model", [[1, 2], [3, 4]], tensor("float32", [2, 2], [1, 2, 5, 0])], // biome-ignore format: rows
    ["default[1]: 1.5 in the definition, 2.5 in the model", [1, 1.5], tensor("bfloat16", [2], [1, 2.5])],
    ["default[0]: 1n in the definition, 2n in the model", [1n], tensor("int64", [1], [2n])],
    [String.raw`default[0]: 'a' in the definition, '\x1B\n' in the model`, ["a"], tensor("string", [1], ["\u001b\n"])],
    [`default: '${"a".repeat(100)}'... 1 more character in the definition, 'b' in the model`, "a".repeat(101), tensor("string", [], ["b"])],
    [
      "default[0]: [ 1, 2 ] in the definition, [ 1, 3 ] in the model",
      tensor("complex64", [1], Float32Array.of(1, 2)),
      tensor("complex64", [1], Float32Array.of(1, 3)),
    ],
  ])("names the first element of a default that differs: %s", (text, before, now) => {
    const { dtype } = now;
    const defined = { dtype, shape: null, default: before } as InputDefinition;
    const served = { dtype, shape: null, default: now };
    expect(signatureDrift({ inputs: { x: defined }, outputs: {} }, { methodName, inputs: { x: served }, outputs: {} })).toEqual([
      { text: `input "x": ${text}`, isBreaking: false },
    ]);
  });

  it("compares the method, which is predict where the definition names none", () => {
    const other = { methodName: "tensorflow/serving/classify", inputs: {}, outputs: {} };
    expect(signatureDrift({ inputs: {}, outputs: {} }, other)).toEqual([
      { text: `method name: "${methodName}" in the definition, "tensorflow/serving/classify" in the model`, isBreaking: false },
    ]);
  });

  it("is not misled by names that every object has", () => {
    const defined = { inputs: { ["__proto__"]: x }, outputs: { constructor: x } };
    expect(signatureDrift(defined, { methodName, inputs: {}, outputs: {} })).toEqual([
      { text: 'input "__proto__": float32 [?, 2] in the definition, not in the model', isBreaking: true },
      { text: 'output "constructor": float32 [?, 2] in the definition, not in the model', isBreaking: true },
    ]);
  });
});

describe("assertAsDefined", () => {
  it("compares each definition with a signature once", () => {
    const signature = { methodName, inputs: { x }, outputs: {} };
    const metadata = { modelSpec: { name: "m" }, signatures: { serving_default: signature } };
    let compared = 0;
    const definition = (): SignatureDefinition => ({
      outputs: {},
      get inputs() {
        compared++;
        return { x };
      },
    });
    const [one, other] = [definition(), definition()];
    for (const defined of [one, other, one, other]) assertAsDefined(defined, metadata, signature, { name: "m" });
    expect(compared).toBe(2);
  });
});
