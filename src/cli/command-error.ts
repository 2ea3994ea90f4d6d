/** How a command fails: the exit codes, and what a person is told. */
import { inspect } from "node:util";
import { CommanderError } from "commander";
import { isServingError } from "../errors.js";
import type { Io } from "./io.js";

/** What the program's exit codes mean; `notStarted` is the real server's, of a server that did not start. */
export const exitCodes = Object.freeze({ ok: 0, refused: 1, wrongInput: 2, unreachable: 3, notStarted: 255 } as const);

/** What a {@link CommandError} is made from. */
export interface CommandErrorOptions {
  /** One of {@link exitCodes}; `wrongInput` where the caller can put it right, `refused` where a server, model or check says no. */
  readonly exitCode: (typeof exitCodes)[keyof typeof exitCodes];
  /** What the caller can do about it, in one line. */
  readonly hint?: string;
  /** The error underneath, for those who debug. */
  readonly cause?: unknown;
}

/** A failure that a command finds itself; all others say by their class what they are. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: number;
  declare readonly hint?: string;

  constructor(message: string, { exitCode, hint, cause }: CommandErrorOptions) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
    if (hint !== undefined) this.hint = hint;
  }
}

/** How {@link reportError} tells of an error. */
interface ReportOptions {
  /** Show the whole error, with stack and causes. */
  readonly debug: boolean;
  /** Exit code where the command line is wrong. @defaultValue exitCodes.wrongInput */
  readonly wrongUsage?: number | undefined;
}

/**
 * Tell a person why a command failed: one line, and a hint where there is one.
 *
 * @returns The exit code.
 */
export function reportError(error: unknown, { stderr }: Io, { debug, wrongUsage = exitCodes.wrongInput }: ReportOptions): number {
  // What commander found wrong it has told already; its code for help and version is 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : wrongUsage;
  stderr.write(printable(debug ? `${inspect(error)}\n` : `error: ${messageOf(error)}\n${hintOf(error)}`));
  return exitCodeOf(error);
}

/** A text that a terminal shows and does not obey: control characters, other than the ends of lines, as `\u{1b}`. */
export function printable(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommandError) return error.exitCode;
  if (isServingError(error) && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED")) return exitCodes.unreachable;
  return isServingError(error, "RpcError") ? exitCodes.refused : exitCodes.wrongInput;
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ");
}

function hintOf(error: unknown): string {
  const hint = isServingError(error) || error instanceof CommandError ? error.hint : undefined;
  return hint === undefined ? "" : `hint: ${hint}\n`;
}
