/** REST peers whose answers to GetModelMetadata and GetModelStatus are wrong. */
import type { FaultCase, FaultExpectation } from "./fault-case.js";
import { atCall, late, refused, succeeds, unexpected } from "./rest-expectations.js";
import { dripsOnce, metadataBody, pours, type RawBody, rawResponse, rawSignature, sends, startRestPeer } from "./rest-peer.js";

/** A call that gets this answer when it asks for the metadata. */
function metadata(
  name: string,
  body: RawBody,
  expected: FaultExpectation,
  call: "getModelMetadata" | "predict" = "getModelMetadata",
): FaultCase {
  return atCall(call, `describes ${name}`, body, expected);
}

/** The metadata of a model whose input has another info than a float vector's. */
function withInput(info: object, more: object = {}): string {
  const signature = rawSignature();
  return metadataBody({ ...signature, ...more, inputs: { x: { ...(signature.inputs["x"] as object), ...info } } });
}

/** A shape with one dimension. */
function sized(size: unknown): object {
  return { tensor_shape: { dim: [{ size, name: "" }], unknown_rank: false } };
}

/** The metadata of a model whose input has a default. */
function withDefault(proto: object): string {
  return withInput({}, { defaults: { x: proto } });
}

/** What a call says that finds the signature out of reach. */
const misfitsSignature = { name: "SignatureError", code: "INVALID_ARGUMENT" } satisfies FaultExpectation;

const forms: readonly FaultCase[] = [
  metadata(
    "models without a signature_def",
    '{"model_spec": {"name": "m"}, "metadata": {}}',
    unexpected(/expected metadata.signature_def/),
  ),
  metadata("models without metadata", '{"model_spec": {"name": "m"}}', unexpected(/expected metadata to be/)),
  metadata("models without a model_spec", '{"metadata": {"signature_def": {"signature_def": {}}}}', unexpected(/expected model_spec/)),
  metadata(
    "models without the signature, and runs it",
    metadataBody().replace("serving_default", "other"),
    unexpected(/no signature "serving_default"/),
    "predict",
  ),
  metadata(
    "signatures as a list",
    '{"model_spec": {}, "metadata": {"signature_def": []}}',
    unexpected(/expected metadata.signature_def to be/),
  ),
  metadata("a signature as text", metadataBody("serving"), unexpected(/expected signature "serving_default" to be a JSON object/)),
  metadata("a signature as null", metadataBody(null), unexpected(/expected signature "serving_default" to be a JSON object/)),
  metadata("inputs as a list", metadataBody({ inputs: ["x"] }), unexpected(/expected a field to be a JSON object/)),
  metadata("an input as text", metadataBody({ inputs: { x: "DT_FLOAT" } }), unexpected(/expected "x" to be a JSON object/)),
  metadata("signatures called __proto__", metadataBody().replace("serving_default", "__proto__"), succeeds),
  metadata("inputs called __proto__", metadataBody().replace('"x"', '"__proto__"'), succeeds),
  metadata("10,000 signatures", manySignatures(10_000), succeeds),
  metadata("signatures that nest 100,000 deep", `{"model_spec": ${'{"a":'.repeat(100_000)}`, unexpected(/deeper than 300/)),
  metadata(
    "a version in letters",
    metadataBody().replace('"version":"1"', '"version":"latest"'),
    unexpected(/expected a whole number, got "latest"/),
  ),
  metadata(
    "a version of 400 digits",
    metadataBody().replace('"version":"1"', `"version":"${"9".repeat(400)}"`),
    unexpected(/expected a whole number/),
  ),
  metadata(
    "a version as an object",
    metadataBody().replace('"version":"1"', '"version":{}'),
    unexpected(/expected a whole number, got object/),
  ),
  metadata("nothing", "", unexpected(/document is empty/)),
  metadata("nothing before a call", "", { ...unexpected(/document is empty/), text: /INTERNAL: predict half_plus_two/ }, "predict"),
  metadata("a page before a call", "<html></html>", { ...unexpected(/Invalid value/), text: /INTERNAL: predict half_plus_two/ }, "predict"),
  {
    name: "refuses the look-up before a call",
    start: () => startRestPeer({ answer: sends({ status: "503 Busy", body: '{"error": "busy"}' }) }),
    expected: refused("UNAVAILABLE", /UNAVAILABLE: predict half_plus_two: busy/),
  },
];

