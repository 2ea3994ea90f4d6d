/**
 * The one error family of this package.
 *
 * Every failure that a caller may want to branch on is a {@link ServingError} with a canonical gRPC code name, whichever transport
 * produced it. Wrong option or argument types stay plain `TypeError` / `RangeError`.
 *
 * An error about a call begins with its code and what was tried: `NOT_FOUND: predict m:3: ...`. One about a value or a file alone begins
 * with that value or place; whoever knows the call adds the rest.
 */
import { knownFailure } from "./error-hints.js";

/** Canonical gRPC status code names, each at the index of its number. */
export const statusCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** A canonical gRPC status code name. */
export type StatusCode = (typeof statusCodes)[number];

/** The code name of a gRPC status number; `UNKNOWN` for numbers outside 0..16. */
export function statusCodeFromNumber(code: number): StatusCode {
  return statusCodes[code] ?? "UNKNOWN";
}

/** Found on errors of every copy of this package, so that two installed versions understand each other. */
const brand: unique symbol = Symbol.for("tfserving.ServingError") as never;

/** What every error of this family is made from. */
export interface ServingErrorOptions {
  /** Canonical gRPC code name. */
  code: StatusCode;
  /** Whether the same call may succeed when it is sent again. @defaultValue false */
  retryable?: boolean;
  /** What the caller can do about it. */
  hint?: string | undefined;
  /** The error underneath. */
  cause?: unknown;
}

/** Base of all errors this package throws for a failed call, tensor, signature or file. */
export class ServingError extends Error {
  /** Class name, stable across copies of the package. */
  override readonly name: string = "ServingError";
  /** Canonical gRPC code name, such as `NOT_FOUND`. */
  readonly code: StatusCode;
  /** Whether the same call may succeed when it is sent again. */
  readonly retryable: boolean;
  /** What the caller can do about it, where that is known. */
  declare readonly hint?: string;

  constructor(message: string, options: ServingErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    Object.defineProperty(this, brand, { value: true });
    this.code = options.code;
    this.retryable = options.retryable ?? false;
    if (options.hint !== undefined) this.hint = options.hint;
  }
}

/** Which model a call was about, as it stands in errors. */
export interface ErrorModelSpec {
  readonly name: string;
  readonly version?: number | bigint | undefined;
  readonly versionLabel?: string | undefined;
  readonly signatureName?: string | undefined;
}

/** Which call an error is about. */
export interface ErrorSubject {
  /** RPC name in camelCase, such as `predict`. */
  readonly method: string;
  /** The model that was asked; absent where the call is about none. */
  readonly modelSpec?: ErrorModelSpec | undefined;
}

/** What an {@link RpcError} is made from. */
export interface RpcErrorOptions extends ServingErrorOptions, ErrorSubject {
  /** Address of the server that was asked, such as `localhost:8500`. */
  endpoint: string;
  /** Which transport carried the call: `grpc`, `rest`, `in-memory`... */
  transport: string;
  /** The server's own words, or those of the connection library. */
  serverMessage: string;
}

/** A call that the server or the connection to it refused. */
export class RpcError extends ServingError {
  override readonly name = "RpcError";
  /** The model that was asked, where the call named one. */
  declare readonly modelSpec?: ErrorModelSpec;
  /** Address of the server that was asked. */
  readonly endpoint: string;
  /** Which transport carried the call. */
  readonly transport: string;
  /** The server's own words. */
  readonly serverMessage: string;

  constructor(options: RpcErrorOptions) {
    const { code, serverMessage } = options;
    const known = knownFailure(serverMessage, [code]);
    const again = known?.retryable ?? code === "UNAVAILABLE";
    super(`${code}: ${formatCall(options.method, options.modelSpec)}: ${serverMessage}`, {
      ...options,
      retryable: options.retryable ?? again !== false,
      hint: options.hint ?? known?.hint,
    });
    if (options.modelSpec !== undefined) this.modelSpec = ownModelSpec(options.modelSpec);
    this.endpoint = options.endpoint;
    this.transport = options.transport;
    this.serverMessage = options.serverMessage;
  }
}

/** Values that cannot be a tensor: wrong count, range, fraction, shape or undecodable bytes. */
export class TensorError extends ServingError {
  override readonly name = "TensorError";

  constructor(message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, { code: "INVALID_ARGUMENT", ...options });
  }
}

