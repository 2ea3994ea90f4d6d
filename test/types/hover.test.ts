import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const file = fileURLToPath(new URL("typed-model.ts", import.meta.url));

/** What an editor shows for the word that ends before `end`, the first such place in the compile-time tests. */
let hover: (place: string) => string;

beforeAll(() => {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const text = readFileSync(file, "utf8");
  const service = ts.createLanguageService({
    getCompilationSettings: () => options,
    getCurrentDirectory: () => root,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    getScriptFileNames: () => [file],
    getScriptVersion: () => "1",
    getScriptSnapshot: (name) => {
      const source = ts.sys.readFile(name);
      return source === undefined ? undefined : ts.ScriptSnapshot.fromString(source);
    },
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
  });
  hover = (place) => {
    const at = text.indexOf(place);
    if (at < 0) throw new Error(`the compile-time tests have no ${place}`);
    const shown = service.getQuickInfoAtPosition(file, at + place.length - 1);
    return ts.displayPartsToString(shown?.displayParts).replaceAll(/\s+/g, " ");
  };
});

describe("what editors show of typed models", () => {
  it("names the outputs of a call and their tensors", () => {
    expect(hover("const result")).toBe('const result: TypedPredictResult<{ probabilities: Tensor<"float32">; digit: Tensor<"int64">; }>');
    expect(hover("const filtered")).toBe('const filtered: TypedPredictResult<{ embedding: Tensor<"float16">; }>');
  });

  it("names the inputs of a call and what they take", () => {
    const shown = hover("embed.predict");
    expect(shown).toContain('readonly image: Tensor<"float32"> | ReadonlyNested<number | Float32Array<ArrayBufferLike> | Float64Array');
    expect(shown).toContain('readonly "depth:0"?: Tensor<"int32"> | ReadonlyNested<number | bigint');
  });
});
