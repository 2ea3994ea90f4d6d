import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { clone, type JsonObject } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { compileProtos } from "../../../src/codegen/protos/buf.js";
import { readLock } from "../../../src/codegen/protos/lock.js";
import { wireDigest, wireLines } from "../../../src/codegen/protos/wire-digest.js";
import { descriptors, field } from "./descriptor-table.js";
import { factsOf, knownVersions } from "./upstream-trees.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const facts = await factsOf("2.20.0");
const digests = new Map(
  (await readFile(new URL("../../fixtures/interface/expected-digest.txt", import.meta.url), "utf8"))
    .trim()
    .split("\n")
    .map((line): [string, string] => {
      const [closure = "", digest = ""] = line.split(" ");
      return [closure, digest];
    }),
);

/** The files that `isRoot` picks and everything they import. */
function closure(set: FileDescriptorSet, isRoot: (path: string) => boolean): FileDescriptorSet {
  const byName = new Map(set.file.map((file) => [file.name, file]));
  const reached = new Set(set.file.map((file) => file.name).filter(isRoot));
  for (const name of reached) for (const imported of byName.get(name)?.dependency ?? []) reached.add(imported);
  return { ...set, file: set.file.filter((file) => reached.has(file.name)) };
}

const entry: JsonObject = {
  name: "LabelsEntry",
  field: [field("key", 1, { type: "TYPE_STRING" }), field("value", 2, { type: "TYPE_INT64" })],
  options: { mapEntry: true },
};
const repeated = { label: "LABEL_REPEATED" };

/** Two small files whose every kind of fact has a line; `edit` changes one of them. */
function sample(edit: { field?: JsonObject; file?: JsonObject; method?: JsonObject; value?: JsonObject } = {}): FileDescriptorSet {
  return descriptors(
    {
      messageType: [
        {
          name: "M",
          field: [
            { ...field("a", 1), ...edit.field },
            field("many", 2, repeated),
            field("only", 3, { oneofIndex: 0 }),
            field("labels", 4, { ...repeated, type: "TYPE_MESSAGE", typeName: ".tensorflow.M.LabelsEntry" }),
            field("maybe", 5, { proto3Optional: true, oneofIndex: 1 }),
            field("other_name", 6, { jsonName: "other_name", type: "TYPE_MESSAGE", typeName: ".tensorflow.M" }),
          ],
          oneofDecl: [{ name: "choice" }, { name: "_maybe" }],
          nestedType: [entry],
          enumType: [{ name: "E", value: [{ name: "ZERO", number: 0, ...edit.value }] }],
        },
      ],
      ...edit.file,
    },
    {
      package: "tensorflow.serving",
      service: [{ name: "S", method: [{ name: "Do", inputType: ".tensorflow.M", outputType: ".tensorflow.M", ...edit.method }] }],
    },
  );
}

describe("wireLines", () => {
  it("writes one line per fact, sorted", () => {
    expect(wireLines(sample())).toEqual([
      "enum tensorflow.M.E open",
      "field tensorflow.M.a = 1 implicit int32",
      "field tensorflow.M.labels = 4 map<string, int64>",
      "field tensorflow.M.many = 2 repeated int32 packed",
      "field tensorflow.M.maybe = 5 optional int32",
      "field tensorflow.M.only = 3 optional int32 oneof=choice",
      "field tensorflow.M.other_name = 6 optional message tensorflow.M json=other_name",
      "message tensorflow.M",
      "rpc tensorflow.serving.S/Do (tensorflow.M) returns (tensorflow.M)",
      "service tensorflow.serving.S",
      "value tensorflow.M.E.ZERO = 0",
    ]);
  });

  it("sorts by code point, not by UTF-16 unit", () => {
    const set = descriptors({ messageType: [{ name: "\u{1F600}" }, { name: "\uFF5E" }] });
    expect(wireLines(set)).toEqual(["message tensorflow.\uFF5E", "message tensorflow.\u{1F600}"]);
  });

  it("leaves out files of other packages", () => {
    expect(wireLines(descriptors({ package: "google.protobuf", messageType: [{ name: "Any" }] }, { package: "tensorflows" }))).toEqual([]);
  });

  it("takes proto2's presence, packing and closed enums from the syntax", () => {
    const set = descriptors({
      syntax: "proto2",
      messageType: [
        { name: "M", field: [field("a", 1, { defaultValue: "é" }), field("b", 2, repeated), field("c", 3, { label: "LABEL_REQUIRED" })] },
      ],
      enumType: [{ name: "E", value: [{ name: "ONE", number: 1 }] }],
    });
    expect(wireLines(set)).toEqual([
      "enum tensorflow.E closed",
      'field tensorflow.M.a = 1 optional int32 default="\\u00e9"',
      "field tensorflow.M.b = 2 repeated int32",
      "field tensorflow.M.c = 3 required int32",
      "message tensorflow.M",
      "value tensorflow.E.ONE = 1",
    ]);
  });

  describe("rejects", () => {
    it.each<{ title: string; file: JsonObject; message: RegExp }>([
      { title: "editions", file: { syntax: "editions" }, message: /editions are not covered/ },
      { title: "extensions of a file", file: { extension: [field("e", 100)] }, message: /f0.proto: extensions are not covered/ },
      {
        title: "extensions in a message",
        file: { messageType: [{ name: "M", extension: [field("e", 100)] }] },
        message: /f0.proto: extensions/,
      },
      {
        title: "extension ranges",
        file: { messageType: [{ name: "M", nestedType: [{ name: "N", extensionRange: [{ start: 100, end: 200 }] }] }] },
        message: /f0.proto: extensions/,
      },
    ])("$title", ({ file, message }) => {
      expect(() => wireLines(descriptors(file))).toThrow(message);
    });
  });
});

