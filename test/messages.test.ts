import { readFileSync } from "node:fs";
import Long from "long";
import { describe, expect, it } from "vitest";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { SignatureDef } from "../gen/tensorflow/core/protobuf/meta_graph.js";
import { GetModelMetadataResponse } from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusResponse } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { TensorError } from "../src/errors.js";
import {
  metadataFromProto,
  metadataToProto,
  modelSpecFromProto,
  modelSpecToProto,
  predictResultToProto,
  signatureFromProto,
  signatureToProto,
  statusesFromProto,
  statusesToProto,
  tensorFromProto,
  tensorToProto,
} from "../src/messages.js";
import { decodePredictResponse } from "../src/predict-codec.js";
import type { Signature } from "../src/signature.js";
import { type DType, dtypeFromWire, dtypes } from "../src/tensor/dtype.js";
import { type AnyTensor, tensor } from "../src/tensor/tensor.js";

interface MalformedCase {
  name: string;
  file: string;
  parse_tensor: { ok: boolean; tensor?: { shape: number[]; values?: unknown[] } };
}

const malformedFolder = new URL("fixtures/malformed/", import.meta.url);
const malformed = (JSON.parse(readFileSync(new URL("index.json", malformedFolder), "utf8")) as { entries: MalformedCase[] }).entries;

/** Names TensorFlow gives to dtypes where ours is not its name in lower case behind `DT_`. */
const upstreamNames: Partial<Record<DType, string>> = { float32: "FLOAT", float64: "DOUBLE", float16: "HALF" };

const shape = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size: Long.fromNumber(size) })) });
const decode = (fields: Parameters<typeof TensorProto.fromPartial>[0]) => tensorFromProto(TensorProto.fromPartial(fields), 'output "y"');

describe("the dtype table", () => {
  it.each(Object.keys(dtypes) as DType[])("has the wire number of %s", (dtype) => {
    const name = `DT_${upstreamNames[dtype] ?? dtype.toUpperCase()}` as keyof typeof DataType;
    expect(dtypes[dtype].wire).toBe(DataType[name]);
  });

  it("has every data type but references, resources, variants and those no server of this version sends", () => {
    const absent = Object.keys(DataType).filter(
      (name) =>
        /^DT_/.test(name) &&
        !/_REF$/.test(name) &&
        dtypeFromWire(DataType[name as keyof typeof DataType]).match(/^(dtype_|invalid|resource|variant)/),
    );
    // The last one came with TensorFlow 2.21.0.
    const known = ["DT_INVALID", "DT_RESOURCE", "DT_VARIANT", "DT_INT2", "DT_UINT2", "DT_FLOAT4_E2M1FN"];
    expect(known).toEqual(expect.arrayContaining(absent));
  });
});

describe("tensorToProto", () => {
  it.each(Object.keys(dtypes) as DType[])("writes %s that tensorFromProto reads back", (dtype) => {
    const { array, kind } = dtypes[dtype];
    const parts = kind === "complex" ? 2 : 1;
    const values =
      kind === "string" ? [Uint8Array.of(1), Uint8Array.of()] : new array(2 * parts).fill((kind === "bigint" ? 1n : 1) as never);
    const original = tensor(dtype, [2, 1], values as never) as AnyTensor;
    const bytes = TensorProto.encode(tensorToProto(original)).finish();
    expect(tensorFromProto(TensorProto.decode(bytes), "x")).toEqual(original);
  });

  it("writes numbers as little-endian tensor_content and strings as string_val", () => {
    expect(tensorToProto(tensor("int16", [2], [1, -2])).tensorContent).toEqual(Uint8Array.of(1, 0, 0xfe, 0xff));
    expect(tensorToProto(tensor("string", [1], ["ü"])).stringVal).toEqual([Uint8Array.of(0xc3, 0xbc)]);
  });

  it("writes only the part of the buffer that the values cover", () => {
    const values = new Int32Array(Int32Array.of(7, 8, 9).buffer, 4, 1);
    expect(tensorToProto(tensor("int32", [1], values)).tensorContent).toEqual(Uint8Array.of(8, 0, 0, 0));
  });
});

