import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SavedModel } from "../../gen/tensorflow/core/protobuf/saved_model.js";
import { mapRecord } from "../../src/messages.js";
import { type ReadSavedModelOptions, readSavedModel } from "../../src/saved-model/index.js";
import type { Signature, TensorSpec } from "../../src/signature.js";
import { dtypeToUpstreamName } from "../../src/tensor/dtype.js";
import { copyOf, pathOf, type SignatureFixture, type TensorFixture, temporaryFolder, versions } from "./saved-model-fixtures.js";

const tensorOf = ({ dtype, shape }: TensorSpec): TensorFixture => ({
  dtype: dtypeToUpstreamName(dtype),
  shape: shape?.map((size) => size ?? -1) ?? null,
});

/** A signature in the words of the fixtures. */
function fixtureOf({ methodName, inputs, outputs }: Signature): SignatureFixture {
  return { method_name: methodName, inputs: mapRecord(inputs, tensorOf), outputs: mapRecord(outputs, tensorOf) };
}

/** Only what a signature of ours has: the names of tensors in the graph are left out. */
function withoutTensorNames({ method_name, inputs, outputs }: SignatureFixture): SignatureFixture {
  const pick = ({ dtype, shape }: TensorFixture): TensorFixture => ({ dtype, shape });
  return { method_name, inputs: mapRecord(inputs, pick), outputs: mapRecord(outputs, pick) };
}

/** Folder of a model with several meta graphs, made of one with a single one. */
function withMetaGraphs(...tagSets: string[][]): string {
  const dir = copyOf(pathOf("tf1_frozen", "1"));
  const path = join(dir, "saved_model.pb");
  const model = SavedModel.decode(readFileSync(path));
  const [metaGraph] = model.metaGraphs;
  model.metaGraphs = tagSets.map(
    (tags) => SavedModel.fromPartial({ metaGraphs: [{ ...metaGraph, metaInfoDef: { tags } }] }).metaGraphs[0] as never,
  );
  writeFileSync(path, SavedModel.encode(model).finish());
  return dir;
}

