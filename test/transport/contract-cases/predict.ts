/** Predict: inputs in all forms, versions and labels, outputs, and what is refused. */
import { type AnyTensor, type ModelLike, type PredictInputs, type PredictOptions, tensor } from "../../../src/index.js";
import { type ContractCase, type ContractKind, fails } from "../contract.js";

/** A predict call as data; its outputs are compared. */
interface PredictCase extends Omit<ContractCase, "method" | "run"> {
  readonly model: ModelLike;
  readonly inputs: PredictInputs;
  readonly options?: PredictOptions;
}

/** A case from its data. */
export function predictCase({ model, inputs, options, ...rest }: PredictCase): ContractCase {
  return { ...rest, method: "predict", run: async ({ client }) => (await client.predict(model, inputs, options)).outputs };
}

const x = tensor("float32", [3], [1, 2, 5]);
const y = (...values: number[]) => ({ y: tensor("float32", [values.length], values) });
const noRows = { "REST row": fails("INVALID_ARGUMENT", "expected at least one row") };
const scalarInRows = { "REST row": fails("INVALID_ARGUMENT", "expected rows, got a scalar") };

/** A call that is answered. */
function ok(title: string, model: ModelLike, inputs: PredictInputs, expected: unknown, more: Partial<PredictCase> = {}): PredictCase {
  return { kind: "ok", title, model, inputs, expected, ...more };
}

const forms: readonly PredictCase[] = [
  ok("tensors", "half_plus_two", { x }, y(2.5, 3, 4.5)),
  ok("plain values", "half_plus_two", { x: [1, 2, 5] }, y(2.5, 3, 4.5)),
  ok("a typed array", "half_plus_two", { x: new Float32Array([1, 2, 5]) }, y(2.5, 3, 4.5)),
  ok("a bare typed array", "half_plus_two", new Float32Array([1, 2, 5]), y(2.5, 3, 4.5)),
  ok("a bare tensor", "half_plus_two", x, y(2.5, 3, 4.5)),
  ok("a bare list", "half_plus_two", [1, 2, 5], y(2.5, 3, 4.5)),
  ok("no rows", "half_plus_two", { x: [] }, y(), { over: noRows }),
  ok("row format", "half_plus_two", { x }, y(2.5, 3, 4.5), { options: { restFormat: "row" } }),
  ok("column format", "half_plus_two", { x }, y(2.5, 3, 4.5), { options: { restFormat: "column" } }),
  ok(
    "a bare scalar",
    { name: "dtype_zoo", signatureName: "scalar" },
    0.1,
    { y: tensor("float32", [], [0.2]) },
    { options: { outputFilter: ["y"] }, over: scalarInRows },
  ),
];

const choices: readonly PredictCase[] = [
  ok("the newest version", "multi_version", { x }, y(6, 9, 18)),
  ok("a version", { name: "multi_version", version: 1 }, { x }, y(2, 3, 6)),
  ok("a version as bigint", { name: "multi_version", version: 2n }, { x }, y(4, 6, 12)),
  ok("a label", { name: "multi_version", versionLabel: "stable" }, { x }, y(4, 6, 12)),
  ok("a label with blank, slash, colon and umlaut", { name: "half_plus_two", versionLabel: "a b/c:ü" }, { x }, y(2.5, 3, 4.5)),
  ok("a name with blank, slash, colon and umlaut", "half plus/two:ä", { x }, y(2.5, 3, 4.5)),
  ok(
    "a signature",
    { name: "dtype_zoo", signatureName: "bool" },
    [true],
    { not: tensor("bool", [1], [false]) },
    { options: { outputFilter: ["not"] } },
  ),
  ok("an empty signature name", { name: "half_plus_two", signatureName: "" }, { x }, y(2.5, 3, 4.5)),
];

// biome-ignore format: a matrix
const manyInputs = { features: [[1, 2, 3], [0, 0, 0.5]], ids: [2n ** 62n, -1n], names: ["a", "ü"], negate: false } as const;
const manyOutputs = {
  alpha_ids: tensor("int64", [2], [-(2n ** 63n) + 1n, -1n]),
  beta_mean: tensor("float64", [], [6.5 / 6]),
  big: tensor("bool", [2], [true, false]),
  mid_labels: tensor("string", [2], [`a#${2n ** 62n}`, "ü#-1"]),
  zeta: tensor("float32", [2], [6, 0.5]),
};

const defaulted: AnyTensor = tensor("float32", [1, 2], [1, 2]);
const withDefaults = (...values: number[]) => ({ y: tensor("float32", [1, 2], values) });