/** The error of a tensor or feature that goes with a call, with code and call before its own words. */
export function tensorErrorOf({ method, modelSpec }: ErrorSubject, cause: TensorError): TensorError {
  const hint = cause.hint === undefined ? {} : { hint: cause.hint };
  return new TensorError(`${cause.code}: ${formatCall(method, modelSpec)}: ${cause.message}`, { cause, ...hint });
}

/** The error of what a call needs beside its inputs, such as credentials, with code and call before its own words. */
export function servingErrorOf({ method, modelSpec }: ErrorSubject, { code, message, hint, cause }: ServingError): ServingError {
  return new ServingError(`${code}: ${formatCall(method, modelSpec)}: ${message}`, { code, hint, cause });
}

/** Inputs that do not fit the model's signature; the message and `differences` list every mismatch. */
export class SignatureError extends ServingError {
  override readonly name = "SignatureError";
  /** One sentence for each mismatch. */
  readonly differences: readonly string[];

  constructor(subject: string, differences: readonly string[]) {
    super(`INVALID_ARGUMENT: ${subject}: ${differences.join("; ")}`, { code: "INVALID_ARGUMENT" });
    this.differences = differences;
  }
}

/** A file or text that cannot be read as what it claims to be. */
export class FormatError extends ServingError {
  override readonly name = "FormatError";
  /** Byte offset in a binary format. */
  declare readonly offset?: number;
  /** 1-based line in a text format. */
  declare readonly line?: number;
  /** 1-based column in a text format. */
  declare readonly column?: number;

  constructor(message: string, options: { offset?: number; line?: number; column?: number; cause?: unknown } = {}) {
    super(message, { code: "DATA_LOSS", cause: options.cause });
    if (options.offset !== undefined) this.offset = options.offset;
    if (options.line !== undefined) this.line = options.line;
    if (options.column !== undefined) this.column = options.column;
  }
}

/** The error of bytes that go with a call, with code and call before its own words. */
export function formatErrorOf({ method, modelSpec }: ErrorSubject, cause: FormatError): FormatError {
  const offset = cause.offset === undefined ? {} : { offset: cause.offset };
  return new FormatError(`${cause.code}: ${formatCall(method, modelSpec)}: ${cause.message}`, { cause, ...offset });
}

/** The classes of the family by name. */
interface ServingErrorByName {
  ServingError: ServingError;
  RpcError: RpcError;
  TensorError: TensorError;
  SignatureError: SignatureError;
  FormatError: FormatError;
}

/**
 * Whether a caught value belongs to this family, and to one class of it when `name` is given.
 *
 * Works on errors made by another copy of the package, where `instanceof` does not.
 */
export function isServingError(error: unknown): error is ServingError;
export function isServingError<N extends keyof ServingErrorByName>(error: unknown, name: N): error is ServingErrorByName[N];
export function isServingError(error: unknown, name?: string): boolean {
  if (typeof error !== "object" || error === null || !(brand in error)) return false;
  return name === undefined || name === "ServingError" || (error as { name?: unknown }).name === name;
}

/**
 * An error of the same class that says the same, for another caller: what one does to its own no other sees.
 *
 * @returns The error itself if it is not of this family, for what its class keeps to itself could not be copied.
 */
export function copyOfError(error: unknown): unknown {
  if (!isServingError(error)) return error;
  const copy: Error = Object.setPrototypeOf(new Error(error.message), Object.getPrototypeOf(error));
  Object.defineProperties(copy, Object.getOwnPropertyDescriptors(error));
  // Newer versions of Node have an accessor there, which tells where the copy was made.
  if (error.stack !== undefined) copy.stack = error.stack;
  return copy;
}

/** A model spec as it stands in messages: `name`, `name:3` or `name@label`. */
export function formatModelSpec(spec: ErrorModelSpec): string {
  if (spec.version !== undefined) return `${spec.name}:${spec.version}`;
  if (spec.versionLabel !== undefined) return `${spec.name}@${spec.versionLabel}`;
  return spec.name;
}

/** A call as it stands in messages: `predict name:3`. */
export function formatCall(method: string, spec: ErrorModelSpec | undefined): string {
  return spec === undefined ? method : `${method} ${formatModelSpec(spec)}`;
}

/** A copy of what errors show of a spec: fields that are not set are absent. */
function ownModelSpec({ name, version, versionLabel, signatureName }: ErrorModelSpec): ErrorModelSpec {
  return {
    name,
    ...(version === undefined ? {} : { version }),
    ...(versionLabel === undefined ? {} : { versionLabel }),
    ...(signatureName === undefined ? {} : { signatureName }),
  };
}
