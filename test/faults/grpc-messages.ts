/** Protobuf messages by hand: what answers would be, and what no server should send. */

/** Bytes of a varint. */
export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** A varint field. */
export function numberField(field: number, value: number | bigint): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

/** A length-delimited field of texts, bytes or fields. */
export function field(number: number, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

/** Bytes that are no UTF-8. */
export const noUtf8 = Buffer.of(0x66, 0xff, 0xc3, 0x28, 0x80);

/** `DataType` numbers. */
export const dtypes = { float32: 1, string: 7, resource: 20 } as const;

/** A TensorProto; field 4 is tensor_content, 5 float_val, 8 string_val. */
export function tensorProto(dtype: number, sizes: readonly (number | bigint)[], ...values: readonly Uint8Array[]): Buffer {
  return Buffer.concat([numberField(1, dtype), field(2, ...sizes.map((size) => field(2, numberField(1, size)))), ...values]);
}

const content = Buffer.from(Float32Array.of(2.5, 3, 4.5).buffer);

/** The tensor of a good answer. */
export const goodTensor = tensorProto(dtypes.float32, [3], field(4, content));

/** A PredictResponse with one output. */
export function predictResponse(tensor: Uint8Array, name: string | Uint8Array = "y"): Buffer {
  const modelSpec = field(2, field(1, "half_plus_two"), field(2, numberField(1, 1)), field(3, "serving_default"));
  return Buffer.concat([field(1, field(1, name), field(2, tensor)), modelSpec]);
}

/** A good answer. */
export const goodResponse = predictResponse(goodTensor);

/** An unknown field of groups within groups; wire types 3 and 4 begin and end one. */
export function nestedGroups(depth: number): Buffer {
  return Buffer.concat([Buffer.alloc(depth, (15 << 3) | 3), Buffer.alloc(depth, (15 << 3) | 4)]);
}

/** Messages of one field within each other: the bytes of a million-fold nesting are the heads of all levels. */
export function nestedFields(number: number, depth: number): Buffer {
  const heads: Buffer[] = [];
  let length = 0;
  for (let level = 0; level < depth; level++) {
    const head = Buffer.concat([varint((number << 3) | 2), varint(length)]);
    heads.push(head);
    length += head.length;
  }
  return Buffer.concat(heads.reverse());
}

/** A GetModelStatusResponse of one version. */
export function statusResponse({ version = 1n, state = 30, code = 0, message = "" as string | Uint8Array } = {}): Buffer {
  return field(1, numberField(1, version), numberField(2, state), field(3, numberField(1, code), field(2, message)));
}

/** A TensorInfo. */
export function tensorInfo(dtype: number, sizes: readonly (number | bigint)[]): Buffer {
  return Buffer.concat([field(1, "x:0"), numberField(2, dtype), field(3, ...sizes.map((size) => field(2, numberField(1, size))))]);
}

/** A GetModelMetadataResponse whose only signature has these inputs. */
export function metadataResponse(...inputs: readonly (readonly [name: string | Uint8Array, info: Uint8Array])[]): Buffer {
  const signature = Buffer.concat([
    ...inputs.map(([name, info]) => field(1, field(1, name), field(2, info))),
    field(3, "tensorflow/serving/predict"),
  ]);
  return metadataOf(field(1, field(1, "serving_default"), field(2, signature)));
}

/** A GetModelMetadataResponse with any SignatureDefMap. */
export function metadataOf(map: Uint8Array, typeUrl = "type.googleapis.com/tensorflow.serving.SignatureDefMap"): Buffer {
  return Buffer.concat([
    field(1, field(1, "half_plus_two"), field(2, numberField(1, 1))),
    field(2, field(1, "signature_def"), field(2, field(1, typeUrl), field(2, map))),
  ]);
}
