import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Example as ExampleProto, SequenceExample } from "../gen/tensorflow/core/example/example.js";
import { ClassificationRequest } from "../gen/tensorflow_serving/apis/classification.js";
import { bytes, type ExampleLike, example, type FeatureRecord, float, int64, sequenceExample } from "../src/example.js";
import { decodeExample, type Example, encodeExample, type Feature } from "../src/example-codec.js";
import { exampleFrom } from "../src/example-values.js";
import { exchanges } from "./server/golden-exchanges.js";
import { type RecordedFeatures, recordedExample } from "./support/recorded-examples.js";

const fixture = (path: string) => readFileSync(new URL(`./fixtures/${path}`, import.meta.url));
const plain = (file: string) => new Uint8Array(fixture(file));

interface TensorFlowExample {
  readonly name: string;
  readonly file: string;
  readonly features: RecordedFeatures;
}
const { examples: tensorFlowExamples } = JSON.parse(fixture("tfrecord/index.json").toString()) as { examples: TensorFlowExample[] };

/** An encoded field: tag, length, content. */
const field = (tag: number, ...content: (number | readonly number[])[]) => {
  const flat = content.flat();
  return [tag, ...lengthOf(flat.length), ...flat];
};
const lengthOf = (length: number): number[] => (length < 128 ? [length] : [(length & 127) | 128, ...lengthOf(length >> 7)]);
/** A serialized example of one feature `x`, whose `tf.Feature` has these bytes. */
const exampleOf = (...feature: (number | readonly number[])[]) =>
  Uint8Array.from(field(0x0a, field(0x0a, field(0x0a, 0x78), field(0x12, ...feature))));
const one = [0, 0, 0x80, 0x3f];
const two = [0, 0, 0, 0x40];

