/** Reading descriptor sets, binary or JSON. */
import { readFile } from "node:fs/promises";
import { fromBinary, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** Read a `google.protobuf.FileDescriptorSet`: protobuf JSON where the name ends in `.json`, else binary (`buf build -o x.binpb`). */
export async function readDescriptorSet(path: string): Promise<FileDescriptorSet> {
  const bytes = await readFile(path);
  if (!path.endsWith(".json")) return fromBinary(FileDescriptorSetSchema, bytes);
  const json: JsonValue = JSON.parse(bytes.toString("utf8"));
  return fromJson(FileDescriptorSetSchema, json);
}
