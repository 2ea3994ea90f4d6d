/** Predict through `client.model()`, which holds every call against the signature. */
import { type ModelLike, type PredictInputs, tensor } from "../../../src/index.js";
import { type ContractCase, type ContractKind, fails } from "../contract.js";

const x = tensor("float32", [3], [1, 2, 5]);
const y = { y: tensor("float32", [3], [2.5, 3, 4.5]) };

function model(kind: ContractKind, title: string, name: ModelLike, inputs: PredictInputs, expected: unknown): ContractCase {
  const run: ContractCase["run"] = async ({ client }) => (await client.model(name).predict(inputs)).outputs;
  return { method: "ModelClient.predict", kind, title, run, expected };
}

/** Predict of a ModelClient, but for endings. */
export const modelClientCases: readonly ContractCase[] = [
  model("ok", "a tensor", "half_plus_two", { x }, y),
  model("ok", "a bare list", "half_plus_two", [1, 2, 5], y),
  model("ok", "a label", { name: "half_plus_two", versionLabel: "a b/c:ü" }, { x }, y),
  {
    method: "ModelClient.predict",
    kind: "ok",
    title: "version and signature as options",
    run: async ({ client }) => {
      const old = client.model("multi_version", { version: 1 });
      return (await old.predict([1], { signatureName: "serving_default" })).outputs;
    },
    expected: { y: tensor("float32", [1], [2]) },
  },
  {
    method: "ModelClient.predict",
    kind: "ok",
    title: "a rank that is not the signature's, without check",
    run: async ({ client }) => {
      const matrix = tensor("float32", [1, 2], [1, 2]);
      return (await client.model("half_plus_two", { check: false }).predict({ x: matrix })).outputs;
    },
    expected: { y: tensor("float32", [1, 2], [2.5, 3]) },
  },
  model("wrong model", "an unknown name", "nowhere", { x }, fails("NOT_FOUND", "Latest(nowhere)")),
  model(
    "wrong version",
    "an unknown version",
    { name: "half_plus_two", version: 9 },
    { x },
    fails("NOT_FOUND", "Specific(half_plus_two, 9)"),
  ),
  model(
    "wrong label",
    "an unknown label",
    { name: "half_plus_two", versionLabel: "no" },
    { x },
    fails("INVALID_ARGUMENT", "version label: no"),
  ),
  model("wrong signature", "an unknown signature", { name: "half_plus_two", signatureName: "no" }, { x }, fails("FAILED_PRECONDITION", "")),
  model(
    "wrong input",
    "another dtype",
    "half_plus_two",
    tensor("int32", [1], [1]),
    fails("INVALID_ARGUMENT", "expected float32 [?], got int32 [1]"),
  ),
  model(
    "wrong input",
    "another rank",
    "half_plus_two",
    tensor("float32", [1, 1], [1]),
    fails("INVALID_ARGUMENT", "expected float32 [?], got float32 [1, 1]"),
  ),
  model("wrong input", "every difference at once: a name", "half_plus_two", { z: x }, fails("INVALID_ARGUMENT", '"z"')),
  model("wrong input", "every difference at once: what is missing", "half_plus_two", { z: x }, fails("INVALID_ARGUMENT", '"x"')),
];
