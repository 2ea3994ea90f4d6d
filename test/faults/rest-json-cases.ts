/** REST peers whose answers to Predict and Classify are HTTP, but wrong JSON or the wrong JSON. */
import type { FaultCase, FaultExpectation } from "./fault-case.js";
import { atCall, atPredict, type CaseDetails, misfit, succeeds, unexpected } from "./rest-expectations.js";
import { type RawBody, sendsJson } from "./rest-peer.js";

/** A predict call that is answered with this body and status 200. */
function json(name: string, body: RawBody, expected: FaultExpectation, details: CaseDetails = {}): FaultCase {
  return atPredict(`answers with ${name}`, sendsJson(body), expected, details);
}

/** A predict call that is answered with this as the value of its one output. */
function value(name: string, text: string, expected: FaultExpectation, dtype = "DT_FLOAT"): FaultCase {
  return json(name, `{"outputs": ${text}}`, expected, { outputs: { y: dtype } });
}

const deep = 100_000;

const texts: readonly FaultCase[] = [
  json("JSON that is cut in a number", '{"outputs": [2.5, 3.', unexpected(/Miss fraction part/)),
  json("JSON that is cut in a list", '{"outputs": [2.5, 3', unexpected(/Missing a comma or '\]'/)),
  json("JSON that is cut in a name", '{"outp', unexpected(/Missing a closing quotation mark/)),
  json("JSON that is cut behind a name", '{"outputs"', unexpected(/Missing a colon/)),
  json("JSON that is cut behind a backslash", '{"outputs\\', unexpected(/Invalid escape character/)),
  json("JSON that is cut in front of the last brace", '{"outputs": [2.5]', unexpected(/Missing a comma or '\}'/)),
  json("garbage behind the JSON", '{"outputs": [2.5]} trailing garbage', succeeds),
  json("a second document behind the first", '{"outputs": [2.5]}{"outputs": "no"}', succeeds),
  json("a byte order mark", '\ufeff{"outputs": [2.5]}', succeeds),
  json("JSON in UTF-16", Buffer.from('\ufeff{"outputs": [2.5]}', "utf16le"), unexpected(/Invalid value/)),
  json("blanks", " \r\n\t", unexpected(/document is empty/)),
  json("a NUL", "\0", unexpected(/document is empty/)),
  json("JavaScript", "{outputs: [2.5]}", unexpected(/Missing a name/)),
  json("quotes of another kind", "{'outputs': [2.5]}", unexpected(/Missing a name/)),
  json("a comma too many in a list", '{"outputs": [2.5,]}', unexpected(/Invalid value/)),
  json("a comma too many in an object", '{"outputs": [2.5],}', unexpected(/Missing a name/)),
  json("a comment", '{/* outputs */"outputs": [2.5]}', unexpected(/Missing a name/)),
  json("bytes that are no UTF-8 in a name", Buffer.from('{"out\xffputs": [2.5]}', "latin1"), unexpected(/expected "outputs"/)),
  json("a control character in a name", '{"out\u0001puts": [2.5]}', unexpected(/Invalid escape character/)),
  json("half a surrogate pair", '{"\\ud800": 1, "outputs": [2.5]}', unexpected(/surrogate pair/)),
  json("lists that nest 100,000 deep", `{"outputs": ${"[".repeat(deep)}1${"]".repeat(deep)}}`, unexpected(/deeper than 300/)),
  json("lists that open a million times", `{"outputs": ${"[".repeat(10 * deep)}`, unexpected(/deeper than 300/)),
  json("objects that nest 100,000 deep", `${'{"outputs":'.repeat(deep)}1${"}".repeat(deep)}`, unexpected(/deeper than 300/)),
  json("lists beside the outputs that nest 100,000 deep", `{"more": ${"[".repeat(deep)}`, unexpected(/deeper than 300/)),
  json("lists that nest deeper than tensors", `{"outputs": ${"[".repeat(255)}1${"]".repeat(255)}}`, misfit(/deeper than 254/)),
  json("objects that nest as deep as allowed", `{"outputs": ${'{"a":'.repeat(290)}1${"}".repeat(290)}}`, misfit(/JSON Value: \{/)),
  json("100,000 names that nobody asked for", `{${Array.from({ length: deep }, (_, i) => `"${i}":0`).join()}}`, {
    ...unexpected(/expected "outputs" in the answer/),
    // What came is listed only in part.
    text: /^.{0,1000}$/,
  }),
  json("a name of a mebibyte", `{"${"x".repeat(2 ** 20)}": 1}`, { ...unexpected(/expected "outputs"/), text: /^.{0,1000}$/ }),
];

/** Row format. */
const rows: CaseDetails = { options: { restFormat: "row" } };

/** A signature with two outputs. */
function two(details: CaseDetails = {}): CaseDetails {
  return { ...details, outputs: { y: "DT_FLOAT", z: "DT_FLOAT" } };
}

const shapes: readonly FaultCase[] = [
  json("a list", "[2.5]", unexpected(/expected the answer to be a JSON object/)),
  json("a number", "2.5", unexpected(/expected the answer to be a JSON object/)),
  json("null", "null", unexpected(/expected the answer to be a JSON object/)),
  json("an empty object", "{}", unexpected(/expected "outputs" in the answer, got \(none\)/)),
  json(
    "predictions where outputs were asked for",
    '{"predictions": [2.5]}',
    unexpected(/expected "outputs" in the answer, got "predictions"/),
  ),
  json("outputs twice", '{"outputs": [2.5], "outputs": "no"}', succeeds),
  json("a __proto__ beside the outputs", '{"__proto__": {"outputs": [1]}, "outputs": [2.5]}', succeeds),
  json("outputs only in its __proto__", '{"__proto__": {"outputs": [1]}}', unexpected(/expected "outputs" in the answer, got "__proto__"/)),
  json("a constructor for outputs", '{"constructor": {"prototype": {"outputs": [1]}}}', unexpected(/got "constructor"/)),
  json("one output of two", '{"outputs": {"y": [1]}}', unexpected(/expected output "z" in the answer, got "y"/), two()),
  json("outputs of other names", '{"outputs": {"a": [1], "b": [2]}}', unexpected(/expected output "y" in the answer, got "a", "b"/), two()),
  json("a list where two outputs have names", '{"outputs": [1, 2]}', unexpected(/expected outputs to be a JSON object/), two()),
  json(
    "an output called __proto__ for those wanted",
    '{"outputs": {"__proto__": {"y": [1], "z": [2]}}}',
    unexpected(/expected output "y"/),
    two(),
  ),
  json("an output more than the signature has", '{"outputs": {"y": [1], "z": [2], "a": [3]}}', succeeds, two()),
  json("an output twice", '{"outputs": {"y": [1], "z": [2], "y": "no"}}', succeeds, two()),
  json("columns where rows were asked for", '{"outputs": [1]}', unexpected(/expected "predictions" in the answer/), rows),
  json("an object where rows were asked for", '{"predictions": {"y": 1}}', misfit(/JSON Value: \{/), rows),
  json("rows without names", '{"predictions": [1, 2, 5]}', unexpected(/expected predictions\[0\] to be a JSON object/), two(rows)),
  json("a row that lacks an output", '{"predictions": [{"y": 1, "z": 1}, {"y": 2}]}', unexpected(/expected output "z"/), two(rows)),
  json(
    "an object for rows with names",
    '{"predictions": {"y": [1], "z": [2]}}',
    unexpected(/expected "predictions" to be a list/),
    two(rows),
  ),
];

const values: readonly FaultCase[] = [
  value("NaN and both infinities", "[NaN, Infinity, -Infinity, Inf, -Inf]", succeeds),
  ...["nan", "+Infinity", "-inf", "1.#QNAN", "#NaN", "NA", "None", "0x10", "+1", ".5", "1.", "1e", "1_000", "1e+"].map((text) =>
    value(`${text} for a number`, `[${text}]`, unexpected(/offset/)),
  ),
  value("NaN in quotes", '["NaN"]', misfit(/"NaN" Type: String is not of expected type: float/)),
  value("1e999 for a number", "[1e999]", unexpected(/Number too big/)),
  value("-1e999 for a number", "[1, -1e999]", unexpected(/Number too big/)),
  value("1e-999 for a number", "[1e-999]", succeeds),
  value("a number of a million digits", `[1${"0".repeat(10 * deep)}]`, unexpected(/Number too big/)),
  value("a fraction of a million digits", `[0.${"3".repeat(10 * deep)}]`, succeeds),
  value("a number of a million digits for int64", `[1${"0".repeat(10 * deep)}]`, unexpected(/Number too big/), "DT_INT64"),
  value("an exponent of a million digits", `[1e${"9".repeat(10 * deep)}]`, unexpected(/Number too big/)),
  value("no list", "2.5", succeeds),
  value("null for the output", "null", misfit(/null Type: Null is not of expected type: float/)),
  value("null in the output", "[1, null]", misfit(/null Type: Null is not of expected type: float/)),
  value("text in the output", '[1, "a"]', misfit(/"a" Type: String is not of expected type: float/)),
  value("a boolean in the output", "[1, true]", misfit(/Type: True is not of expected type: float/)),
  value("an object in the output", '[1, {"b64": "AA=="}]', misfit(/JSON Value: \{/)),
  value("two mebibytes of text for a number", `["${"x".repeat(2 ** 21)}"]`, misfit(/^.{0,1000}$/)),
  value("ragged lists", "[[1, 2], [3]]", misfit(/unexpected size: 1 at level: 1 expected size: 2/)),
  value("a list beside a number", "[1, [2]]", misfit(/list at unexpected level: 1/)),
  value("a number beside a list", "[[1], 2]", misfit(/found at incorrect level: 2/)),
  value("another rank than the signature says", "[[[1, 2], [3, 4]]]", succeeds),
  value("another size than was sent", "[1]", succeeds),
  value("a million empty lists", `[${"[],".repeat(10 * deep)}[]]`, succeeds),
  value("whole numbers for booleans", "[0, 1]", misfit(/0 Type: Number is not of expected type: bool/), "DT_BOOL"),
  value("a fraction for int32", "[1.5]", misfit(/1.5 Type: Number is not of expected type: int32/), "DT_INT32"),
  value("NaN for int32", "[NaN]", misfit(/NaN Type: Number is not of expected type: int32/), "DT_INT32"),
  value("2^31 for int32", "[2147483648]", misfit(/2147483648 Type: Number is not of expected type: int32/), "DT_INT32"),
  value("256 for uint8", "[256]", misfit(/256 Type: Number is not of expected type: uint8/), "DT_UINT8"),
  value("-1 for uint64", "[-1]", misfit(/-1 Type: Number is not of expected type: uint64/), "DT_UINT64"),
  value("2^63 for int64", "[9223372036854775808]", misfit(/9223372036854775808 Type: Number/), "DT_INT64"),
  value("-2^63 - 1 for int64", "[-9223372036854775809]", misfit(/Type: Number is not of expected type: int64/), "DT_INT64"),
  value("text for int64", '["5"]', misfit(/"5" Type: String is not of expected type: int64/), "DT_INT64"),
  value("an exponent for int64", "[1e3]", misfit(/Type: Number is not of expected type: int64/), "DT_INT64"),
  value("a number for text", "[5]", misfit(/5 Type: Number is not of expected type: string/), "DT_STRING"),
  value("base64 with strange letters", '[{"b64": "!!!!"}]', misfit(/Unable to base64 decode/), "DT_STRING"),
  value("base64 that is cut", '[{"b64": "AAAAA"}]', misfit(/Unable to base64 decode/), "DT_STRING"),
  value("base64 that is no text", '[{"b64": 5}]', misfit(/JSON Value: \{/), "DT_STRING"),
  value("base64 beside another name", '[{"b64": "AA==", "x": 1}]', misfit(/JSON Value: \{/), "DT_STRING"),
  value("half a surrogate pair in text", '["\\ud800x"]', unexpected(/surrogate pair/), "DT_STRING"),
  value("a bad escape in text", '["\\x41"]', unexpected(/Invalid escape/), "DT_STRING"),
  value("bad hex digits in text", '["\\u12g4"]', unexpected(/hex digit/), "DT_STRING"),
  value("text of 100,000 escapes", `["${"\\n".repeat(deep)}"]`, succeeds, "DT_STRING"),
  value("100,000 texts", `["a"${',"a"'.repeat(deep)}]`, succeeds, "DT_STRING"),
  value("base64 of a mebibyte", `[{"b64": "${"A".repeat(2 ** 20)}"}]`, succeeds, "DT_STRING"),
  json("bytes that are no UTF-8 in text", Buffer.from('{"outputs": ["\xff\xfe"]}', "latin1"), succeeds, { outputs: { y: "DT_STRING" } }),
];

/** A classify call that is answered with this as its results. */
function classified(name: string, results: RawBody, expected: FaultExpectation): FaultCase {
  const body = Buffer.concat([Buffer.from('{"results": '), Buffer.from(results), Buffer.from("}")]);
  return atCall("classify", `classifies with ${name}`, body, expected);
}

const classifications: readonly FaultCase[] = [
  classified("an object", "{}", unexpected(/expected results to be a list, got Object/)),
  classified("a number for an example", "[1]", unexpected(/expected results\[0\] to be a list, got Number/)),
  classified("a label without a score", '[[["a"]]]', unexpected(/expected results\[0\]\[0\] to be a label and a score, got a list of 1/)),
  classified("text for a score", '[[["a", "b"]]]', unexpected(/expected the score of .* to be a number, got String/)),
  classified("a label that is no UTF-8", Buffer.from('[[["\xff", 1]]]', "latin1"), succeeds),
  classified("lists that nest 100,000 deep", "[".repeat(deep), unexpected(/deeper than 300/)),
];

/** REST peers that answer with wrong JSON. */
export const restJsonCases: readonly FaultCase[] = [...texts, ...shapes, ...values, ...classifications];
