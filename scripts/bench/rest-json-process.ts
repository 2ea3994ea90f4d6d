/** The JSON of REST bodies against V8's: sends the parent the values of one gate. Run it with `--expose-gc`; arguments: GATE ROUNDS. */
import { type RestFormat, readPredictBody, writePredictBody } from "../../src/transport/rest/bodies.js";
import { matrixSignature, randomTensor, restAnswer } from "./answers.js";
import { type GateValues, interleaved, median, medianRatio } from "./compare.js";
import { sendToParent } from "./processes.js";

const shape = [1024, 1000] as const;

/** Enough that each side pays for the memory it takes and leaves. */
const runsPerRound = 5;

/** Time of one run in milliseconds; nobody pays for the garbage of the other side. */
function timeOf(run: () => unknown): number {
  globalThis.gc?.();
  const start = performance.now();
  for (let i = 0; i < runsPerRound; i++) run();
  return (performance.now() - start) / runsPerRound;
}

/** Print and return what part of the peer's time ours takes. */
async function timeRatio(label: string, rounds: number, ours: () => unknown, theirs: () => unknown): Promise<number> {
  const variants = { ours: () => timeOf(ours), theirs: () => timeOf(theirs) };
  // For V8 to compile what is hot.
  await interleaved(variants, 1);
  const times = await interleaved(variants, rounds);
  const ratio = medianRatio(times.ours, times.theirs);
  console.log(`  ${label}: ${ratio.toFixed(2)}x time, ${median(times.ours).toFixed(1)} ms against ${median(times.theirs).toFixed(1)} ms`);
  return ratio;
}

/** Answer to typed array, against a parse of text that is already decoded and stays nested lists. */
async function readAnswer(rounds: number, format: RestFormat): Promise<number> {
  const bytes = restAnswer(shape, format);
  const text = bytes.toString();
  const ours = () => readPredictBody(bytes, matrixSignature, format);
  const theirs = () => JSON.parse(text);
  return await timeRatio(`J1 ${format} answer of ${bytes.length} bytes to Float32Array, JSON.parse alone`, rounds, ours, theirs);
}

/** Typed array to request. */
async function writeRequest(rounds: number): Promise<GateValues> {
  const x = randomTensor(shape);
  const [rowCount, columns] = shape;
  const row = (index: number) => Array.from(x.values.subarray(index * columns, (index + 1) * columns));
  const ours = () => writePredictBody(undefined, { x }, "column");
  const theirs = () => JSON.stringify({ inputs: Array.from({ length: rowCount }, (_, index) => row(index)) });
  const time = await timeRatio("J3 Float32Array to request, JSON.stringify of nested Array.from", rounds, ours, theirs);
  const [ourBytes, theirBytes] = [ours().length, Buffer.byteLength(theirs())];
  console.log(`  J3 the same: ${(ourBytes / theirBytes).toFixed(2)}x bytes, ${ourBytes} against ${theirBytes}`);
  return { "J3-time": time, "J3-bytes": ourBytes / theirBytes };
}

/** What runs under each name; the layout of rows has no line break after each number, as columns have. */
const gates: Readonly<Record<string, (rounds: number) => Promise<GateValues>>> = {
  J1: async (rounds) => ({ J1: await readAnswer(rounds, "column") }),
  "J1-row": async (rounds) => ({ "J1-row": await readAnswer(rounds, "row") }),
  J3: writeRequest,
};
const [gate = "", rounds] = process.argv.slice(2);
sendToParent(await gates[gate]?.(Number(rounds)));
process.disconnect();