const slow: readonly FaultCase[] = [
  {
    name: "describes the model one byte every 20 ms",
    start: () => startRestPeer({ answer: dripsOnce(rawResponse({ body: metadataBody() }), 20) }),
    expected: late,
  },
  {
    name: "describes the model without end, to a client with maxResponseBytes",
    start: () => startRestPeer({ answer: pours("HTTP/1.1 200 OK\r\n\r\n", " ".repeat(2 ** 16)) }),
    expected: refused("RESOURCE_EXHAUSTED", /predict half_plus_two: the answer is larger than maxResponseBytes/, /size limit/),
    options: { maxResponseBytes: 2 ** 20 },
    maxGrowthBytes: 9 * 2 ** 20,
  },
];

/** Far more signatures than any model has. */
function manySignatures(count: number): string {
  const signatures = Array.from({ length: count }, (_, index) => `"s${index}":{"method_name":"m"}`);
  return `{"model_spec": {"name": "m"}, "metadata": {"signature_def": {"signature_def": {${signatures.join()}}}}}`;
}

const specs: readonly FaultCase[] = [
  metadata("dtypes nobody knows", withInput({ dtype: "DT_WHATEVER" }), succeeds),
  metadata("dtypes nobody knows before a call", withInput({ dtype: "DT_WHATEVER" }), misfitsSignature, "predict"),
  metadata("dtypes as numbers", withInput({ dtype: 99 }), succeeds),
  metadata("dtypes as objects", withInput({ dtype: {} }), unexpected(/expected text, got object/)),
  metadata("outputs of dtypes nobody knows before a call", metadataBody(rawSignature({ y: "DT_WHATEVER" })), misfitsSignature, "predict"),
  metadata(
    "outputs of dtypes without a JSON form before a call",
    metadataBody(rawSignature({ y: "DT_HALF" })),
    misfitsSignature,
    "predict",
  ),
  metadata("sizes of 2^63 - 1", withInput(sized("9223372036854775807")), succeeds),
  metadata("sizes of 2^63 - 1 before a call", withInput(sized("9223372036854775807")), misfitsSignature, "predict"),
  metadata("sizes below -1", withInput(sized("-5")), succeeds),
  metadata("sizes in letters", withInput(sized("many")), unexpected(/expected a whole number, got "many"/)),
  metadata("sizes of 400 digits", withInput(sized("9".repeat(400))), unexpected(/expected a whole number/)),
  metadata("sizes as fractions", withInput(sized(1.5)), unexpected(/expected a whole number, got number/)),
  metadata("a dimension as a number", withInput({ tensor_shape: { dim: [5] } }), unexpected(/expected a dimension to be a JSON object/)),
  metadata("a shape as text", withInput({ tensor_shape: "[5]" }), unexpected(/expected a field to be a JSON object/)),
  metadata("100,000 dimensions", withInput({ tensor_shape: { dim: manyDims(100_000) } }), succeeds),
];

const float = "DT_FLOAT";

