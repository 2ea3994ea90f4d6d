/**
 * What differs between two interfaces, and what each difference does to those who speak the old one.
 *
 * Compared are the lines that the wire digest is made of, here of all packages. Google's own files are the compiler's and play no part.
 */
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { isCompilersFile } from "./descriptor-names.js";
import { fileLines } from "./wire-digest.js";

/**
 * `breaking`: bytes or JSON of the old interface mean something else in the new one. `removal`: a name of the old one is gone.
 * `source-only`: no byte changes, but generated code may. `compatible`: something new.
 */
export type ChangeEffect = "compatible" | "source-only" | "removal" | "breaking";

/** One difference between two interfaces. */
export interface InterfaceChange {
  readonly kind: "message" | "field" | "oneof" | "enum" | "value" | "service" | "method";
  readonly change: "added" | "removed" | "changed" | "renamed";
  /** Full name; of a renamed one the old name. */
  readonly name: string;
  /** What the old interface says of it, such as `33 implicit bool`; of a renamed one its old name. */
  readonly before?: string;
  /** What the new interface says of it; of a renamed one its new name. */
  readonly after?: string;
  readonly effect: ChangeEffect;
  /** Path of the `.proto` file that has it, the new one where both have it. */
  readonly file: string;
}

/** A line of the wire digest in its parts. */
interface Fact {
  readonly kind: InterfaceChange["kind"];
  readonly name: string;
  /** Of a field or enum value. */
  readonly number: string | undefined;
  /** Everything else. */
  readonly text: string;
  readonly file: string;
}

/** Facts by kind and name. */
type Facts = ReadonlyMap<string, Fact>;

interface FactPair {
  readonly before: Fact;
  readonly after: Fact;
}

/**
 * The differences between two descriptor sets, sorted by file, then by name.
 *
 * @throws ServingError `FAILED_PRECONDITION` that names a file with extensions or editions, of whichever package.
 */
export function interfaceChanges(before: FileDescriptorSet, after: FileDescriptorSet): InterfaceChange[] {
  const fresh = factsOf(after);
  const oneofs = renamedOneofs(factsOf(before), fresh);
  const old = withOneofs(factsOf(before), oneofs);

  const common = [...old].flatMap(([key, fact]) => pairOf(fact, fresh.get(key)));
  const gone = [...old].filter(([key]) => !fresh.has(key)).map(([, fact]) => fact);
  const come = [...fresh].filter(([key]) => !old.has(key)).map(([, fact]) => fact);
  const successorOf = (fact: Fact) => come.find((other) => hasPlaceOf(fact, other));
  const succeeded = gone.flatMap((fact) => pairOf(fact, successorOf(fact)));
  const paired = new Set(succeeded.flatMap((pair) => [pair.before, pair.after]));
  const changes = [
    ...oneofs,
    ...common.filter((pair) => saying(pair.before) !== saying(pair.after)).map(changed),
    ...succeeded.map(renamed),
    ...gone.filter((fact) => !paired.has(fact)).map(removed),
    ...come.filter((fact) => !paired.has(fact)).map(added),
  ];
  return changes.sort((a, b) => compare(a.file, b.file) || compare(a.name, b.name) || compare(a.kind, b.kind));
}

/** What lines begin with, and what it is called here. */
const kinds: ReadonlyMap<string, Fact["kind"]> = new Map([
  ["message", "message"],
  ["field", "field"],
  ["enum", "enum"],
  ["value", "value"],
  ["service", "service"],
  ["rpc", "method"],
]);
const factLine = /^(\w+) (\S+)(?: = (-?\d+))?(?: (.*))?$/s;

function factsOf(set: FileDescriptorSet): Facts {
  const files = set.file.filter((file) => !isCompilersFile(file.name));
  const facts = files.flatMap((file) => fileLines(file).map((line) => factOf(line, file.name)));
  return new Map(facts.map((fact) => [`${fact.kind} ${fact.name}`, fact]));
}

