/**
 * `tf.Example` and `tf.SequenceExample` <-> bytes.
 *
 * Field numbers: tensorflow/core/example/feature.proto and example.proto (2.20.0). Map entries are written in the order of the UTF-8
 * bytes of their keys, which is what Python's `SerializeToString(deterministic=True)` does: equal features give equal bytes.
 */
import { FormatError, isServingError } from "./errors.js";
import { varintSize, WireReader, writeFieldHead, writeVarint } from "./tensor/wire.js";

/** The values of one feature: one of the three lists that a `tf.Feature` can hold, or `none` where it holds no list at all. */
export type Feature =
  | { readonly kind: "float"; readonly values: readonly number[] }
  | { readonly kind: "int64"; readonly values: readonly bigint[] }
  | { readonly kind: "bytes"; readonly values: readonly Uint8Array[] }
  | { readonly kind: "none"; readonly values: readonly [] };

/** The features of one example by name; null prototype. */
export type Example = Readonly<Record<string, Feature>>;

/** The steps of each feature of a sequence by name. */
export type FeatureLists = Readonly<Record<string, readonly Feature[]>>;

/** `features` of an Example and `context` of a SequenceExample share a number; so do `value` of all three lists and its packed form. */
const tags = {
  features: 0x0a,
  featureLists: 0x12,
  mapEntry: 0x0a,
  key: 0x0a,
  value: 0x12,
  step: 0x0a,
  bytesList: 0x0a,
  floatList: 0x12,
  int64List: 0x1a,
  listValue: 0x0a,
  unpackedFloat: 0x0d,
  unpackedInt64: 0x08,
} as const;

const utf8 = new TextEncoder();
// A key may begin with what looks like a byte order mark.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// Encoding

/** Parts of a message in their order; joined once at the end, so that no level of nesting copies what lies below it. */
type Pieces = readonly Uint8Array[];

/** A serialized `tf.Example`; without features it is empty, as in Python where none was ever set. */
export function encodeExample(example: Example): Uint8Array {
  return joined(encodeMap(tags.features, example, encodeFeature));
}

/** A serialized `tf.SequenceExample`; an empty context or no feature lists are left out. */
export function encodeSequenceExample(context: Example, featureLists: FeatureLists): Uint8Array {
  const steps = (list: readonly Feature[]) => list.flatMap((feature) => field(tags.step, encodeFeature(feature)));
  return joined([...encodeMap(tags.features, context, encodeFeature), ...encodeMap(tags.featureLists, featureLists, steps)]);
}

/** A field that holds a message whose only field is a map; nothing for an empty map. */
function encodeMap<V>(tag: number, record: Readonly<Record<string, V>>, encodeValue: (value: V) => Pieces): Pieces {
  const entries = Object.entries(record).map(([name, value]) => ({ key: utf8.encode(name), value }));
  if (entries.length === 0) return [];
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  const encoded = entries.flatMap(({ key, value }) =>
    field(tags.mapEntry, [...field(tags.key, [key]), ...field(tags.value, encodeValue(value))]),
  );
  return field(tag, encoded);
}

function encodeFeature(feature: Feature): Pieces {
  switch (feature.kind) {
    case "none":
      return [];
    case "bytes":
      return field(
        tags.bytesList,
        feature.values.flatMap((value) => field(tags.listValue, [value])),
      );
    case "float":
      return field(tags.floatList, packed(floatBytes(feature.values)));
    case "int64":
      return field(tags.int64List, packed(int64Bytes(feature.values)));
  }
}

/** Numbers one behind the other in a single field; an empty list has no field. */
function packed(bytes: Uint8Array): Pieces {
  return bytes.length === 0 ? [] : field(tags.listValue, [bytes]);
}

function floatBytes(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setFloat32(i * 4, value, true);
  return bytes;
}

/** A 64-bit integer takes at most this many bytes as a varint, and exactly this many if it is negative. */
const maxVarintBytes = 10;

function int64Bytes(values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(values.length * maxVarintBytes);
  let end = 0;
  for (const value of values) end = writeInt64(bytes, end, value);
  return bytes.subarray(0, end);
}

function writeInt64(target: Uint8Array, at: number, value: bigint): number {
  if (value >= 0n && value <= Number.MAX_SAFE_INTEGER) return writeVarint(target, at, Number(value));
  let position = at;
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 128n; rest >>= 7n) target[position++] = Number(rest & 127n) | 128;
  target[position++] = Number(rest);
  return position;
}

/** A length-delimited field. */
function field(tag: number, content: Pieces): Pieces {
  const length = totalLength(content);
  const head = new Uint8Array(1 + varintSize(length));
  writeFieldHead(head, 0, tag, length);
  return [head, ...content];
}

