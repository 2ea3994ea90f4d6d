/**
 * What the server refuses over gRPC but would take over REST: there it ignores names it does not know, converts numbers to the dtype of the
 * signature and has no output filter. It is refused here, in gRPC's words.
 */
import type { Signature } from "../../signature.js";
import type { DType, UnsupportedDType } from "../../tensor/dtype.js";
import type { TensorMap } from "../transport.js";

/**
 * Why gRPC's server would refuse a Predict call, or `undefined`.
 *
 * An input that is missing is not among the reasons: the server refuses that over REST, too.
 */
export function predictRefusal(signature: Signature, inputs: TensorMap, outputFilter: readonly string[]): string | undefined {
  return nameRefusal(signature, Object.keys(inputs)) ?? filterRefusal(signature, outputFilter) ?? dtypeRefusal(signature, inputs);
}

function nameRefusal({ inputs }: Signature, sent: readonly string[]): string | undefined {
  const extra = sent.filter((name) => !Object.hasOwn(inputs, name));
  if (extra.length === 0) return undefined;
  const expected = Object.keys(inputs);
  const defaults = expected.filter((name) => inputs[name]?.default !== undefined);
  const missing = expected.filter((name) => !sent.includes(name));
  if (sent.length > expected.length || (sent.length < expected.length && defaults.length === 0)) {
    return (
      `input size does not match signature: ${sent.length}!=${expected.length} len({${sorted(sent)}}) != len({${sorted(expected)}}). ` +
      `Sent extra: {${sorted(extra)}}. Missing but required: {${sorted(missing)}}.`
    );
  }
  const required = missing.find((name) => !defaults.includes(name));
  if (required !== undefined) {
    // The server's text also has the name inside the graph, which no signature of ours keeps.
    return (
      `Signature input alias: ${required} not found in request and no default value provided. ` +
      `Inputs expected to be in the request {${sorted(sent)}}, or default input alias set: ${sorted(defaults)}`
    );
  }
  const used = sent.filter((name) => !extra.includes(name));
  return `Inputs contains invalid name. Used request inputs: ${sorted(used)}, request input: ${sorted(sent)}`;
}

function filterRefusal({ outputs }: Signature, outputFilter: readonly string[]): string | undefined {
  for (const [index, name] of outputFilter.entries()) {
    if (!Object.hasOwn(outputs, name)) {
      const known = sorted(Object.keys(outputs));
      return `output tensor alias not found in signature: ${name} Outputs expected to be in the set {${known}}.`;
    }
    if (outputFilter.indexOf(name) !== index) return `duplicate output tensor alias: ${name}`;
  }
  return undefined;
}

/** The graph counts its arguments in the order of their names. */
function dtypeRefusal({ inputs }: Signature, sent: TensorMap): string | undefined {
  for (const [index, name] of Object.keys(inputs).sort().entries()) {
    const want = inputs[name]?.dtype;
    const got = Object.hasOwn(sent, name) ? sent[name]?.dtype : undefined;
    if (want === undefined || got === undefined || want === got) continue;
    return `Expects arg[${index}] to be ${tensorFlowDType(want)} but ${tensorFlowDType(got)} is provided`;
  }
  return undefined;
}

/** The names TensorFlow's messages have for dtypes, where they are not ours. */
const tensorFlowNames: Readonly<Record<string, string>> = { float32: "float", float64: "double", float16: "half" };

function tensorFlowDType(dtype: DType | UnsupportedDType): string {
  return tensorFlowNames[dtype] ?? dtype;
}

function sorted(names: readonly string[]): string {
  return [...names].sort().join(",");
}
