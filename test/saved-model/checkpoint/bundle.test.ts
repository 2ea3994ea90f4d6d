import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BundleEntryProto, BundleHeaderProto } from "../../../gen/tensorflow/core/protobuf/tensor_bundle.js";
import { TrackableObjectGraph } from "../../../gen/tensorflow/core/protobuf/trackable_object_graph.js";
import { type Bundle, readBundle, readTensorContent } from "../../../src/saved-model/checkpoint/bundle.js";
import { dtypes, isDType } from "../../../src/tensor/dtype.js";
import { copyOf, pathOf, temporaryFolder, versions } from "../saved-model-fixtures.js";
import { type Entry, tableOf } from "./table-writer.js";

async function bundleOf(prefix: string): Promise<Bundle> {
  const bundle = await readBundle(prefix);
  if (bundle === undefined) throw new Error(`expected a checkpoint at ${prefix}`);
  return bundle;
}

const floatsOf = (content: Uint8Array) => [...new Float32Array(content.slice().buffer)];

type EntryInit = Parameters<typeof BundleEntryProto.fromPartial>[0];

const entry = (init: EntryInit) => BundleEntryProto.encode(BundleEntryProto.fromPartial(init)).finish();
const header = (init: Parameters<typeof BundleHeaderProto.fromPartial>[0]) =>
  BundleHeaderProto.encode(BundleHeaderProto.fromPartial(init)).finish();
const shapeOf = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size })) });

/** Prefix of a checkpoint with these entries in its index and these bytes in its data file. */
function checkpoint(entries: readonly Entry[], data = new Uint8Array()): string {
  const prefix = join(temporaryFolder(), "variables");
  writeFileSync(`${prefix}.index`, tableOf(entries));
  writeFileSync(`${prefix}.data-00000-of-00001`, data);
  return prefix;
}

/** Prefix of a checkpoint with the one tensor "x". */
const checkpointOf = (init: EntryInit, data?: Uint8Array<ArrayBuffer>) =>
  checkpoint(
    [
      ["", header({ numShards: 1 })],
      ["x", entry(init)],
    ],
    data,
  );

describe("readBundle", () => {
  it("lists tensors with their places in the data file", async () => {
    const { shards, tensors } = await bundleOf(pathOf("tf1_saver", "1", "variables", "variables"));
    expect(shards).toBe(1);
    expect([...tensors]).toMatchObject([
      ["counter", { dtype: "float32", shape: [], slices: 0, shard: 0, offset: 0, size: 4 }],
      ["dense/bias", { dtype: "float32", shape: [3], slices: 0, shard: 0, offset: 4, size: 12 }],
      ["dense/kernel", { dtype: "float32", shape: [4, 3], slices: 0, shard: 0, offset: 16, size: 48 }],
    ]);
  });

  it("gives undefined for a model without a checkpoint", async () => {
    expect(await readBundle(pathOf("tf1_frozen", "1", "variables", "variables"))).toBeUndefined();
  });

  it("lists a tensor in slices once, by its whole shape", async () => {
    const prefix = checkpoint([
      ["", header({ numShards: 1 })],
      [Uint8Array.of(0, 1, 120), entry({ dtype: 1, shape: shapeOf(2, 3) })],
      [
        "x",
        entry({
          dtype: 1,
          shape: shapeOf(4, 3),
          slices: [{ extent: [{ start: 0, length: 2 }, {}] }, { extent: [{ start: 2, length: 2 }, {}] }],
        }),
      ],
    ]);
    const bundle = await bundleOf(prefix);
    expect([...bundle.tensors]).toMatchObject([["x", { dtype: "float32", shape: [4, 3], slices: 2 }]]);
    await expect(readTensorContent(bundle, "x")).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: `${prefix}: tensor "x": expected it in one piece, got 2 slices`,
    });
  });

  it("lists dtypes that tensors cannot have", async () => {
    const { tensors } = await bundleOf(checkpointOf({ dtype: 21 }));
    expect(tensors.get("x")).toMatchObject({ dtype: "variant", shape: [] });
  });

  describe("rejects", () => {
    it.each([
      ["an index without a header", [["x", entry({ dtype: 1 })]], "expected a header under the empty key, got none"],
      ["a malformed header", [["", Uint8Array.of(0x08)]], "malformed message: premature EOF at 4"],
      ["a malformed entry", [["x", Uint8Array.of(0x12, 5)]], 'tensor "x": malformed message: premature EOF at 6'],
      [
        "a shape with a negative size",
        [["x", entry({ dtype: 1, shape: shapeOf(-1) })]],
        'tensor "x": shape [-1]: dimension 0 is -1, expected a whole number from 0 to 2^53 - 1',
      ],
    ] satisfies [string, Entry[], string][])("%s", async (_, entries, message) => {
      const prefix = checkpoint(entries);
      await expect(readBundle(prefix)).rejects.toMatchObject({ name: "FormatError", message: `${prefix}.index: ${message}` });
    });

    it("the checkpoint of a big-endian machine", async () => {
      const prefix = checkpoint([["", header({ numShards: 1, endianness: 1 })]]);
      await expect(readBundle(prefix)).rejects.toMatchObject({
        code: "UNIMPLEMENTED",
        message: `${prefix}: expected a little-endian checkpoint, got a big-endian one`,
      });
    });
  });
});

