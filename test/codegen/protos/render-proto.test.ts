import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "@bufbuild/protobuf";
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileProtos } from "../../../src/codegen/protos/buf.js";
import { readLock } from "../../../src/codegen/protos/lock.js";
import { renderProto } from "../../../src/codegen/protos/render-proto.js";
import { wireLines } from "../../../src/codegen/protos/wire-digest.js";
import { descriptors, field } from "./descriptor-table.js";
import { factsOf, knownVersions } from "./upstream-trees.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { tensorflow } = await readLock(join(root, "protos"));
const vendored = knownVersions[tensorflow] === undefined ? undefined : await factsOf(tensorflow);
const header = `// Rendered from descriptor facts (names, numbers, types) by scripts/render-protos.ts; do not edit.
// SPDX-License-Identifier: Apache-2.0

`;
const proto3 = `${header}syntax = "proto3";\n\npackage tensorflow;\n\n`;

const repeated = { label: "LABEL_REPEATED" };
const ofMessage = (typeName: string): JsonObject => ({ type: "TYPE_MESSAGE", typeName });

/** What the tests render, and the whole text it becomes. Every file compiles on its own with the ones before it. */
const table: readonly { title: string; file: JsonObject; text: string }[] = [
  {
    title: "an empty message",
    file: { messageType: [{ name: "Empty" }] },
    text: `${proto3}message Empty {}\n`,
  },
  {
    title: "labels, packing and field options",
    file: {
      messageType: [
        {
          name: "Labels",
          field: [
            field("plain", 1),
            field("present", 2, { proto3Optional: true, oneofIndex: 0 }),
            field("many", 3, { ...repeated, type: "TYPE_DOUBLE" }),
            field("unpacked", 4, { ...repeated, options: { packed: false } }),
            field("old_id", 5, { type: "TYPE_INT64", jsonName: "old_id", options: { jstype: "JS_STRING", deprecated: true } }),
            field("own_name", 6, { type: "TYPE_BYTES", jsonName: "ownName" }),
          ],
          oneofDecl: [{ name: "_present" }],
        },
      ],
    },
    text: `${proto3}message Labels {
  int32 plain = 1;
  optional int32 present = 2;
  repeated double many = 3;
  repeated int32 unpacked = 4 [packed = false];
  int64 old_id = 5 [json_name = "old_id", jstype = JS_STRING, deprecated = true];
  bytes own_name = 6;
}
`,
  },
  {
    title: "a oneof at its first member, reserved numbers and names",
    file: {
      messageType: [
        {
          name: "Choice",
          field: [field("first", 1, { oneofIndex: 0 }), field("other", 2), field("second", 3, { type: "TYPE_STRING", oneofIndex: 0 })],
          oneofDecl: [{ name: "kind" }],
          reservedRange: [
            { start: 4, end: 5 },
            { start: 7, end: 10 },
            { start: 100, end: 536870912 },
          ],
          reservedName: ["gone", "lost"],
        },
      ],
    },
    text: `${proto3}message Choice {
  reserved 4, 7 to 9, 100 to max;
  reserved "gone", "lost";

  oneof kind {
    int32 first = 1;
    string second = 3;
  }
  int32 other = 2;
}
`,
  },
  {
    title: "maps, nested types, enums and references past a name that shadows",
    file: {
      messageType: [
        { name: "Value", field: [field("x", 1)] },
        {
          name: "Outer",
          nestedType: [
            {
              name: "Value",
              field: [field("inner", 1, ofMessage(".tensorflow.Outer.Value")), field("outer", 2, ofMessage(".tensorflow.Value"))],
            },
            {
              name: "ItemsEntry",
              field: [field("key", 1, { type: "TYPE_STRING" }), field("value", 2, ofMessage(".tensorflow.Outer.Value"))],
              options: { mapEntry: true },
            },
          ],
          enumType: [
            {
              name: "State",
              value: [
                { name: "NONE", number: 0 },
                { name: "NIL", number: 0, options: { deprecated: true } },
                { name: "LOW", number: -1 },
              ],
              reservedRange: [
                { start: 2, end: 2 },
                { start: 5, end: 2147483647 },
              ],
              options: { allowAlias: true },
            },
          ],
          field: [
            field("items", 1, { ...repeated, ...ofMessage(".tensorflow.Outer.ItemsEntry") }),
            field("state", 2, { type: "TYPE_ENUM", typeName: ".tensorflow.Outer.State" }),
            field("tensorflow", 3, ofMessage(".tensorflow.Value")),
          ],
        },
      ],
    },
    text: `${proto3}message Value {
  int32 x = 1;
}

message Outer {
  enum State {
    option allow_alias = true;

    reserved 2, 5 to max;

    NONE = 0;
    NIL = 0 [deprecated = true];
    LOW = -1;
  }

  message Value {
    Value inner = 1;
    .tensorflow.Value outer = 2;
  }

  map<string, Value> items = 1;
  State state = 2;
  .tensorflow.Value tensorflow = 3;
}
`,
  },
  {
    title: "proto2 labels and defaults",
    file: {
      package: "tensorflow.old",
      syntax: "proto2",
      messageType: [
        {
          name: "Old",
          field: [
            field("id", 1, { label: "LABEL_REQUIRED" }),
            field("text", 2, { type: "TYPE_STRING", defaultValue: 'a "b"' }),
            field("count", 3, { defaultValue: "-7" }),
            field("packed", 4, { ...repeated, options: { packed: true } }),
          ],
        },
      ],
    },
    text: `${header}syntax = "proto2";

package tensorflow.old;

message Old {
  required int32 id = 1;
  optional string text = 2 [default = "a \\"b\\""];
  optional int32 count = 3 [default = -7];
  repeated int32 packed = 4 [packed = true];
}
`,
  },
  {
    title: "imports, public imports, services and streams",
    file: {
      package: "tensorflow.serving",
      dependency: ["f0.proto", "f3.proto"],
      publicDependency: [0],
      service: [
        {
          name: "Service",
          method: [
            { name: "Ask", inputType: ".tensorflow.Empty", outputType: ".tensorflow.Value" },
            {
              name: "Talk",
              inputType: ".tensorflow.Empty",
              outputType: ".tensorflow.Outer.Value",
              clientStreaming: true,
              serverStreaming: true,
            },
            { name: "Old", inputType: ".tensorflow.Empty", outputType: ".tensorflow.Empty", options: { deprecated: true } },
          ],
        },
      ],
    },
    text: `${header}syntax = "proto3";

package tensorflow.serving;

import public "f0.proto";
import "f3.proto";

service Service {
  rpc Ask(tensorflow.Empty) returns (tensorflow.Value);
  rpc Talk(stream tensorflow.Empty) returns (stream tensorflow.Outer.Value);
  rpc Old(tensorflow.Empty) returns (tensorflow.Empty) { option deprecated = true; }
}
`,
  },
];

