/** What gRPC peers do wrong with the messages in answers that are otherwise good. */
import type { FaultCase } from "./fault-case.js";
import { onCall, onMessage, rpcError, succeeds, tensorError } from "./grpc-case.js";
import {
  dtypes,
  field,
  goodResponse,
  goodTensor,
  metadataOf,
  metadataResponse,
  nestedFields,
  nestedGroups,
  noUtf8,
  numberField,
  predictResponse,
  statusResponse,
  tensorInfo,
  tensorProto,
  varint,
} from "./grpc-messages.js";

const unexpected = rpcError("INTERNAL", /unexpected answer/);

const garbage = Buffer.alloc(1000, 0xa7);

/** Deeper than a decoder that recurses can go. */
const depth = 100_000;

const mebibyte = 2 ** 20;

const predict: readonly FaultCase[] = [
  onMessage("answers predict with garbage", garbage, unexpected),
  onMessage("answers predict with a page", Buffer.from("<html><body>hello</body></html>"), unexpected),
  onMessage("answers predict with an empty message", Buffer.alloc(0), succeeds),
  onMessage("answers predict with a message cut in its middle", goodResponse.subarray(0, goodResponse.length / 2), unexpected),
  onMessage(
    "answers predict with a field longer than the message",
    Buffer.concat([goodResponse, varint((15 << 3) | 2), varint(1000)]),
    unexpected,
  ),
  onMessage("answers predict with a length of 2^63", Buffer.concat([goodResponse, varint((15 << 3) | 2), varint(1n << 63n)]), unexpected),
  onMessage(
    "answers predict with a varint of 11 bytes",
    Buffer.concat([goodResponse, varint(15 << 3), Buffer.alloc(11, 0xff)]),
    unexpected,
  ),
  onMessage("answers predict with field number 0", Buffer.concat([goodResponse, Buffer.of(0, 1)]), unexpected),
  onMessage("answers predict with wire type 7", Buffer.concat([goodResponse, Buffer.of((15 << 3) | 7)]), unexpected),
  onMessage("answers predict with unknown groups nested 100,000 deep", Buffer.concat([goodResponse, nestedGroups(depth)]), unexpected),
  onMessage("answers predict with a group that never ends", Buffer.concat([goodResponse, varint((15 << 3) | 3)]), unexpected),
  onMessage("answers predict with the end of a group that never began", Buffer.concat([goodResponse, varint((15 << 3) | 4)]), unexpected),
  onMessage("answers predict with unknown messages nested 10,000 deep", Buffer.concat([goodResponse, nestedFields(15, 10_000)]), succeeds),
  onMessage("answers predict with unknown fields", Buffer.concat([goodResponse, field(15, "x"), numberField(16, -1)]), succeeds),
  onMessage("answers predict with an output of no dtype", predictResponse(tensorProto(0, [3])), tensorError(/output "y".*dtype/)),
  onMessage("answers predict with an output of dtype 99", predictResponse(tensorProto(99, [3])), tensorError(/output "y".*dtype/)),
  onMessage(
    "answers predict with an output of dtype resource",
    predictResponse(tensorProto(dtypes.resource, [1])),
    tensorError(/DT_RESOURCE|resource/),
  ),
  onMessage("answers predict with a negative size", predictResponse(tensorProto(dtypes.float32, [-1])), tensorError(/output "y".*-1/)),
  onMessage(
    "answers predict with the smallest size there is",
    predictResponse(tensorProto(dtypes.float32, [-(2n ** 63n)])),
    tensorError(/output "y"/),
  ),
  onMessage(
    "answers predict with 300 dimensions",
    predictResponse(tensorProto(dtypes.float32, new Array(300).fill(1))),
    tensorError(/at most 254 dimensions/),
  ),
  onMessage(
    "answers predict with a shape whose product overflows",
    predictResponse(tensorProto(dtypes.float32, [2n ** 40n, 2n ** 40n])),
    tensorError(/output "y"/),
  ),
  onMessage(
    "answers predict with a huge shape and no values",
    predictResponse(tensorProto(dtypes.float32, [2 ** 30])),
    tensorError(/limited to/),
  ),
  onMessage(
    "answers predict with a huge shape and one value",
    predictResponse(tensorProto(dtypes.float32, [2 ** 30], field(5, Buffer.alloc(4)))),
    tensorError(/limited to/),
  ),
  onMessage(
    "answers predict with a huge shape of strings and no values",
    predictResponse(tensorProto(dtypes.string, [2 ** 30])),
    tensorError(/at most .* strings/),
  ),
  onMessage("answers predict with a huge shape that holds a 0", predictResponse(tensorProto(dtypes.float32, [2 ** 30, 0])), succeeds),
  onMessage(
    "answers predict with 1,000 outputs of huge shapes",
    Buffer.concat(Array.from({ length: 1000 }, (_, index) => predictResponse(tensorProto(dtypes.float32, [2 ** 23]), `y${index}`))),
    tensorError(/limited to/),
    { maxGrowthBytes: 72 * mebibyte },
  ),
  onMessage(
    "answers predict with tensor_content that is too short",
    predictResponse(tensorProto(dtypes.float32, [3], field(4, Buffer.alloc(11)))),
    tensorError(/expected 12 bytes of tensor_content, got 11/),
  ),
  onMessage(
    "answers predict with tensor_content that is too long",
    predictResponse(tensorProto(dtypes.float32, [3], field(4, Buffer.alloc(13)))),
    tensorError(/expected 12 bytes of tensor_content, got 13/),
  ),
  onMessage(
    "answers predict with a packed list of broken length",
    predictResponse(tensorProto(dtypes.float32, [3], field(5, Buffer.alloc(11)))),
    rpcError("INTERNAL", /expected a multiple of 4/),
  ),
  onMessage(
    "answers predict with string lengths beyond the content",
    predictResponse(tensorProto(dtypes.string, [2], field(4, Buffer.of(100, 100, 1, 2)))),
    tensorError(/bytes of strings/),
  ),
  onMessage(
    "answers predict with string lengths that never end",
    predictResponse(tensorProto(dtypes.string, [2], field(4, Buffer.alloc(20, 0xff)))),
    tensorError(/string lengths/),
  ),
  onMessage(
    "answers predict with bools that are neither 0 nor 1",
    predictResponse(tensorProto(10, [2], field(4, Buffer.of(0, 7)))),
    tensorError(/expected bytes 0 and 1/),
  ),
  onMessage("answers predict with an output name that is no UTF-8", predictResponse(goodTensor, noUtf8), succeeds),
  onMessage("answers predict with an output named __proto__", predictResponse(goodTensor, "__proto__"), succeeds),
  onMessage(
    "answers predict with a bad output of a name of 1 MiB",
    predictResponse(tensorProto(99, []), "n".repeat(mebibyte)),
    tensorError(/^.{0,500}$/),
  ),
  onMessage("answers predict with a model name that is no UTF-8", Buffer.concat([goodResponse, field(2, field(1, noUtf8))]), succeeds),
  onMessage("answers predict with a model spec that is a number", Buffer.concat([goodResponse, numberField(2, 1)]), succeeds),
];

