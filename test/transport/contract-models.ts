/**
 * The models of the suite, in JavaScript: SavedModels of `test/fixtures/saved_models` under their names, with their signatures and
 * results, so that a real server which loaded those answers the same cases.
 */
import { type DType, type ModelServerConfig, ServingError, tensor } from "../../src/index.js";
import { type ModelMap, type Servable, servable, type VersionLabels } from "../../src/server/index.js";
import { dtypeZoo } from "./contract-dtype-zoo.js";
import { halfPlusTwo, multiHead } from "./contract-example-models.js";

const vector = <D extends DType>(dtype: D) => ({ dtype, shape: [null] });
const scalar = <D extends DType>(dtype: D) => ({ dtype, shape: [] });
const matrix = <D extends DType>(dtype: D, columns: number) => ({ dtype, shape: [null, columns] });

/** `y = f(x)` for each element. */
function elementwise(compute: (x: number) => number): Servable {
  return servable({
    signatures: { serving_default: { inputs: { x: vector("float32") }, outputs: { y: vector("float32") } } },
    predict: ({ x }) => ({ y: tensor("float32", x.shape, x.values.map(compute)) }),
  });
}

const multiIo = servable({
  signatures: {
    serving_default: {
      inputs: { features: matrix("float32", 3), ids: vector("int64"), names: vector("string"), negate: scalar("bool") },
      outputs: {
        alpha_ids: vector("int64"),
        beta_mean: scalar("float64"),
        big: vector("bool"),
        mid_labels: vector("string"),
        zeta: vector("float32"),
      },
    },
  },
  predict: ({ features, ids, names, negate }) => {
    if (ids.size !== names.size) {
      throw new ServingError(`Input shapes do not match: [${names.size}] vs. [${ids.size}]`, { code: "INVALID_ARGUMENT" });
    }
    const sign = negate.values[0] === 1 ? -1 : 1;
    const rowSum = (row: number) => features.values.subarray(3 * row, 3 * row + 3).reduce((sum, value) => Math.fround(sum + value), 0);
    const zeta = Array.from({ length: features.shape[0] ?? 0 }, (_, row) => sign * rowSum(row));
    return {
      zeta: tensor("float32", [zeta.length], zeta),
      big: tensor(
        "bool",
        [zeta.length],
        zeta.map((total) => total > 1),
      ),
      alpha_ids: tensor(
        "int64",
        ids.shape,
        ids.values.map((id) => id * 2n + 1n),
      ),
      mid_labels: tensor(
        "string",
        names.shape,
        names.values.map((name, i) => Buffer.concat([name, Buffer.from(`#${ids.values[i]}`)])),
      ),
      beta_mean: features.values.reduce((sum, value) => sum + value, 0) / features.size,
    };
  },
});

const signatureDefaults = servable({
  signatures: {
    serving_default: {
      inputs: {
        x: matrix("float32", 2),
        scale: { ...scalar("float32"), default: 2 },
        offset: { dtype: "float32", shape: [2], default: [1, -1] },
      },
      outputs: { y: matrix("float32", 2) },
    },
  },
  predict: ({ x, scale, offset }) => ({
    y: tensor(
      "float32",
      x.shape,
      x.values.map((value, i) => Math.fround(value * (scale.values[0] ?? 0)) + (offset.values[i % 2] ?? 0)),
    ),
  }),
});

/** Dtypes that no SavedModel of the suite has a signature for. */
const rareDtypes = [
  "qint16",
  "quint16",
  "int4",
  "uint4",
  "float8_e5m2",
  "float8_e4m3fn",
  "float8_e4m3fnuz",
  "float8_e4m3b11fnuz",
  "float8_e5m2fnuz",
] as const satisfies readonly DType[];

const identity = servable({
  signatures: Object.fromEntries(
    rareDtypes.map((dtype) => [dtype, { inputs: { x: { dtype, shape: null } }, outputs: { y: { dtype, shape: null } } }]),
  ),
  predict: ({ x }) => ({ y: x as never }),
});

/** What embedded servers are given. */
export interface ContractModels {
  readonly models: ModelMap;
  readonly versionLabels: VersionLabels;
  /** Let calls end that pretend to compute for long. */
  release(): void;
}

/** More iterations of the model `slow` than any test waits for; a real server takes seconds. */
export const manyIterations = 300_000;

/** The models for one embedded server. */
export function contractModels(): ContractModels {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = servable({
    signatures: {
      serving_default: {
        inputs: { x: vector("float32"), iterations: scalar("int32") },
        outputs: { y: vector("float32"), checksum: scalar("float32"), steps: scalar("int32") },
      },
    },
    predict: async ({ x, iterations }) => {
      if ((iterations.values[0] ?? 0) >= manyIterations) await released;
      // The checksum without an iteration; no case looks at that of more.
      return {
        y: tensor(
          "float32",
          x.shape,
          x.values.map((value) => value * 2),
        ),
        checksum: 48,
        steps: iterations,
      };
    },
  });
  const models: ModelMap = {
    half_plus_two: { 123: halfPlusTwo },
    "half plus/two:ä": { 123: halfPlusTwo },
    multi_version: {
      1: elementwise((x) => x + 1),
      2: elementwise((x) => 2 * x + 2),
      3: elementwise((x) => Math.fround(3 * x) + 3),
    },
    multi_head: multiHead,
    multi_io: multiIo,
    dtype_zoo: dtypeZoo,
    signature_defaults: signatureDefaults,
    slow,
    identity,
  };
  return { models, versionLabels: contractLabels, release };
}

/** Versions by label, by model. */
export const contractLabels = { half_plus_two: { "a b/c:ü": 123 }, multi_version: { stable: 2, canary: 3 } } as const;

/** Folders of the SavedModels by the name they are served under. */
const folders: Readonly<Record<string, string>> = {
  half_plus_two: "half_plus_two",
  "half plus/two:ä": "half_plus_two",
  multi_version: "multi_version",
  multi_head: "multi_head",
  multi_io: "multi_io",
  dtype_zoo: "dtype_zoo",
  signature_defaults: "signature_defaults",
  slow: "slow",
};

/** The folders of the SavedModels that a real server of the suite needs. */
export const contractFolders: readonly string[] = [...new Set(Object.values(folders))];

/**
 * The configuration of a server of the suite.
 *
 * @param modelsPath - The folder of the models, as the server sees it.
 * @param more - Models beyond the SavedModels.
 */
export function contractConfig(modelsPath: string, more: readonly string[] = []): ModelServerConfig {
  const named = [...Object.entries(folders), ...more.map((name) => [name, name] as const)];
  const labels: Readonly<Record<string, Readonly<Record<string, number>>>> = contractLabels;
  return {
    models: named.map(([name, folder]) => ({
      name,
      basePath: `${modelsPath}/${folder}`,
      modelPlatform: "tensorflow",
      versionPolicy: "all",
      versionLabels: Object.fromEntries(Object.entries(labels[name] ?? {}).map(([label, version]) => [label, BigInt(version)])),
    })),
  };
}

/** Models of {@link contractModels} that are no SavedModels. */
export const javascriptOnly: readonly string[] = ["identity"];
