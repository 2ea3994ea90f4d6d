import { describe, expect, it } from "vitest";
import { TensorError, tensor } from "../../src/index.js";
import { type ContractCase, type ContractContext, type ContractKind, type ContractMethod, checkCase, fails, titleOf } from "./contract.js";
import { contractCases } from "./contract-cases/all-cases.js";
import { describeContract } from "./contract-describe.js";
import { embeddedTargets } from "./contract-targets.js";

for (const target of embeddedTargets) describeContract(target);

describe("the contract suite", () => {
  const always: readonly ContractKind[] = ["ok", "wrong model", "wrong version", "wrong label", "deadline", "abort", "server down"];
  const withSignature: readonly ContractKind[] = [...always, "wrong signature", "wrong input"];
  const applicable: Readonly<Record<Exclude<ContractMethod, "client">, readonly ContractKind[]>> = {
    predict: withSignature,
    classify: withSignature,
    regress: withSignature,
    multiInference: withSignature,
    getModelMetadata: always,
    getModelStatus: always,
    // A reload that names a version nobody has waits for it: that is a deadline.
    reloadConfig: ["ok", "wrong model", "wrong label", "wrong input", "deadline", "abort", "server down"],
    waitForModel: always,
    "ModelClient.predict": withSignature,
  };

  it.each(Object.entries(applicable))("has a case of every kind that applies to %s", (method, kinds) => {
    const covered = new Set(contractCases.filter((test) => test.method === method).map(({ kind }) => kind));
    expect([...covered].sort()).toEqual([...kinds].sort());
  });

  it("has titles that tell cases apart", () => {
    const titles = contractCases.map(titleOf);
    expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
  });
});

describe("checkCase", () => {
  const context = {} as ContractContext;
  const check = (outcome: unknown, expected: unknown, more: Partial<ContractCase> = {}) => {
    const run = async () => {
      if (outcome instanceof Error) throw outcome;
      return outcome;
    };
    return checkCase({ method: "client", kind: "ok", title: "", run, expected, ...more }, context, "REST row");
  };
  const one = tensor("float32", [1], [1]);

  it("takes what is equal, numbers within the tolerance included", async () => {
    await check({ y: one }, { y: tensor("float32", [1], [1]) });
    await check([1.001, Number.NaN, -0], [1, Number.NaN, -0], { tolerance: 0.01 });
    await check(new TensorError("no such thing"), fails("INVALID_ARGUMENT", "such"));
    await check(new TypeError("no"), fails("TypeError"));
  });

  it.each([
    ["another value", one, tensor("float32", [1], [2])],
    ["another dtype", one, tensor("float64", [1], [1])],
    ["another shape", one, tensor("float32", [1, 1], [1])],
    ["another sign of zero", [0], [-0]],
    ["more members", { a: 1, b: 2 }, { a: 1 }],
    ["fewer members", { a: 1 }, { a: 1, b: 2 }],
    ["an answer where an error was expected", one, fails("NOT_FOUND")],
    ["an error where an answer was expected", new TensorError("no"), one],
    ["another code", new TensorError("no"), fails("NOT_FOUND")],
    ["another text", new TensorError("no"), fails("INVALID_ARGUMENT", "yes")],
  ])("refuses %s", async (_what, outcome, expected) => {
    await expect(check(outcome, expected)).rejects.toThrow();
  });

  it("refuses numbers beyond the tolerance", async () => {
    await expect(check([1.1], [1], { tolerance: 0.01 })).rejects.toThrow();
  });

  it("looks first at what is expected over the transport at hand", async () => {
    await check(1, 0, { over: { "REST row": 1, REST: 2 } });
    await check(2, 0, { over: { REST: 2 } });
    await check(0, 0);
  });
});
