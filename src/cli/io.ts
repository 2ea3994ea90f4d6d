/** What commands write, and where: the process's own streams, or those of a test. */
import { isTensor } from "../tensor/tensor.js";

/** One stream of text. */
export interface TextStream {
  write(text: string): unknown;
  /** Width of the terminal; absent where it is none. */
  readonly columns?: number | undefined;
}

/** What a command has of the world outside, beside files and servers. */
export interface Io {
  /** Results. */
  readonly stdout: TextStream;
  /** Errors, and the progress of long work. */
  readonly stderr: TextStream;
}

/** What `--json` prints: tensors as nested lists, 64-bit integers as text, bytes as `{ "b64": "..." }`. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, jsonValue, 2)}\n`;
}

function jsonValue(_key: string, value: unknown): unknown {
  if (isTensor(value)) return value.toNested();
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? { b64: Buffer.from(value).toString("base64") } : value;
}
