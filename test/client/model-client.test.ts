import { describe, expect, it } from "vitest";
import { type ModelCalls, ModelClient, type ModelOptions } from "../../src/client/model-client.js";
import { defineModel } from "../../src/client/model-definition.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import type { ModelLike } from "../../src/model-spec.js";
import { createInMemoryTransport, servable } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import type { PredictResult, Transport } from "../../src/transport/transport.js";

const result: PredictResult = { outputs: {}, modelSpec: { name: "m", signatureName: "s" } };

/** A model whose calls note what they are given. */
function recorded(model: ModelLike, options: ModelOptions = {}) {
  const calls: unknown[][] = [];
  const note =
    <T>(method: string, answer: T) =>
    async (...given: unknown[]) => {
      calls.push([method, ...given]);
      return answer;
    };
  const noting: ModelCalls = {
    predict: note("predict", result),
    classify: note("classify", { results: [], modelSpec: result.modelSpec }),
    regress: note("regress", { results: [], modelSpec: result.modelSpec }),
    getModelMetadata: note("getModelMetadata", { modelSpec: { name: "m" }, signatures: {} }),
    getModelStatus: note("getModelStatus", []),
    waitForModel: note("waitForModel", { version: 1n, state: "AVAILABLE", errorCode: "OK", errorMessage: "" } as const),
  };
  return { calls, client: new ModelClient(noting, model, { ...options, check: options.check ?? true }) };
}

const half = servable({
  signatures: {
    serving_default: {
      inputs: { x: { dtype: "float32", shape: [null, 2] }, divisor: { dtype: "float32", shape: [], default: 2 } },
      outputs: { y: { dtype: "float32", shape: [null, 2] } },
    },
    shifted: { inputs: { x: { dtype: "float32", shape: [null, 2] } }, outputs: { y: { dtype: "float32", shape: [null, 2] } } },
  },
  predict: ({ x, divisor }, { signatureName }) => ({
    y: x.values.map((value) => value / (divisor?.values[0] ?? 1) + (signatureName === "shifted" ? 10 : 0)),
  }),
});

/** A client whose transport counts what reaches it. */
function serving(options: { check?: boolean } = {}) {
  const transport = createInMemoryTransport({ half });
  const sent = { predict: 0, getModelMetadata: 0 };
  const counted: Transport = {
    ...transport,
    predict: (...given) => {
      sent.predict++;
      return transport.predict(...given);
    },
    getModelMetadata: (...given) => {
      sent.getModelMetadata++;
      return transport.getModelMetadata(...given);
    },
  };
  return { sent, client: new PredictionClient(counted, options) };
}

describe("ModelClient", () => {
  it.each<[ModelLike, ModelOptions, object]>([
    ["m", {}, { name: "m" }],
    ["m", { version: 3, signatureName: "s" }, { name: "m", version: 3, signatureName: "s" }],
    [{ name: "m", version: 3n, signatureName: "s" }, {}, { name: "m", version: 3n, signatureName: "s" }],
    [{ name: "m", version: 3 }, { versionLabel: "canary" }, { name: "m", versionLabel: "canary" }],
    [{ name: "m", versionLabel: "canary" }, { version: 0 }, { name: "m", version: 0 }],
    [{ name: "m", signatureName: "s" }, { signatureName: "t" }, { name: "m", signatureName: "t" }],
  ])("calls %o with %o as %o", async (model, options, spec) => {
    const { calls, client } = recorded(model, options);
    await client.predict({ x: 1 });
    await client.getModelStatus();
    expect(calls).toStrictEqual([
      ["predict", spec, { x: 1 }, { check: true, definition: undefined, batching: undefined }],
      ["getModelStatus", spec, undefined],
    ]);
  });

  it("calls the signature that the call names, and hands on the other options", async () => {
    const { calls, client } = recorded({ name: "m", signatureName: "s" }, { check: false });
    await client.predict(1, { signatureName: "t", outputFilter: ["y"], timeoutMs: 5 });
    await client.classify([{ age: 1 }], { signatureName: "c", context: { age: 2 } });
    await client.regress([], { signatureName: "r" });
    await client.getModelMetadata({ timeoutMs: 6 });
    await client.waitForModel({ pollIntervalMs: 7 });
    const own = { name: "m", signatureName: "s" };
    const unchecked = { check: false, definition: undefined, batching: undefined };
    expect(calls).toStrictEqual([
      ["predict", { ...own, signatureName: "t" }, 1, { outputFilter: ["y"], timeoutMs: 5, ...unchecked }],
      ["classify", { ...own, signatureName: "c" }, [{ age: 1 }], { context: { age: 2 } }],
      ["regress", { ...own, signatureName: "r" }, [], {}],
      ["getModelMetadata", own, { timeoutMs: 6 }],
      ["waitForModel", own, { pollIntervalMs: 7 }],
    ]);
  });

  it("calls a definition by its name and version alone", async () => {
    const { calls, client } = recorded(defineModel({ name: "m", versionLabel: "stable", signatures: { s: { inputs: {}, outputs: {} } } }));
    await client.predict({}, { signatureName: "s" });
    expect(calls[0]?.[1]).toStrictEqual({ name: "m", versionLabel: "stable", signatureName: "s" });
  });
});

