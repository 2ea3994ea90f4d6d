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

/** In longer texts no place is looked for. */
const maxTextLength = 1024 * 1024;

/** Characters that are parsed at most to find a place, which takes some 2 s: enough for the last of 5,000 models, not of 500,000 versions. */
const maxParsedLength = 2 * maxTextLength;

/**
 * The place of the token that ended the parsing of a text, or its end where more was expected; `undefined` where finding it takes long.
 *
 * The parser reads from left to right and stops at the first error. So it has got as far as some place if it complains of a character put
 * there that no text may have; the last such place is found by halving. A string that is no UTF-8, and a number too large in a map, are
 * noticed one token later.
 *
 * @param parse - Throws for this text.
 */
export function locateError(text: string, parse: (text: string) => unknown): TextPosition | undefined {
  if (text.length > maxTextLength) return undefined;
  const tokens = [...text.matchAll(tokenPattern)].filter(([token]) => !/^[\s#]/.test(token));
  const reached = countReached(text, tokens, parse);
  if (reached === undefined) return undefined;
  const offset = tokens[reached]?.index ?? text.length;
  const before = text.slice(0, offset);
  return {
    path: pathOf(tokens.slice(0, reached + 1).map(([token]) => token)),
    line: before.split("\n").length,
    column: offset - before.lastIndexOf("\n"),
  };
}

/** How many tokens the parser takes before it stops. */
function countReached(text: string, tokens: readonly RegExpExecArray[], parse: (text: string) => unknown): number | undefined {
  const isTaken = probe(text, parse);
  let [reached, missed] = [0, tokens.length + 1];
  // What stands for the tokens reached, and where they end.
  let [start, end] = ["", 0];
  let parsedLength = 0;
  while (missed - reached > 1) {
    const middle = (reached + missed) >> 1;
    const last = tokens[middle - 1];
    const middleEnd = last === undefined ? text.length : last.index + last[0].length;
    const part = start + text.slice(end, middleEnd);
    parsedLength += part.length;
    if (parsedLength > maxParsedLength) return undefined;
    if (isTaken(part)) [reached, start, end] = [middle, withEmptyBlocks(part), middleEnd];
    else missed = middle;
  }
  return reached;
}

/** Whether the parser gets to the end of the start of a text. */
function probe(text: string, parse: (text: string) => unknown): (start: string) => boolean {
  // Of the private use area, one that the text does not have. The line before it ends a comment.
  let code = 0xe000;
  while (text.includes(String.fromCharCode(code))) code++;
  const sign = `U+${code.toString(16).toUpperCase()}`;
  return (start) => {
    try {
      parse(`${start}\n${String.fromCharCode(code)}`);
      return true;
    } catch (error) {
      return error instanceof Error && error.message.includes(sign);
    }
  };
}

/** The start of a text without what is in the blocks that end there: it was read, and plays no part in what comes after. */
function withEmptyBlocks(start: string): string {
  const kept: string[] = [];
  const opened: number[] = [];
  for (const [token] of start.matchAll(tokenPattern)) {
    if (token === "}" || token === ">") kept.length = opened.pop() ?? kept.length;
    kept.push(token);
    if (token === "{" || token === "<") opened.push(kept.length);
  }
  return kept.join("");
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
