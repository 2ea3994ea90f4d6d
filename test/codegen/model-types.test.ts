import { describe, expect, it } from "vitest";
import { type DefinedModel, exportNameOf, isExportName, modelTypesFile } from "../../src/codegen/model-types.js";
import { readModelTypes } from "../../src/codegen/read-model-types.js";
import type { Signature, TensorSpec } from "../../src/signature.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";

const x: TensorSpec = { dtype: "float32", shape: [null, 3] };

/** A model with these inputs to its one signature. */
function model(inputs: Signature["inputs"], more: Partial<DefinedModel> = {}): DefinedModel {
  const signature = { methodName: "tensorflow/serving/predict", inputs, outputs: { y: x } };
  return { exportName: "m", name: "m", source: "here", signatures: { serving_default: signature }, ...more };
}

/** What a file with this input says of it. */
function inputLine(spec: TensorSpec): string {
  const text = modelTypesFile([model({ input: spec })]);
  return /^ *input: (.*),$/m.exec(text)?.[1] ?? text;
}

/** What is read of the first model of a file. */
function readBack(defined: DefinedModel): { name: string; signatures: Record<string, Signature> } {
  return readModelTypes(modelTypesFile([defined]))[defined.exportName] as never;
}

describe("modelTypesFile", () => {
  it("exports a definition for each model, under a header that names the sources", () => {
    const classify = {
      methodName: "tensorflow/serving/classify",
      inputs: {},
      outputs: { scores: { dtype: "float32", shape: null } },
    } as const;
    const models = [model({ x }, { source: "models/m/1" }), model({}, { exportName: "n", name: "n-1", signatures: { classify } })];
    expect(modelTypesFile(models)).toBe(`\
// Models as data, written by \`tfserving types\`: to change it, run that again; with --check it tells what has changed.
// m: models/m/1
// n: here
import { defineModel } from "tfserving";

export const m = defineModel({
  name: "m",
  signatures: {
    serving_default: {
      inputs: {
        x: { dtype: "float32", shape: [null, 3] },
      },
      outputs: {
        y: { dtype: "float32", shape: [null, 3] },
      },
    },
  },
});

export const n = defineModel({
  name: "n-1",
  signatures: {
    classify: {
      methodName: "tensorflow/serving/classify",
      inputs: {},
      outputs: {
        scores: { dtype: "float32", shape: null },
      },
    },
  },
});
`);
  });

  it("does not depend on the order in which names come", () => {
    expect(modelTypesFile([model({ a: x, b: x, B: x })])).toBe(modelTypesFile([model({ B: x, b: x, a: x })]));
  });

  it.each<[AnyTensor, string]>([
    [tensor("float32", [], [0.5]), "default: 0.5"],
    [tensor("float32", [3], [Number.NaN, Number.NEGATIVE_INFINITY, -0]), "default: [NaN, -Infinity, -0]"],
    [tensor("bfloat16", [1], [1.5]), "default: [1.5]"],
    [tensor("int32", [2, 1], [1, -2]), "default: [[1], [-2]]"],
    [tensor("int64", [], [2n ** 60n]), "default: 1152921504606846976n"],
    [tensor("bool", [2], [true, false]), "default: [true, false]"],
    [tensor("string", [], ['a "b"\n\u2028']), String.raw`default: "a \"b\"\n\u2028"`],
    [tensor("string", [], [Uint8Array.of(0xff)]), "optional: true"],
    [tensor("string", [], ["\ufeffa"]), String.raw`default: "\ufeffa"`],
    [tensor("complex64", [], Float32Array.of(1, 2)), "optional: true"],
    [tensor("qint8", [], Int8Array.of(1)), "optional: true"],
    [tensor("float32", [0, 3], []), "optional: true"],
    [tensor("float32", [17], new Float32Array(17)), "optional: true"],
  ])("says of the default %o: %s", (value, text) => {
    expect(inputLine({ dtype: value.dtype, shape: null, default: value })).toBe(`{ dtype: "${value.dtype}", shape: null, ${text} }`);
  });

  it("keeps dtypes that no tensor has", () => {
    expect(inputLine({ dtype: "resource", shape: [] })).toBe('{ dtype: "resource", shape: [] }');
  });

  it.each([
    "input:0",
    "__proto__",
    "constructor",
    "größe",
    "日本語",
    'a"b',
    "a\\",
    "*/",
    "line\nbreak",
    "\u2028",
    "\u202egnp.exe",
    "0",
    "class",
    "`$x`",
    "",
    "😀",
    "\ud800",
  ])("keeps the name %j of an input, a signature and a model, and where it came from inside the comment", (name) => {
    const signatures = { [name]: { methodName: name, inputs: { [name]: x }, outputs: {} } };
    const odd = { ...model({}), name, source: name, signatures };
    expect(readBack(odd)).toEqual({ name, signatures: { [name]: { methodName: name, inputs: { [name]: x }, outputs: {} } } });
    expect(modelTypesFile([odd]).split("\n").slice(2, 4)).toEqual(['import { defineModel } from "tfserving";', ""]);
    expect(modelTypesFile([odd])).not.toMatch(/[^\P{C}\n]|\u2028/u);
  });
});