describe("wireDigest", () => {
  const rpcRoots = ["tensorflow_serving/apis/prediction_service.proto", "tensorflow_serving/apis/model_service.proto"];
  it.each([
    { name: "rpc", set: closure(facts, (path) => rpcRoots.includes(path)) },
    { name: "client", set: closure(facts, (path) => path.startsWith("tensorflow_serving/apis/")) },
    { name: "full", set: facts },
  ])("equals the reference program's digest of the $name closure", ({ name, set }) => {
    expect(wireDigest(set)).toBe(digests.get(name));
  });

  it.each(Object.entries(knownVersions))("of the facts of %s is the one of upstream's release", async (version, known) => {
    expect(wireDigest(await factsOf(version))).toBe(known.wireDigest);
  });

  it("of the vendored tree is the one of upstream's release, where that is known, and of the lock", async () => {
    const digest = wireDigest(await compileProtos(root));
    const lock = await readLock(`${root}/protos`);
    expect(digest).toBe(knownVersions[lock.tensorflow]?.wireDigest ?? digest);
    expect(lock.wireDigest).toBe(digest);
  });

  it("does not depend on the order of files, declarations, or on options without effect on the wire", () => {
    const turned = clone(FileDescriptorSetSchema, facts);
    turned.file.reverse();
    for (const file of turned.file) {
      file.name = `moved/${file.name}`;
      file.messageType.reverse();
      for (const message of file.messageType) message.field.reverse();
    }
    expect(wireDigest(turned)).toBe(wireDigest(facts));
    expect(wireDigest(sample({ field: { options: { deprecated: true, jstype: "JS_STRING" } } }))).toBe(wireDigest(sample()));
    expect(wireDigest(sample({ field: { jsonName: "a" } }))).toBe(wireDigest(sample()));
  });

  it.each<{ title: string; edit: Parameters<typeof sample>[0] }>([
    { title: "field number", edit: { field: { number: 9 } } },
    { title: "field name", edit: { field: { name: "b" } } },
    { title: "field type", edit: { field: { type: "TYPE_SINT32" } } },
    { title: "label", edit: { field: { label: "LABEL_REPEATED" } } },
    { title: "presence", edit: { field: { proto3Optional: true, oneofIndex: 1 } } },
    { title: "oneof", edit: { field: { oneofIndex: 0 } } },
    { title: "JSON name", edit: { field: { jsonName: "alpha" } } },
    { title: "enum number", edit: { value: { number: 1 } } },
    { title: "enum value name", edit: { value: { name: "NONE" } } },
    { title: "package", edit: { file: { package: "tensorflow.error" } } },
    { title: "method name", edit: { method: { name: "Redo" } } },
    { title: "streaming", edit: { method: { serverStreaming: true } } },
  ])("changes with a $title", ({ edit }) => {
    expect(wireDigest(sample(edit))).not.toBe(wireDigest(sample()));
  });

  it("changes with the packing", () => {
    const packed = sample({ field: { ...repeated } });
    const unpacked = sample({ field: { ...repeated, options: { packed: false } } });
    const explicit = sample({ field: { ...repeated, options: { packed: true } } });
    expect(wireDigest(unpacked)).not.toBe(wireDigest(packed));
    expect(wireDigest(explicit)).toBe(wireDigest(packed));
  });
});
