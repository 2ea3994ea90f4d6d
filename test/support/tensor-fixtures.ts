import { readFileSync } from "node:fs";

/** An element as the fixtures write it: floats that JSON lacks as text, int64 as decimal text, bytes as base64, complex as a pair. */
export type JsonElement = number | string | boolean | { readonly b64: string } | readonly [JsonElement, JsonElement];

/** One tensor of test/fixtures/tensors/index.json. */
export interface TensorFixture {
  readonly name: string;
  readonly dtype_number: number;
  readonly shape: readonly number[];
  readonly values: readonly JsonElement[];
  /** Base64 of the element bytes; strings have none. */
  readonly little_endian?: string;
  readonly encodings: readonly { readonly form: string; readonly file: string }[];
}

const folder = new URL("../fixtures/tensors/", import.meta.url);

/** All tensors TensorFlow wrote: every dtype in several shapes. */
export const tensorFixtures = (JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as { entries: TensorFixture[] }).entries;

/** Bytes of one TensorProto of a fixture. */
export function readEncoding(file: string): Uint8Array {
  return readFileSync(new URL(file, folder));
}