function factOf(line: string, file: string): Fact {
  const [, word = "", name = "", number, text = ""] = factLine.exec(line) ?? [];
  const kind = kinds.get(word);
  if (kind === undefined) throw new Error(`expected a line of the wire digest, got ${JSON.stringify(line)}`);
  return { kind, name, number, text, file };
}

function pairOf(before: Fact, after: Fact | undefined): FactPair[] {
  return after === undefined ? [] : [{ before, after }];
}

/** What a fact says besides its name. */
function saying({ number, text }: Fact): string {
  return [number, text].filter((part) => part !== undefined && part !== "").join(" ");
}

function ownerOf(fact: Fact): string {
  return fact.name.slice(0, fact.name.lastIndexOf("."));
}

/** Whether two fields or values are the same number of the same message or enum. */
function hasPlaceOf(fact: Fact, other: Fact): boolean {
  return fact.number !== undefined && other.number === fact.number && other.kind === fact.kind && ownerOf(other) === ownerOf(fact);
}

function added(fact: Fact): InterfaceChange {
  const { kind, name, file } = fact;
  return { kind, change: "added", name, after: saying(fact), effect: "compatible", file };
}

function removed(fact: Fact): InterfaceChange {
  const { kind, name, file } = fact;
  return { kind, change: "removed", name, before: saying(fact), effect: "removal", file };
}

function changed({ before, after }: FactPair): InterfaceChange {
  const { kind, name, file } = after;
  return { kind, change: "changed", name, before: saying(before), after: saying(after), effect: "breaking", file };
}

/** One number under another name: the old name is gone, which JSON shows; where the type is another too, bytes show it as well. */
function renamed({ before, after }: FactPair): InterfaceChange {
  const { kind, name } = before;
  const { file } = after;
  if (before.text === after.text) return { kind, change: "renamed", name, before: name, after: after.name, effect: "removal", file };
  const named = (fact: Fact) => `${fact.name} = ${saying(fact)}`;
  return { kind, change: "changed", name, before: named(before), after: named(after), effect: "breaking", file };
}

const oneofWord = / oneof=(\S+)/;

/** Full name of the oneof a field is in. */
function oneofOf(fact: Fact | undefined): string | undefined {
  const name = oneofWord.exec(fact?.text ?? "")?.[1];
  return fact === undefined || name === undefined ? undefined : `${ownerOf(fact)}.${name}`;
}

/** A oneof has another name, and is not another oneof, if neither interface has both names, and all fields agree on the two. */
function renamedOneofs(old: Facts, fresh: Facts): Required<InterfaceChange>[] {
  const oldNames = new Set([...old.values()].map(oneofOf));
  const freshNames = new Set([...fresh.values()].map(oneofOf));
  const found = new Map<string, Required<InterfaceChange>>();
  for (const [key, fact] of old) {
    const [before, after] = [oneofOf(fact), oneofOf(fresh.get(key))];
    if (before === undefined || after === undefined || freshNames.has(before) || oldNames.has(after)) continue;
    const { file } = fact;
    found.set(`${before} ${after}`, { kind: "oneof", change: "renamed", name: before, before, after, effect: "source-only", file });
  }
  const all = [...found.values()];
  return all.filter((one) => all.every((other) => other === one || (other.before !== one.before && other.after !== one.after)));
}

/** Old facts in the new words. */
function withOneofs(old: Facts, oneofs: readonly Required<InterfaceChange>[]): Facts {
  const names = new Map(oneofs.map(({ before, after }) => [before, after.slice(after.lastIndexOf(".") + 1)]));
  const translated = [...old].map(([key, fact]): [string, Fact] => {
    const name = names.get(oneofOf(fact) ?? "");
    return [key, name === undefined ? fact : { ...fact, text: fact.text.replace(oneofWord, ` oneof=${name}`) }];
  });
  return new Map(translated);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
