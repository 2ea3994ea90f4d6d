/**
 * What typed models cost the compiler: `npx tsx test/types/measure-many-models.ts [rounds]`.
 *
 * Two programs of 50 models with 4 signatures each, and one predict call for each signature, are checked in turn: one through
 * `defineModel` and typed clients, one with the same data and the same calls through untyped clients. The best of all rounds counts.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DType } from "../../src/tensor/dtype.js";

const modelCount = 50;
const signatureNames = ["serving_default", "embed", "rank", "explain"];
const dtypesInTurn: readonly DType[] = ["float32", "int64", "string", "bool", "int32", "float64", "uint8", "bfloat16"];
const values: Partial<Record<DType, string>> = { string: '["a"]', bool: "[true]" };

const root = fileURLToPath(new URL("../..", import.meta.url));

/** One figure of `tsc --extendedDiagnostics`. */
type Figures = Readonly<Record<"Check time" | "Total time" | "Types" | "Instantiations", number>>;

function spec(index: number, extra = ""): string {
  return `{ dtype: "${dtypesInTurn[index % dtypesInTurn.length]}", shape: [null, ${index + 1}]${extra} }`;
}

function signature(index: number): string {
  const inputs = [0, 1, 2].map((i) => `in_${index}_${i}: ${spec(index + i)}`);
  const outputs = [0, 1, 2].map((i) => `out_${index}_${i}: ${spec(index + i)}`);
  return `{ inputs: { ${inputs.join(", ")}, threshold: ${spec(index, ", optional: true")} }, outputs: { ${outputs.join(", ")} } }`;
}

function call(model: number, name: string, index: number): string {
  const inputs = [0, 1, 2].map((i) => {
    const dtype = dtypesInTurn[(index + i) % dtypesInTurn.length] as DType;
    return `in_${index}_${i}: ${values[dtype] ?? "[[1, 2]]"}`;
  });
  return `  void (await m${model}.predict({ ${inputs.join(", ")} }, { signatureName: "${name}" })).outputs.out_${index}_0;`;
}

/** The program, typed or not. */
function program(typed: boolean): string {
  const source = (file: string): string => JSON.stringify(join(root, "src/client", file));
  const lines = [
    `import type { PredictionClient } from ${source("prediction-client.js")};`,
    `import { defineModel } from ${source("model-definition.js")};`,
    "void defineModel;",
    "declare const client: PredictionClient;",
  ];
  for (let model = 0; model < modelCount; model++) {
    const signatures = signatureNames.map((name, i) => `    ${name}: ${signature(model * signatureNames.length + i)},`);
    const data = `{\n  name: "model_${model}",\n  signatures: {\n${signatures.join("\n")}\n  },\n}`;
    lines.push(`export const model_${model} = ${typed ? `defineModel(${data})` : `${data} as const`};`);
  }
  for (let model = 0; model < modelCount; model++) {
    const calls = signatureNames.map((name, i) => call(model, name, model * signatureNames.length + i));
    lines.push(`export async function use_${model}() {`);
    lines.push(`  const m${model} = client.model(${typed ? `model_${model}` : `model_${model}.name`});`, ...calls, "}");
  }
  return lines.join("\n");
}

function check(folder: string): Figures {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout, status } = spawnSync(process.execPath, [tsc, "-p", folder, "--extendedDiagnostics"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the program does not compile: ${stdout.split("\n", 1)[0]}`);
  const figure = (name: string): number => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, "m").exec(stdout)?.[1]);
  return {
    "Check time": figure("Check time"),
    "Total time": figure("Total time"),
    Types: figure("Types"),
    Instantiations: figure("Instantiations"),
  };
}

function write(folder: string, typed: boolean): void {
  mkdirSync(folder);
  writeFileSync(join(folder, "program.mts"), program(typed));
  const compilerOptions = { rootDir: "/", typeRoots: [join(root, "node_modules/@types")] };
  const config = { extends: join(root, "tsconfig.json"), compilerOptions, include: ["program.mts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
}

const rounds = Number(process.argv[2] ?? 3);
const folder = mkdtempSync(join(tmpdir(), "typed-models-"));
try {
  const best: Record<string, Figures> = {};
  for (const kind of ["untyped", "typed"]) write(join(folder, kind), kind === "typed");
  for (let round = 0; round < rounds; round++) {
    for (const kind of ["untyped", "typed"]) {
      const figures = check(join(folder, kind));
      if (best[kind] === undefined || figures["Check time"] < best[kind]["Check time"]) best[kind] = figures;
    }
  }
  console.table(best);
} finally {
  rmSync(folder, { recursive: true });
}
