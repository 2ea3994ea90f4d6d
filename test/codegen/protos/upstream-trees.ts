/** Source trees in upstream's layout, made of the descriptor facts of a version. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { readDescriptorSet } from "../../../src/codegen/protos/descriptor-set.js";
import { renderProto } from "../../../src/codegen/protos/render-proto.js";

/** Versions whose facts are among the fixtures, and the wire digest of each, by the program that took the facts. */
export const knownVersions: Readonly<Record<string, { readonly facts: string; readonly wireDigest: string }>> = {
  "2.20.0": { facts: "descriptors.json", wireDigest: "3441bd1eed42c5e6843a5dae865023ae87e1871ae314463396f6dd03035ce345" },
  "2.21.0": { facts: "descriptors-2.21.0.json", wireDigest: "a94f19118c8f7e58a22290514c65688be58687f717d3b60440ef58cc6893edc0" },
};

/** The descriptor facts of one of {@link knownVersions}. */
export async function factsOf(version: string): Promise<FileDescriptorSet> {
  const name = knownVersions[version]?.facts;
  if (name === undefined) throw new Error(`no facts of version ${version}`);
  return readDescriptorSet(fileURLToPath(new URL(`../../fixtures/interface/${name}`, import.meta.url)));
}

/** Texts by path in the source tree. */
export interface UpstreamTrees {
  readonly tensorflow: Map<string, string>;
  readonly serving: Map<string, string>;
}

/** Both source trees of a version, with files that no root imports. */
export async function upstreamTrees(version: string): Promise<UpstreamTrees> {
  const trees: UpstreamTrees = { tensorflow: new Map(), serving: new Map() };
  for (const file of (await factsOf(version)).file) {
    const { name } = file;
    if (name.startsWith("tensorflow_serving/")) trees.serving.set(name, renderProto(file));
    else trees.tensorflow.set(name.startsWith("xla/") ? `third_party/xla/${name}` : name, renderProto(file));
  }
  trees.tensorflow.set("tensorflow/core/util/unused.proto", "this is no proto file");
  trees.tensorflow.set("README.md", "# TensorFlow\n");
  trees.serving.set("tensorflow_serving/apis/internal/unused.proto", 'syntax = "proto3";\nimport "nowhere.proto";\n');
  return trees;
}

/** Write a tree into a folder. */
export async function writeTree(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}
