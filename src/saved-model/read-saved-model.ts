/** A SavedModel on disk: from the files of a version folder to what they say of the model. */
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FingerprintDef } from "../../gen/tensorflow/core/protobuf/fingerprint.js";
import { isServingError, ServingError } from "../errors.js";
import { bigintFromLong, mapRecord, signatureFromProto } from "../messages.js";
import { assertOptionNames } from "../option-checks.js";
import type { Signature } from "../signature.js";
import { expansionBudget } from "../tensor/codec.js";
import type { DType, UnsupportedDType } from "../tensor/dtype.js";
import { quotedNames } from "../tensor/names.js";
import { describe } from "../tensor/values.js";
import { WireReader } from "../tensor/wire.js";
import { countTFRecords } from "../warmup/tfrecord.js";
import { readBundle } from "./checkpoint/bundle.js";
import { decodeMessage, isMissing, naming, readFileIfThere } from "./files.js";
import { type MetaGraphOutline, readMetaGraphs } from "./meta-graph.js";

/** Options of {@link readSavedModel}. */
export interface ReadSavedModelOptions {
  /** All tags of the meta graph to read, in any order. @defaultValue `["serve"]` */
  readonly tags?: readonly string[] | undefined;
}

/** Defaults of {@link ReadSavedModelOptions}. */
const readSavedModelDefaults = Object.freeze({ tags: Object.freeze(["serve"]) });

/** What {@link readSavedModel} found. */
export interface SavedModel {
  /** Tags of the meta graph that was read. */
  readonly tags: readonly string[];
  /**
   * Signatures by name, null prototype.
   *
   * Those of TensorFlow's own are among them, as in `saved_model_cli show --all`: `__saved_model_init_op` has neither inputs nor a method
   * name, and nobody can call it.
   */
  readonly signatures: Readonly<Record<string, Signature>>;
  /** Files in the folder `assets` that the graph reads. */
  readonly assets: readonly SavedModelAsset[];
  /** Variables in the checkpoint, in the order of their names; none for a model that was frozen. */
  readonly variables: readonly SavedModelVariable[];
  /** Version of the graph format that the producer wrote, such as 2288 (`GraphDef.versions.producer`); 0 where the file says nothing. */
  readonly producer: number;
  /** Release of TensorFlow that wrote the model, such as `2.20.0`. */
  readonly tensorflowVersion?: string;
  /** What `fingerprint.pb` says; older models have none. */
  readonly fingerprint?: SavedModelFingerprint;
  /** Records in `assets.extra/tf_serving_warmup_requests`, up to a damaged length or cut; their data is stepped over, not checked. */
  readonly warmupRecords: number;
}

/** A file that the graph reads. */
export interface SavedModelAsset {
  /** Name in the folder `assets`. */
  readonly filename: string;
  /** Tensor that the server sets to the file's path. */
  readonly tensorName: string;
}

/** A variable in the checkpoint. */
export interface SavedModelVariable {
  /** Its name there; that of a TensorFlow 2 model is a path such as `dense/kernel/.ATTRIBUTES/VARIABLE_VALUE`. */
  readonly name: string;
  readonly dtype: DType | UnsupportedDType;
  readonly shape: readonly number[];
}

/** Hashes that identify a model; as read, not compared with the files. */
export interface SavedModelFingerprint {
  readonly savedModelChecksum: bigint;
  readonly graphDefProgramHash: bigint;
  readonly signatureDefHash: bigint;
  readonly savedObjectGraphHash: bigint;
  readonly checkpointHash: bigint;
  /** Absent in older files. */
  readonly uuid?: string;
}

/** Key of the object graph, which TensorFlow 2 keeps among the variables. */
const objectGraphKey = "_CHECKPOINTABLE_OBJECT_GRAPH";

/** Other forms of `saved_model.pb`, which are not read here. */
const otherForms = ["saved_model.pbtxt", "saved_model.cpb"];

/**
 * What a SavedModel says of itself, as `saved_model_cli show --all` tells it: signatures, variables, assets and who wrote it.
 *
 * Neither the graph nor the values of variables are read.
 *
 * @param dir - Version folder, the one that holds `saved_model.pb`.
 * @throws FormatError if `saved_model.pb`, the checkpoint's index or `fingerprint.pb` is damaged, with path and offset; ServingError
 *   `NOT_FOUND` if there is no `saved_model.pb`, or no meta graph with these tags in it, `UNIMPLEMENTED` if the model is in a form such as
 *   `saved_model.pbtxt`; the system's error where a file cannot be read.
 */
