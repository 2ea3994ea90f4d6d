/**
 * Names in descriptors: which are acceptable, and the JSON name protoc derives from a field's name.
 *
 * Source: the Protocol Buffers language specification, "Lexical elements" and "JSON Mapping".
 */

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;
const dottedName = /^\.?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const fileSegment = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;

/** Return `name` if it can stand as one identifier in `.proto` text; descriptors are input and may hold anything. */
export function assertIdentifier(name: string): string {
  if (!identifier.test(name)) throw new Error(`expected a protobuf identifier, got ${JSON.stringify(name)}`);
  return name;
}

/** Return `name` if it is identifiers joined by dots, with or without the leading dot of a full name. */
export function assertDottedName(name: string): string {
  if (!dottedName.test(name)) throw new Error(`expected a dotted protobuf name, got ${JSON.stringify(name)}`);
  return name;
}

/** Return `path` if it is a relative `.proto` path that stays inside the folder it is joined to. */
export function assertProtoPath(path: string): string {
  if (!isProtoPath(path)) throw new Error(`expected a relative path of a .proto file, got ${JSON.stringify(path)}`);
  return path;
}

/** As systems have it. */
const maxPathLength = 4096;

/** Whether `path` is one that {@link assertProtoPath} returns. */
export function isProtoPath(path: string): boolean {
  return path.length < maxPathLength && path.endsWith(".proto") && path.split("/").every((segment) => fileSegment.test(segment));
}

/** Whether a file, by the path it is imported by, is one of Google's own, which the compiler brings. */
export function isCompilersFile(path: string): boolean {
  return path.startsWith("google/protobuf/");
}

/** The JSON name protoc gives a field that names none: underscores go, the letter after one becomes upper case. */
export function defaultJsonName(fieldName: string): string {
  return fieldName.replace(/_+(.?)/g, (_match, next: string) => next.toUpperCase());
}