describe("example", () => {
  it.each(tensorFlowExamples)("writes the bytes that TensorFlow writes: $name", ({ file, features }) => {
    expect(example(recordedExample(features))).toEqual(plain(`tfrecord/${file}`));
  });

  it("takes the kind of a feature from its values", () => {
    const built = example({ n: [1n, -1n], t: ["a", Uint8Array.of(255, 0)], x: [1, 0.1], empty: [], one: "b" });
    expect(decodeExample(built, "it")).toEqual({
      empty: { kind: "none", values: [] },
      n: { kind: "int64", values: [1n, -1n] },
      one: { kind: "bytes", values: [Uint8Array.of(98)] },
      t: { kind: "bytes", values: [Uint8Array.of(97), Uint8Array.of(255, 0)] },
      x: { kind: "float", values: [1, Math.fround(0.1)] },
    });
  });

  it("stands as it is in a request that TensorFlow wrote", () => {
    const second = example({ x: [2.5, -3], tags: ["a", Uint8Array.of(0xff, 0)], id: 7n });
    expect(plain("protos/classify_request.bin").subarray(-second.length)).toEqual(second);
  });

  it("sorts names by their UTF-8 bytes, which is not the order of JavaScript strings", () => {
    // U+1F600 begins with a surrogate, D83D: below U+FF5E as UTF-16, above it as UTF-8.
    const names = ["b", "~", "B", "", "ä", "\u{1f600}", "\uff5e", "a", "ab"];
    const record = Object.fromEntries(names.map((name) => [name, 1n]));
    const written = Object.keys(ExampleProto.decode(example(record)).features?.feature ?? {});
    expect(written).toEqual(["", "B", "a", "ab", "b", "~", "ä", "\uff5e", "\u{1f600}"]);
  });

  it("writes equal bytes whatever the order of the features", () => {
    expect(example({ b: 1, a: "x" })).toEqual(example({ a: "x", b: 1 }));
  });

  it("keeps features named like members of Object", () => {
    const record = JSON.parse('{"__proto__": 1, "constructor": 2}') as FeatureRecord;
    expect(Object.keys(decodeExample(example(record), "it"))).toEqual(["__proto__", "constructor"]);
  });

  it("adds up the values of features of one kind in a list", () => {
    expect(example({ n: [int64([1, 2]), 3n] })).toEqual(example({ n: [1n, 2n, 3n] }));
  });

  describe("rejects", () => {
    it.each<[string, unknown, RegExp]>([
      ["kinds that differ", [1, "a"], /feature "x": expected float values as the first one is, got "a" \(bytes\) at \[1\]/],
      ["numbers among bigints", [1n, 2], /feature "x": expected int64 values as the first one is, got 2 \(float\) at \[1\]/],
      ["a boolean", true, /feature "x": expected a number, bigint, string, Uint8Array or feature, got true/],
      ["null in a list", [1, null], /feature "x": expected a number, .* got null at \[1\]/],
      ["undefined", undefined, /feature "x": .* got undefined/],
      ["a nested list", [[1]], /feature "x": .* got a list of 1/],
      ["a bare typed array", Float32Array.of(1), /feature "x": .* got a Float32Array/],
      ["a bigint beyond 64 bits", 2n ** 63n, /feature "x": expected .* from -2\^63 to 2\^63 - 1, got 9223372036854775808n/],
      ["a number beyond float32", [1, 1e39], /feature "x": expected a number in the range of float32, got 1e\+39 at \[1\]/],
      ["a lone surrogate", "\ud800", /feature "x": expected a string without lone surrogates or a Uint8Array/],
      ["a feature whose values do not fit", { kind: "int64", values: [0.5] }, /feature "x": expected a bigint .* got 0.5/],
      ["a feature of an unknown kind", { kind: "double", values: [0.5] }, /feature "x": expected a number, .* got an object/],
      ["a feature of no kind with values", { kind: "none", values: [1] }, /feature "x": expected a number, .* got an object/],
    ])("%s", (_, value, message) => {
      expect(() => example({ x: value } as FeatureRecord)).toThrow(
        expect.objectContaining({ name: "TensorError", message: expect.stringMatching(message) }),
      );
    });

    it("says how to name the kind that is meant", () => {
      expect(() => example({ x: [1n, 2] })).toThrow(expect.objectContaining({ hint: expect.stringContaining("int64(...)") }));
    });

    it("names with lone surrogates, which would become equal in UTF-8", () => {
      expect(() => example({ "\ud800": 1 })).toThrow(/expected names without lone surrogates/);
    });

    it.each<[unknown, string]>([
      [null, "null"],
      [5, "5"],
      ["x", '"x"'],
      [[1], "a list of 1"],
      [new Map([["x", 1]]), "a Map"],
      [Uint8Array.of(1), "a Uint8Array"],
    ])("%o in place of features", (features, got) => {
      const error = new TypeError(`example: expected a plain object of features, got ${got}`);
      expect(() => example(features as never)).toThrow(error);
      const listError = new TypeError(`sequenceExample featureLists: expected a plain object of feature lists, got ${got}`);
      expect(() => sequenceExample({}, features as never)).toThrow(listError);
    });
  });
});

