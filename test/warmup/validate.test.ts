import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Signature, TensorSpec } from "../../src/signature.js";
import { tensor } from "../../src/tensor/tensor.js";
import { encodePredictionLog } from "../../src/warmup/prediction-log.js";
import { TFRecordWriter } from "../../src/warmup/tfrecord.js";
import { type Finding, validateWarmupFile } from "../../src/warmup/validate.js";
import type { WarmupRecord } from "../../src/warmup/warmup-record.js";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));
const halfPlusTwo = join(fixtures, "saved_models/half_plus_two/00000123");

interface Entry {
  name: string;
  file: string;
  records: number;
  server?: { accepts: boolean; why?: string };
  tfrecord_dataset: { records_read: number; error: { message: string } | null };
}
const { entries } = JSON.parse(readFileSync(join(fixtures, "tfrecord/index.json"), "utf8")) as { entries: Entry[] };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/validate-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function fileOf(...records: readonly (WarmupRecord | Uint8Array)[]): Promise<string> {
  const path = join(folder, "file");
  await using writer = new TFRecordWriter(path);
  for (const record of records) await writer.write(record instanceof Uint8Array ? record : encodePredictionLog(record));
  return path;
}

const signatures: Record<string, Signature> = {
  serving_default: {
    methodName: "tensorflow/serving/predict",
    inputs: { x: { dtype: "float32", shape: [null, 2] }, scale: { dtype: "float32", shape: [], default: tensor("float32", [], [1]) } },
    outputs: { y: { dtype: "float32", shape: [null] } },
  },
  classify: {
    methodName: "tensorflow/serving/classify",
    inputs: { inputs: { dtype: "string", shape: [null] } },
    outputs: { classes: { dtype: "string", shape: [null, null] }, scores: { dtype: "float32", shape: [null, null] } },
  },
  regress: {
    methodName: "tensorflow/serving/regress",
    inputs: { inputs: { dtype: "string", shape: [null] } },
    outputs: { outputs: { dtype: "float32", shape: [null] } },
  },
};

const modelSpec = { name: "m" };
const x = tensor("float32", [1, 2], [1, 2]);
const examples = [{ x: { kind: "float", values: [1] } }] as const;
const predict = { kind: "predict", modelSpec, inputs: { x } } as const;
const classify = { kind: "classify", modelSpec: { name: "m", signatureName: "classify" }, examples } as const;
const regress = { kind: "regress", modelSpec: { name: "m", signatureName: "regress" }, examples } as const;
const tasks = [
  { model: classify.modelSpec, method: "classify" },
  { model: regress.modelSpec, method: "regress" },
] as const;
const multiInference = { kind: "multiInference", tasks, examples } as const;

const blocking = (message: unknown, record = 0) => ({ severity: "blocks-loading", message, record });

