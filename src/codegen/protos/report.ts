/** What changes from one proto tree to the next: as data, and in words. */
import type { FileDescriptorProto, FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { isCompilersFile } from "./descriptor-names.js";
import { type ChangeEffect, type InterfaceChange, interfaceChanges } from "./interface-changes.js";
import { isHigherVersion } from "./versions.js";

/** Versions of the two upstream projects. */
export interface ProtoVersions {
  readonly tensorflow: string;
  readonly serving: string;
}

/** What changes from one tree to another. Paths are those that files are imported by. */
export interface ProtosReport {
  /** Absent where there was no tree before. */
  readonly from?: ProtoVersions;
  readonly to: ProtoVersions;
  readonly files: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    /** What they declare is in another file now. */
    readonly moved: readonly { readonly from: string; readonly to: string }[];
  };
  readonly changes: readonly InterfaceChange[];
  /** Why this change is refused unless it is allowed expressly; empty if it is not. */
  readonly refusals: readonly string[];
}

/** A tree that is compiled, and which versions it is of. */
export interface CompiledTree {
  readonly versions: ProtoVersions;
  readonly set: FileDescriptorSet;
}

/**
 * Compare two trees; where there is none before, nothing is listed.
 *
 * @throws ServingError `FAILED_PRECONDITION` that names a file which cannot be compared, also where there is none before.
 */
export function reportChanges(before: CompiledTree | undefined, after: CompiledTree): ProtosReport {
  const to = after.versions;
  // The first tree is compared with itself, or the next one would find that it cannot be compared.
  const old = before ?? after;
  const changes = interfaceChanges(old.set, after.set);
  const files = fileChanges(old.set, after.set);
  const from = before === undefined ? {} : { from: before.versions };
  return { ...from, to, files, changes, refusals: refusalsOf(changes, old.versions, to) };
}

/** What breaks is refused in either direction; what an older version does not have yet is no surprise. */
function refusalsOf(changes: readonly InterfaceChange[], from: ProtoVersions, to: ProtoVersions): string[] {
  const isUpgrade = isHigherVersion(to.tensorflow, from.tensorflow) || isHigherVersion(to.serving, from.serving);
  const refused = changes.filter(({ effect }) => effect === "breaking" || (effect === "removal" && isUpgrade));
  return refused.map((change) => `${change.file}: ${describeChange(change)}`);
}

function fileChanges(before: FileDescriptorSet, after: FileDescriptorSet): ProtosReport["files"] {
  const old = upstreamFiles(before);
  const fresh = upstreamFiles(after);
  const gone = [...old.values()].filter((file) => !fresh.has(file.name));
  const come = [...fresh.values()].filter((file) => !old.has(file.name));
  const moved = gone.flatMap((file) => {
    const declared = new Set(declaredNames(file));
    const to = come.find((other) => declaredNames(other).some((name) => declared.has(name)));
    return to === undefined ? [] : [{ from: file.name, to: to.name }];
  });
  const isMoved = (path: string) => moved.some(({ from, to }) => from === path || to === path);
  const others = (files: readonly FileDescriptorProto[]) => files.map(({ name }) => name).filter((name) => !isMoved(name));
  return { added: others(come), removed: others(gone), moved };
}

function upstreamFiles(set: FileDescriptorSet): Map<string, FileDescriptorProto> {
  const files = set.file.filter(({ name }) => !isCompilersFile(name));
  return new Map(files.sort((a, b) => (a.name < b.name ? -1 : 1)).map((file) => [file.name, file]));
}

function declaredNames({ package: scope, messageType, enumType, service }: FileDescriptorProto): string[] {
  return [...messageType, ...enumType, ...service].map(({ name }) => `${scope}.${name}`);
}

/** A report as lines of text. */
export function reportLines({ from, to, files, changes }: ProtosReport): string[] {
  if (from === undefined) return [`TensorFlow ${to.tensorflow}, TensorFlow Serving ${to.serving}`];
  return [
    `TensorFlow ${from.tensorflow} -> ${to.tensorflow}, TensorFlow Serving ${from.serving} -> ${to.serving}`,
    ...files.added.map((path) => `file added: ${path}`),
    ...files.removed.map((path) => `file removed: ${path}`),
    ...files.moved.map((move) => `file moved: ${move.from} -> ${move.to}`),
    ...changes.flatMap((change, index) => [
      ...(changes[index - 1]?.file === change.file ? [] : [change.file]),
      `  ${describeChange(change)}`,
    ]),
    summary(changes),
  ];
}

const effectWords: Readonly<Record<ChangeEffect, string>> = {
  compatible: "",
  "source-only": " (the bytes stay the same)",
  removal: " (whoever uses it breaks)",
  breaking: " (breaks the wire)",
};

/** A change in words, such as `field tensorflow.X.y added: 3 implicit bool`. */
export function describeChange({ kind, change, name, before, after, effect }: InterfaceChange): string {
  const facts = [before, after].filter((fact) => fact !== undefined && fact !== "");
  const detail = change === "renamed" ? ` to ${after}` : facts.length === 0 ? "" : `: ${facts.join(" -> ")}`;
  return `${kind} ${name} ${change}${detail}${effectWords[effect]}`;
}

function summary(changes: readonly InterfaceChange[]): string {
  if (changes.length === 0) return "the interface is the same";
  const count = (effect: ChangeEffect) => changes.filter((change) => change.effect === effect).length;
  return `${changes.length} changes: ${count("breaking")} break the wire, ${count("removal")} remove something`;
}