describe("float, int64, bytes", () => {
  it("take one value or a list", () => {
    expect(float(0.1)).toEqual({ kind: "float", values: [Math.fround(0.1)] });
    expect(float([1, Number.NaN, -Infinity])).toEqual({ kind: "float", values: [1, Number.NaN, -Infinity] });
    expect(int64(7)).toEqual({ kind: "int64", values: [7n] });
    expect(int64([1, 2n ** 63n - 1n, -(2n ** 63n)])).toEqual({ kind: "int64", values: [1n, 2n ** 63n - 1n, -(2n ** 63n)] });
    expect(bytes("ü")).toEqual({ kind: "bytes", values: [Uint8Array.of(0xc3, 0xbc)] });
    expect(bytes(["", Uint8Array.of(0)])).toEqual({ kind: "bytes", values: [new Uint8Array(), Uint8Array.of(0)] });
  });

  it("take typed arrays: numbers as a list, a Uint8Array as one byte string", () => {
    expect(float(Float64Array.of(0.5, 0.1))).toEqual(float([0.5, 0.1]));
    expect(int64(Int32Array.of(-1, 2))).toEqual(int64([-1, 2]));
    expect(int64(BigInt64Array.of(-1n))).toEqual(int64(-1));
    expect(int64(Uint8Array.of(1, 2))).toEqual(int64([1, 2]));
    expect(bytes(Uint8Array.of(1, 2))).toEqual({ kind: "bytes", values: [Uint8Array.of(1, 2)] });
  });

  it("keep the kind of an empty list", () => {
    expect(example({ x: float([]) })).toEqual(exampleOf(...field(0x12)));
    expect(example({ x: int64([]) })).toEqual(exampleOf(...field(0x1a)));
    expect(example({ x: bytes([]) })).toEqual(exampleOf(...field(0x0a)));
    expect(example({ x: [] })).toEqual(exampleOf());
  });

  it.each<[string, () => unknown, RegExp]>([
    ["a fraction", () => int64([1, 1.5]), /^int64: expected a bigint or a safe whole number .* got 1.5 at \[1\]/],
    ["NaN", () => int64(Number.NaN), /^int64: .* got NaN/],
    ["a number that is not safe", () => int64(2 ** 53), /^int64: .* got 9007199254740992/],
    ["a string as a float", () => float("1" as never), /^float: expected a number in the range of float32, got "1"/],
    ["a bigint as a float", () => float([1n] as never), /^float: .* got 1n/],
    ["a number as bytes", () => bytes(5 as never), /^bytes: expected a string .* got 5/],
  ])("reject %s", (_, build, message) => {
    expect(build).toThrow(expect.objectContaining({ name: "TensorError", message: expect.stringMatching(message) }));
  });
});

describe("sequenceExample", () => {
  it("writes what the generated code writes, with sorted names", () => {
    const built = sequenceExample({ id: 7n, a: "x" }, { words: ["a", ["b", "c"], []], scores: [0.5, [1, 2]] });
    const text = (...values: string[]) => ({ bytesList: { value: values.map((value) => new TextEncoder().encode(value)) } });
    const twin = SequenceExample.fromPartial({
      context: { feature: { a: text("x"), id: { int64List: { value: [7] } } } },
      featureLists: {
        featureList: {
          scores: { feature: [{ floatList: { value: [0.5] } }, { floatList: { value: [1, 2] } }] },
          words: { feature: [text("a"), text("b", "c"), {}] },
        },
      },
    });
    expect(built).toEqual(SequenceExample.encode(twin).finish());
  });

  it("leaves out an empty context and no feature lists, and keeps a list without steps", () => {
    expect(sequenceExample({}, {})).toEqual(new Uint8Array());
    expect(sequenceExample({}, { x: [] })).toEqual(Uint8Array.from(field(0x12, field(0x0a, field(0x0a, 0x78), field(0x12)))));
  });

  it("names the list and the step whose value does not fit", () => {
    expect(() => sequenceExample({}, { x: [1, [1, "a"]] })).toThrow(
      /feature list "x"\[1\]: expected float values .* got "a" \(bytes\) at \[1\]/,
    );
    expect(() => sequenceExample({}, { x: 1 as never })).toThrow(/feature list "x": expected a list of steps, got 1/);
    expect(() => sequenceExample({ x: false as never }, {})).toThrow(/context: feature "x"/);
  });
});