export async function readSavedModel(dir: string, options: ReadSavedModelOptions = {}): Promise<SavedModel> {
  assertOptionNames(options, { known: { tags: true } });
  const { tags = readSavedModelDefaults.tags } = options;
  if (!Array.isArray(tags)) throw new TypeError(`tags: expected an array of strings, got ${describe(tags)}`);
  const metaGraph = await readMetaGraph(dir, tags);
  const [variables, fingerprint, warmupRecords] = await Promise.all([readVariables(dir), readFingerprint(dir), countWarmupRecords(dir)]);
  return {
    tags: metaGraph.tags,
    signatures: signaturesOf(metaGraph),
    assets: metaGraph.assets.map(({ filename, tensorInfo }) => ({ filename, tensorName: tensorInfo?.name ?? "" })),
    variables,
    producer: metaGraph.producer,
    ...(metaGraph.tensorflowVersion === "" ? {} : { tensorflowVersion: metaGraph.tensorflowVersion }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    warmupRecords,
  };
}

/**
 * The signatures of a model that is to be served; of its files only `saved_model.pb` is read.
 *
 * @param dir - Version folder; errors as in {@link readSavedModel}.
 */
export async function readSignatures(dir: string): Promise<Readonly<Record<string, Signature>>> {
  return signaturesOf(await readMetaGraph(dir, readSavedModelDefaults.tags));
}

/** Whether an error of {@link readSignatures} says that a folder has no model, or one in a form that is not read here. */
export function isUnreadModel(error: unknown): error is ServingError {
  return isServingError(error) && (error.code === "NOT_FOUND" || error.code === "UNIMPLEMENTED");
}

function signaturesOf({ signatures }: MetaGraphOutline): Record<string, Signature> {
  // Made once: the defaults of all signatures share it.
  const budget = expansionBudget();
  return mapRecord(signatures, (definition) => signatureFromProto(definition, budget));
}

async function readMetaGraph(dir: string, tags: readonly string[]): Promise<MetaGraphOutline> {
  const path = join(dir, "saved_model.pb");
  const file = await readFileIfThere(path);
  if (file === undefined) throw await missingModel(dir);
  const metaGraphs = naming(path, () => readMetaGraphs(file));
  const wanted = new Set(tags);
  // As in TensorFlow, a meta graph with one tag more is another one.
  const found = metaGraphs.find(({ tags: own }) => new Set(own).size === wanted.size && own.every((tag) => wanted.has(tag)));
  if (found !== undefined) return found;
  const there = metaGraphs.slice(0, 20).map((metaGraph) => quotedNames(metaGraph.tags));
  throw new ServingError(`${path}: expected a meta graph with the tags ${quotedNames(tags)}, got ${there.join(" and ")}`, {
    code: "NOT_FOUND",
  });
}

async function missingModel(dir: string): Promise<ServingError> {
  const names: readonly string[] = await readdir(dir).catch(() => []);
  const other = otherForms.find((name) => names.includes(name));
  if (other !== undefined) {
    return new ServingError(`${dir}: expected the model in saved_model.pb, got ${other}, which is not read here`, {
      code: "UNIMPLEMENTED",
    });
  }
  return new ServingError(`${dir}: expected a version folder with a saved_model.pb, got none`, {
    code: "NOT_FOUND",
    hint: `Give the folder of one version, such as ${exampleOf(dir, names)}.`,
  });
}

/** What may have been meant by a path that is no version folder. */
function exampleOf(dir: string, names: readonly string[]): string {
  if (basename(dir) === "saved_model.pb") return dirname(dir);
  const [version = ""] = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(b) - Number(a));
  return version === "" ? "models/half_plus_two/1" : join(dir, version);
}

async function readVariables(dir: string): Promise<SavedModelVariable[]> {
  const bundle = await readBundle(join(dir, "variables", "variables"));
  return [...(bundle?.tensors ?? [])]
    .filter(([name]) => name !== objectGraphKey)
    .map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
}

async function readFingerprint(dir: string): Promise<SavedModelFingerprint | undefined> {
  const path = join(dir, "fingerprint.pb");
  const file = await readFileIfThere(path);
  if (file === undefined) return undefined;
  const { uuid, ...hashes } = naming(path, () => decodeMessage(FingerprintDef, new WireReader(file)));
  return {
    savedModelChecksum: bigintFromLong(hashes.savedModelChecksum),
    graphDefProgramHash: bigintFromLong(hashes.graphDefProgramHash),
    signatureDefHash: bigintFromLong(hashes.signatureDefHash),
    savedObjectGraphHash: bigintFromLong(hashes.savedObjectGraphHash),
    checkpointHash: bigintFromLong(hashes.checkpointHash),
    ...(uuid === "" ? {} : { uuid }),
  };
}

async function countWarmupRecords(dir: string): Promise<number> {
  try {
    return await countTFRecords(join(dir, "assets.extra", "tf_serving_warmup_requests"));
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}
