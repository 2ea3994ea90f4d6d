/** What a request finds: the servable of a version of a model. */
import type { ModelSpec } from "../model-spec.js";
import type { Batching } from "./batching.js";
import type { LoadedServable } from "./served-model.js";

/** The servable that answers a request. */
export interface ServableHandle {
  /** As the request names the model. */
  readonly name: string;
  readonly version: bigint;
  readonly loaded: LoadedServable;
  /** Absent where the server runs every request by itself. */
  readonly batching: Batching | undefined;
  /** Whether the method name of a signature has to fit the call. */
  readonly checksMethodNames?: boolean;
}

/** Where requests find servables. */
export interface ServableSource {
  /** @throws ServingError with the code and text of the real server if there is no such model, version or label. */
  resolve(spec: ModelSpec): ServableHandle;
}

/** What goes on although its call has failed, by the error of the call. */
const unfinished = new WeakMap<Error, Promise<void>>();

/** Note that a function may go on although its call fails. */
export function leaveRunning(failure: Error, ended: Promise<void>): void {
  unfinished.set(failure, ended);
}

/** Resolves when what has failed with an error has ended, too. */
export async function endOf(failure: unknown): Promise<void> {
  await unfinished.get(failure as Error);
}

/** The outcome of a call on a servable, which stays until then, UNLOADING if it is not wanted any more. */
export async function whileHeld<T>({ loaded }: ServableHandle, call: () => Promise<T>): Promise<T> {
  const release = loaded.hold();
  try {
    return await call();
  } finally {
    release();
  }
}