describe("tensorFromProto", () => {
  const rules: [string, Parameters<typeof TensorProto.fromPartial>[0], number[], ArrayLike<unknown>][] = [
    ["repeats the last value of a short list", { dtype: 1, tensorShape: shape(4), floatVal: [1, 2] }, [4], Float32Array.of(1, 2, 2, 2)],
    ["takes an empty list as zeros", { dtype: 9, tensorShape: shape(2) }, [2], BigInt64Array.of(0n, 0n)],
    ["takes the wrong list as empty", { dtype: 3, tensorShape: shape(1), int64Val: [Long.fromNumber(5)] }, [1], Int32Array.of(0)],
    ["ignores surplus values", { dtype: 2, tensorShape: shape(1), doubleVal: [1, 2] }, [1], Float64Array.of(1)],
    [
      "ignores lists beside content",
      { dtype: 4, tensorShape: shape(1), tensorContent: Uint8Array.of(9), intVal: [1] },
      [1],
      Uint8Array.of(9),
    ],
    ["wraps int_val", { dtype: 6, tensorShape: shape(3), intVal: [300, -129, 5] }, [3], Int8Array.of(44, 127, 5)],
    ["keeps the low four bits of int4", { dtype: 29, tensorShape: shape(2), intVal: [9, 7] }, [2], Int8Array.of(-7, 7)],
    [
      "keeps the low four bits of uint4 in content",
      { dtype: 30, tensorShape: shape(1), tensorContent: Uint8Array.of(0xf3) },
      [1],
      Uint8Array.of(3),
    ],
    ["keeps the low 16 bits of half_val", { dtype: 19, tensorShape: shape(1), halfVal: [0x13c00] }, [1], Uint16Array.of(0x3c00)],
    [
      "repeats the last pair of a complex list",
      { dtype: 8, tensorShape: shape(2), scomplexVal: [1, 2, 3] },
      [2],
      Float32Array.of(1, 2, 1, 2),
    ],
    ["reads float8_val byte by byte", { dtype: 24, tensorShape: shape(2), float8Val: Uint8Array.of(1, 2) }, [2], Uint8Array.of(1, 2)],
    ["reads int64 exactly", { dtype: 9, int64Val: [Long.fromString("-9223372036854775807")] }, [], BigInt64Array.of(-9223372036854775807n)],
    [
      "reads uint64 exactly",
      { dtype: 23, uint64Val: [Long.fromString("18446744073709551615", true)] },
      [],
      BigUint64Array.of(2n ** 64n - 1n),
    ],
    ["ignores unknown_rank", { dtype: 10, tensorShape: { ...shape(2), unknownRank: true }, boolVal: [true] }, [2], Uint8Array.of(1, 1)],
    [
      "repeats the last string",
      { dtype: 7, tensorShape: shape(2), stringVal: [Uint8Array.of(5)] },
      [2],
      [Uint8Array.of(5), Uint8Array.of(5)],
    ],
    [
      "reads strings in content",
      { dtype: 7, tensorShape: shape(2), tensorContent: Uint8Array.of(1, 0, 65) },
      [2],
      [Uint8Array.of(65), Uint8Array.of()],
    ],
  ];
  it.each(rules)("%s", (_title, fields, expectedShape, values) => {
    const decoded = decode(fields);
    expect(decoded.shape).toEqual(expectedShape);
    expect(decoded.values).toEqual(values);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7])("copies content that starts %i bytes into a buffer", (offset) => {
    const message = new Uint8Array(offset + 8);
    new DataView(message.buffer).setFloat64(offset, 1.5, true);
    const decoded = decode({ dtype: 2, tensorContent: message.subarray(offset) });
    message.fill(0xff);
    expect(decoded.values).toEqual(Float64Array.of(1.5));
  });

  it("copies strings and content out of a Buffer, whose slice would be a view", () => {
    const message = Buffer.from([65, 66]);
    const text = decode({ dtype: 7, stringVal: [message] });
    const bytes = decode({ dtype: 4, tensorShape: shape(2), tensorContent: message });
    message.fill(0);
    expect([text.values, bytes.values]).toEqual([[Uint8Array.of(65, 66)], Uint8Array.of(65, 66)]);
  });

  describe("rejects", () => {
    it.each([
      ["a resource", { dtype: 20 }, 'output "y": expected a dtype that tensors can have, got resource'],
      ["a reference type", { dtype: 101 }, "got dtype_101"],
      [
        "content of the wrong length",
        { dtype: 1, tensorShape: shape(2), tensorContent: new Uint8Array(9) },
        'output "y": float32 [2]: expected 8 bytes of tensor_content, got 9',
      ],
      ["bool bytes above 1", { dtype: 10, tensorContent: Uint8Array.of(2) }, "expected bytes 0 and 1 in tensor_content, got 2 at 0"],
      ["a negative dimension", { dtype: 1, tensorShape: shape(-1) }, 'output "y": shape [-1]'],
      ["a dimension beyond safe integers", { dtype: 1, tensorShape: shape(2 ** 60) }, "expected a whole number from 0 to 2^53 - 1"],
      ["a length varint that never ends", { dtype: 7, tensorContent: new Uint8Array(20).fill(0x80) }, "the one at 0 is malformed"],
      [
        "more strings than bytes",
        { dtype: 7, tensorShape: shape(2 ** 20), tensorContent: Uint8Array.of(0) },
        "string lengths in tensor_content, got 1 bytes",
      ],
      [
        "one value for more than 64 MiB",
        { dtype: 1, tensorShape: shape(2 ** 24 + 2), floatVal: [1] },
        "repeating the last one is limited to 67108864 bytes",
      ],
      ["no value for a huge tensor", { dtype: 6, tensorShape: shape(2 ** 50) }, "is limited to 67108864 bytes"],
      [
        "one long string repeated",
        { dtype: 7, tensorShape: shape(1000), stringVal: [new Uint8Array(100_000)] },
        "is limited to 67108864 bytes",
      ],
    ] as const)("%s", (_title, fields, message) => {
      expect(() => decode(fields as Parameters<typeof TensorProto.fromPartial>[0])).toThrow(TensorError);
      expect(() => decode(fields as Parameters<typeof TensorProto.fromPartial>[0])).toThrow(message);
    });
  });
});

