/** Reading the files of a SavedModel: whole, as protobuf messages, and with errors that name them. */
import { readFile } from "node:fs/promises";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { FormatError, isServingError } from "../errors.js";
import type { WireReader } from "../tensor/wire.js";

/**
 * The bytes of a file; `undefined` if there is none.
 *
 * @throws The system's error if it is there and cannot be read.
 */
export async function readFileIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    const bytes = await readFile(path);
    // A plain Uint8Array, whose `slice` copies.
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Whether an error says that there is no such file or folder. */
export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** What a step gives; a FormatError of it then begins with `place`, such as the path of a file. */
export function naming<T>(place: string, step: () => T): T {
  try {
    return step();
  } catch (cause) {
    if (!isServingError(cause, "FormatError")) throw cause;
    const offset = cause.offset === undefined ? {} : { offset: cause.offset };
    throw new FormatError(`${place}: ${cause.message}`, { ...offset, cause });
  }
}

/**
 * The message that the rest of a reader holds; shares its memory.
 *
 * @throws FormatError with the offset in the reader's bytes.
 */
export function decodeMessage<Message>(codec: { decode(reader: BinaryReader, length: number): Message }, from: WireReader): Message {
  // Cut at the end, which a damaged length inside the message would not respect.
  const reader = new BinaryReader(from.bytes.subarray(0, from.end));
  reader.pos = from.position;
  try {
    return codec.decode(reader, from.end - from.position);
  } catch (cause) {
    const offset = Math.min(reader.pos, from.end);
    throw new FormatError(`malformed message: ${(cause as Error).message} at ${offset}`, { offset, cause });
  }
}
