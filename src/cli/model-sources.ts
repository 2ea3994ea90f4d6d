/** Where commands find the signatures of models: SavedModels on disk, and model servers. */
import { access } from "node:fs/promises";
import { basename, dirname, join, normalize, resolve } from "node:path";
import { PredictionClient } from "../client/prediction-client.js";
import { versionOfFolder } from "../model-server-config.js";
import type { ModelSpec } from "../model-spec.js";
import { readSavedModel, type SavedModelFingerprint } from "../saved-model/read-saved-model.js";
import { versionFolders } from "../server/version-folders.js";
import type { Signature } from "../signature.js";

/** A model's signatures, and where they were found. */
export interface FoundModel {
  /** Name under which the model is served; of a SavedModel the name of its base path, where the server's configuration says no other. */
  readonly name: string;
  /** For people: address and version, or base path's name, version and fingerprint, which are the same wherever the files lie. */
  readonly source: string;
  /** By name, null prototype; those that calls can use. */
  readonly signatures: Readonly<Record<string, Signature>>;
}

/**
 * The model in a folder.
 *
 * @param folder - A version folder, or a base path, of which the newest version is read.
 * @throws ServingError or FormatError as `readSavedModel` does.
 */
export async function modelInFolder(folder: string): Promise<FoundModel> {
  const path = await versionFolderIn(folder);
  const { signatures, fingerprint } = await readSavedModel(path);
  const names = namesIn(path);
  const source = `${names.join("/")}, ${fingerprintText(fingerprint)}`;
  return { name: names[0], source, signatures: callableSignatures(signatures) };
}

/**
 * Models of one server, in the order of the specs.
 *
 * @throws RpcError, TypeError or RangeError as the client does.
 */
export async function modelsOfServer(target: string, specs: readonly ModelSpec[], timeoutMs: number): Promise<FoundModel[]> {
  await using client = new PredictionClient(target, { timeoutMs });
  return await Promise.all(
    specs.map(async (spec) => {
      const { modelSpec, signatures } = await client.getModelMetadata(spec);
      const version = modelSpec.version === undefined ? "" : `, version ${modelSpec.version}`;
      return { name: spec.name, source: `${target}${version}`, signatures: callableSignatures(signatures) };
    }),
  );
}

/** TensorFlow's own signatures, such as `__saved_model_init_op`, have neither inputs nor a method name. */
function callableSignatures(signatures: Readonly<Record<string, Signature>>): Record<string, Signature> {
  const callable: Record<string, Signature> = Object.create(null);
  for (const [name, signature] of Object.entries(signatures)) {
    if (signature.methodName !== "" || Object.keys(signature.inputs).length > 0) callable[name] = signature;
  }
  return callable;
}

async function versionFolderIn(folder: string): Promise<string> {
  const isVersion = await access(join(folder, "saved_model.pb")).then(
    () => true,
    () => false,
  );
  const versions = isVersion ? new Map<bigint, string>() : ((await versionFolders(folder)) ?? new Map<bigint, string>());
  const newest = [...versions.keys()].reduce((a, b) => (a > b ? a : b), -1n);
  return normalize(versions.get(newest) ?? folder);
}

/** The model's name, and the version folder's where the folder is one. */
function namesIn(versionFolder: string): [model: string, version?: string] {
  const path = resolve(versionFolder);
  const name = basename(path);
  return versionOfFolder(name) === undefined ? [name] : [basename(dirname(path)), name];
}

/** The hashes in the form in which TensorFlow gives them, `Fingerprint.singleprint()`. */
function fingerprintText(fingerprint: SavedModelFingerprint | undefined): string {
  if (fingerprint === undefined) return "without a fingerprint";
  const { graphDefProgramHash, signatureDefHash, savedObjectGraphHash, checkpointHash } = fingerprint;
  return `fingerprint ${[graphDefProgramHash, signatureDefHash, savedObjectGraphHash, checkpointHash].join("/")}`;
}
