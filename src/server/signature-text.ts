/** A signature as protobuf's text format prints a SignatureDef: the refusals of Classify and Regress show it. */
import { type Signature, type TensorSpec, tensorNameOf } from "../signature.js";
import { dtypeToUpstreamName } from "../tensor/dtype.js";

/** The text, without the defaults of inputs. */
export function signatureText({ inputs, outputs, methodName }: Signature): string {
  return [...tensorInfos("inputs", inputs), ...tensorInfos("outputs", outputs), `method_name: ${quoted(methodName)}`, ""].join("\n");
}

function tensorInfos(field: string, specs: Readonly<Record<string, TensorSpec>>): string[] {
  return Object.keys(specs)
    .sort()
    .flatMap((name) => block(field, [`key: ${quoted(name)}`, ...block("value", tensorInfo(name, specs[name] as TensorSpec))]));
}

function tensorInfo(name: string, spec: TensorSpec): string[] {
  const { dtype, shape } = spec;
  const dims = (shape ?? []).flatMap((size) => block("dim", [`size: ${size ?? -1}`]));
  return [
    `name: ${quoted(tensorNameOf(name, spec))}`,
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
