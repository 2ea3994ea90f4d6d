import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Traps of the list this project was built from that have no test in this folder, and why. */
const elsewhere: Readonly<Record<number, string>> = {
  19: "answers are larger than the data over REST: advice for callers, in the documentation",
  27: "gRPC health: this client does not ask for it, waitForModel looks at the status",
  31: "SSLConfig: a file for the server's own start, which the configuration writer makes",
  32: "warm-up files: their writer's",
};

const trapCount = 42;

/** Numbers of the traps that the titles of a test file name, `trap 3` or `traps 20 to 22`. */
function trapsIn(file: string): number[] {
  const text = readFileSync(new URL(file, import.meta.url), "utf8");
  const titles = text.match(/\b(describe|it|it\.each)\b[^\n]*?["'`][^\n]*/g) ?? [];
  return titles.flatMap((title) =>
    [...title.matchAll(/traps? (\d+)(?: (to|and) (\d+))?/g)].flatMap(([, from, , to = from]) => {
      const first = Number(from);
      return Array.from({ length: Number(to) - first + 1 }, (_, index) => first + index);
    }),
  );
}

describe("the traps of TensorFlow Serving", () => {
  it("each have a test that names their number, or a reason to have none", () => {
    const files = readdirSync(new URL(".", import.meta.url)).filter((file) => file.endsWith(".test.ts") && file !== "all-traps.test.ts");
    const tested = new Set(files.flatMap(trapsIn));
    const all = Array.from({ length: trapCount }, (_, index) => index + 1);
    expect(all.filter((trap) => !tested.has(trap) && elsewhere[trap] === undefined)).toEqual([]);
    expect(Object.keys(elsewhere).filter((trap) => tested.has(Number(trap)))).toEqual([]);
  });
});
