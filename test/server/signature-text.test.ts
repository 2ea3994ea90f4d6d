import { describe, expect, it } from "vitest";
import { signatureText } from "../../src/server/signature-text.js";

describe("signatureText", () => {
  it("escapes texts as protobuf does: quotes, controls, and bytes beyond ASCII in octal", () => {
    const methodName = "a\"b'c\\d\ne\rf\tg\u0001h\u007fi\u00e9j\u{1f600}7";
    const escaped = String.raw`a\"b\'c\\d\ne\rf\tg\001h\177i\303\251j\360\237\230\2007`;
    expect(signatureText({ inputs: {}, outputs: {}, methodName })).toBe(`method_name: "${escaped}"\n`);
  });
});
