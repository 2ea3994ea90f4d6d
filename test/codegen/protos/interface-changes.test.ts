import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { type InterfaceChange, interfaceChanges } from "../../../src/codegen/protos/interface-changes.js";
import { descriptors, field } from "./descriptor-table.js";

const bool = { type: "TYPE_BOOL" };
const inOneof = (index: number): JsonObject => ({ oneofIndex: index });

/** A message, an enum and a service; the arguments say what they hold. */
function sample(fields: JsonObject[], more: JsonObject = {}, method: JsonObject = {}) {
  return descriptors({
    messageType: [{ name: "M", field: fields, ...more }],
    enumType: [{ name: "E", value: [{ name: "ZERO", number: 0 }] }],
    service: [{ name: "S", method: [{ name: "Do", inputType: ".tensorflow.M", outputType: ".tensorflow.M", ...method }] }],
  });
}

function values(...names: [string, number][]) {
  return descriptors({ enumType: [{ name: "E", value: names.map(([name, number]) => ({ name, number })) }] });
}

/** A change without its file, as one line. */
function line({ kind, change, name, before, after, effect }: InterfaceChange): string {
  return `${effect}: ${kind} ${name} ${change} [${before ?? ""}] [${after ?? ""}]`;
}

const a = field("a", 1);
const b = field("b", 2);

describe("interfaceChanges", () => {
  it("finds nothing where order, comments and files differ only", () => {
    const one = descriptors({ messageType: [{ name: "M", field: [a, b] }, { name: "N" }] });
    const other = descriptors({ messageType: [{ name: "N" }] }, { messageType: [{ name: "M", field: [b, a] }] });
    expect(interfaceChanges(one, other)).toEqual([]);
  });

  it.each<[string, ReturnType<typeof sample>, ReturnType<typeof sample>, string[]]>([
    ["a field added", sample([a]), sample([a, b]), ["compatible: field tensorflow.M.b added [] [2 implicit int32]"]],
    ["a field removed", sample([a, b]), sample([a]), ["removal: field tensorflow.M.b removed [2 implicit int32] []"]],
    [
      "another number",
      sample([a]),
      sample([field("a", 5)]),
      ["breaking: field tensorflow.M.a changed [1 implicit int32] [5 implicit int32]"],
    ],
    [
      "another type",
      sample([a]),
      sample([field("a", 1, bool)]),
      ["breaking: field tensorflow.M.a changed [1 implicit int32] [1 implicit bool]"],
    ],
    [
      "another label",
      sample([a]),
      sample([field("a", 1, { label: "LABEL_REPEATED" })]),
      ["breaking: field tensorflow.M.a changed [1 implicit int32] [1 repeated int32 packed]"],
    ],
    ["another name", sample([a]), sample([field("c", 1)]), ["removal: field tensorflow.M.a renamed [tensorflow.M.a] [tensorflow.M.c]"]],
    [
      "a number that another field of another type has now",
      sample([a]),
      sample([field("c", 1, bool)]),
      ["breaking: field tensorflow.M.a changed [tensorflow.M.a = 1 implicit int32] [tensorflow.M.c = 1 implicit bool]"],
    ],
    ["an enum value added", values(["ZERO", 0]), values(["ZERO", 0], ["ONE", 1]), ["compatible: value tensorflow.E.ONE added [] [1]"]],
    ["an enum value removed", values(["ZERO", 0], ["ONE", 1]), values(["ZERO", 0]), ["removal: value tensorflow.E.ONE removed [1] []"]],
    [
      "an enum value with another number",
      values(["ZERO", 0], ["ONE", 1]),
      values(["ZERO", 0], ["ONE", 2]),
      ["breaking: value tensorflow.E.ONE changed [1] [2]"],
    ],
    [
      "a method with another type",
      sample([]),
      sample([], {}, { outputType: ".tensorflow.N" }),
      ["breaking: method tensorflow.S/Do changed [(tensorflow.M) returns (tensorflow.M)] [(tensorflow.M) returns (tensorflow.N)]"],
    ],
    [
      "a method with another name",
      sample([]),
      sample([], {}, { name: "Redo" }),
      [
        "removal: method tensorflow.S/Do removed [(tensorflow.M) returns (tensorflow.M)] []",
        "compatible: method tensorflow.S/Redo added [] [(tensorflow.M) returns (tensorflow.M)]",
      ],
    ],
    [
      "a message added",
      sample([]),
      sample([], { nestedType: [{ name: "N", field: [a] }] }),
      ["compatible: message tensorflow.M.N added [] []", "compatible: field tensorflow.M.N.a added [] [1 implicit int32]"],
    ],
  ])("tells %s", (_what, before, after, expected) => {
    expect(interfaceChanges(before, after).map(line)).toEqual(expected);
  });

  it("names the file of each change, and sorts by it", () => {
    const before = descriptors({ messageType: [{ name: "Z" }] }, { messageType: [{ name: "M", field: [a] }] });
    const after = descriptors({ messageType: [{ name: "Z", field: [b] }] }, { messageType: [{ name: "M", field: [a, b] }] });
    expect(interfaceChanges(before, after).map(({ file, name }) => [file, name])).toEqual([
      ["f0.proto", "tensorflow.Z.b"],
      ["f1.proto", "tensorflow.M.b"],
    ]);
  });

  it("looks at files of all packages but Google's own", () => {
    const of = (number: number) =>
      descriptors(
        { package: "toco", messageType: [{ name: "M", field: [field("a", number)] }] },
        { name: "google/protobuf/any.proto", package: "google.protobuf", messageType: [{ name: "Any", field: [field("a", number)] }] },
      );
    expect(interfaceChanges(of(1), of(9)).map(line)).toEqual(["breaking: field toco.M.a changed [1 implicit int32] [9 implicit int32]"]);
  });

  describe("of oneofs", () => {
    const both = [field("a", 1, inOneof(0)), field("b", 2, inOneof(0))];
    const oneofs = (...names: string[]): JsonObject => ({ oneofDecl: names.map((name) => ({ name })) });

    it("tells another name alone, and that the bytes stay the same", () => {
      const changes = interfaceChanges(sample(both, oneofs("old")), sample([...both, field("c", 3, inOneof(0))], oneofs("fresh")));
      expect(changes.map(line)).toEqual([
        "compatible: field tensorflow.M.c added [] [3 optional int32 oneof=fresh]",
        "source-only: oneof tensorflow.M.old renamed [tensorflow.M.old] [tensorflow.M.fresh]",
      ]);
    });

    it.each<[string, ReturnType<typeof sample>]>([
      ["a field that left one", sample([field("a", 1, inOneof(0)), b], oneofs("old"))],
      ["one that was split", sample([field("a", 1, inOneof(0)), field("b", 2, inOneof(1))], oneofs("one", "two"))],
      ["a field that moved to a new one", sample([field("a", 1, inOneof(0)), field("b", 2, inOneof(1))], oneofs("old", "fresh"))],
    ])("takes %s for a break", (_what, after) => {
      const effects = interfaceChanges(sample(both, oneofs("old")), after).map(({ effect }) => effect);
      expect(new Set(effects)).toEqual(new Set(["breaking"]));
    });

    it("takes two that became one for a break", () => {
      const apart = sample([field("a", 1, inOneof(0)), field("b", 2, inOneof(1))], oneofs("one", "two"));
      expect(interfaceChanges(apart, sample(both, oneofs("all"))).map(({ effect }) => effect)).toEqual(["breaking", "breaking"]);
    });
  });
});
