/** What of a recorded answer counts, by the rules of the README beside the recordings. */
import { expect } from "vitest";

/** Names of graph nodes and of tensors, which JavaScript servables have not; as text and as text inside JSON. */
const graphNames: readonly (readonly [RegExp, string])[] = [
  [/(\n\t|\\n\\t) \[\[\{\{.*\}\}\]\]/gs, ""],
  [/name: (\\?)"[\w:]+\\?"/g, 'name: $1"?$1"'],
];

/** A text without what only a graph knows. */
export function withoutGraphNames(text: string): string {
  return graphNames.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text);
}

const floatTokens = /-?(?:\d+\.\d+(?:e[+-]\d+)?|\d+e[+-]\d+|Infinity|NaN)/g;

/** Expect two JSON texts to be the same but for the last digits of their floats. */
export function expectSameJson(actual: string, expected: string): void {
  const skeleton = (text: string) => withoutGraphNames(text).replace(floatTokens, "#");
  expect(skeleton(actual)).toBe(skeleton(expected));
  expectClose(floatsIn(actual), floatsIn(expected));
}

/** Expect two messages to be the same but for the last digits of their numbers. */
export function expectSameMessage(actual: unknown, expected: unknown): void {
  const numbers = (value: unknown) => {
    const found: number[] = [];
    const skeleton = JSON.stringify(value, (_key, part: unknown) => {
      if (typeof part !== "number") return part;
      found.push(part);
      return "#";
    });
    return { found, skeleton };
  };
  expect(numbers(actual).skeleton).toBe(numbers(expected).skeleton);
  expectClose(numbers(actual).found, numbers(expected).found);
}

function floatsIn(text: string): number[] {
  return (text.match(floatTokens) ?? []).map(Number);
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  const largest = Math.max(1, ...expected.filter(Number.isFinite).map(Math.abs));
  for (const [index, want] of expected.entries()) {
    const got = actual[index] ?? Number.NaN;
    if (!Object.is(got, want)) expect(Math.abs(got - want)).toBeLessThanOrEqual(1e-6 * largest);
  }
}
