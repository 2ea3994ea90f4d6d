import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelInFolder } from "../../src/cli/model-sources.js";
import type { ModelDefinition } from "../../src/client/model-definition.js";
import { PredictionClient } from "../../src/client/prediction-client.js";
import { exportNameOf } from "../../src/codegen/model-types.js";
import { type ModelServer, type Servable, type SignatureInit, servable, startModelServer } from "../../src/server/index.js";
import type { TensorSpec } from "../../src/signature.js";
import { dtypes, isDType } from "../../src/tensor/dtype.js";
import { elementCount } from "../../src/tensor/shape.js";
import { type AnyTensor, tensor } from "../../src/tensor/tensor.js";
import { goldenModels, halfPlusTwo } from "../server/golden-models.js";
import { tfserving } from "./captured.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const savedModels = fileURLToPath(new URL("../fixtures/saved_models/", import.meta.url));

/** The examples of the page about typed models. */
const examples = [...readFileSync(join(root, "docs/typed-models.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code = ""]) => code);

let folder: string;
/** A path that nothing has. */
let file: string;
let count = 0;
const freshFile = () => join(folder, `models-${count++}.ts`);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tfserving-types-"));
  file = freshFile();
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
});
afterAll(() => rm(folder, { recursive: true }));

/** A tensor of zeros that fits a spec. */
function zeros({ dtype, shape }: Pick<TensorSpec, "dtype" | "shape">): AnyTensor {
  if (!isDType(dtype)) throw new Error(`no tensor is ${dtype}`);
  const sizes = (shape ?? [2]).map((size) => size ?? 2);
  const elements = elementCount(sizes) * (dtypes[dtype].kind === "complex" ? 2 : 1);
  const values = dtype === "string" ? Array.from({ length: elements }, () => "") : new dtypes[dtype].array(elements);
  return tensor(dtype, sizes, values as never) as AnyTensor;
}

const zerosOf = (specs: Readonly<Record<string, Pick<TensorSpec, "dtype" | "shape">>>) =>
  Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, zeros(spec)]));

/** A servable with the signatures of a SavedModel, which answers zeros. */
async function standIn(path: string): Promise<Servable> {
  const signatures = (await modelInFolder(path)).signatures as Record<string, SignatureInit>;
  return servable({ signatures, predict: (_inputs, { signatureName }) => zerosOf(signatures[signatureName]?.outputs ?? {}) });
}

