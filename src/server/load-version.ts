/** Loading the folder of a version: made a servable, warmed up, and tried again where that fails. */
import { stat } from "node:fs/promises";
import { untilAborted } from "../deadline.js";
import type { ServingError } from "../errors.js";
import type { Clock } from "./clock.js";
import { failureOf, refusal } from "./refusal.js";
import { isServable, type Servable } from "./servable.js";
import type { LoadSource } from "./served-model.js";

/** A version of a model. */
export interface VersionName {
  readonly name: string;
  readonly version: bigint;
}

/**
 * Turns the folder of a version into a servable; a rejection is a load failure, a `ServingError` with its code.
 *
 * @param versionDir - The folder, such as `/models/digits/3`.
 */
export type LoadServable = (versionDir: string, model: VersionName) => Servable | Promise<Servable>;

/** A folder needs somebody who can load it. */
export const refuseFolder: LoadServable = (versionDir) => {
  throw refusal("UNIMPLEMENTED", `This server runs JavaScript servables; to serve ${versionDir} start it with the option loadServable`);
};

/**
 * What `loadServable` makes of a folder.
 *
 * @throws ServingError FAILED_PRECONDITION if it is no folder; TypeError if it becomes no servable; what `loadServable` throws.
 */
export async function servableFrom(loadServable: LoadServable, versionDir: string, model: VersionName): Promise<Servable> {
  if (!(await stat(versionDir)).isDirectory()) {
    const text = `Error while attempting to reserve resources to load servable {name: ${model.name} version: ${model.version}}`;
    throw refusal("FAILED_PRECONDITION", `${text}: ${versionDir}; Not a directory`);
  }
  const servable: unknown = await loadServable(versionDir, model);
  if (isServable(servable)) return servable;
  throw new TypeError(`loadServable: expected a servable, got ${servable === null ? "null" : typeof servable}`);
}

/** How often and when a version is tried again that did not load, and who is told. */
export interface LoadRetries {
  readonly maxRetries: number;
  readonly intervalMs: number;
  /** Called for each attempt that fails; the first is 1. */
  readonly onFailure: (version: bigint, error: ServingError, attempt: number) => void;
}

/**
 * Loads with further attempts after failures, as long as the version is wanted; the last failure counts.
 *
 * @param signal - Ends the wait for the next attempt.
 */
export function loadWithRetries({ maxRetries, intervalMs, onFailure }: LoadRetries, clock: Clock, signal: AbortSignal): LoadSource {
  return async (source, { version, isWanted }) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await source();
      } catch (error) {
        const failure = failureOf(error);
        onFailure(version, failure, attempt);
        if (attempt > maxRetries) throw failure;
        await untilAborted<void>(signal, (resolve) => clock.after(intervalMs, () => resolve()));
        if (!isWanted()) throw failure;
      }
    }
  };
}
