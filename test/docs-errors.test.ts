import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type KnownFailure, knownFailures } from "../src/error-hints.js";
import { RpcError, type StatusCode, statusCodes } from "../src/errors.js";

const page = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");

/** The cells of every table row below a heading, the table heads left out. */
function rowsBelow(heading: string): string[][] {
  const [, section = ""] = page.split(`\n## ${heading}\n`);
  const lines = (section.split("\n## ")[0] ?? "").split("\n").filter((line) => line.startsWith("| "));
  const rows = lines.map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );
  return rows.filter(([first = ""]) => first !== "Message" && first !== "Code" && !/^-+$/.test(first));
}

function again({ code, retryable }: KnownFailure): string {
  if (retryable === "once") return "once";
  if (retryable !== undefined) return retryable ? "yes" : "no";
  if (code === undefined) return "if UNAVAILABLE";
  return code === "UNAVAILABLE" ? "yes" : "no";
}

describe("docs/errors.md", () => {
  it("lists every code but OK, with whether a call may be sent again", () => {
    const listed = rowsBelow("Codes").map(([code, , , mayRetry]) => [code, mayRetry]);
    const known = statusCodes.slice(1).map((code: StatusCode) => {
      const error = new RpcError({ code, method: "predict", endpoint: "h:1", transport: "grpc", serverMessage: "anything" });
      return [code, error.retryable ? "yes" : "no"];
    });
    expect(listed).toEqual(known);
  });

  it("says of every code what it means and what to do", () => {
    for (const [code, meaning = "", toDo = ""] of rowsBelow("Codes")) {
      expect([code, meaning.endsWith("."), toDo.endsWith(".")]).toEqual([code, true, true]);
    }
  });

  it("lists the known messages in the order of the code, with code, hint and whether to send again", () => {
    const listed = rowsBelow("Messages");
    const known = knownFailures.map((failure) => [
      failure.texts.map((text) => (text === "" ? "(no text)" : `\`${text}\``)).join("<br>"),
      failure.code ?? "varies",
      failure.hint,
      again(failure),
    ]);
    expect(listed).toEqual(known);
  });

  it("names every field of an RpcError", () => {
    const all = { method: "predict", modelSpec: { name: "m" }, endpoint: "h:1", transport: "grpc", serverMessage: "", hint: "h" };
    const fields = Object.keys(new RpcError({ ...all, code: "INTERNAL", cause: "why" }));
    for (const field of fields) expect(page).toContain(`\`${field}\``);
  });
});