/** Messages of the compiler about a file that imports `tfserving`. */
function compileErrors(path: string): string[] {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const own = { ...options, paths: { tfserving: [join(root, "src/index.ts")] }, typeRoots: [join(root, "node_modules/@types")] };
  return ts
    .getPreEmitDiagnostics(ts.createProgram([path], own))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

/** What a file exports when it runs. */
async function exportsOf(path: string): Promise<Record<string, ModelDefinition>> {
  const source = (await readFile(path, "utf8")).replace('"tfserving"', JSON.stringify(join(root, "src/index.ts")));
  const runnable = freshFile();
  await writeFile(runnable, source);
  return (await import(runnable)) as Record<string, ModelDefinition>;
}

describe("tfserving types", () => {
  describe("of every SavedModel", () => {
    let names: string[];
    let out: string;
    beforeAll(async () => {
      names = (await readdir(savedModels, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
      out = freshFile();
      const { exitCode, stdout } = await tfserving("types", ...names.map((name) => join(savedModels, name)), "--out", out);
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${out}: ${names.map(exportNameOf).join(", ")}\n` });
    });

    it("writes what compiles, and gives calls their types", async () => {
      const use = examples.at(-1)?.replace("./models.js", out.replace(/\.ts$/, ".js")) ?? "";
      const more = `
import { digits } from ${JSON.stringify(out.replace(/\.ts$/, ".js"))};
export const pixels = client.model(digits).predict({ pixels: new Uint8Array(64) }, { signatureName: "from_pixels" });
`;
      const user = freshFile();
      await writeFile(user, use + more);
      expect(compileErrors(user)).toEqual([]);
    }, 60_000);

    it("writes what predicts, by each signature", async () => {
      const definitions = await exportsOf(out);
      expect(Object.keys(definitions).sort()).toEqual(names.map(exportNameOf).sort());
      const versions = await Promise.all(names.map((name) => standIn(join(savedModels, name))));
      const server = await startModelServer({ models: Object.fromEntries(names.map((name, i) => [name, versions[i] as Servable])) });
      const client = new PredictionClient(server.grpcTarget);
      try {
        for (const definition of Object.values(definitions)) {
          expect(Object.keys(definition.signatures)).not.toEqual([]);
          expect(Object.keys(definition.signatures)).not.toContain("__saved_model_init_op");
          for (const [signatureName, { inputs, outputs }] of Object.entries(definition.signatures)) {
            const answer = await client.model(definition, { signatureName }).predict(zerosOf(inputs) as never);
            expect({ ...answer.outputs }).toEqual(zerosOf(outputs));
          }
        }
      } finally {
        await client.close();
        await server.close();
      }
    });

    it("finds that nothing has changed", async () => {
      const { exitCode, stdout } = await tfserving("types", ...names.map((name) => join(savedModels, name)), "--out", out, "--check");
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${out}: as the models are\n` });
    });
  });

  it("writes the file that its page shows", async () => {
    const { stdout } = await tfserving("types", `${savedModels}signature_defaults`);
    expect(examples[0]).toBe(stdout);
  });

  it("takes the newest version in a base path, and the version that is named", async () => {
    const [newest, first] = [
      await tfserving("types", `${savedModels}multi_version`),
      await tfserving("types", `${savedModels}multi_version/1`),
    ];
    expect(newest.stdout).toContain("// multiVersion: multi_version/3, fingerprint ");
    expect(first.stdout).toContain("// multiVersion: multi_version/1, fingerprint ");
  });

  it("writes the same of the same model, wherever it lies and however its path is typed", async () => {
    const copy = join(folder, "copied", "half_plus_two");
    await cp(`${savedModels}half_plus_two`, copy, { recursive: true });
    const { stdout } = await tfserving("types", `${savedModels}half_plus_two`);
    expect(stdout).toContain("// halfPlusTwo: half_plus_two/00000123, ");
    for (const path of [copy, `${copy}/`, `${copy}/00000123`, relative(process.cwd(), copy), `${copy}/00000123/../00000123/`]) {
      expect((await tfserving("types", path)).stdout).toBe(stdout);
    }
  });

  it("writes a file again that it has written, through a link as well, and leaves nothing beside it", async () => {
    const own = await mkdtemp(join(folder, "own-"));
    const [path, link] = [join(own, "models.ts"), join(own, "link.ts")];
    await symlink(path, link);
    expect(await tfserving("types", `${savedModels}multi_version`, "--out", path)).toMatchObject({ exitCode: 0 });
    expect(await tfserving("types", `${savedModels}half_plus_two`, "--out", link)).toMatchObject({ exitCode: 0 });
    expect(await readFile(path, "utf8")).toContain("export const halfPlusTwo = ");
    expect((await readdir(own)).sort()).toEqual(["link.ts", "models.ts"]);
  });

  it("gives model and constant other names", async () => {
    const { stdout } = await tfserving("types", `${savedModels}half_plus_two`, "--model", "half", "--name", "Half");
    expect(stdout).toContain('export const Half = defineModel({\n  name: "half",\n');
  });

  it("names a model after a folder that is no version", async () => {
    const exported = join(folder, "exported-2");
    await cp(`${savedModels}half_plus_two/00000123`, exported, { recursive: true });
    expect((await tfserving("types", exported)).stdout).toContain('export const exported2 = defineModel({\n  name: "exported-2",\n');
  });

  it("prints the data as JSON", async () => {
    const { stdout } = await tfserving("types", `${savedModels}signature_defaults/1`, "--json");
    const { models, ...rest } = JSON.parse(stdout) as { models: [{ signatures: { serving_default: object } }] };
    expect(rest).toEqual({ file: null });
    expect(models).toMatchObject([
      { export: "signatureDefaults", name: "signature_defaults", source: expect.stringContaining("fingerprint") },
    ]);
    expect(models[0].signatures.serving_default).toMatchObject({ inputs: { offset: { dtype: "float32", shape: [2], default: [1, -1] } } });
  });

  describe("of a server", () => {
    let server: ModelServer;
    beforeAll(async () => {
      server = await startModelServer({ models: goldenModels, versionLabels: { multi_version: { stable: 2 } } });
    });
    afterAll(() => server.close());

    it.each(["grpcTarget", "restTarget"] as const)("writes what the server at its %s says, as from the SavedModels", async (name) => {
      const target = server[name];
      const { exitCode, stdout } = await tfserving("types", "--target", target, "--model", "half_plus_two", "--model", "multi_version");
      expect(exitCode).toBe(0);
      const fromDisk = await tfserving("types", `${savedModels}half_plus_two`, `${savedModels}multi_version`);
      const withoutSources = (text: string) => text.replaceAll(/^\/\/ \w+: .*$/gm, "");
      expect(withoutSources(stdout)).toBe(withoutSources(fromDisk.stdout));
      expect(stdout).toContain(`// halfPlusTwo: ${target}`);
    });

    it.each([
      [["--version", "1"], "version 1"],
      [["--version-label", "stable"], "version 2"],
      [[], "version 3"],
    ])("asks for the version in %j", async (choice, version) => {
      const { stdout } = await tfserving("types", "--target", server.grpcTarget, "--model", "multi_version", ...choice);
      expect(stdout).toContain(`// multiVersion: ${server.grpcTarget}, ${version}\n`);
      // Which version is called is the caller's choice, not the definition's.
      expect(stdout).toContain('  name: "multi_version",\n  signatures');
    });

    it("writes names that are no identifiers as JavaScript and TypeScript read them", async () => {
      const names = [
        "input:0",
        "__proto__",
        "constructor",
        "größe",
        'a"b',
        "a\\",
        "*/ x",
        "line\nbreak",
        "\u2028",
        "\u202e",
        "0",
        "class",
        "`$x`",
        "😀",
        "NaN",
        "NaN_count",
        "NaNDetector",
        "Infinity$",
      ];
      const specs = Object.fromEntries(names.map((name) => [name, { dtype: "int8", shape: [null] } as const]));
      const signature = { inputs: specs, outputs: specs };
      const odd = servable({
        signatures: Object.fromEntries(names.map((name) => [name, signature])),
        predict: (inputs) => ({ ...inputs }),
      });
      const oddServer = await startModelServer({ models: { "9 odd/*names": odd } });
      const client = new PredictionClient(oddServer.grpcTarget);
      const out = freshFile();
      await tfserving("types", "--target", oddServer.grpcTarget, "--model", "9 odd/*names", "--out", out);
      expect(compileErrors(out)).toEqual([]);
      const definition = (await exportsOf(out))["model9OddNames"] as ModelDefinition;
      expect(definition).toEqual({ name: "9 odd/*names", signatures: Object.fromEntries(names.map((name) => [name, signature])) });
      const again = ["types", "--target", oddServer.grpcTarget, "--model", "9 odd/*names", "--out", out, "--check"];
      expect(await tfserving(...again)).toMatchObject({ exitCode: 0, stderr: "" });
      const { outputs } = await client.model(definition, { signatureName: "__proto__" }).predict(zerosOf(specs) as never);
      expect({ ...outputs }).toEqual(zerosOf(specs));
      await client.close();
      await oddServer.close();
    }, 60_000);

    it("ends with 1 for a model that the server does not have", async () => {
      const { exitCode, stdout, stderr } = await tfserving("types", "--target", server.grpcTarget, "--model", "nope");
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
      expect(stderr).toMatch(/^error: NOT_FOUND: getModelMetadata nope: .*\nhint: .*\n$/);
    });
  });

  describe("ends with 3", () => {
    it("where nothing listens", async () => {
      const { exitCode, stderr } = await tfserving("types", "--target", "127.0.0.1:1", "--model", "m");
      expect(exitCode).toBe(3);
      expect(stderr).toMatch(/^error: UNAVAILABLE: getModelMetadata m: .*\nhint: nothing listens there.*\n$/);
    });

    it("where nothing answers in time", async () => {
      const silent = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => silent.once("listening", resolve));
      const { port } = silent.address() as { port: number };
      const { exitCode, stderr } = await tfserving("types", "--target", `http://127.0.0.1:${port}`, "--model", "m", "--timeout-ms", "100");
      expect(exitCode).toBe(3);
      expect(stderr).toContain("error: DEADLINE_EXCEEDED: getModelMetadata m: ");
      silent.close();
    });
  });
});