const shapes: readonly PredictCase[] = [
  ok("four inputs, five outputs, one a scalar", "multi_io", manyInputs, manyOutputs, { tolerance: 1e-6, over: scalarInRows }),
  ok("an output filter", "multi_io", manyInputs, { big: manyOutputs.big }, { options: { outputFilter: ["big"] }, over: scalarInRows }),
  ok(
    "a matrix, two outputs",
    "multi_head",
    [[0, 0, 0, 0]],
    { scores: tensor("float32", [1, 3], [1 / 3, 1 / 3, 1 / 3]), value: tensor("float32", [1, 1], [0]) },
    { tolerance: 1e-6 },
  ),
  ok("defaults of the signature", "signature_defaults", { x: defaulted }, withDefaults(3, 3), { over: scalarInRows }),
  ok("a bare value beside defaults", "signature_defaults", [[1, 2]], withDefaults(3, 3), { over: scalarInRows }),
  ok("one default replaced", "signature_defaults", { x: defaulted, scale: -1 }, withDefaults(0, -3), { over: scalarInRows }),
  ok(
    "an empty output of two dimensions",
    { name: "dtype_zoo", signatureName: "empty" },
    [[1, 2, 3]],
    { none: tensor("float32", [0, 3], []) },
    { options: { restFormat: "column", outputFilter: ["none"] } },
  ),
];

/** A call, normally of half_plus_two, that is refused. */
function refused(kind: ContractKind, title: string, data: Partial<PredictCase>, code: string, text: string): PredictCase {
  return { kind, title, model: "half_plus_two", inputs: { x }, ...data, expected: fails(code, text) };
}

const refusals: readonly PredictCase[] = [
  refused("wrong model", "tensors", { model: "nowhere" }, "NOT_FOUND", "Servable not found for request: Latest(nowhere)"),
  refused("wrong model", "plain values", { model: "nowhere", inputs: { x: [1] } }, "NOT_FOUND", "Latest(nowhere)"),
  refused("wrong model", "a version of it", { model: { name: "nowhere", version: 3 } }, "NOT_FOUND", "Specific(nowhere, 3)"),
  refused("wrong version", "tensors", { model: { name: "half_plus_two", version: 9 } }, "NOT_FOUND", "Specific(half_plus_two, 9)"),
  refused("wrong label", "tensors", { model: { name: "half_plus_two", versionLabel: "no" } }, "INVALID_ARGUMENT", "version label: no"),
  refused("wrong signature", "tensors", { model: { name: "half_plus_two", signatureName: "no" } }, "FAILED_PRECONDITION", '"no" not found'),
  refused(
    "wrong signature",
    "plain values",
    { model: { name: "half_plus_two", signatureName: "no" }, inputs: [1] },
    "FAILED_PRECONDITION",
    "",
  ),
  refused("wrong input", "an unknown name", { inputs: { z: x } }, "INVALID_ARGUMENT", '"z"'),
  refused("wrong input", "a name too many", { inputs: { x, z: x } }, "INVALID_ARGUMENT", '"z"'),
  refused("wrong input", "none", { inputs: {} }, "INVALID_ARGUMENT", '"x"'),
  refused(
    "wrong input",
    "a tensor of another dtype",
    { inputs: tensor("int32", [1], [1]) },
    "INVALID_ARGUMENT",
    'input "x": expected float32 [?], got int32 [1]',
  ),
  refused("wrong input", "a plain value of another kind", { inputs: { x: ["a"] } }, "INVALID_ARGUMENT", '"x"'),
  refused("wrong input", "a plain value of another rank", { inputs: { x: 1 } }, "INVALID_ARGUMENT", '"x"'),
  refused("wrong input", "a list that is not even", { inputs: { x: [[1], [2, 3]] } }, "INVALID_ARGUMENT", '"x"'),
  refused(
    "wrong input",
    "an unknown output",
    { options: { outputFilter: ["no"] } },
    "INVALID_ARGUMENT",
    "output tensor alias not found in signature: no",
  ),
  refused(
    "wrong input",
    "an output wanted twice",
    { options: { outputFilter: ["y", "y"] } },
    "INVALID_ARGUMENT",
    "duplicate output tensor alias: y",
  ),
  refused(
    "wrong input",
    "rows that do not match",
    { model: "multi_io", inputs: { ...manyInputs, names: ["a"] }, over: { "REST row": fails("INVALID_ARGUMENT", "expected rows") } },
    "INVALID_ARGUMENT",
    "Input shapes do not match",
  ),
];

const spec = (result: { modelSpec: unknown }) => result.modelSpec;

/** Predict, but for dtypes and endings. */
export const predictCases: readonly ContractCase[] = [
  ...[...forms, ...choices, ...shapes, ...refusals].map(predictCase),
  {
    method: "predict",
    kind: "ok",
    title: "says which version answered; REST only if it was asked for",
    run: async ({ client }) => spec(await client.predict("half_plus_two", { x })),
    expected: { name: "half_plus_two", version: 123n, signatureName: "serving_default" },
    over: { REST: { name: "half_plus_two", signatureName: "serving_default" } },
  },
  {
    method: "predict",
    kind: "ok",
    title: "says which version was asked for",
    run: async ({ client }) => spec(await client.predict({ name: "half_plus_two", version: 123n }, { x })),
    expected: { name: "half_plus_two", version: 123n, signatureName: "serving_default" },
  },
];
