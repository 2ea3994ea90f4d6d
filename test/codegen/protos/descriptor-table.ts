import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** A descriptor set of the given files, each proto3 in package `tensorflow` unless it says otherwise. */
export function descriptors(...files: readonly JsonObject[]): FileDescriptorSet {
  const file = files.map((facts, index) => ({ name: `f${index}.proto`, package: "tensorflow", syntax: "proto3", ...facts }));
  return fromJson(FileDescriptorSetSchema, { file });
}

/** One field; label and type default to a singular int32. */
export function field(name: string, number: number, facts: JsonObject = {}): JsonObject {
  return { name, number, label: "LABEL_OPTIONAL", type: "TYPE_INT32", ...facts };
}
