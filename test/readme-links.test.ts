import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const root = new URL("../", import.meta.url);
const { files } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as { files: string[] };

describe.each([
  "README.md",
  "docs/errors.md",
  "docs/reliability.md",
  "docs/batching.md",
  "docs/security.md",
  "docs/typed-models.md",
  "docs/new-tensorflow-version.md",
  "docs/server.md",
  "docs/warmup.md",
  "docs/model-config.md",
  "SECURITY.md",
  "CHANGELOG.md",
  "protos/README.md",
])("%s", (page) => {
  it("links to nothing in the repository that the package lacks", () => {
    const base = new URL(page, root);
    const targets = [...readFileSync(base, "utf8").matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    const linked = targets.filter((target) => !/^(https?:|#)/.test(target)).map((target) => new URL(target.replace(/#.*/, ""), base));
    const isPacked = ({ href }: URL) => files.some((file) => href === `${root}${file}` || href.startsWith(`${root}${file}/`));
    expect(linked.filter((link) => !existsSync(link) || !isPacked(link)).map(String)).toEqual([]);
  });
});
