/** Base paths with version folders whose content says what a loader shall make of them. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServingError } from "../../src/errors.js";
import { type LoadServable, type Servable, servable } from "../../src/server/index.js";

/** A servable that answers its version, and the marker it was loaded from. */
export function versionServable(version: bigint, marker: string): Servable {
  return servable({
    signatures: {
      serving_default: {
        inputs: { x: { dtype: "float32", shape: [null] } },
        outputs: { version: { dtype: "int64", shape: [] }, marker: { dtype: "string", shape: [] } },
      },
    },
    predict: () => ({ version, marker }),
  });
}

/** A folder of models on the disk. */
export class VersionRoot {
  readonly path = mkdtempSync(join(tmpdir(), "tfserving-versions-"));

  /** The base path of a model. */
  of(model: string): string {
    return join(this.path, model);
  }

  /** Adds a version at once, as a careful deployment does; the marker `broken` makes it fail to load. */
  add(model: string, version: number | string, marker = "fine"): void {
    const made = join(this.path, `.${model}-${version}`);
    mkdirSync(made, { recursive: true });
    writeFileSync(join(made, "marker"), marker);
    mkdirSync(this.of(model), { recursive: true });
    renameSync(made, join(this.of(model), String(version)));
  }

  /** Takes a version, or a whole model, away. */
  remove(model: string, version?: number): void {
    rmSync(version === undefined ? this.of(model) : join(this.of(model), String(version)), { recursive: true, force: true });
  }

  /** Makes a {@link versionServable} of a folder. */
  readonly load: LoadServable = (versionDir, { version }) => {
    const marker = readFileSync(join(versionDir, "marker"), "utf8");
    if (marker === "broken") throw new ServingError("Read less bytes than requested", { code: "OUT_OF_RANGE" });
    return versionServable(version, marker);
  };

  /** Removes all of it. */
  close(): void {
    rmSync(this.path, { recursive: true });
  }
}