describe("exportNameOf", () => {
  it.each([
    ["half-plus-two", "halfPlusTwo"],
    ["half_plus_two", "halfPlusTwo"],
    ["digits", "digits"],
    ["BERT large/v2.1", "BERTLargeV21"],
    ["_private__x_", "privateX"],
    ["2fast", "model2fast"],
    ["class", "classModel"],
    ["defineModel", "defineModelModel"],
    ["größe ß", "größeSS"],
    ["日本語", "日本語"],
    ["???", "model"],
    ["😀", "model"],
    ["__proto__", "proto"],
    ["$a-b", "$aB"],
  ])("makes of %j the constant %s", (name, expected) => {
    expect(exportNameOf(name)).toBe(expected);
    expect(isExportName(expected)).toBe(true);
  });
});

describe("readModelTypes", () => {
  it("reads a file that a formatter or a person has changed", () => {
    const text = `
      // export const no = defineModel({ name: 'no' });
      import { defineModel } from 'tfserving';
      export type Other = { a: 1 };
export const m =
  defineModel( /* a } comment */ {
    'name': 'it\\'s "m"', // and another }
    "signatures": { ["__proto__"]: { inputs: {}, outputs: {}, }, a: [ 1e-3, -2.5, .5, -3n, null, true, false, ] } ,
  } as const);
`.replace(".5, -3n", "0.5, -3n");
    const definitions = readModelTypes(text);
    expect(Object.keys(definitions)).toEqual(["m"]);
    const { name, signatures } = definitions["m"] as { name: string; signatures: Record<string, unknown> };
    expect(name).toBe(`it's "m"`);
    expect(Object.keys(signatures)).toEqual(["__proto__", "a"]);
    expect(signatures["a"]).toEqual([0.001, -2.5, 0.5, -3n, null, true, false]);
  });

  it.each([
    "export const m: X = defineModel({ name: 'm' });",
    "export const m: { a: 1; b: () => void } = defineModel({ name: 'm' });",
    "export const m = /* c */ defineModel({ name: 'm' });",
    "export const m\n= defineModel(\n{ name: 'm' },\n);",
    "const s = 1; export const m = defineModel({ name: 'm' })",
    "export const other: number = 1; export const m = defineModel({ name: 'm' });",
    "const quote = /'/;\nexport const m = defineModel({ name: 'm' });",
  ])("finds the definition in %j", (text) => {
    expect(readModelTypes(text)).toEqual({ m: { name: "m" } });
  });

  const definition = "export const m = defineModel({ name: 'm' });";
  it.each([
    "export const x = 1;\n",
    `/*\n${definition}\n*/`,
    `/*\n${definition}\n`,
    `// ${definition}`,
    `const s = \`\n${definition}\n\`;`,
    `const s = \`\\\`\n${definition}\n\`;`,
    `const s = "\\\n${definition}";`,
    "const m = defineModel({ name: 'm' });",
    "export const other: number = 1; const m = defineModel({ name: 'm' });",
    "export const m = wrapped(defineModel({ name: 'm' }));",
  ])("finds no definition in %j", (text) => {
    expect(readModelTypes(text)).toEqual({});
  });

  it.each(["'\\", '"\\', "`\\", "'", "/*"])("reads a file with a million times %s in one pass", (part) => {
    expect(readModelTypes(part.repeat(1e6))).toEqual({});
  });

  it("is not misled by what comments say of a definition", () => {
    const other = definition.replace("'m'", "'other'");
    expect(readModelTypes(`/*\n${other}\n*/\n${definition}\n/*\n${other}\n*/`)).toEqual({ m: { name: "m" } });
  });
});

describe("rejects", () => {
  it.each([
    ["{ name }", 'line 1, column 37: expected ":", got }'],
    ["{\n  name: other,\n}", "line 2, column 9: expected a value, got other"],
    ["{ name: `m` }", "expected a value, got `"],
    ["{ name: f() }", "expected a value, got f"],
    ["{ name: 'a", "expected a value, got 'a"],
    ["{ name: 'a\\'", "expected a string that JSON could hold, got 'a\\'"],
    ["{ name: '\\x41' }", "expected a string that JSON could hold, got '\\x41'"],
    ["{ [name]: 1 }", "expected a string, got name"],
    ["{ 1: 1 }", "expected a name, got 1"],
    ["{ name: 1 2 }", 'expected ",", got 2'],
    ["[1, 2", 'expected ",", got the end of the file'],
    ["...spread", "expected a value, got ."],
    ["", "expected a value, got the end of the file"],
    ["[".repeat(10_000), "expected at most 300 levels, got more"],
    ["{}, other)", 'expected ")", got other'],
    ["{} as Other)", 'expected "const", got Other'],
    ['"m" + "x")', 'expected ")", got +'],
    ["1_000)", 'expected ")", got _000'],
    ["{}", 'expected ")", got the end of the file'],
  ])("a definition that is no literal: %#", (literal, message) => {
    expect(() => readModelTypes(`export const m = defineModel(${literal}`)).toThrow(
      expect.objectContaining({ name: "FormatError", message: expect.stringContaining(message) }),
    );
  });

  it("a second definition of one name", () => {
    const text = "export const m = defineModel({});\n";
    expect(() => readModelTypes(`${text}export const n = defineModel({});\n${text}`)).toThrow(
      expect.objectContaining({ name: "FormatError", message: "line 3, column 18: expected one definition of m, got a second" }),
    );
  });

  it("a definition with type arguments", () => {
    expect(() => readModelTypes("export const m = defineModel<X>({});")).toThrow('line 1, column 29: expected "(", got <');
  });
});