const status: readonly FaultCase[] = (
  [
    ["garbage", garbage, unexpected],
    ["a message cut in its middle", statusResponse({ message: "a text to cut" }).subarray(0, 12), unexpected],
    ["an empty message", Buffer.alloc(0), succeeds],
    ["unknown groups nested 100,000 deep", Buffer.concat([statusResponse(), nestedGroups(depth)]), unexpected],
    ["unknown messages nested 10,000 deep", Buffer.concat([statusResponse(), nestedFields(15, 10_000)]), succeeds],
    ["an error text that is no UTF-8", statusResponse({ state: 50, code: 3, message: noUtf8 }), succeeds],
    ["a state that nobody knows", statusResponse({ state: 12_345 }), succeeds],
    ["an error code that nobody knows", statusResponse({ code: 999 }), succeeds],
    ["a negative version", statusResponse({ version: -1n }), succeeds],
    ["100,000 versions", Buffer.concat(new Array(100_000).fill(statusResponse())), succeeds],
    ["a field longer than the message", Buffer.concat([statusResponse(), varint((1 << 3) | 2), varint(2 ** 31)]), unexpected],
  ] as const
).map(([what, message, expected]) =>
  onMessage(`answers getModelStatus with ${what}`, message, expected, { call: "getModelStatus", timeoutMs: 5000 }),
);

const metadata: readonly FaultCase[] = (
  [
    ["garbage", garbage, unexpected],
    ["an empty message", Buffer.alloc(0), unexpected],
    ["a map of signatures that is garbage", metadataOf(garbage), unexpected],
    ["a type that nobody knows", metadataOf(Buffer.alloc(0), "type.googleapis.com/other.Thing"), unexpected],
    ["no signatures", metadataOf(Buffer.alloc(0)), succeeds],
    ["unknown groups nested 100,000 deep", metadataOf(nestedGroups(depth)), unexpected],
    ["an input of no dtype", metadataResponse(["x", tensorInfo(0, [3])]), succeeds],
    ["an input of dtype 99", metadataResponse(["x", tensorInfo(99, [3])]), succeeds],
    ["negative sizes", metadataResponse(["x", tensorInfo(1, [-1, -2, -(2n ** 63n)])]), succeeds],
    ["a size beyond 2^53", metadataResponse(["x", tensorInfo(1, [2n ** 62n])]), succeeds],
    ["10,000 dimensions", metadataResponse(["x", tensorInfo(1, new Array(10_000).fill(1))]), succeeds],
    ["names that are no UTF-8", metadataResponse([noUtf8, tensorInfo(1, [3])]), succeeds],
    ["an input named __proto__", metadataResponse(["__proto__", tensorInfo(1, [3])]), succeeds],
  ] as const
).map(([what, message, expected]) => onMessage(`answers getModelMetadata with ${what}`, message, expected, { call: "getModelMetadata" }));

const others: readonly FaultCase[] = [
  onMessage("answers classify with garbage", garbage, unexpected, { call: "classify" }),
  onMessage("answers classify without a result", Buffer.alloc(0), unexpected, { call: "classify" }),
  onCall(
    "answers getModelStatus with a cut gRPC frame",
    (stream) => stream.headers().message(statusResponse(), { length: 500 }).trailers(),
    rpcError("INTERNAL"),
    { call: "getModelStatus" },
  ),
];

/** What gRPC peers do wrong with the messages in answers that are otherwise good. */
export const grpcMessageCases: readonly FaultCase[] = [...predict, ...status, ...metadata, ...others];
