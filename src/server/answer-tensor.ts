/** Tensors as the real server puts them into messages, which is not how clients send them. */
import Long from "long";
import { tensorToProto } from "../messages.js";
import type { AnyTensor } from "../tensor/tensor.js";
import { varintSize, writeVarint } from "../tensor/wire.js";

type TensorProto = ReturnType<typeof tensorToProto>;

/** Above this many elements the typed fields of generated code cost too much time and memory; `tensor_content` is as legal. */
const maxTypedElements = 65_536;

/** An output: the field of its dtype, every element written out. */
export function answerTensor(output: AnyTensor): TensorProto {
  return output.size <= maxTypedElements ? typedTensor(output) : tensorToProto(output);
}

/** A default in a signature: TensorFlow writes a single element into the field of its dtype, several into `tensor_content`. */
export function defaultTensor(value: AnyTensor): TensorProto {
  return value.size === 1 ? typedTensor(value) : tensorToProto(value);
}

/** An output of a server with `--enable_serialization_as_tensor_content`: strings too stand in `tensor_content`. */
export function contentTensor(output: AnyTensor): TensorProto {
  const proto = tensorToProto(output);
  if (output.dtype !== "string") return proto;
  const lengths = Buffer.alloc(output.values.reduce((size, { length }) => size + varintSize(length), 0));
  output.values.reduce((at, { length }) => writeVarint(lengths, at, length), 0);
  return { ...proto, stringVal: [], tensorContent: Buffer.concat([lengths, ...output.values]) };
}

function typedTensor(output: AnyTensor): TensorProto {
  const proto = tensorToProto(output);
  const field = typedField(output);
  return field === undefined ? proto : { ...proto, tensorContent: new Uint8Array(0), ...field };
}

function typedField(output: AnyTensor): Partial<TensorProto> | undefined {
  switch (output.dtype) {
    case "float32":
      return { floatVal: Array.from(output.values) };
    case "float64":
      return { doubleVal: Array.from(output.values) };
    case "int64":
      return { int64Val: Array.from(output.values, (value) => Long.fromString(String(value))) };
    case "uint64":
      return { uint64Val: Array.from(output.values, (value) => Long.fromString(String(value), true)) };
    case "uint32":
      return { uint32Val: Array.from(output.values) };
    case "bool":
      return { boolVal: Array.from(output.values, (value) => value !== 0) };
    case "float16":
    case "bfloat16":
      return { halfVal: Array.from(output.values) };
    case "complex64":
      return { scomplexVal: Array.from(output.values) };
    case "complex128":
      return { dcomplexVal: Array.from(output.values) };
    case "int8":
    case "int16":
    case "int32":
    case "uint8":
    case "uint16":
    case "qint8":
    case "quint8":
    case "qint16":
    case "quint16":
    case "qint32":
    case "int4":
    case "uint4":
      return { intVal: Array.from(output.values) };
    default:
      // Strings stand in string_val already, float8 keeps its bytes in tensor_content.
      return undefined;
  }
}