/** Over gRPC a default that makes no tensor is left out, so that it does not hide the rest; that REST should do the same. */
const defaults: readonly FaultCase[] = [
  badDefault("of negative size", { dtype: float, ...sized("-1"), float_val: [1] }),
  badDefault("of 2^63 - 1 elements", { dtype: float, ...sized("9223372036854775807"), float_val: [1] }),
  badDefault("of 2^40 elements", { dtype: float, ...sized(String(2 ** 40)), float_val: [1] }),
  badDefault("with more values than its shape", { dtype: float, ...sized("1"), float_val: [1, 2, 3] }),
  badDefault("with too few bytes", { dtype: float, ...sized("2"), tensor_content: "AACAPw==" }),
  badDefault("with half a float", { dtype: float, ...sized("1"), tensor_content: "AAA=" }),
  badDefault("beyond int32", { dtype: "DT_INT32", ...sized("1"), int_val: [2 ** 31] }),
  badDefault("of 100,000 dimensions", { dtype: float, tensor_shape: { dim: manyDims(100_000) }, float_val: [1] }),
  badDefault("of a dtype nobody knows", { dtype: "DT_WHATEVER", ...sized("1") }),
  metadata(
    "a default in letters for int64",
    withDefault({ dtype: "DT_INT64", ...sized("1"), int64_val: ["many"] }),
    unexpected(/whole number/),
  ),
  metadata("a default as text", withInput({}, { defaults: { x: "1" } }), unexpected(/expected default of "x" to be a JSON object/)),
  {
    // Over gRPC 64 MiB are the most that one value is repeated to; what is beyond is left out, so that the input is missing.
    ...metadata(
      "a default of 17 million times one value, which the call leaves to the model",
      withDefault({ dtype: float, ...sized("17000000"), float_val: [1] }),
      { ...misfitsSignature, text: /input "x" is missing/ },
      "predict",
    ),
    inputs: {},
    timeoutMs: 1000,
  },
];

/** A default that makes no tensor of its input; all else in the metadata is as it should be. */
function badDefault(name: string, proto: object): FaultCase {
  return metadata(`a default ${name}`, withDefault(proto), succeeds);
}

function manyDims(count: number): object[] {
  return Array.from({ length: count }, () => ({ size: "1", name: "" }));
}

/** A call for the status that gets this answer. */
function status(name: string, body: RawBody, expected: FaultExpectation): FaultCase {
  return atCall("getModelStatus", `reports ${name}`, body, expected);
}

/** The status of one version, with these fields instead of the usual. */
function versionStatus(fields: object): string {
  const usual = { version: "1", state: "AVAILABLE", status: { error_code: "OK", error_message: "" } };
  return JSON.stringify({ model_version_status: [{ ...usual, ...fields }] });
}

const statuses: readonly FaultCase[] = [
  status("no list of versions", "{}", unexpected(/expected model_version_status to be a list/)),
  status("versions as an object", '{"model_version_status": {}}', unexpected(/expected model_version_status to be a list/)),
  status("a version that is text", '{"model_version_status": ["1"]}', unexpected(/expected a version status to be a JSON object/)),
  status("a version without a number", versionStatus({ version: undefined }), unexpected(/expected a whole number, got undefined/)),
  status("a version in letters", versionStatus({ version: "latest" }), unexpected(/expected a whole number, got "latest"/)),
  status("states nobody knows", versionStatus({ state: "SLEEPING" }), succeeds),
  status("states as objects", versionStatus({ state: {} }), unexpected(/expected text, got object/)),
  status("codes nobody knows", versionStatus({ status: { error_code: "WHATEVER" } }), succeeds),
  status("a status as text", versionStatus({ status: "OK" }), unexpected(/expected a field to be a JSON object/)),
  status(
    "a message that is no UTF-8",
    Buffer.from('{"model_version_status": [{"version": "1", "state": "END", "status": {"error_message": "\xff\xfe"}}]}', "latin1"),
    succeeds,
  ),
  status(
    "a message with half a surrogate pair",
    '{"model_version_status": [{"version": "1", "state": "\\ud800"}]}',
    unexpected(/surrogate/),
  ),
  status("10,000 versions", manyVersions(10_000), succeeds),
  status("lists that nest 100,000 deep", `{"model_version_status": ${"[".repeat(100_000)}`, unexpected(/deeper than 300/)),
  status("an HTML page", "<html></html>", unexpected(/Invalid value/)),
];

/** Far more versions than any server loads. */
function manyVersions(count: number): string {
  return JSON.stringify({ model_version_status: Array.from({ length: count }, (_, index) => ({ version: String(index) })) });
}

/** REST peers that describe models wrongly. */
export const restMetadataCases: readonly FaultCase[] = [...forms, ...slow, ...specs, ...defaults, ...statuses];