describe("PredictionClient.model", () => {
  it("looks the signature up once, and checks tensors against it before they are sent", async () => {
    const { sent, client } = serving();
    const model = client.model("half");
    await model.predict({ x: tensor("float32", [1, 2], [2, 4]) });
    const wrong = model.predict({ z: tensor("float32", [1], [1]), divisor: tensor("int32", [], [1]) });
    await expect(wrong).rejects.toMatchObject({
      name: "SignatureError",
      differences: [
        expect.stringContaining('input "z" is not in the signature'),
        expect.stringContaining('input "x" is missing: expected float32 [?, 2]'),
        'input "divisor": expected float32 [], got int32 []',
      ],
    });
    expect(sent.predict).toBe(1);
    // Once to know it, once more before refusing by what may be out of date.
    expect(sent.getModelMetadata).toBe(2);
  });

  it("converts plain values, by the signature of the call", async () => {
    const model = serving().client.model("half");
    const first = await model.predict([[2, 4]]);
    expect([...(first.outputs["y"]?.values ?? [])]).toEqual([1, 2]);
    const shifted = await model.predict([new Float32Array([2, 4])], { signatureName: "shifted" });
    expect([...(shifted.outputs["y"]?.values ?? [])]).toEqual([12, 14]);
  });

  it.each([
    { client: undefined, model: false },
    { client: false, model: undefined },
  ])("leaves the comparison to the server with check as in %o", async ({ client, model }) => {
    const { sent, ...own } = serving(client === undefined ? {} : { check: client });
    const wrong = own.client.model("half", { check: model }).predict({ x: tensor("int32", [1, 2], [2, 4]) });
    await expect(wrong).rejects.toMatchObject({ name: "RpcError", code: "INVALID_ARGUMENT" });
    expect(sent.predict).toBe(1);
  });

  it("checks where the client does not but the model asks for it", async () => {
    const { sent, client } = serving({ check: false });
    await expect(client.model("half", { check: true }).predict({ x: tensor("int32", [1, 2], [2, 4]) })).rejects.toMatchObject({
      name: "SignatureError",
    });
    expect(sent.predict).toBe(0);
  });
});

describe("rejects", () => {
  const { client } = serving();
  it.each<[string, () => unknown, string]>([
    ["no model", () => client.model(undefined as never), "model: expected a name or"],
    ["both version and label", () => client.model("m", { version: 1, versionLabel: "a" } as never), "exclude each other"],
    ["a signature name that is no string", () => client.model("m", { signatureName: 1 as never }), "expected signatureName to be a string"],
    ["a check that is no boolean", () => client.model("m", { check: "no" as never }), "check: expected a boolean, got string"],
    ["an option that does not exist", () => client.model("m", { chek: false } as never), "chek: unknown option"],
    ["batching that is none", () => client.model("m", { batching: true } as never), "batching: expected an object, got true"],
    ["a definition that is none", () => client.model({ name: "m", signatures: { s: {} } } as never), 'signature "s": inputs: expected'],
  ])("%s", (_title, make, message) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });

  it("a version out of range", () => {
    expect(() => client.model("m", { version: -1 })).toThrow(RangeError);
  });
});