describe("tensorFromProto on messages at and over the border", () => {
  // TensorFlow makes empty handles of these; no tensor of this package holds them.
  const refusedByUs = ["dtype_resource_empty", "dtype_variant_empty"];
  // ts-proto's decoders replace a message field that comes twice instead of merging it; no encoder writes one twice.
  const notMerged = ["wire_shape_twice"];

  it.each(malformed.map((entry) => [entry.name, entry] as const))("agrees with TensorFlow on %s", (name, { file, parse_tensor }) => {
    const read = () => tensorFromProto(TensorProto.decode(readFileSync(new URL(file, malformedFolder))), name);
    if (!parse_tensor.ok || refusedByUs.includes(name)) {
      expect(read).toThrow();
      return;
    }
    const decoded = read();
    if (notMerged.includes(name)) {
      expect(decoded.shape).toEqual([1]);
      return;
    }
    expect(decoded.shape).toEqual(parse_tensor.tensor?.shape);
    const plain = (value: unknown): unknown => {
      if (value instanceof Uint8Array) return { b64: Buffer.from(value).toString("base64") };
      return Array.isArray(value) && decoded.dtype !== "complex64" ? value.map(plain) : value;
    };
    const nested = decoded.toNested();
    const flat = decoded.shape.length === 0 ? [nested] : (nested as unknown[]).flat(decoded.shape.length - 1);
    // The one case without recorded values is rank 254, whose nesting their writer could not follow.
    if (parse_tensor.tensor?.values === undefined) expect(name).toBe("dims_254");
    else expect(plain(flat)).toEqual(parse_tensor.tensor.values);
  });

  it("covers every file", () => expect(malformed).toHaveLength(46));
});

describe("model specs", () => {
  it.each([
    { name: "m" },
    { name: "m", signatureName: "s" },
    { name: "m", version: 0n },
    { name: "m", version: 2n ** 63n - 1n, signatureName: "s" },
    { name: "m", versionLabel: "" },
  ])("%o comes back the same", (spec) => {
    expect(modelSpecFromProto(modelSpecToProto(spec))).toEqual(spec);
  });

  it("take versions as numbers above 2^32", () => {
    expect(modelSpecFromProto(modelSpecToProto({ name: "m", version: 1763734800123 }))).toEqual({ name: "m", version: 1763734800123n });
  });
});