describe("validateWarmupFile", () => {
  describe("files of TensorFlow", () => {
    it.each(entries.filter(({ server }) => server !== undefined))("says of $name what the server does", async ({ file, server }) => {
      const findings = await validateWarmupFile(join(fixtures, "tfrecord", file), { savedModelDir: halfPlusTwo });
      expect(findings.some(({ severity }) => severity === "blocks-loading")).toBe(server?.accepts === false);
    });

    it.each(entries.filter(({ tfrecord_dataset: { error } }) => error !== null))(
      "finds $name damaged",
      async ({ file, tfrecord_dataset }) => {
        const findings = await validateWarmupFile(join(fixtures, "tfrecord", file), { savedModelDir: halfPlusTwo });
        expect(findings).toEqual([blocking(expect.any(String), tfrecord_dataset.records_read)]);
      },
    );

    it.each(["cut_in_length", "cut_in_length_crc", "garbage_tail"])("finds the end of %s suspicious", async (name) => {
      const findings = await validateWarmupFile(join(fixtures, "tfrecord/corrupt", `${name}.tfrecord`), { savedModelDir: halfPlusTwo });
      const message = expect.stringMatching(/the end of the file at \d+, got \d+ bytes/);
      expect(findings).toEqual([{ severity: "suspicious", message }]);
    });

    it.each([
      ["one", []],
      ["three_kinds", []],
      ["four_kinds", []],
      ["thousand", []],
      ["thousand_one", [blocking(expect.stringMatching(/at most 1000 records/), 1000)]],
      ["empty_file", [{ severity: "useless", message: expect.stringMatching(/expected records, got none/) }]],
      ["empty_record", [{ severity: "useless", message: expect.stringMatching(/no kind/), record: 0 }]],
      ["session_run", [blocking(expect.stringMatching(/Unsupported log_type for warmup: 5/), 1)]],
      ["unparsable_record", [blocking(expect.stringMatching(/expected a PredictionLog/), 1)]],
      [
        "wrong_input_name",
        [blocking(expect.stringMatching(/input "q" is not in the signature/)), blocking(expect.stringMatching(/input "x" is missing/))],
      ],
    ])("has these findings for %s", async (name, expected) => {
      expect(await validateWarmupFile(join(fixtures, `tfrecord/${name}.tfrecord`), { savedModelDir: halfPlusTwo })).toEqual(expected);
    });
  });

  it("finds nothing wrong with records of all kinds that fit", async () => {
    expect(await validateWarmupFile(await fileOf(predict, classify, regress, multiInference), { signatures })).toEqual([]);
  });

  it.each<[string, WarmupRecord | Uint8Array, RegExp[]]>([
    ["no rows", { ...predict, inputs: { x: tensor("float32", [0, 2], []) } }, [/input "x" has no rows/]],
    [
      "another dtype",
      { ...predict, inputs: { x: tensor("int32", [1, 2], [1, 2]) } },
      [/"x": expected float32 \[\?, 2\], got int32 \[1, 2\]/],
    ],
    [
      "another shape",
      { ...predict, inputs: { x: tensor("float32", [1, 3], [1, 2, 3]) } },
      [/"x": expected float32 \[\?, 2\], got float32 \[1, 3\]/],
    ],
    ["a missing and an unknown input", { ...predict, inputs: { z: x } }, [/input "z" is not in the signature/, /input "x" is missing/]],
    ["an unknown output", { ...predict, outputFilter: ["z"] }, [/output "z" is not in the signature/]],
    ["an output twice", { ...predict, outputFilter: ["y", "y", "y"] }, [/output "y" is wanted more than once/]],
    [
      "an unknown signature",
      { ...predict, modelSpec: { name: "m", signatureName: "z" } },
      [/"z" is not in the model, whose signatures are "serv/],
    ],
    ["no examples", { ...classify, examples: [] }, [/expected at least one, got none/]],
    ["an unknown signature of examples", { ...regress, modelSpec: { name: "m", signatureName: "z" } }, [/"z" is not in the model/]],
    [
      "a signature without examples",
      { ...classify, modelSpec },
      [/expected one input, "inputs", of string/, /expected one or two outputs/],
    ],
    [
      "a signature of another method",
      { ...regress, modelSpec: classify.modelSpec },
      [/for regress: expected one output, "outputs", got "classes"/],
    ],
    ["no tasks", { ...multiInference, tasks: [] }, [/tasks: expected at least one/]],
    ["a signature in two tasks", { ...multiInference, tasks: [tasks[0], tasks[0]] }, [/signature "classify" is in more than one task/]],
    [
      "a task without a model",
      { ...multiInference, tasks: [{ ...tasks[0], model: { ...tasks[0].model, name: "" } }] },
      [/name of a model in each/],
    ],
    [
      "tasks of two models",
      { ...multiInference, tasks: [tasks[0], { ...tasks[1], model: { ...tasks[1].model, name: "n" } }] },
      [/one model in all, got "m", "n"/],
    ],
    [
      "an input that cannot be decoded",
      Uint8Array.of(0x32, 11, 0x0a, 9, 0x12, 7, 0x0a, 1, 120, 0x12, 2, 0x08, 20),
      [/input "x": .*resource/],
    ],
  ])("finds a record with %s to keep the version from loading", async (_what, record, messages) => {
    const findings = await validateWarmupFile(await fileOf(predict, record), { signatures });
    expect(findings).toEqual(messages.map((message) => blocking(expect.stringMatching(message), 1)));
  });

  it.each([
    [{ ...predict, modelSpec: { name: "m", signatureName: "__saved_model_init_op" }, inputs: {} }],
    [{ ...predict, modelSpec: { name: "m", signatureName: "train" }, outputFilter: ["loss", "train_op"] }],
  ])("finds outputs without a value to keep the version from loading: %o", async (record) => {
    const operation = { dtype: "invalid", shape: [] } as const;
    const { x: input } = (signatures["serving_default"] as Signature).inputs as { x: TensorSpec };
    const odd: Record<string, Signature> = {
      __saved_model_init_op: { methodName: "", inputs: {}, outputs: { __saved_model_init_op: operation } },
      train: { methodName: "", inputs: { x: input }, outputs: { loss: { dtype: "float32", shape: [] }, train_op: operation } },
    };
    const findings = await validateWarmupFile(await fileOf(record), { signatures: odd });
    expect(findings).toEqual([blocking(expect.stringMatching(/^output "(__saved_model_init|train)_op" is of dtype invalid/))]);
    expect(await validateWarmupFile(await fileOf({ ...record, outputFilter: ["loss"] }), { signatures: odd })).not.toContainEqual(
      blocking(expect.stringMatching(/dtype invalid/)),
    );
  });

  it("finds a streamed log to keep the version from loading", async () => {
    const findings = await validateWarmupFile(await fileOf({ kind: "predictStreamed", bytes: Uint8Array.of(0x3a, 0) }));
    expect(findings).toEqual([blocking(expect.stringMatching(/Unsupported log_type for warmup: 7/))]);
  });

  it("finds a missing file useless", async () => {
    expect(await validateWarmupFile(join(folder, "none"))).toEqual([
      { severity: "useless", message: expect.stringMatching(/expected a warm-up file, got none/) },
    ]);
  });

  it("takes no notice of the names and versions of models", async () => {
    const elsewhere = { ...predict, modelSpec: { name: "another", version: 7n } };
    expect(await validateWarmupFile(await fileOf(elsewhere, { ...predict, modelSpec: { name: "" } }), { signatures })).toEqual([]);
  });

  it("compares with the model around the file", async () => {
    cpSync(halfPlusTwo, join(folder, "1"), { recursive: true });
    mkdirSync(join(folder, "1/assets.extra"));
    const path = join(folder, "1/assets.extra/tf_serving_warmup_requests");
    writeFileSync(path, readFileSync(join(fixtures, "tfrecord/wrong_input_name.tfrecord")));
    expect(await validateWarmupFile(path)).toHaveLength(2);
  });

  it.each([
    ["variables/variables.index", "x"],
    ["fingerprint.pb", "x"],
  ])("reads nothing of a model but its signatures, and so not %s", async (name, text) => {
    const dir = mkdtempSync(join(folder, "model-"));
    cpSync(halfPlusTwo, dir, { recursive: true });
    writeFileSync(join(dir, name), text);
    expect(await validateWarmupFile(join(fixtures, "tfrecord/one.tfrecord"), { savedModelDir: dir })).toEqual([]);
  });

  it("finds what is wrong for any model beside a model in another form", async () => {
    const assets = join(mkdtempSync(join(folder, "model-")), "assets.extra");
    mkdirSync(assets);
    writeFileSync(join(assets, "../saved_model.pbtxt"), "");
    const path = join(assets, "tf_serving_warmup_requests");
    cpSync(await fileOf({ ...predict, inputs: { z: tensor("float32", [0], []) } }), path);
    expect(await validateWarmupFile(path)).toEqual([blocking(expect.stringMatching(/no rows/))]);
  });

  it("finds what is wrong for any model where it knows no signatures", async () => {
    const path = await fileOf({ ...predict, inputs: { z: tensor("float32", [0], []) } }, { ...classify, examples: [] });
    const messages = (await validateWarmupFile(path)).map(({ message }: Finding) => message);
    expect(messages).toEqual([expect.stringMatching(/no rows/), expect.stringMatching(/expected at least one, got none/)]);
  });

  describe("rejects", () => {
    it("unknown options", async () => {
      await expect(validateWarmupFile("x", { savedModel: "x" } as never)).rejects.toThrow(/savedModel: unknown option/);
    });

    it("a folder without a model that was named", async () => {
      await expect(validateWarmupFile(await fileOf(), { savedModelDir: folder })).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("a path that is no file", async () => {
      const message = `${folder}: expected a warm-up file, such as assets.extra/tf_serving_warmup_requests in a version folder, got a folder`;
      await expect(validateWarmupFile(folder)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message });
    });
  });
});
