/** What the soak calls: a model whose answers follow from its inputs, so that every one of them can be checked. */
import { type AnyTensor, type TensorMap, tensor } from "../../src/index.js";
import { servable } from "../../src/server/index.js";

/** Name of the one model. */
export const modelName = "soak";

const maxRows = 64;
/** Rows of one call in so many, about 1.5 MB. */
const largeRows = 10_000;
const callsPerLarge = 500;
const columns = 16;

/** How long the model takes at most, in milliseconds; each call takes a random part of it. */
const maxDelayMs = 20;

/** `y = 3x + 1` in float32, the ids as they came, the names twice over. */
export const soakModel = servable({
  signatures: {
    serving_default: {
      inputs: {
        x: { dtype: "float32", shape: [null, columns] },
        ids: { dtype: "int64", shape: [null] },
        names: { dtype: "string", shape: [null] },
      },
      outputs: {
        y: { dtype: "float32", shape: [null, columns] },
        ids: { dtype: "int64", shape: [null] },
        twice: { dtype: "string", shape: [null] },
      },
    },
  },
  async predict(inputs) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * maxDelayMs));
    return answerTo(inputs);
  },
});

/** What the model answers to these inputs. */
function answerTo({ x, ids, names }: SoakInputs) {
  return {
    y: tensor(
      "float32",
      x.shape,
      x.values.map((value) => 3 * value + 1),
    ),
    ids,
    twice: tensor(
      "string",
      names.shape,
      names.strings().map((name) => name + name),
    ),
  };
}

type SoakInputs = ReturnType<typeof randomInputs>;

/** Inputs for one call: 1 to 64 rows that no other call has, or once in a while 10,000. */
export function randomInputs() {
  const rows = Math.random() * callsPerLarge < 1 ? largeRows : 1 + Math.floor(Math.random() * maxRows);
  const id = () => BigInt(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)) * 1024n;
  return {
    x: tensor(
      "float32",
      [rows, columns],
      Float32Array.from({ length: rows * columns }, () => Math.random() * 1000 - 500),
    ),
    ids: tensor("int64", [rows], BigInt64Array.from({ length: rows }, id)),
    names: tensor(
      "string",
      [rows],
      Array.from({ length: rows }, () => `näme ${Math.random()}`),
    ),
  } satisfies TensorMap;
}

/** Whether an answer is that of the inputs, bit by bit. */
export function isAnswerTo(inputs: SoakInputs, outputs: TensorMap): boolean {
  const expected = Object.entries(answerTo(inputs));
  return expected.length === Object.keys(outputs).length && expected.every(([name, wanted]) => isEqual(wanted, outputs[name]));
}

function isEqual(wanted: AnyTensor, got: AnyTensor | undefined): boolean {
  if (got === undefined || got.dtype !== wanted.dtype || String(got.shape) !== String(wanted.shape)) return false;
  if (wanted.dtype === "string") return wanted.values.every((bytes, index) => Buffer.compare(bytes, got.values[index] as Uint8Array) === 0);
  return wanted.values.every((value: number | bigint, index: number) => Object.is(value, got.values[index]));
}