describe("exampleFrom", () => {
  it("gives features without a prototype, from a record and from bytes", () => {
    for (const like of [{ x: 1 }, example({ x: 1 })] satisfies ExampleLike[]) {
      const read = exampleFrom(like, "examples[0]");
      expect(Object.getPrototypeOf(read)).toBeNull();
      expect({ ...read }).toEqual({ x: { kind: "float", values: [1] } });
    }
  });

  it("says which example is wrong", () => {
    expect(() => exampleFrom({ x: false as never }, "examples[3]")).toThrow(/^examples\[3\]: feature "x": expected/);
    expect(() => exampleFrom(Uint8Array.of(1, 2, 3), "examples[3]")).toThrow(
      /^examples\[3\]: expected a serialized tf.Example, got a malformed message/,
    );
  });

  class Row {
    readonly x = 1;
  }
  it.each<[string, unknown]>([
    ["null", null],
    ["a list of 1", [{}]],
    ["an ArrayBuffer", new ArrayBuffer(8)],
    ["a DataView", new DataView(new ArrayBuffer(8))],
    ["a Float32Array", Float32Array.of(1)],
    ["a Promise", Promise.resolve({ x: 1 })],
    ["a Date", new Date(0)],
    ["a Row", new Row()],
    ["a class instance", Object.create(Object.create(Object.create(null)))],
    ['an object with a prototype; a key "__proto__" has to be written ["__proto__"]', { __proto__: { kind: "float", values: [1] } }],
  ])("refuses %s, which would pass for an example without features", (got, like) => {
    const error = new TypeError(`examples[3]: expected a plain object of features or serialized bytes, got ${got}`);
    expect(() => exampleFrom(like as never, "examples[3]")).toThrow(error);
  });

  it("takes objects without a prototype and those of another realm", () => {
    const bare = Object.assign(Object.create(null) as object, { x: 1 });
    for (const like of [bare, runInNewContext("({ x: 1 })")]) {
      expect({ ...exampleFrom(like, "examples[0]") }).toEqual({ x: { kind: "float", values: [1] } });
    }
  });
});