describe("predict messages", () => {
  it("give back outputs and the model that answered", () => {
    const result = { outputs: { y: tensor("int64", [1], [5n]) }, modelSpec: { name: "m", version: 3n, signatureName: "s" } };
    const back = decodePredictResponse(PredictResponse.encode(predictResultToProto(result)).finish());
    expect({ ...back, outputs: { ...back.outputs } }).toEqual(result);
    expect(Object.getPrototypeOf(back.outputs)).toBeNull();
  });

  it("name the output that cannot be decoded", () => {
    const response = PredictResponse.fromPartial({ outputs: { good: { dtype: 1 }, bad: { dtype: 21 } } });
    expect(() => decodePredictResponse(PredictResponse.encode(response).finish())).toThrow(
      'output "bad": expected a dtype that tensors can have, got variant',
    );
  });
});

describe("signatures", () => {
  const signature: Signature = {
    methodName: "tensorflow/serving/predict",
    inputs: {
      x: { dtype: "float32", shape: [null, 3] },
      scale: { dtype: "float32", shape: [], default: tensor("float32", [], [2]) },
      // Contextual typing stops at this name, since every object has a constructor.
      constructor: { dtype: "resource" as const, shape: null },
    },
    outputs: { y: { dtype: "dtype_77", shape: null } },
  };

  it("come back the same", () => {
    const back = signatureFromProto(SignatureDef.decode(SignatureDef.encode(signatureToProto(signature)).finish()));
    expect({ ...back, inputs: { ...back.inputs }, outputs: { ...back.outputs } }).toEqual(signature);
  });

  it("name tensors as exported models do", () => {
    expect(signatureToProto(signature).inputs["x"]?.name).toBe("x:0");
  });

  it("survive a default that is no tensor here", () => {
    const proto = signatureToProto(signature);
    proto.defaults["x"] = TensorProto.fromPartial({ dtype: 20 });
    expect(signatureFromProto(proto).inputs["x"]).toEqual({ dtype: "float32", shape: [null, 3] });
  });
});

describe("metadata", () => {
  it("leaves out what cannot be called and comes back the same otherwise", () => {
    const signature: Signature = { methodName: "m", inputs: {}, outputs: { y: { dtype: "string", shape: [1] } } };
    const signatures: Record<string, Signature> = { keep: signature, __saved_model_init_op: { ...signature, methodName: "" } };
    const bytes = GetModelMetadataResponse.encode(metadataToProto({ modelSpec: { name: "m", version: 7n }, signatures })).finish();
    const back = metadataFromProto(GetModelMetadataResponse.decode(bytes));
    expect(back.modelSpec).toEqual({ name: "m", version: 7n });
    expect(Object.keys(back.signatures)).toEqual(["keep"]);
  });

  it("refuses an answer without signature_def", () => {
    expect(() => metadataFromProto(GetModelMetadataResponse.create())).toThrow("expected signature_def as type.googleapis.com/");
  });
});

describe("statuses", () => {
  it("come back the same, in order", () => {
    const statuses = (["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"] as const).map((state, index) => {
      return { version: BigInt(index) << 40n, state, errorCode: "NOT_FOUND" as const, errorMessage: "text" };
    });
    const bytes = GetModelStatusResponse.encode(statusesToProto(statuses)).finish();
    expect(statusesFromProto(GetModelStatusResponse.decode(bytes))).toEqual(statuses);
  });

  it("are read although the server put bytes that are not UTF-8 into a text", () => {
    // model_version_status { version: 1 state: END status { error_code: 15 error_message: "\xff" } }
    const bytes = Uint8Array.of(0x0a, 0x0b, 0x08, 1, 0x10, 50, 0x1a, 5, 0x08, 15, 0x12, 1, 0xff);
    expect(statusesFromProto(GetModelStatusResponse.decode(bytes))).toEqual([
      { version: 1n, state: "END", errorCode: "DATA_LOSS", errorMessage: "\ufffd" },
    ]);
  });
});
