/** A signature as protobuf's text format prints a SignatureDef: the refusals of Classify and Regress show it. */
import { type Signature, type TensorSpec, tensorNameOf } from "../signature.js";
import { dtypeToUpstreamName } from "../tensor/dtype.js";

/** The text, without the defaults of inputs. */
export function signatureText({ inputs, outputs, methodName }: Signature): string {
  return [...tensorInfos("inputs", inputs), ...tensorInfos("outputs", outputs), `method_name: ${escapedText(methodName)}`, ""].join("\n");
}

function tensorInfos(field: string, specs: Readonly<Record<string, TensorSpec>>): string[] {
  return Object.keys(specs)
    .sort()
    .flatMap((name) => block(field, [`key: ${escapedText(name)}`, ...block("value", tensorInfo(name, specs[name] as TensorSpec))]));
}

function tensorInfo(name: string, spec: TensorSpec): string[] {
  const { dtype, shape } = spec;
  const dims = (shape ?? []).flatMap((size) => block("dim", [`size: ${size ?? -1}`]));
  return [
    `name: ${escapedText(tensorNameOf(name, spec))}`,
    `dtype: ${dtypeToUpstreamName(dtype)}`,
    ...block("tensor_shape", shape === null ? ["unknown_rank: true"] : dims),
  ];
}

function block(name: string, lines: readonly string[]): string[] {
  return [`${name} {`, ...lines.map((line) => `  ${line}`), "}"];
}

const shortEscapes: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  '"': '\\"',
  "'": "\\'",
  "\\": "\\\\",
};

/** A text as `absl::CEscape` writes it: bytes that are no printable ASCII in octal. */
function escapedText(text: string): string {
  const escaped = Array.from(Buffer.from(text), (byte) => {
    const char = String.fromCharCode(byte);
    return shortEscapes[char] ?? (byte >= 0x20 && byte < 0x7f ? char : `\\${byte.toString(8).padStart(3, "0")}`);
  });
  return `"${escaped.join("")}"`;
}
