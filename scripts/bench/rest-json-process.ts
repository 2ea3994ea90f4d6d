/**
 * One side of a comparison of REST bodies' JSON with V8's: runs it for a while whenever the parent asks, and sends the time of a run in
 * milliseconds. First it sends the bytes it reads or writes. Run it with `--expose-gc`; arguments: CASE SIDE.
 */
import { type RestFormat, readPredictBody, writePredictBody } from "../../src/transport/rest/bodies.js";
import { matrixSignature, randomTensor, restAnswer } from "./answers.js";
import type { JsonCase, JsonSide } from "./rest.js";
import { serveRounds } from "./sides.js";

const shape = [1024, 1000] as const;

/** Long enough for the allocator to settle, and for each side to pay for the memory it takes and leaves. */
const roundMs = 700;

/** What a side does, and the bytes of the text. */
interface Work {
  readonly bytes: number;
  run(): unknown;
}

/** Answer to typed array, against a parse of text that is already decoded and stays nested lists. */
function reading(format: RestFormat): Record<JsonSide, () => Work> {
  const bytes = restAnswer(shape, format);
  const text = bytes.toString();
  return {
    tfserving: () => ({ bytes: bytes.length, run: () => readPredictBody(bytes, matrixSignature, format) }),
    V8: () => ({ bytes: bytes.length, run: () => JSON.parse(text) }),
  };
}

/** Typed array to request, against nested lists made of it. */
function writing(): Record<JsonSide, () => Work> {
  const x = randomTensor(shape);
  const [rowCount, columns] = shape;
  const row = (index: number) => Array.from(x.values.subarray(index * columns, (index + 1) * columns));
  const ours = () => writePredictBody(undefined, { x }, "column");
  const theirs = () => JSON.stringify({ inputs: Array.from({ length: rowCount }, (_, index) => row(index)) });
  return { tfserving: () => ({ bytes: ours().length, run: ours }), V8: () => ({ bytes: theirs().length, run: theirs }) };
}

const cases: Readonly<Record<JsonCase, () => Record<JsonSide, () => Work>>> = {
  J1: () => reading("column"),
  "J1-row": () => reading("row"),
  J3: writing,
};

/** Time of one run in milliseconds. */
function timeOf(run: () => unknown): number {
  globalThis.gc?.();
  const start = performance.now();
  let runs = 0;
  for (; performance.now() - start < roundMs; runs++) run();
  return (performance.now() - start) / runs;
}

const [id, side] = process.argv.slice(2) as [JsonCase, JsonSide];
const { bytes, run } = cases[id]()[side]();
// For V8 to compile what is hot.
timeOf(run);
serveRounds(bytes, () => timeOf(run));
