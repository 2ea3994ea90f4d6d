import { describe, expect, it } from "vitest";
import { passedBeforeSending } from "../../src/deadline.js";
import { ServingError } from "../../src/errors.js";
import { createInMemoryTransport, type Servable, servable } from "../../src/server/index.js";
import { tensor } from "../../src/tensor/tensor.js";
import { halfPlusTwo } from "./golden-models.js";

const x = tensor("float32", [3], [1, 2, 5]);
const soon = () => ({ deadline: performance.now() + 5_000 });

function echo(predict: (signal: AbortSignal) => void | Promise<void> = () => undefined): Servable {
  const spec = { dtype: "float32", shape: null } as const;
  return servable({
    signatures: { serving_default: { inputs: { x: spec }, outputs: { y: spec } } },
    predict: async (inputs, { signal }) => {
      await predict(signal);
      return { y: inputs.x };
    },
  });
}

describe("createInMemoryTransport", () => {
  it("predicts and says which version answered", async () => {
    const transport = createInMemoryTransport({ half_plus_two: { 1: halfPlusTwo, 7: halfPlusTwo } });
    const result = await transport.predict({ name: "half_plus_two" }, { x }, soon());
    expect([...(result.outputs["y"]?.values ?? [])]).toEqual([2.5, 3, 4.5]);
    expect(result.modelSpec).toEqual({ name: "half_plus_two", version: 7n, signatureName: "serving_default" });
  });

  it("resolves labels", async () => {
    const options = { versionLabels: { m: { stable: 2n } } };
    const transport = createInMemoryTransport({ m: { 2: halfPlusTwo, 3: halfPlusTwo } }, options);
    const result = await transport.predict({ name: "m", versionLabel: "stable" }, { x }, soon());
    expect(result.modelSpec.version).toBe(2n);
  });

  it("hands out memory that is the caller's own", async () => {
    const result = await createInMemoryTransport({ m: echo() }).predict({ name: "m" }, { x }, soon());
    expect(result.outputs["y"]).toEqual(x);
    expect(result.outputs["y"]?.values).not.toBe(x.values);
  });

  it("tells metadata and states", async () => {
    const transport = createInMemoryTransport({ m: { 2: echo(), 10: echo() } });
    const { modelSpec, signatures } = await transport.getModelMetadata({ name: "m" }, soon());
    expect(modelSpec).toEqual({ name: "m", version: 10n });
    expect(signatures["serving_default"]?.inputs["x"]).toEqual({ dtype: "float32", shape: null });
    const statuses = await transport.getModelStatus({ name: "m" }, soon());
    expect(statuses.map(({ version }) => version)).toEqual([10n, 2n]);
  });

  it("fails with an RpcError of the server's code and words", async () => {
    const failed = createInMemoryTransport({ m: echo() }).predict({ name: "nope" }, { x }, soon());
    await expect(failed).rejects.toMatchObject({
      name: "RpcError",
      code: "NOT_FOUND",
      serverMessage: "Servable not found for request: Latest(nope)",
      transport: "in-memory",
      endpoint: "in-memory",
    });
  });

  it("ends with DEADLINE_EXCEEDED and aborts the servable's signal", async () => {
    let aborted = false;
    const stuck = echo((signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))).predict;
    const { signatures } = echo();
    const watched: Servable = {
      signatures,
      predict: async (inputs, context) => {
        const outputs = await stuck(inputs, context);
        aborted = context.signal.aborted;
        return outputs;
      },
    };
    const failed = createInMemoryTransport({ m: watched }).predict({ name: "m" }, { x }, { deadline: performance.now() + 30 });
    await expect(failed).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await expect.poll(() => aborted).toBe(true);
  });

  it("refuses a call without time left", async () => {
    const failed = createInMemoryTransport({ m: echo() }).predict({ name: "m" }, { x }, { deadline: performance.now() + 1 });
    await expect(failed).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
  });

  it("refuses options it does not know", () => {
    expect(() => createInMemoryTransport({ m: echo() }, { labels: {} } as object)).toThrow(
      new TypeError("labels: unknown option, expected one of loadServable, versionLabels"),
    );
  });

  it("rejects with the reason of the caller's abort", async () => {
    const controller = new AbortController();
    const transport = createInMemoryTransport({ m: echo(() => controller.abort("enough")) });
    await expect(transport.predict({ name: "m" }, { x }, { ...soon(), signal: controller.signal })).rejects.toBe("enough");
  });

  it("does not wait for a metadata function beyond the deadline", async () => {
    const options = { deadline: performance.now() + 30, metadata: () => new Promise<never>(() => undefined) };
    const failed = createInMemoryTransport({ m: echo() }).predict({ name: "m" }, { x }, options);
    await expect(failed).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", serverMessage: passedBeforeSending });
  });

  it("asks a metadata function and fails as over a connection where it does", async () => {
    const cause = new Error("no token");
    const metadata = async () => Promise.reject(cause);
    const call = createInMemoryTransport({ m: echo() }).predict({ name: "m" }, { x }, { ...soon(), metadata });
    await expect(call).rejects.toMatchObject({
      name: "ServingError",
      code: "UNAUTHENTICATED",
      message: "UNAUTHENTICATED: predict m: the metadata function failed: no token",
      retryable: false,
      cause,
    });
  });

  it("cancels running calls and refuses new ones when closed", async () => {
    const transport = createInMemoryTransport({ m: echo(() => new Promise(() => undefined)) });
    const running = transport.predict({ name: "m" }, { x }, soon());
    await Promise.all([expect(running).rejects.toMatchObject({ code: "CANCELLED" }), transport.close()]);
    await expect(transport.getModelStatus({ name: "m" }, soon())).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it.each([
    ["a ServingError", new ServingError("too many", { code: "RESOURCE_EXHAUSTED" }), "RESOURCE_EXHAUSTED", "too many"],
    ["any other error", new Error("broken"), "INTERNAL", "broken"],
    ["a thrown string", "broken", "INTERNAL", "broken"],
  ])("passes on %s of the servable", async (_title, error, code, serverMessage) => {
    const failing = echo(() => {
      throw error;
    });
    await expect(createInMemoryTransport({ m: failing }).predict({ name: "m" }, { x }, soon())).rejects.toMatchObject({
      code,
      serverMessage,
    });
  });

  it.each([
    ["nothing", undefined, "predict returned no record of outputs"],
    ["a missing output", {}, 'predict returned no output "y"'],
    ["an unknown output", { y: 1, z: 1 }, 'predict returned the output "z", which is not in the signature'],
    ["another dtype", { y: tensor("int32", [], [1]) }, 'predict returned a wrong output "y": '],
  ])("says that it is the servable's fault when it answers %s", async (_title, outputs, message) => {
    const { signatures } = echo();
    const faulty: Servable = { signatures, predict: () => outputs as never };
    const failed = createInMemoryTransport({ m: faulty }).predict({ name: "m" }, { x }, soon());
    await expect(failed).rejects.toMatchObject({ code: "INTERNAL", serverMessage: expect.stringContaining(message) });
    await expect(failed).rejects.toThrow('model "m" version 1, signature "serving_default": ');
  });

  it("fills in defaults and converts plain outputs", async () => {
    const scalar = { dtype: "float64", shape: [] } as const;
    const add = servable({
      signatures: { serving_default: { inputs: { a: scalar, b: { ...scalar, default: 0.5 } }, outputs: { sum: scalar } } },
      predict: ({ a, b }) => ({ sum: (a.values[0] ?? 0) + (b.values[0] ?? 0) }),
    });
    const result = await createInMemoryTransport({ add }).predict({ name: "add" }, { a: tensor("float64", [], [1]) }, soon());
    expect(result.outputs["sum"]).toEqual(tensor("float64", [], [1.5]));
  });

  it("returns the outputs that were asked for", async () => {
    const spec = { dtype: "int32", shape: [] } as const;
    const two = servable({
      signatures: { serving_default: { inputs: { a: spec }, outputs: { one: spec, two: spec } } },
      predict: () => ({ one: 1, two: 2 }),
    });
    const inputs = { a: tensor("int32", [], [0]) };
    const result = await createInMemoryTransport({ two }).predict({ name: "two" }, inputs, { ...soon(), outputFilter: ["two"] });
    expect(Object.keys(result.outputs)).toEqual(["two"]);
  });
});
