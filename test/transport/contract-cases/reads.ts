/** GetModelMetadata and GetModelStatus. */
import type { ModelLike, ModelVersionState } from "../../../src/index.js";
import { tensor } from "../../../src/index.js";
import { type ContractCase, type ContractKind, fails } from "../contract.js";

const predictMethod = "tensorflow/serving/predict";

function metadata(kind: ContractKind, title: string, model: ModelLike, expected: unknown): ContractCase {
  return { method: "getModelMetadata", kind, title, run: ({ client }) => client.getModelMetadata(model), expected };
}

function versionAnswering(title: string, model: ModelLike, version: bigint): ContractCase {
  const run: ContractCase["run"] = async ({ client }) => (await client.getModelMetadata(model)).modelSpec;
  return { method: "getModelMetadata", kind: "ok", title, run, expected: { name: "multi_version", version } };
}

function status(kind: ContractKind, title: string, model: ModelLike, expected: unknown): ContractCase {
  return { method: "getModelStatus", kind, title, run: ({ client }) => client.getModelStatus(model), expected };
}

const inState = (version: bigint, state: ModelVersionState) => ({ version, state, errorCode: "OK", errorMessage: "" });
const available = (version: bigint) => inState(version, "AVAILABLE");
const allVersions = [available(3n), available(2n), available(1n)];

const metadataCases: readonly ContractCase[] = [
  metadata("ok", "inputs, outputs and defaults", "signature_defaults", {
    modelSpec: { name: "signature_defaults", version: 1n },
    signatures: {
      serving_default: {
        methodName: predictMethod,
        inputs: {
          x: { dtype: "float32", shape: [null, 2] },
          scale: { dtype: "float32", shape: [], default: tensor("float32", [], [2]) },
          offset: { dtype: "float32", shape: [2], default: tensor("float32", [2], [1, -1]) },
        },
        outputs: { y: { dtype: "float32", shape: [null, 2] } },
      },
    },
  }),
  {
    method: "getModelMetadata",
    kind: "ok",
    title: "the method of each signature",
    run: async ({ client }) => {
      const { signatures } = await client.getModelMetadata("half_plus_two");
      return Object.fromEntries(Object.entries(signatures).map(([name, { methodName }]) => [name, methodName]));
    },
    expected: {
      serving_default: predictMethod,
      classify_x_to_y: "tensorflow/serving/classify",
      regress_x_to_y: "tensorflow/serving/regress",
      regress_x_to_y2: "tensorflow/serving/regress",
      regress_x2_to_y3: "tensorflow/serving/regress",
    },
  },
  {
    method: "getModelMetadata",
    kind: "ok",
    title: "dtypes that REST cannot carry, and unknown rank",
    run: async ({ client }) => {
      const { signatures } = await client.getModelMetadata("dtype_zoo");
      return ["half", "complex64", "qint8", "uint16"].map((name) => signatures[name]?.inputs["x"]);
    },
    expected: ["float16", "complex64", "qint8", "uint16"].map((dtype) => ({ dtype, shape: null })),
  },
  {
    method: "getModelMetadata",
    kind: "ok",
    title: "signatures without a prototype",
    run: async ({ client }) => Object.getPrototypeOf((await client.getModelMetadata("half_plus_two")).signatures),
    expected: null,
  },
  versionAnswering("the newest version", "multi_version", 3n),
  versionAnswering("a version", { name: "multi_version", version: 1 }, 1n),
  versionAnswering("a label", { name: "multi_version", versionLabel: "stable" }, 2n),
  metadata("wrong model", "an unknown name", "nowhere", fails("NOT_FOUND", "Latest(nowhere)")),
  metadata("wrong version", "an unknown version", { name: "multi_version", version: 9 }, fails("NOT_FOUND", "Specific(multi_version, 9)")),
  metadata(
    "wrong label",
    "an unknown label",
    { name: "multi_version", versionLabel: "no" },
    fails("INVALID_ARGUMENT", "version label: no"),
  ),
];

const statusCases: readonly ContractCase[] = [
  status("ok", "all versions, newest first", "multi_version", allVersions),
  status("ok", "one version", { name: "multi_version", version: 2 }, [available(2n)]),
  status("ok", "a label, which servers ignore", { name: "multi_version", versionLabel: "stable" }, allVersions),
  {
    method: "getModelStatus",
    kind: "ok",
    title: "states and the error of a version that failed",
    run: async ({ startScripted }) => {
      const { client, setVersionState, close } = await startScripted();
      setVersionState("half_plus_two", 124, "LOADING");
      setVersionState("half_plus_two", 125, "END", { code: "INTERNAL", message: "no such file" });
      return client.getModelStatus("half_plus_two").finally(close);
    },
    expected: [
      { version: 125n, state: "END", errorCode: "INTERNAL", errorMessage: "no such file" },
      inState(124n, "LOADING"),
      available(123n),
    ],
    needs: "scripted server",
  },
  status("wrong model", "an unknown name", "nowhere", fails("NOT_FOUND", "Could not find any versions of model nowhere")),
  status("wrong version", "an unknown version", { name: "multi_version", version: 9 }, fails("NOT_FOUND", "Could not find version 9")),
  // A label is nothing to a status; one that is unknown is no exception.
  status("wrong label", "an unknown label", { name: "multi_version", versionLabel: "no" }, allVersions),
];

/** All calls that only read. */
export const readCases: readonly ContractCase[] = [...metadataCases, ...statusCases];