describe("decodeExample", () => {
  it.each(tensorFlowExamples)("reads what TensorFlow wrote: $name", ({ file, features }) => {
    expect(decodeExample(fixture(`tfrecord/${file}`), "it")).toEqual(recordedExample(features));
  });

  it("reads the examples of every recorded Classify and Regress request, whatever their order of features", () => {
    const requests = exchanges("classify-regress").filter(
      ({ transport, request }) => transport === "grpc" && !request.method.includes("Multi"),
    );
    let count = 0;
    for (const { request } of requests) {
      const input = ClassificationRequest.decode(new Uint8Array(Buffer.from(request.bytes ?? "", "base64"))).input;
      for (const proto of [...(input?.exampleList?.examples ?? []), ...(input?.exampleListWithContext?.examples ?? [])]) {
        const decoded = decodeExample(ExampleProto.encode(proto).finish(), "it");
        expect(ExampleProto.decode(encodeExample(decoded))).toEqual(proto.features === undefined ? ExampleProto.fromPartial({}) : proto);
        count++;
      }
    }
    expect(count).toBe(275);
  });

  const x = (bytes: Uint8Array) => decodeExample(bytes, "it")["x"];

  it("reads packed, unpacked and mixed numbers", () => {
    const floats = { kind: "float", values: [1, 2, 1] };
    expect(x(exampleOf(...field(0x12, [0x0d, ...one], field(0x0a, two), [0x0d, ...one])))).toEqual(floats);
    expect(x(exampleOf(...field(0x1a, [0x08, 1], field(0x0a, 2, 3), [0x08, ...new Array(9).fill(0xff), 1])))).toEqual({
      kind: "int64",
      values: [1n, 2n, 3n, -1n],
    });
  });

  it("skips unknown fields at every level, also known numbers of another wire type", () => {
    const unknown = [0x7a, 1, 0, 0x78, 5, 0x7d, 0, 0, 0, 0, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7c];
    const list = field(0x12, unknown, field(0x0a, one), [0x08, 1]);
    const entry = field(0x0a, unknown, field(0x0a, 0x78), field(0x12, unknown, list, [0x08, 1]), [0x10, 1]);
    expect({ ...decodeExample(Uint8Array.from([...unknown, ...field(0x0a, unknown, entry), 0x08, 1]), "it") }).toEqual({
      x: { kind: "float", values: [1] },
    });
  });

  it("merges what comes in parts: lists of one kind add up, the last kind counts", () => {
    expect(x(exampleOf(...field(0x12, field(0x0a, one)), ...field(0x12, field(0x0a, two))))).toEqual({ kind: "float", values: [1, 2] });
    expect(x(exampleOf(...field(0x12, field(0x0a, one)), ...field(0x1a, field(0x0a, 5))))).toEqual({ kind: "int64", values: [5n] });
    const split = field(0x0a, field(0x12, field(0x1a, [0x08, 1])), field(0x0a, 0x78), field(0x12, field(0x1a, [0x08, 2])));
    expect(x(Uint8Array.from(field(0x0a, split)))).toEqual({ kind: "int64", values: [1n, 2n] });
  });

  it("joins feature maps; of two entries of one name the last counts as a whole", () => {
    const joined = Uint8Array.from([...example({ x: [1, 2], y: "a" }), ...example({ x: 3 })]);
    expect({ ...decodeExample(joined, "it") }).toEqual({
      x: { kind: "float", values: [3] },
      y: { kind: "bytes", values: [Uint8Array.of(97)] },
    });
  });

  it("reads an entry without key or value as the empty name and a feature of no kind", () => {
    expect({ ...decodeExample(Uint8Array.from(field(0x0a, field(0x0a))), "it") }).toEqual({ "": { kind: "none", values: [] } });
  });

  it("reads names that begin with a byte order mark", () => {
    expect(Object.keys(decodeExample(example({ "\ufeffx": 1 }), "it"))).toEqual(["\ufeffx"]);
  });

  it("reads bytes that lie in a larger buffer, a Buffer too", () => {
    const built = example({ x: [1, 2] });
    const larger = Buffer.concat([Buffer.from([9, 9, 9]), built, Buffer.from([9])]);
    expect(x(larger.subarray(3, 3 + built.length))).toEqual({ kind: "float", values: [1, 2] });
  });

  it("stays linear over a list in a great many parts", () => {
    const part = field(0x12, [0x0d, ...one]);
    const parts = Array.from({ length: 200_000 * part.length }, (_, i) => part[i % part.length] as number);
    expect(x(exampleOf(parts))?.values.length).toBe(200_000);
  });

  describe("rejects", () => {
    it.each<[string, Uint8Array]>([
      ["a length beyond the end", Uint8Array.of(0x0a, 0x7f)],
      ["a length of 2^63", Uint8Array.of(0x0a, ...new Array(9).fill(0x80), 1)],
      ["a list longer than its feature", exampleOf(0x12, 9, 0x0a, 4, ...one)],
      ["packed floats cut short", exampleOf(...field(0x12, field(0x0a, 0, 0, 0x80)))],
      ["an unpacked float cut short", exampleOf(...field(0x12, 0x0d, 0, 0))],
      ["a packed varint that goes on into the next field", exampleOf(...field(0x1a, field(0x0a, 0x80), [0x08, 1]))],
      ["a varint of 11 bytes", exampleOf(...field(0x1a, 0x08, ...new Array(10).fill(0x80), 0))],
      ["field number 0", Uint8Array.of(0x02, 0)],
      ["wire type 6", Uint8Array.of(0x0e)],
      ["a name that is not UTF-8", Uint8Array.from(field(0x0a, field(0x0a, field(0x0a, 0xff))))],
    ])("%s", (_, bytes) => {
      expect(() => decodeExample(bytes, "examples[0]")).toThrow(
        expect.objectContaining({
          name: "FormatError",
          code: "DATA_LOSS",
          message: expect.stringMatching(/^examples\[0\]: expected a serialized tf.Example/),
        }),
      );
    });

    it("an example cut at any place", () => {
      const whole = plain("tfrecord/examples/all_kinds.bin");
      for (let length = 1; length < whole.length; length++) {
        expect(() => decodeExample(whole.subarray(0, length), "it"), `${length} bytes`).toThrow(/malformed message/);
      }
    });
  });
});

describe("encodeExample", () => {
  it("gives back the bytes of an example that was decoded", () => {
    for (const { file } of tensorFlowExamples)
      expect(encodeExample(decodeExample(plain(`tfrecord/${file}`), "it"))).toEqual(plain(`tfrecord/${file}`));
  });

  it("writes 64-bit integers of every size as the generated code does", () => {
    const values = Array.from({ length: 64 }, (_, bit) => [2n ** BigInt(bit) - 1n, -(2n ** BigInt(bit))]).flat();
    const feature: Feature = { kind: "int64", values };
    const encoded: Example = { n: feature };
    const read = ExampleProto.decode(encodeExample(encoded)).features?.feature["n"]?.int64List?.value.map(String);
    expect(read).toEqual(values.map(String));
  });
});
