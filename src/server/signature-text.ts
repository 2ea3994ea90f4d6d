/** A signature as protobuf's text format prints a SignatureDef: the refusals of Classify and Regress show it. */
import type { Signature, TensorSpec } from "../signature.js";
import { dtypeToUpstreamName } from "../tensor/dtype.js";

/** The text, without the defaults of inputs; tensors are called as in the metadata, `x:0` for `x`. */
export function signatureText({ inputs, outputs, methodName }: Signature): string {
  return [...tensorInfos("inputs", inputs), ...tensorInfos("outputs", outputs), `method_name: ${quoted(methodName)}`, ""].join("\n");
}

function tensorInfos(field: string, specs: Readonly<Record<string, TensorSpec>>): string[] {
  return Object.keys(specs)
    .sort()
    .flatMap((name) => block(field, [`key: ${quoted(name)}`, ...block("value", tensorInfo(name, specs[name] as TensorSpec))]));
}

function tensorInfo(name: string, { dtype, shape }: TensorSpec): string[] {
  const dims = (shape ?? []).flatMap((size) => block("dim", [`size: ${size ?? -1}`]));
  return [
    `name: ${quoted(`${name}:0`)}`,
    `dtype: ${dtypeToUpstreamName(dtype)}`,
    ...block("tensor_shape", shape === null ? ["unknown_rank: true"] : dims),
  ];
}

function block(name: string, lines: readonly string[]): string[] {
  return [`${name} {`, ...lines.map((line) => `  ${line}`), "}"];
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}