describe("readTensorContent", () => {
  it.each(versions)("reads every tensor of $model, whose checksums fit", async ({ dir }) => {
    const bundle = await readBundle(join(dir, "variables", "variables"));
    for (const [name, { dtype, shape }] of bundle?.tensors ?? []) {
      const content = await readTensorContent(bundle as Bundle, name);
      const width = isDType(dtype) ? dtypes[dtype].bytes : 0;
      if (dtype !== "string") expect(content.length, name).toBe(shape.reduce((count, size) => count * size, width));
    }
  });

  it("gives the values that make half_plus_two", async () => {
    const bundle = await bundleOf(pathOf("half_plus_two", "00000123", "variables", "variables"));
    expect(floatsOf(await readTensorContent(bundle, "a/.ATTRIBUTES/VARIABLE_VALUE"))).toEqual([0.5]);
    expect(floatsOf(await readTensorContent(bundle, "b/.ATTRIBUTES/VARIABLE_VALUE"))).toEqual([2]);
    expect(floatsOf(await readTensorContent(bundle, "c/.ATTRIBUTES/VARIABLE_VALUE"))).toEqual([3]);
  });

  it("gives strings as their lengths and then their bytes", async () => {
    const bundle = await bundleOf(pathOf("half_plus_two", "00000123", "variables", "variables"));
    const content = await readTensorContent(bundle, "_CHECKPOINTABLE_OBJECT_GRAPH");
    const [low, high] = content as unknown as [number, number];
    expect((low & 127) | (high << 7)).toBe(content.length - 2);
    const graph = TrackableObjectGraph.decode(content.subarray(2));
    expect(graph.nodes[0]?.children.map(({ localName }) => localName)).toEqual(expect.arrayContaining(["a", "b", "c"]));
  });

  it("reads a tensor without elements", async () => {
    const bundle = await bundleOf(checkpointOf({ dtype: 1, shape: shapeOf(0, 3), crc32c: 0xa282ead8 }));
    expect(await readTensorContent(bundle, "x")).toEqual(new Uint8Array());
  });

  describe("rejects", () => {
    it("a name that is not there", async () => {
      const prefix = pathOf("tf1_saver", "1", "variables", "variables");
      await expect(readTensorContent(await bundleOf(prefix), "dense")).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: `${prefix}: tensor "dense" is not in this checkpoint`,
      });
    });

    it("a data file that is not there", async () => {
      const prefix = join(copyOf(pathOf("tf1_saver", "1")), "variables", "variables");
      rmSync(`${prefix}.data-00000-of-00001`);
      await expect(readTensorContent(await bundleOf(prefix), "counter")).rejects.toMatchObject({
        name: "ServingError",
        code: "NOT_FOUND",
        message: `${prefix}.data-00000-of-00001: this part of the checkpoint is missing`,
      });
    });

    it("elements of a dtype that tensors cannot have", async () => {
      const prefix = checkpointOf({ dtype: 21 });
      await expect(readTensorContent(await bundleOf(prefix), "x")).rejects.toMatchObject({
        code: "UNIMPLEMENTED",
        message: `${prefix}: tensor "x": variant has no elements that are read here`,
      });
    });

    it.each([
      ["a size beyond the file", { dtype: 1, size: 2 ** 50 }, "expected 1125899906842624 bytes from 0 on, got a file of 4 bytes"],
      ["an offset beyond the file", { dtype: 1, offset: 1, size: 4 }, "expected 4 bytes from 1 on, got a file of 4 bytes"],
      ["an offset before the file", { dtype: 1, offset: -1, size: 4 }, "expected 4 bytes from -1 on, got a file of 4 bytes"],
      [
        "a size that is not that of the shape",
        { dtype: 1, size: 4, shape: shapeOf(2) },
        'tensor "x": expected 8 bytes for float32 [2], got 4',
      ],
      ["another checksum", { dtype: 1, size: 4, crc32c: 5 }, /tensor "x": expected the checksum 5, got \d+$/],
      [
        "more strings than there are bytes",
        { dtype: 7, size: 4, shape: shapeOf(2 ** 40) },
        'tensor "x": expected the lengths of 1099511627776 strings, got 4 bytes',
      ],
      ["another checksum of strings", { dtype: 7, size: 4, shape: shapeOf(2) }, /tensor "x": expected the checksum 0, got \d+$/],
    ])("%s", async (_, init, message) => {
      const prefix = checkpointOf(init, Uint8Array.of(1, 2, 3, 4));
      const path = `${prefix}.data-00000-of-00001: `;
      await expect(readTensorContent(await bundleOf(prefix), "x")).rejects.toMatchObject({
        name: "FormatError",
        message: typeof message === "string" ? path + message : expect.stringMatching(message),
      });
    });
  });
});