function joined(pieces: Pieces): Uint8Array {
  const bytes = new Uint8Array(totalLength(pieces));
  let position = 0;
  for (const piece of pieces) {
    bytes.set(piece, position);
    position += piece.length;
  }
  return bytes;
}

function totalLength(pieces: Pieces): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

// Decoding

/** A feature while it is read: protobuf merges what comes in several parts. */
type FeatureDraft =
  | { readonly kind: "float"; readonly values: number[] }
  | { readonly kind: "int64"; readonly values: bigint[] }
  | { readonly kind: "bytes"; readonly values: Uint8Array[] }
  | { readonly kind: "none"; readonly values: [] };

/**
 * The features of a serialized `tf.Example`; byte values are views into `bytes`.
 *
 * Reads as protobuf does: packed and unpacked numbers, the last of two entries or kinds wins, lists of one kind add up, unknown fields are
 * skipped.
 *
 * @param what - What errors call the example, such as `examples[0]`.
 * @throws FormatError if the bytes are no `tf.Example`.
 */
export function decodeExample(bytes: Uint8Array, what: string): Example {
  const example: Record<string, Feature> = Object.create(null);
  const readEntry = (entry: WireReader) => {
    const { name, feature } = decodeEntry(entry);
    example[name] = feature;
  };
  try {
    readMessages(new WireReader(bytes), { [tags.features]: (features) => readMessages(features, { [tags.mapEntry]: readEntry }) });
  } catch (error) {
    if (!isServingError(error, "FormatError")) throw error;
    const { offset } = error;
    throw new FormatError(`${what}: expected a serialized tf.Example, got a ${error.message}`, {
      ...(offset === undefined ? {} : { offset }),
      cause: error,
    });
  }
  return example;
}

/** Hand the content of each known length-delimited field to its function, and skip all other fields. */
function readMessages(reader: WireReader, fields: Readonly<Record<number, (content: WireReader) => void>>): void {
  while (reader.position < reader.end) {
    const tag = reader.tag();
    const read = fields[tag];
    if (read === undefined) reader.skip(tag);
    else readContent(reader, read);
  }
}

function readContent(reader: WireReader, read: (content: WireReader) => void): void {
  const end = reader.fieldEnd();
  read(new WireReader(reader.bytes, reader.position, end));
  reader.position = end;
}

function decodeEntry(entry: WireReader): { name: string; feature: Feature } {
  let name = "";
  let feature: FeatureDraft = { kind: "none", values: [] };
  readMessages(entry, {
    [tags.key]: (key) => {
      name = readKey(key);
    },
    [tags.value]: (value) => {
      feature = readFeature(value, feature);
    },
  });
  return { name, feature };
}

function readKey(key: WireReader): string {
  try {
    return strictUtf8.decode(viewOf(key));
  } catch (cause) {
    throw new FormatError(`malformed message: a feature name that is not UTF-8 at ${key.position}`, { offset: key.position, cause });
  }
}

function readFeature(reader: WireReader, before: FeatureDraft): FeatureDraft {
  let feature = before;
  readMessages(reader, {
    [tags.bytesList]: (list) => {
      if (feature.kind !== "bytes") feature = { kind: "bytes", values: [] };
      const { values } = feature;
      readMessages(list, { [tags.listValue]: (value) => values.push(viewOf(value)) });
    },
    [tags.floatList]: (list) => {
      if (feature.kind !== "float") feature = { kind: "float", values: [] };
      readFloats(list, feature.values);
    },
    [tags.int64List]: (list) => {
      if (feature.kind !== "int64") feature = { kind: "int64", values: [] };
      readInt64s(list, feature.values);
    },
  });
  return feature;
}

function readFloats(list: WireReader, values: number[]): void {
  const { bytes } = list;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  while (list.position < list.end) {
    const tag = list.tag();
    const start = list.position;
    if (tag === tags.listValue) {
      readContent(list, (content) => {
        if ((content.end - content.position) % 4 !== 0) {
          throw new FormatError(`malformed message: packed floats at ${start} that are no multiple of 4 bytes`, { offset: start });
        }
        for (let at = content.position; at < content.end; at += 4) values.push(view.getFloat32(at, true));
      });
    } else {
      list.skip(tag);
      if (tag === tags.unpackedFloat) values.push(view.getFloat32(start, true));
    }
  }
}

function readInt64s(list: WireReader, values: bigint[]): void {
  while (list.position < list.end) {
    const tag = list.tag();
    if (tag === tags.listValue) {
      readContent(list, (content) => {
        while (content.position < content.end) values.push(content.int64());
      });
    } else if (tag === tags.unpackedInt64) {
      values.push(list.int64());
    } else {
      list.skip(tag);
    }
  }
}

/** The bytes that a reader stands for, not copied. */
function viewOf(content: WireReader): Uint8Array {
  return content.bytes.subarray(content.position, content.end);
}
