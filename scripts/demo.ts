/**
 * `npm run demo`: predict over gRPC and REST against the embedded model server.
 *
 * `npm run demo -- --target host:port` (or `http://host:port`) sends the half_plus_two call to a real server instead.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { isServingError, PredictionClient, type Tensor, tensor } from "../src/index.js";
import { startModelServer } from "../src/server/index.js";
import { createDigits, halfPlusTwo } from "./demo-models.js";

const fixtures = new URL("../test/fixtures/", import.meta.url);

const { values: options } = parseArgs({ options: { target: { type: "string" } } });
try {
  if (options.target === undefined) await demonstrateEmbedded();
  else await predictHalfPlusTwo(options.target);
} catch (error) {
  if (!isServingError(error)) throw error;
  console.error(error.message + (error.hint === undefined ? "" : `\nhint: ${error.hint}`));
  process.exitCode = 1;
}

/** Start a server with both models, send the same calls over both transports and compare. */
async function demonstrateEmbedded(): Promise<void> {
  const server = await startModelServer({ models: { half_plus_two: halfPlusTwo, digits: createDigits() } });
  console.log(`embedded model server: gRPC ${server.grpcTarget}, REST ${server.restTarget}\n`);
  try {
    await predictHalfPlusTwo(server.grpcTarget);
    await predictHalfPlusTwo(server.restTarget);

    const images = tensor("float32", [50, 8, 8, 1], readFloats("saved_models/digits/samples_images_f32.bin"));
    const labels = readLabels("saved_models/digits/samples_labels_i64.bin");
    const grpc = await classifyDigits(server.grpcTarget, images);
    const rest = await classifyDigits(server.restTarget, images);

    const misread = grpc.classes.findIndex((digit, index) => digit !== labels[index]);
    console.log("\nsome of the 50 test images, one of them misread:\n");
    for (const index of [0, 7, misread]) printDigit(images, index, grpc.classes[index], labels[index]);

    for (const [transport, run] of [["gRPC", grpc] as const, ["REST", rest] as const]) {
      const right = run.classes.filter((digit, index) => digit === labels[index]).length;
      console.log(`digits over ${transport}: ${right}/50 right, ${run.elapsedMs.toFixed(1)} ms`);
    }
    const equal = grpc.probabilities.every((value, index) => Object.is(value, rest.probabilities[index]));
    console.log(equal ? "gRPC and REST gave equal results" : "gRPC and REST DIFFER");
    if (!equal) process.exitCode = 1;
  } finally {
    await server.close();
  }
}

async function predictHalfPlusTwo(target: string): Promise<void> {
  const client = new PredictionClient(target);
  try {
    const { outputs } = await client.predict("half_plus_two", { x: [1, 2, 5] });
    console.log(`half_plus_two at ${target}: [1, 2, 5] -> [${outputs["y"]?.as("float32").values.join(", ")}]`);
  } finally {
    await client.close();
  }
}

interface DigitsRun {
  readonly classes: readonly number[];
  readonly probabilities: Float32Array;
  /** Time of the one call, connecting included. */
  readonly elapsedMs: number;
}

async function classifyDigits(target: string, images: Tensor<"float32">): Promise<DigitsRun> {
  const client = new PredictionClient(target);
  try {
    const start = performance.now();
    const { outputs } = await client.predict("digits", { image: images });
    const elapsedMs = performance.now() - start;
    const { class: digit, probabilities } = outputs;
    if (digit === undefined || probabilities === undefined) throw new Error(`digits answered only ${Object.keys(outputs).join(", ")}`);
    return { classes: Array.from(digit.as("int64").values, Number), probabilities: probabilities.as("float32").values, elapsedMs };
  } finally {
    await client.close();
  }
}

function printDigit(images: Tensor<"float32">, index: number, predicted: number | undefined, label: number | undefined): void {
  const shades = " .:-=+*#%@";
  const pixels = images.values.subarray(index * 64, index * 64 + 64);
  const rows = Array.from({ length: 8 }, (_, row) =>
    Array.from(pixels.subarray(row * 8, row * 8 + 8), (pixel) => (shades[Math.round(pixel * (shades.length - 1))] ?? " ").repeat(2)).join(
      "",
    ),
  );
  console.log(`${rows.join("\n")}\nimage ${index}: predicted ${predicted}, true label ${label}\n`);
}

function readFloats(name: string): Float32Array {
  const bytes = readFileSync(new URL(name, fixtures));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

function readLabels(name: string): number[] {
  const bytes = readFileSync(new URL(name, fixtures));
  return Array.from({ length: bytes.length / 8 }, (_, index) => Number(bytes.readBigInt64LE(index * 8)));
}
