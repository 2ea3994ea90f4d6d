import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PredictionLog } from "../../gen/tensorflow_serving/apis/prediction_log.js";
import { example } from "../../src/example.js";
import type { Signature } from "../../src/signature.js";
import { tensor } from "../../src/tensor/tensor.js";
import { readTFRecords } from "../../src/warmup/tfrecord.js";
import { validateWarmupFile } from "../../src/warmup/validate.js";
import { readWarmupFile, type WriteWarmupFileOptions, writeWarmupFile } from "../../src/warmup/warmup-file.js";
import {
  classifyRecord,
  multiInferenceRecord,
  predictRecord,
  regressRecord,
  type WarmupRecord,
  type WarmupRecordLike,
} from "../../src/warmup/warmup-record.js";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));

let versionDir: string;
beforeEach(() => {
  versionDir = mkdtempSync(`${tmpdir()}/warmup-`);
});
afterEach(() => rmSync(versionDir, { recursive: true }));

const filesLeft = () => readdirSync(join(versionDir, "assets.extra"));
const warmupPath = () => join(versionDir, "assets.extra/tf_serving_warmup_requests");
const copyModel = () => cpSync(join(fixtures, "saved_models/half_plus_two/00000123"), versionDir, { recursive: true });

async function read(path = warmupPath()): Promise<WarmupRecord[]> {
  return all(readWarmupFile(path));
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const floatBytes = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

/** Records, and whether the source of them was closed. */
function closable(records: readonly WarmupRecordLike[]) {
  const state = { taken: 0, isClosed: false };
  async function* source() {
    try {
      for (const record of records) {
        state.taken++;
        yield record;
      }
    } finally {
      state.isClosed = true;
    }
  }
  return { state, source: source() };
}

const twoInputs: Record<string, Signature> = {
  serving_default: {
    methodName: "tensorflow/serving/predict",
    inputs: { x1: { dtype: "float32", shape: [1, 2] }, inputs_id: { dtype: "int32", shape: [1, 2] } },
    outputs: { y: { dtype: "float32", shape: [1] } },
  },
};

describe("writeWarmupFile", () => {
  it("writes a record for a signature that is given", async () => {
    const records = [predictRecord("m", { x1: [[1.5, 2]], inputs_id: [[3, 4]] })];
    const written = await writeWarmupFile(versionDir, records, { signatures: twoInputs });
    const bytes = readFileSync(warmupPath());
    expect(written).toEqual({ path: warmupPath(), records: 1, bytes: bytes.length });
    const [log] = (await all(readTFRecords(warmupPath()))).map((record) => PredictionLog.decode(record));
    expect(log?.predictLog?.request?.inputs).toMatchObject({
      x1: { dtype: 1, tensorShape: { dim: [{ size: { low: 1 } }, { size: { low: 2 } }] }, tensorContent: floatBytes(1.5, 2) },
      inputs_id: {
        dtype: 3,
        tensorShape: { dim: [{ size: { low: 1 } }, { size: { low: 2 } }] },
        tensorContent: Uint8Array.of(3, 0, 0, 0, 4, 0, 0, 0),
      },
    });
  });

  it("writes what every builder makes, by the signatures of the model", async () => {
    copyModel();
    const tasks = [
      { model: { name: "half_plus_two", signatureName: "classify_x_to_y" }, method: "classify" },
      { model: { name: "half_plus_two", signatureName: "regress_x_to_y" }, method: "regress" },
    ] as const;
    const x = tensor("float32", [2], [1, 2]);
    const one = { kind: "float", values: [1] };
    await writeWarmupFile(versionDir, [
      predictRecord("half_plus_two", [1, 2]),
      predictRecord("half_plus_two", { x }, { outputFilter: ["y"] }),
      classifyRecord(tasks[0].model, [{ x: 1 }, example({ x: 1 })]),
      regressRecord(tasks[1].model, [{ x: 1 }], { context: { z: 1n } }),
      multiInferenceRecord(tasks, [{ x: 1 }]),
    ]);
    expect(await read()).toEqual([
      { kind: "predict", modelSpec: { name: "half_plus_two" }, inputs: { x } },
      { kind: "predict", modelSpec: { name: "half_plus_two" }, inputs: { x }, outputFilter: ["y"] },
      { kind: "classify", modelSpec: tasks[0].model, examples: [{ x: one }, { x: one }] },
      { kind: "regress", modelSpec: tasks[1].model, examples: [{ x: one }], context: { z: { kind: "int64", values: [1n] } } },
      { kind: "multiInference", tasks, examples: [{ x: one }] },
    ]);
    expect(await validateWarmupFile(warmupPath())).toEqual([]);
  });

  it("writes records that were read, also 1000 of them", async () => {
    copyModel();
    const source = join(fixtures, "tfrecord/thousand.tfrecord");
    expect(await writeWarmupFile(versionDir, readWarmupFile(source))).toMatchObject({ records: 1000 });
    expect(await read()).toEqual(await read(source));
    expect(filesLeft()).toEqual(["tf_serving_warmup_requests"]);
  });

  it("converts values by their own looks where it is forced to do without signatures", async () => {
    await writeWarmupFile(versionDir, [predictRecord("m", { x: [1n] })], { force: true });
    expect(await read()).toMatchObject([{ inputs: { x: tensor("int64", [1], [1n]) } }]);
  });

  it.each(["variables/variables.index", "fingerprint.pb", "assets.extra/tf_serving_warmup_requests"])(
    "does not read %s for the signatures",
    async (name) => {
      copyModel();
      mkdirSync(join(versionDir, "assets.extra"));
      writeFileSync(join(versionDir, name), "damaged");
      expect(await writeWarmupFile(versionDir, [predictRecord("half_plus_two", { x: [1] })])).toMatchObject({ records: 1 });
    },
  );

  it("writes beside a model that it cannot read where it is forced to, or is given signatures", async () => {
    writeFileSync(join(versionDir, "saved_model.pbtxt"), "");
    const record = predictRecord("m", { x1: [[1, 2]], inputs_id: [[3, 4]] });
    await expect(writeWarmupFile(versionDir, [record])).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: expect.stringMatching(/got saved_model\.pbtxt.*pass `signatures`.*`force: true`/),
    });
    expect(await writeWarmupFile(versionDir, [record], { force: true })).toMatchObject({ records: 1 });
    expect(await writeWarmupFile(versionDir, [record], { signatures: twoInputs })).toMatchObject({ records: 1 });
  });

  it("removes what killed processes left a day ago, and nothing else", async () => {
    const [uuid, options] = ["123e4567-e89b-12d3-a456-426614174000", { signatures: twoInputs }];
    const [old, recent, other] = [uuid, uuid.replace("1", "2"), "other"].map(
      (part) => `tf_serving_warmup_requests.${part}.tmp`,
    ) as string[];
    mkdirSync(join(versionDir, "assets.extra"));
    for (const name of [old, recent, other] as string[]) writeFileSync(join(versionDir, "assets.extra", name), "");
    const dayAgo = Date.now() / 1000 - 25 * 3600;
    for (const name of [old, other] as string[]) utimesSync(join(versionDir, "assets.extra", name), dayAgo, dayAgo);
    await writeWarmupFile(versionDir, [predictRecord("m", { x1: [[1, 2]], inputs_id: [[3, 4]] })], options);
    expect(filesLeft().sort()).toEqual(["tf_serving_warmup_requests", recent, other].sort());
  });

  describe("rejects", () => {
    const force = { force: true };
    const signatures = { signatures: twoInputs };
    const fitting = predictRecord("m", { x1: [[1, 2]], inputs_id: [[1, 2]] });
    const keeps = "record 1 would keep servers from loading the version: ";

    it.each<[string, WarmupRecordLike[], WriteWarmupFileOptions, object]>([
      ["no records", [], signatures, { name: "ServingError", code: "INVALID_ARGUMENT", message: /expected at least one record, got none/ }],
      [
        "more than maxRecords",
        [fitting, fitting],
        { ...signatures, maxRecords: 1 },
        { name: "ServingError", message: /at most 1 records, got more/ },
      ],
      ["more than 1000", Array(1001).fill(fitting), signatures, { name: "ServingError", message: /at most 1000 records, got more/ }],
      [
        "an empty log",
        [fitting, { kind: "empty", bytes: new Uint8Array() }],
        signatures,
        { name: "ServingError", message: /^record 1: a log of no kind/ },
      ],
      [
        "a session_run log",
        [{ kind: "sessionRun", bytes: Uint8Array.of(0x2a, 0) }],
        force,
        { message: /record 0: .*Unsupported log_type for warmup: 5/ },
      ],
      [
        "a streamed log",
        [{ kind: "predictStreamed", bytes: Uint8Array.of(0x3a, 0) }],
        force,
        { message: /Unsupported log_type for warmup: 7/ },
      ],
      [
        "no rows",
        [predictRecord("m", { x: tensor("float32", [0], []) })],
        force,
        { name: "SignatureError", message: /input "x" has no rows/ },
      ],
      [
        "inputs that do not fit",
        [fitting, predictRecord("m", { x1: [[1, 2, 3]], inputs_id: [[1, 2.5]], z: 1 })],
        signatures,
        { name: "SignatureError", message: new RegExp(`${keeps}predict m: input "z" .*input "x1": .*input "inputs_id"`) },
      ],
      [
        "another signature",
        [fitting, predictRecord({ name: "m", signatureName: "z" }, { x: 1 })],
        signatures,
        { message: new RegExp(`${keeps}.*"z" is not in the model`) },
      ],
      [
        "no examples",
        [fitting, classifyRecord("m", [])],
        signatures,
        { name: "SignatureError", message: new RegExp(`${keeps}classify m: examples`) },
      ],
      [
        "metadata that is none",
        [{ ...fitting, logMetadata: Uint8Array.of(0xff) }],
        signatures,
        { message: /^record 0: malformed message/ },
      ],
      ["mixed features", [classifyRecord("m", [{ x: [1, "a"] }])], force, { name: "TensorError", message: /feature "x"/ }],
      [
        "a bare value without signature",
        [predictRecord("m", [1])],
        force,
        { name: "SignatureError", message: /a bare value needs a signature/ },
      ],
      [
        "what is no record",
        [{ x: 1 } as never],
        force,
        { name: "TypeError", message: /record 0: expected what predictRecord and the like make/ },
      ],
    ])("%s, and keeps the file before", async (_what, records, options, error) => {
      await writeWarmupFile(versionDir, [fitting], signatures);
      const before = readFileSync(warmupPath());
      const message = (error as { message: RegExp }).message;
      const { source, state } = closable(records);
      await expect(writeWarmupFile(versionDir, source, options)).rejects.toMatchObject({
        ...error,
        message: expect.stringMatching(message),
      });
      expect(readFileSync(warmupPath())).toEqual(before);
      expect(filesLeft()).toEqual(["tf_serving_warmup_requests"]);
      expect(state.isClosed).toBe(true);
    });

    it.each([
      [
        "a text for outputs wanted",
        { kind: "predict", modelSpec: { name: "m" }, inputs: {}, outputFilter: "y" },
        /^record 1: outputFilter: .*"y"/,
      ],
      ["no model", { kind: "predict", inputs: {} }, /^record 1: modelSpec: expected \{ name, .* got undefined/],
      [
        "a Map of inputs",
        { kind: "predict", modelSpec: { name: "m" }, inputs: new Map() },
        /^record 1: inputs: expected a plain object.* a Map/,
      ],
      ["no inputs", { kind: "predict", modelSpec: { name: "m" } }, /^record 1: inputs: expected a record or a value, got undefined/],
      ["no tasks", { kind: "multiInference", examples: [{ x: 1 }] }, /^record 1: tasks: expected a list/],
      [
        "a task of another method",
        { kind: "multiInference", tasks: [{ model: { name: "m" }, method: "predict" }] },
        /^record 1: tasks\[0\]: .*"predict"/,
      ],
      ["one example for a list", { kind: "regress", modelSpec: { name: "m" }, examples: { x: 1 } }, /^record 1: examples: expected a list/],
      ["no bytes", { kind: "empty" }, /^record 1: bytes: expected a Uint8Array, got undefined/],
      [
        "a fraction for a version",
        { kind: "predict", modelSpec: { name: "m", version: 1.5 }, inputs: { x1: [[1, 2]], inputs_id: [[1, 2]] } },
        /^record 1: /,
      ],
    ])("a record with %s, and names it", async (_what, record, message) => {
      await expect(writeWarmupFile(versionDir, [fitting, record as never], signatures)).rejects.toThrow(message);
    });

    it("what the source throws, and leaves no file", async () => {
      const gone = new Error("gone");
      async function* source(): AsyncGenerator<WarmupRecordLike> {
        yield fitting;
        throw gone;
      }
      await expect(writeWarmupFile(versionDir, source(), signatures)).rejects.toBe(gone);
      expect(filesLeft()).toEqual([]);
    });

    it("to write without signatures, unless forced", async () => {
      const error = { code: "NOT_FOUND", message: expect.stringMatching(/saved_model\.pb.*pass `signatures`.*`force: true`/) };
      await expect(writeWarmupFile(versionDir, [fitting])).rejects.toMatchObject(error);
      expect(existsSync(warmupPath())).toBe(false);
    });

    it("a first record that does not fit, and makes no folder", async () => {
      await expect(writeWarmupFile(versionDir, [predictRecord("m", { z: 1 })], signatures)).rejects.toThrow(/record 0/);
      expect(existsSync(join(versionDir, "assets.extra"))).toBe(false);
    });

    it("one record in place of a list", async () => {
      const message = "records: expected a list or another iterable of records, got an object";
      await expect(writeWarmupFile(versionDir, fitting as never, signatures)).rejects.toThrow(new TypeError(message));
    });

    it("to make a version folder", async () => {
      await expect(writeWarmupFile(join(versionDir, "2"), [fitting], signatures)).rejects.toMatchObject({ code: "ENOENT" });
    });

    it.each([0, 1001, 1.5, "1"])("maxRecords: %s", async (maxRecords) => {
      await expect(writeWarmupFile(versionDir, [fitting], { maxRecords } as never)).rejects.toThrow(RangeError);
    });

    it("unknown options", async () => {
      await expect(writeWarmupFile(versionDir, [fitting], { maxRecord: 1 } as never)).rejects.toThrow(/maxRecord: unknown option/);
    });
  });
});