function renderOnly(facts: JsonObject): string {
  const [file] = descriptors(facts).file;
  if (file === undefined) throw new Error("no file");
  return renderProto(file);
}

describe("renderProto", () => {
  it.each(table)("renders $title", ({ file, text }) => {
    expect(renderOnly(file)).toBe(text);
  });

  describe("round trip", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "tfserving-render-"));
      await writeFile(join(folder, "buf.yaml"), "version: v2\n");
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    async function compile(set: FileDescriptorSet): Promise<FileDescriptorSet> {
      for (const file of set.file) {
        await mkdir(dirname(join(folder, file.name)), { recursive: true });
        await writeFile(join(folder, file.name), renderProto(file));
      }
      return compileProtos(folder);
    }

    it("gives text that compiles to the same facts, and from these the same text", async () => {
      const set = descriptors(...table.map(({ file }) => file));
      const compiled = await compile(set);
      expect(wireLines(compiled)).toEqual(wireLines(set));
      const texts = new Map(compiled.file.map((file) => [file.name, renderProto(file)]));
      // The compiler lists fields as written, so the member of the oneof that stood apart has moved: file 2 keeps its facts, and its text too.
      for (const file of set.file) expect(texts.get(file.name)).toBe(renderProto(file));
    });
  });

  it.skipIf(vendored === undefined)("renders the vendored tree from its descriptor facts", async () => {
    const files = vendored?.file ?? [];
    expect(files.length).toBeGreaterThan(60);
    for (const file of files) expect(renderProto(file)).toBe(await readFile(join(root, "protos", file.name), "utf8"));
  });

  describe("rejects", () => {
    const oneField = (facts: JsonObject): JsonObject => ({ messageType: [{ name: "M", field: [field("f", 1, facts)] }] });
    it.each<{ title: string; file: JsonObject; message: RegExp }>([
      { title: "editions", file: { syntax: "editions" }, message: /expected syntax proto2 or proto3, got editions/ },
      { title: "extensions of a file", file: { extension: [field("e", 1)] }, message: /extensions are not covered/ },
      {
        title: "extension ranges of a message",
        file: { messageType: [{ name: "M", extensionRange: [{ start: 1, end: 9 }] }] },
        message: /M: extensions are not covered/,
      },
      { title: "groups", file: oneField({ type: "TYPE_GROUP", typeName: ".tensorflow.M" }), message: /groups are not covered/ },
      {
        title: "a message name that is no identifier",
        file: { messageType: [{ name: "M {} message N" }] },
        message: /expected a protobuf identifier/,
      },
      { title: "a package that is no name", file: { package: 'a; import "b"' }, message: /expected a dotted protobuf name/ },
      {
        title: "a type reference that is no name",
        file: oneField({ type: "TYPE_MESSAGE", typeName: ".a b" }),
        message: /dotted protobuf name/,
      },
      {
        title: "an import that leaves the tree",
        file: { dependency: ["../x.proto"] },
        message: /expected a relative path of a .proto file/,
      },
      {
        title: "a default that is more than a value",
        file: oneField({ defaultValue: "1]; int32 g = 2 [" }),
        message: /f: unexpected default/,
      },
      {
        title: "a bytes default that ends its quotes",
        file: oneField({ type: "TYPE_BYTES", defaultValue: '"' }),
        message: /unexpected default/,
      },
    ])("$title", ({ file, message }) => {
      expect(() => renderOnly(file)).toThrow(message);
    });
  });
});
