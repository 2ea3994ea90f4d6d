/** TypeScript files that define models as data, for `defineModel`; `read-model-types.ts` reads them again. */
import { isDeepStrictEqual } from "node:util";
import { isServingError } from "../errors.js";
import { type Signature, type TensorSpec, tensorFromPlain } from "../signature.js";
import type { AnyTensor, Nested } from "../tensor/tensor.js";

/** A model that a file is to define. */
export interface DefinedModel {
  /** The constant in the file. */
  readonly exportName: string;
  /** Name under which the model is served. */
  readonly name: string;
  /** Where the signatures were found, for readers. */
  readonly source: string;
  /** By name. */
  readonly signatures: Readonly<Record<string, Signature>>;
}

/** Defaults with more elements are not written down. */
const maxDefaultElements = 16;

/** How every file begins, so that the program knows its own. */
const firstWords = "// Models as data, written by `tfserving types`";

/** Whether a text begins as `modelTypesFile` has it begin. */
export function isModelTypesFile(text: string): boolean {
  return text.startsWith(firstWords);
}

/** A file that exports one definition for each model; the same models give the same text. */
export function modelTypesFile(models: readonly DefinedModel[]): string {
  const sources = models.map(({ exportName, source }) => `// ${exportName}: ${escaped(source)}\n`);
  return `${firstWords}: to change it, run that again; with --check it tells what has changed.
${sources.join("")}import { defineModel } from "tfserving";
${models.map(definitionText).join("")}`;
}

/** Names that no constant of the file can have: JavaScript's and TypeScript's own, and those that the file uses. */
const reservedNames = new Set(
  `await break case catch class const continue debugger default delete do else enum export extends false finally for function if implements
  import in instanceof interface let new null package private protected public return static super switch this throw true try typeof var
  void while with yield arguments eval undefined Infinity NaN defineModel`.split(/\s+/),
);

/** Whether a text can be the name of a constant in the file. */
export function isExportName(text: string): boolean {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(text) && !reservedNames.has(text);
}

/** The constant for a model where none is chosen: `half-plus-two` becomes `halfPlusTwo`. */
export function exportNameOf(modelName: string): string {
  const words = modelName.split(/(?:[^\p{ID_Continue}$]|_)+/u).filter((word) => word !== "");
  const [first = "model", ...others] = words;
  const joined = first + others.map((word) => word.replace(/^./u, (letter) => letter.toUpperCase())).join("");
  return [joined, `${joined}Model`].find(isExportName) ?? `model${joined}`;
}

function definitionText({ exportName, name, signatures }: DefinedModel): string {
  const parts = sortedEntries(signatures).map(([key, signature]) => signatureText(key, signature));
  return `
export const ${exportName} = defineModel({
  name: ${quoted(name)},
  signatures: ${block("  ", parts)},
});
`;
}

function signatureText(name: string, { methodName, inputs, outputs }: Signature): string {
  // A definition without one says the same, and most signatures have it.
  const method = methodName === "tensorflow/serving/predict" ? [] : [`methodName: ${quoted(methodName)}`];
  return `${keyText(name)}: ${block("    ", [...method, `inputs: ${specsText(inputs)}`, `outputs: ${specsText(outputs)}`])}`;
}

function specsText(specs: Readonly<Record<string, TensorSpec>>): string {
  return block(
    "      ",
    sortedEntries(specs).map(([name, spec]) => `${keyText(name)}: ${specText(spec)}`),
  );
}

function specText(spec: TensorSpec): string {
  const shape = spec.shape === null ? "null" : `[${spec.shape.map(String).join(", ")}]`;
  const optional = spec.default === undefined ? "" : `, ${defaultText(spec.default, spec)}`;
  return `{ dtype: ${quoted(spec.dtype)}, shape: ${shape}${optional} }`;
}

/** The default itself, for readers, where it is short and reads as what it is. */
function defaultText(value: AnyTensor, spec: TensorSpec): string {
  const plain = value.size > maxDefaultElements ? undefined : plainFrom(value, spec);
  return plain === undefined ? "optional: true" : `default: ${plainText(plain)}`;
}

type Plain = number | bigint | boolean | string | readonly Plain[];

/** The plain value that converts to a tensor; `undefined` if none does. */
function plainFrom(value: AnyTensor, spec: TensorSpec): Plain | undefined {
  try {
    const plain = withTexts(value.toNested());
    const { shape, values } = tensorFromPlain(plain, spec, "default");
    return isDeepStrictEqual([shape, values], [value.shape, value.values]) ? plain : undefined;
  } catch (error) {
    // Bytes that are no text, dtypes that take only tensors, lists without elements.
    if (error instanceof TypeError || isServingError(error)) return undefined;
    throw error;
  }
}

/** @throws TypeError where bytes are no UTF-8. */
function withTexts(node: Nested<number | bigint | boolean | Uint8Array>): Plain {
  if (Array.isArray(node)) return node.map(withTexts);
  return node instanceof Uint8Array ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(node) : node;
}

function plainText(value: Plain): string {
  if (typeof value === "object") return `[${value.map(plainText).join(", ")}]`;
  if (typeof value === "string") return quoted(value);
  if (typeof value === "bigint") return `${value}n`;
  return Object.is(value, -0) ? "-0" : String(value);
}

/** An object literal whose closing brace stands at `indent`, with each of its parts in a line. */
function block(indent: string, parts: readonly string[]): string {
  return parts.length === 0 ? "{}" : `{\n${parts.map((part) => `${indent}  ${part},\n`).join("")}${indent}}`;
}

function keyText(name: string): string {
  // In a literal the name itself would set the prototype.
  if (name === "__proto__") return `["__proto__"]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : quoted(name);
}

function quoted(text: string): string {
  return escaped(JSON.stringify(text));
}

/** Text whose every character can be seen, so that no name can end a line or hide what stands behind it. */
function escaped(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** In the order of their names, which files and servers give in any. */
function sortedEntries<Value>(record: Readonly<Record<string, Value>>): [string, Value][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}
