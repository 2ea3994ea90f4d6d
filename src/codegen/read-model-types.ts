/**
 * Reading the definitions in a file that `modelTypesFile` wrote, also after a formatter or a person has changed it.
 *
 * The file is read, not run: what stands in `defineModel(...)` has to be a literal.
 */
import { FormatError } from "../errors.js";

/**
 * White space and comments, then a string, a template, a number, a word, an arrow or a single character.
 *
 * At the end of the file there is no token: were it not optional, one would be found inside the last comment. What has no end is one token
 * too, or each quote in it would be searched for another end.
 */
const tokenPattern =
  /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$))*("(?:[^"\\\n]|\\[\s\S])*"?|'(?:[^'\\\n]|\\[\s\S])*'?|`(?:[^`\\]|\\[\s\S])*`?|-?(?:\d[\d.]*(?:e[+-]?\d+)?n?|(?:Infinity|NaN)(?![\p{ID_Continue}$]))|[\p{ID_Start}$_][\p{ID_Continue}$]*|=>|\S)?/uy;

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
 * @throws FormatError with line and column where a definition is no literal, or the second of its name.
 */
export function readModelTypes(text: string): Record<string, unknown> {
  return new DefinitionReader(text).definitions();
}

/** Reads a file token by token; its definitions are literals of objects, arrays, strings, numbers, bigints, booleans and null. */
class DefinitionReader {
  readonly #text: string;
  #position = 0;
  /** Where the token begins that was taken last. */
  #start = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  definitions(): Record<string, unknown> {
    const definitions: Record<string, unknown> = Object.create(null);
    for (let token = this.#take(); token !== ""; token = this.#take()) {
      if (token !== "export" || !this.#skip("const")) continue;
      const name = this.#take();
      this.#skipType();
      if (!this.#skip("=") || !this.#skip("defineModel")) continue;
      if (Object.hasOwn(definitions, name)) throw this.#unexpected(`one definition of ${name}`, "a second");
      definitions[name] = this.#argument();
    }
    return definitions;
  }

  /** The type that a constant may be declared with. */
  #skipType(): void {
    if (!this.#skip(":")) return;
    while (this.#peek() !== "=" && this.#peek() !== "") this.#take();
  }

  /** The one literal in the brackets of a call. */
  #argument(): unknown {
    this.#expect("(");
    const value = this.#value();
    if (this.#skip("as")) this.#expect("const");
    this.#skip(",");
    this.#expect(")");
    return value;
  }

  #value(): unknown {
    const token = this.#take();
    if (token === "{") return this.#nested(() => this.#object());
    if (token === "[") return this.#nested(() => this.#list("]", () => this.#value()));
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
      object[key] = this.#value();
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

  /** Take the token if it is this one. */
  #skip(wanted: string): boolean {
    const isNext = this.#peek() === wanted;
    if (isNext) this.#take();
    return isNext;
  }

  #peek(): string {
    tokenPattern.lastIndex = this.#position;
    return tokenPattern.exec(this.#text)?.[1] ?? "";
  }

  #take(): string {
    const token = this.#peek();
    this.#position = tokenPattern.lastIndex;
    this.#start = this.#position - token.length;
    return token;
  }

  /** The error of the token that was taken last. */
  #unexpected(wanted: string, got: string): FormatError {
    const before = this.#text.slice(0, this.#start).split("\n");
    const [line, column] = [before.length, (before.at(-1) ?? "").length + 1];
    const shown = got === "" ? "the end of the file" : got.slice(0, 40);
    return new FormatError(`line ${line}, column ${column}: expected ${wanted}, got ${shown}`, { line, column });
  }
}

const singleQuoted: Readonly<Record<string, string>> = { "\\'": "'", '"': '\\"' };

function isQuoted(token: string): boolean {
  // One without an end is a token as well.
  return token.length > 1 && /^["']/.test(token) && token.at(-1) === token[0];
}