describe("tfserving types --check", () => {
  /** A file with half_plus_two, changed. */
  async function changed(...changes: [from: string, to: string][]): Promise<string> {
    const path = freshFile();
    await tfserving("types", `${savedModels}half_plus_two`, "--out", path);
    const text = await readFile(path, "utf8");
    await writeFile(
      path,
      changes.reduce((all, [from, to]) => all.replace(from, to), text),
    );
    return path;
  }
  const check = (path: string, ...more: string[]) => tfserving("types", `${savedModels}half_plus_two`, "--out", path, "--check", ...more);

  it("ends with 1 and every difference, and leaves the file", async () => {
    const path = await changed(
      ['x: { dtype: "float32", shape: [null] }', 'x: { dtype: "float64", shape: [null, 2] }'],
      ["        y: {", "        z: {"],
      ["regress_x_to_y2: {", "rate: {"],
      ['name: "half_plus_two"', 'name: "half"'],
    );
    const before = await readFile(path, "utf8");
    const { exitCode, stdout, stderr } = await check(path);
    expect(exitCode).toBe(1);
    expect(stdout.split("\n")).toEqual([
      'halfPlusTwo: name: "half" in the definition, "half_plus_two" in the model (breaks calls)',
      'halfPlusTwo: signature "rate": not in the model (breaks calls)',
      'halfPlusTwo: signature "serving_default", input "x": float64 [?, 2] in the definition, float32 [?] in the model (breaks calls)',
      'halfPlusTwo: signature "serving_default", output "z": float32 [?] in the definition, not in the model (breaks calls)',
      'halfPlusTwo: signature "serving_default", output "y": not in the definition, float32 [?] in the model',
      'halfPlusTwo: signature "regress_x_to_y2": not in the definition',
      "",
    ]);
    expect(stderr).toMatch(/^error: .*: 6 differences from what the models are now\nhint: .*\n$/);
    expect(await readFile(path, "utf8")).toBe(before);
  });

  it("prints the differences as JSON", async () => {
    const { exitCode, stdout } = await check(
      await changed(['y: { dtype: "float32", shape: [null] }', 'y: { dtype: "float32", shape: [4] }']),
      "--json",
    );
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      differences: [
        {
          difference: 'halfPlusTwo: signature "serving_default", output "y": float32 [4] in the definition, float32 [?] in the model',
          breaking: false,
        },
      ],
    });
  });

  it("ends with 0 after a formatter has been over the file, or another source has said the same", async () => {
    const path = await changed(["inputs: {\n        x:", "'inputs': { /* one */\n\n x:"]);
    expect(await check(path)).toMatchObject({ exitCode: 0, stderr: "" });
    const server = await startModelServer({ models: { half_plus_two: halfPlusTwo } });
    const served = await tfserving("types", "--target", server.restTarget, "--model", "half_plus_two", "--out", path, "--check", "--json");
    expect(served).toMatchObject({ exitCode: 0, stderr: "" });
    expect(JSON.parse(served.stdout)).toEqual({ file: path, differences: [] });
    await server.close();
  });

  it("ends with 1 for a model that the file does not define", async () => {
    const path = await changed(["const halfPlusTwo", "const other"]);
    expect(await check(path)).toMatchObject({ exitCode: 1, stdout: "halfPlusTwo: not in the file (breaks calls)\n" });
  });
});