describe("readWarmupFile", () => {
  it("reads a file as it is asked for", async () => {
    const records = readWarmupFile(join(fixtures, "tfrecord/unparsable_record.tfrecord"));
    expect(await records.next()).toMatchObject({ value: { kind: "predict", modelSpec: { name: "half_plus_two" } } });
    await expect(records.next()).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(/record 1: expected a PredictionLog/),
    });
  });
});

describe("builders", () => {
  it("refuse models, tasks and options that are malformed", () => {
    expect(() => predictRecord("", 1)).toThrow(/model: expected a name/);
    expect(() => predictRecord("m", 1, { filter: [] } as never)).toThrow(/filter: unknown option/);
    expect(() => classifyRecord("m", [], { outputFilter: [] } as never)).toThrow(/outputFilter: unknown option/);
    expect(() => multiInferenceRecord([], [])).toThrow(/tasks: expected at least one/);
    expect(() => predictRecord("m", new Map() as never)).toThrow(/inputs: expected a plain object.* a Map/);
    expect(() => predictRecord("m", 1, { outputFilter: "y" as never })).toThrow(/outputFilter: expected a list of names, got "y"/);
    expect(() => regressRecord("m", { x: 1 } as never)).toThrow(/examples: expected a list/);
  });

  it("keep plain values as they are", () => {
    const x = [1, 2];
    expect(predictRecord("m", { x }).inputs).toEqual({ x });
    expect(regressRecord("m", [{ x }])).toEqual({ kind: "regress", modelSpec: { name: "m" }, examples: [{ x }] });
  });
});
