/** Where in a text its parser stopped: the parser we use does not say. */

/** A place in a text, and the field it belongs to. */
export interface TextPosition {
  /** Names of the fields around it, from outside to inside, joined by dots; `"text"` where it is in none. */
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
  /** Counted from 1, in UTF-16 units. */
  readonly column: number;
}

/** Strings (also those without an end), comments, white space, words and numbers, and every other character by itself. */
const tokenPattern = /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|#[^\n]*|\s+|[\w.]+|./gsu;

/**
 * The place of the token that ended the parsing of a text, or its end where more was expected.
 *
 * The parser reads from left to right and stops at the first error. So it has got as far as some place if it complains of a character put
 * there that no text may have; the last such place is found by halving. A string that is no UTF-8, and a number too large in a map, are
 * noticed one token later.
 *
 * @param parse - Throws for this text.
 */
export function locateError(text: string, parse: (text: string) => unknown): TextPosition {
  const tokens = [...text.matchAll(tokenPattern)].filter(([token]) => !/^[\s#]/.test(token));
  const reaches = probe(text, parse);
  let [reached, missed] = [0, tokens.length + 1];
  while (missed - reached > 1) {
    const middle = (reached + missed) >> 1;
    const last = tokens[middle - 1];
    if (last === undefined || reaches(last.index + last[0].length)) reached = middle;
    else missed = middle;
  }
  const offset = tokens[reached]?.index ?? text.length;
  const before = text.slice(0, offset);
  return {
    path: pathOf(tokens.slice(0, reached + 1).map(([token]) => token)),
    line: before.split("\n").length,
    column: offset - before.lastIndexOf("\n"),
  };
}

/** Whether the parser gets as far as an offset. */
function probe(text: string, parse: (text: string) => unknown): (offset: number) => boolean {
  // Of the private use area, one that the text does not have. The line before it ends a comment.
  let code = 0xe000;
  while (text.includes(String.fromCharCode(code))) code++;
  const sign = `U+${code.toString(16).toUpperCase()}`;
  return (offset) => {
    try {
      parse(`${text.slice(0, offset)}\n${String.fromCharCode(code)}`);
      return true;
    } catch (error) {
      return error instanceof Error && error.message.includes(sign);
    }
  };
}

/** The field that the last of these tokens is of. */
function pathOf(tokens: readonly string[]): string {
  const around: string[] = [];
  let field = "";
  let previous = "";
  for (const token of tokens) {
    if (token === "{" || token === "<") {
      around.push(field);
      field = "";
    } else if (token === "}" || token === ">") field = around.pop() ?? "";
    else if (/^[a-z_]/i.test(token) && previous !== ":") field = token;
    previous = token;
  }
  const path = [...around, field].filter((name) => name !== "").join(".");
  return path === "" ? "text" : path;
}
