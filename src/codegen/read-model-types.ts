/**
 * Reading the definitions in a file that `modelTypesFile` wrote, also after a formatter or a person has changed it.
 *
 * The file is read, not run: what stands in `defineModel(...)` has to be a literal.
 */
import { FormatError } from "../errors.js";

const exportPattern = /^export const ([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*=\s*defineModel\(/gmu;

/** White space and comments, then a string, a number, a word or a single character. */
const tokenPattern =
  /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|-?(?:\d[\d.]*(?:e[+-]?\d+)?n?|Infinity|NaN)|[\p{ID_Start}$_][\p{ID_Continue}$]*|\S)/uy;

/** Deeper than definitions and their defaults are. */
const maxDepth = 300;

/** What words stand for. */
const constants: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["null", null],
  ["true", true],
  ["false", false],
]);

/**
 * The definitions in a file by the constants that they are exported as; unchecked, null prototype.
 *
 * @throws FormatError with line and column where a definition is no literal.
 */
export function readModelTypes(text: string): Record<string, unknown> {
  const definitions: Record<string, unknown> = Object.create(null);
  for (const match of text.matchAll(exportPattern)) {
    const reader = new LiteralReader(text, match.index + match[0].length);
    definitions[match[1] as string] = reader.value();
  }
  return definitions;
}

/** Reads one literal of objects, arrays, strings, numbers, bigints, booleans and null. */
class LiteralReader {
  readonly #text: string;
  #position: number;
  #depth = 0;

  constructor(text: string, position: number) {
    this.#text = text;
    this.#position = position;
  }

  value(): unknown {
    const token = this.#take();
    if (token === "{") return this.#nested(() => this.#object());
    if (token === "[") return this.#nested(() => this.#list("]", () => this.value()));
    if (isQuoted(token)) return this.#string(token);
    if (constants.has(token)) return constants.get(token);
    if (/^-?\d+n$/.test(token)) return BigInt(token.slice(0, -1));
    if (token === "NaN" || (token !== "" && !Number.isNaN(Number(token)))) return Number(token);
    throw this.#unexpected("a value", token);
  }

  #object(): Record<string, unknown> {
    const object: Record<string, unknown> = Object.create(null);
    this.#list("}", () => {
      const key = this.#key();
      this.#expect(":");
      object[key] = this.value();
    });
    return object;
  }

  #key(): string {
    const token = this.#take();
    if (isQuoted(token)) return this.#string(token);
    if (/^[\p{ID_Start}$_]/u.test(token)) return token;
    if (token !== "[") throw this.#unexpected("a name", token);
    const name = this.#string(this.#take());
    this.#expect("]");
    return name;
  }

  /** Items up to the closing bracket, a comma between them. */
  #list<Item>(end: string, item: () => Item): Item[] {
    const items: Item[] = [];
    while (this.#peek() !== end) {
      items.push(item());
      if (this.#peek() !== end) this.#expect(",");
    }
    this.#take();
    return items;
  }

  #nested<Value>(read: () => Value): Value {
    if (++this.#depth > maxDepth) throw this.#unexpected(`at most ${maxDepth} levels`, "more");
    const value = read();
    this.#depth--;
    return value;
  }

  #string(token: string): string {
    if (!isQuoted(token)) throw this.#unexpected("a string", token);
    // In single quotes, those are escaped and double quotes are not.
    const inner = token.startsWith("'") ? token.slice(1, -1).replaceAll(/\\.|"/g, (found) => singleQuoted[found] ?? found) : undefined;
    try {
      return JSON.parse(inner === undefined ? token : `"${inner}"`) as string;
    } catch {
      // JSON.parse says no more than that either.
      throw this.#unexpected("a string that JSON could hold", token);
    }
  }

  #expect(wanted: string): void {
    const token = this.#take();
    if (token !== wanted) throw this.#unexpected(`"${wanted}"`, token);
  }

  #peek(): string {
    tokenPattern.lastIndex = this.#position;
    return tokenPattern.exec(this.#text)?.[1] ?? "";
  }

  #take(): string {
    const token = this.#peek();
    if (token !== "") this.#position = tokenPattern.lastIndex;
    return token;
  }

  /** The error of the token that was taken last. */
  #unexpected(wanted: string, token: string): FormatError {
    const before = this.#text.slice(0, this.#position - token.length).split("\n");
    const [line, column] = [before.length, (before.at(-1) ?? "").length + 1];
    const got = token === "" ? "the end of the file" : token.slice(0, 40);
    return new FormatError(`line ${line}, column ${column}: expected ${wanted}, got ${got}`, { line, column });
  }
}

const singleQuoted: Readonly<Record<string, string>> = { "\\'": "'", '"': '\\"' };

function isQuoted(token: string): boolean {
  // One quote alone has no other end.
  return token.length > 1 && /^["']/.test(token);
}
