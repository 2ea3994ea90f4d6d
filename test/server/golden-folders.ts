/** The folders of the recorded server, elsewhere: texts and configurations name `/tmp/models`. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ServingError } from "../../src/errors.js";
import type { LoadServable, Servable } from "../../src/server/index.js";
import { allGoldenModels } from "./golden-models.js";

/** What happened to folders in a recorded scenario. */
export type FileStep =
  | { readonly action: "copy" | "rename"; readonly from: string; readonly to: string }
  | { readonly action: "write"; readonly path: string; readonly text: string }
  | { readonly action: "remove" | "mkdir"; readonly path: string };

const recordedRoot = "/tmp/models";
const savedModels = fileURLToPath(new URL("../fixtures/saved_models", import.meta.url));

/** A copy of the recorded folders for as long as it is used. */
export class GoldenFolders {
  readonly root = mkdtempSync(join(tmpdir(), "tfserving-golden-"));

  constructor() {
    for (const name of modelNames()) symlinkSync(join(savedModels, name), join(this.root, name));
    // What the scenarios have beside the models.
    this.apply({ action: "write", path: "broken/1/saved_model.pb", text: "garbage" });
    this.apply({ action: "copy", from: "multi_version/1", to: "live/1" });
  }

  remove(): void {
    rmSync(this.root, { recursive: true });
  }

  /** A recorded text with the folders that are here. */
  here(text: string): string {
    return text.replaceAll(recordedRoot, this.root);
  }

  /** A text from here as it would have been recorded. */
  recorded(text: string): string {
    return text.replaceAll(this.root, recordedRoot);
  }

  apply(step: FileStep): void {
    const path = (name: string) => join(this.root, name);
    switch (step.action) {
      case "copy":
        // A folder appears at once with all that is in it.
        cpSync(path(step.from), `${path(step.to)}.tmp`, { recursive: true, dereference: true });
        renameSync(`${path(step.to)}.tmp`, path(step.to));
        break;
      case "rename":
        renameSync(path(step.from), path(step.to));
        break;
      case "write":
        mkdirSync(dirname(path(step.path)), { recursive: true });
        writeFileSync(path(step.path), step.text);
        break;
      case "remove":
        rmSync(path(step.path), { recursive: true });
        break;
      case "mkdir":
        mkdirSync(path(step.path), { recursive: true });
        break;
      default:
        step satisfies never;
    }
  }

  /** A configuration that serves models from their folders. */
  config(names: readonly string[], policies: Readonly<Record<string, string>> = {}): string {
    const models = names.map(
      (name) => `config { name: "${name}" base_path: "${this.root}/${name}" model_platform: "tensorflow" ${policies[name] ?? ""}}`,
    );
    return `model_config_list { ${models.join(" ")} }`;
  }

  /** A file below the root. */
  file(name: string, text: string): string {
    const path = join(this.root, name);
    writeFileSync(path, text);
    return path;
  }
}

/** The recorded models with a folder. */
function modelNames(): string[] {
  return readdirSync(savedModels, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

/** By what their `saved_model.pb` holds. */
const servables = new Map<string, Servable>(
  modelNames().flatMap((name) =>
    Object.entries(allGoldenModels[name] as Readonly<Record<string, Servable>>).map(([version, servable]): [string, Servable] => {
      const folder = readdirSync(join(savedModels, name)).find((entry) => Number(entry) === Number(version)) ?? "";
      return [readFileSync(join(savedModels, name, folder, "saved_model.pb"), "latin1"), servable];
    }),
  ),
);

/** The servable that stands for the SavedModel in a folder. */
export const loadGoldenServable: LoadServable = (versionDir) => {
  const servable = servables.get(readFileSync(join(versionDir, "saved_model.pb"), "latin1"));
  // What TensorFlow says of a file that is no SavedModel.
  if (servable === undefined) throw new ServingError("Read less bytes than requested", { code: "OUT_OF_RANGE" });
  return servable;
};