describe("readSavedModel", () => {
  it.each(versions)("reads the signatures of $model as TensorFlow does", async ({ dir, signatures }) => {
    const model = await readSavedModel(dir);
    expect(mapRecord(model.signatures, fixtureOf)).toEqual(mapRecord(signatures, withoutTensorNames));
    const defaults = mapRecord(model.signatures, ({ inputs }) =>
      Object.entries(inputs).flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, [...value.values], value.shape]])),
    );
    expect(defaults).toEqual(
      mapRecord(signatures, (signature) =>
        Object.entries(signature.defaults ?? {}).map(([name, { values, shape }]) => [name, values, shape]),
      ),
    );
  });

  it.each(versions)("tells who wrote $model", async ({ dir }) => {
    const { tags, producer, tensorflowVersion } = await readSavedModel(dir);
    expect({ tags, producer, tensorflowVersion }).toEqual({ tags: ["serve"], producer: 2288, tensorflowVersion: "2.20.0" });
  });

  it.each(versions)("finds a fingerprint of $model where there is one", async ({ dir }) => {
    const { fingerprint } = await readSavedModel(dir);
    expect(fingerprint !== undefined).toBe(existsSync(join(dir, "fingerprint.pb")));
  });

  it("gives the fingerprint's hashes whole", async () => {
    expect((await readSavedModel(pathOf("half_plus_two", "00000123"))).fingerprint).toEqual({
      savedModelChecksum: 9099137033901598775n,
      graphDefProgramHash: 14840051268097645944n,
      signatureDefHash: 12973637904229410082n,
      savedObjectGraphHash: 16308138395451881612n,
      checkpointHash: 14663715730120660684n,
      uuid: "282405227803223802005294617105423182235",
    });
  });

  it("lists assets with the tensors that get their paths", async () => {
    const { assets } = await readSavedModel(pathOf("vocabulary", "1"));
    expect(assets).toEqual([{ filename: "vocab.txt", tensorName: "asset_path_initializer:0" }]);
  });

  it.each([
    [
      "tf1_saver/1",
      [
        ["counter", "float32", []],
        ["dense/bias", "float32", [3]],
        ["dense/kernel", "float32", [4, 3]],
      ],
    ],
    [
      "multi_head/1",
      [
        ["r/.ATTRIBUTES/VARIABLE_VALUE", "float32", [4, 1]],
        ["w/.ATTRIBUTES/VARIABLE_VALUE", "float32", [4, 3]],
      ],
    ],
    ["multi_io/1", []],
    ["tf1_frozen/1", []],
  ] as const)("lists the variables of %s, without TensorFlow's object graph", async (model, expected) => {
    const { variables } = await readSavedModel(pathOf(model));
    expect(variables.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual(expected);
  });

  it.each([
    ["thousand.tfrecord", 1000],
    ["empty_file.tfrecord", 0],
    ["corrupt/length_flipped.tfrecord", 1],
    ["corrupt/length_crc_flipped.tfrecord", 1],
    ["corrupt/zero_tail.tfrecord", 3],
    ["corrupt/cut_in_length.tfrecord", 1],
    ["corrupt/cut_in_data.tfrecord", 1],
    // Nobody reads the data to count records.
    ["corrupt/data_flipped.tfrecord", 3],
  ])("counts the warm-up records of %s up to a damaged length or the end", async (file, records) => {
    const dir = copyOf(pathOf("tf1_frozen", "1"));
    mkdirSync(join(dir, "assets.extra"));
    copyFileSync(new URL(`../fixtures/tfrecord/${file}`, import.meta.url), join(dir, "assets.extra", "tf_serving_warmup_requests"));
    expect((await readSavedModel(dir)).warmupRecords).toBe(records);
  });

  it("counts no warm-up records without a file", async () => {
    expect((await readSavedModel(pathOf("tf1_frozen", "1"))).warmupRecords).toBe(0);
  });

  it("reads the meta graph that has all the tags and no other", async () => {
    const dir = withMetaGraphs(["train"], ["serve", "tpu"], ["serve"], []);
    const tagsFor = async (options: ReadSavedModelOptions) => (await readSavedModel(dir, options)).tags;
    expect(await tagsFor({})).toEqual(["serve"]);
    expect(await tagsFor({ tags: undefined })).toEqual(["serve"]);
    expect(await tagsFor({ tags: ["tpu", "serve"] })).toEqual(["serve", "tpu"]);
    expect(await tagsFor({ tags: [] })).toEqual([]);
  });

  it("leaves out what the file does not say", async () => {
    const model = await readSavedModel(withMetaGraphs(["serve"]));
    expect(model).not.toHaveProperty("tensorflowVersion");
    expect(model).not.toHaveProperty("fingerprint");
  });

  it("keeps names such as __proto__", async () => {
    const dir = temporaryFolder();
    const signatureDef = { ["__proto__"]: { methodName: "m" } };
    const model = SavedModel.fromPartial({ metaGraphs: [{ metaInfoDef: { tags: ["serve"] }, signatureDef }] });
    writeFileSync(join(dir, "saved_model.pb"), SavedModel.encode(model).finish());
    const { signatures, producer } = await readSavedModel(dir);
    expect(Object.getPrototypeOf(signatures)).toBeNull();
    expect(Object.keys(signatures)).toEqual(["__proto__"]);
    expect(producer).toBe(0);
  });

  describe("rejects", () => {
    it.each([
      ["a base path, and names a version in it", () => pathOf("half_plus_two"), pathOf("half_plus_two", "00000123")],
      ["a folder that is not there", () => pathOf("half_plus_two", "9"), "models/half_plus_two/1"],
      ["saved_model.pb", () => pathOf("half_plus_two", "00000123", "saved_model.pb"), pathOf("half_plus_two", "00000123")],
    ])("%s", async (_, dir, wanted) => {
      await expect(readSavedModel(dir())).rejects.toMatchObject({
        name: "ServingError",
        code: "NOT_FOUND",
        message: `${dir()}: expected a version folder with a saved_model.pb, got none`,
        hint: `Give the folder of one version, such as ${wanted}.`,
      });
    });

    it.each(["saved_model.pbtxt", "saved_model.cpb"])("a model in %s", async (name) => {
      const dir = copyOf(pathOf("tf1_frozen", "1"));
      renameSync(join(dir, "saved_model.pb"), join(dir, name));
      await expect(readSavedModel(dir)).rejects.toMatchObject({
        code: "UNIMPLEMENTED",
        message: `${dir}: expected the model in saved_model.pb, got ${name}, which is not read here`,
      });
    });

    it("tags that no meta graph has, and lists those there are", async () => {
      const dir = withMetaGraphs(["serve", "tpu"], ["train"], []);
      await expect(readSavedModel(dir)).rejects.toMatchObject({
        name: "ServingError",
        code: "NOT_FOUND",
        message: `${dir}/saved_model.pb: expected a meta graph with the tags "serve", got "serve", "tpu" and "train" and (none)`,
      });
    });

    it.each([
      [{ tag: "serve" }, "tag: unknown option, expected one of tags"],
      [{ tags: "serve" }, 'tags: expected an array of strings, got "serve"'],
    ])("the options %j", async (options, message) => {
      await expect(readSavedModel(pathOf("tf1_frozen", "1"), options as never)).rejects.toThrow(new TypeError(message));
    });

    it("an empty saved_model.pb", async () => {
      const dir = temporaryFolder();
      writeFileSync(join(dir, "saved_model.pb"), "");
      await expect(readSavedModel(dir)).rejects.toMatchObject({
        name: "FormatError",
        message: `${dir}/saved_model.pb: expected a meta graph, got none`,
        offset: 0,
      });
    });

    it("a damaged fingerprint", async () => {
      const dir = copyOf(pathOf("half_plus_two", "00000123"));
      writeFileSync(join(dir, "fingerprint.pb"), Uint8Array.of(0x08, 0x80));
      await expect(readSavedModel(dir)).rejects.toMatchObject({
        name: "FormatError",
        message: `${dir}/fingerprint.pb: malformed message: premature EOF at 2`,
      });
    });

    it("a folder where a file should be, with the system's error", async () => {
      const dir = copyOf(pathOf("half_plus_two", "00000123"));
      rmSync(join(dir, "fingerprint.pb"));
      mkdirSync(join(dir, "fingerprint.pb"));
      await expect(readSavedModel(dir)).rejects.toMatchObject({ code: "EISDIR" });
    });
  });
});