describe("rejects", () => {
  const half = `${savedModels}half_plus_two`;
  it.each<[string, string[], string | RegExp]>([
    ["no model", ["types"], "expected folders of SavedModels, or --target and --model"],
    ["folder and server", ["types", half, "--target", "localhost"], "expected either folders of SavedModels or --target, got both"],
    ["a server without a model", ["types", "--target", "localhost"], "expected --model beside --target"],
    ["a version of a folder", ["types", half, "--version", "1"], "expected --target beside --version"],
    ["a time for a folder", ["types", half, "--timeout-ms", "5"], "expected --target beside --timeout-ms"],
    ["version and label", ["types", "--target", "h", "--model", "m", "--version", "1", "--version-label", "a"], "cannot be used with"],
    ["a version that is none", ["types", "--target", "h", "--model", "m", "--version", "x"], "Expected a whole number"],
    ["a version of two models", ["types", "--target", "h", "--model", "m", "--model", "n", "--version", "1"], "expected one --model"],
    ["one name for two models", ["types", half, `${savedModels}digits`, "--name", "m"], "expected one model beside --name, got 2"],
    ["one model name for two folders", ["types", half, half, "--model", "m"], "expected one folder and one --model"],
    ["a name that no constant can have", ["types", half, "--name", "a-b"], '--name: expected what a constant can be called, got "a-b"'],
    ["models of the same name", ["types", half, half], 'models "half_plus_two" and "half_plus_two" would both be exported as halfPlusTwo'],
    ["a check of nothing", ["types", half, "--check"], "expected --out beside --check"],
    ["a time that is none", ["types", half, "--timeout-ms", "0"], "Expected a positive number of milliseconds"],
    ["a target that is none", ["types", "--target", "ftp://h", "--model", "m"], 'unknown scheme "ftp"'],
    ["a folder without a model", ["types", savedModels], "expected a version folder with a saved_model.pb, got none"],
    ["a file that cannot be written", ["types", half, "--out", "/nowhere/models.ts"], "ENOENT: no such file or directory, open '/nowhere"],
    ["a file that is not there", ["types", half, "--out", "/nowhere/models.ts", "--check"], "ENOENT: no such file or directory, open"],
  ])("%s", async (_title, args, message) => {
    const { exitCode, stdout, stderr } = await tfserving(...args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
  });

  it.each(["", "const mine = 1;\n"])("to write over a file that begins otherwise: %j", async (text) => {
    await writeFile(file, text);
    const { exitCode, stdout, stderr } = await tfserving("types", half, "--out", file);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain("expected a file that tfserving types has written, got another\nhint: name another with --out, or delete");
    expect(await readFile(file, "utf8")).toBe(text);
  });

  it.each(["/dev/null", tmpdir()])("to write over what is no file: %s", async (path) => {
    expect(await tfserving("types", half, "--out", path)).toMatchObject({ exitCode: 2, stdout: "" });
  });

  it("a damaged SavedModel", async () => {
    const damaged = join(folder, "damaged", "1");
    await mkdir(damaged, { recursive: true });
    await writeFile(join(damaged, "saved_model.pb"), "no protobuf");
    expect(await tfserving("types", damaged)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("saved_model.pb: ") });
  });

  it.each<[string, string, string]>([
    ["no literal", "export const halfPlusTwo = defineModel({ name });\n", ': line 1, column 47: expected ":", got }'],
    ["no definition", "export const halfPlusTwo = defineModel({ name: 'm', signatures: 1 });\n", "signatures: expected a plain object"],
  ])("a file to compare with that is %s", async (_title, text, message) => {
    await writeFile(file, text);
    const { exitCode, stderr } = await tfserving("types", half, "--out", file, "--check");
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});
