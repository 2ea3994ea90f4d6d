/** Classify, Regress and MultiInference. */
import type { ExampleLike, ModelLike } from "../../../src/index.js";
import { type ContractCase, type ContractKind, fails } from "../contract.js";

const examples: readonly ExampleLike[] = [{ x: 1 }, { x: 2 }, { x: [5] }];
const half = (signatureName: string) => ({ name: "half_plus_two", signatureName });
const person: ExampleLike = { age: 30n, pos: [0.5, -0.5], city: "Bern" };
/** Recorded for the defaults of age and city, which are those of `person`. */
const personScores = [0.7054503560066223, 0.18307964503765106, 0.11146994680166245];
const labelled = (labels: readonly string[], scores: readonly number[]) => [labels.map((label, i) => ({ label, score: scores[i] }))];
const classes = ["low", "mid", "high"];
const stranger: ExampleLike = { pos: [0, 1], city: "Nowhere" };
const strangerValue = 1.682409644126892;
/** A tf.Example with the float feature x = 1, as TensorFlow serializes it. */
const serialized = new Uint8Array(Buffer.from("Cg8KDQoBeBIIEgYKBAAAgD8=", "base64"));

/** What both methods refuse alike, over signatures of half_plus_two. */
function refusals(method: "classify" | "regress", signatureName: string): ContractCase[] {
  const run =
    (model: ModelLike, sent: readonly ExampleLike[]): ContractCase["run"] =>
    ({ client }) =>
      client[method](model, sent);
  const refused = (kind: ContractKind, title: string, model: ModelLike, sent: readonly ExampleLike[], code: string, text: string) => ({
    method,
    kind,
    title,
    run: run(model, sent),
    expected: fails(code, text),
  });
  const model = half(signatureName);
  return [
    refused("wrong model", "an unknown name", "nowhere", examples, "NOT_FOUND", "Latest(nowhere)"),
    refused("wrong version", "an unknown version", { ...model, version: 9 }, examples, "NOT_FOUND", "Specific(half_plus_two, 9)"),
    refused("wrong label", "an unknown label", { ...model, versionLabel: "no" }, examples, "INVALID_ARGUMENT", "version label: no"),
    refused(
      "wrong signature",
      "an unknown signature",
      half("no"),
      examples,
      "INVALID_ARGUMENT",
      "No signature was found with the name: no",
    ),
    refused("wrong signature", "one of Predict", "half_plus_two", examples, "INVALID_ARGUMENT", "inputs found in SignatureDef"),
    refused("wrong input", "no examples", model, [], "INVALID_ARGUMENT", "at least one"),
    refused(
      "wrong input",
      "a feature that is missing",
      model,
      [{ other: 1 }],
      "INVALID_ARGUMENT",
      "Feature: x (data type: float) is required",
    ),
    refused("wrong input", "a feature of another kind", model, [{ x: 1n }], "INVALID_ARGUMENT", "Data types don't match"),
    refused("wrong input", "a value that no feature has", model, [{ x: true as never }], "INVALID_ARGUMENT", '"x"'),
  ];
}

const classify: readonly ContractCase[] = [
  {
    method: "classify",
    kind: "ok",
    title: "scores without labels",
    run: async ({ client }) => (await client.classify(half("classify_x_to_y"), examples)).results,
    expected: [[{ label: "", score: 2.5 }], [{ label: "", score: 3 }], [{ label: "", score: 4.5 }]],
  },
  {
    method: "classify",
    kind: "ok",
    title: "labels and scores",
    run: async ({ client }) => (await client.classify({ name: "multi_head", signatureName: "classify" }, [person])).results,
    expected: labelled(classes, personScores),
    tolerance: 1e-6,
  },
  {
    method: "classify",
    kind: "ok",
    title: "labels without scores",
    run: async ({ client }) => (await client.classify({ name: "multi_head", signatureName: "classify_classes_only" }, [person])).results,
    expected: labelled(classes, [0, 0, 0]),
  },
  {
    method: "classify",
    kind: "ok",
    title: "features shared by all examples",
    run: async ({ client }) => {
      const context = { age: 30n, city: "Bern" };
      return (await client.classify({ name: "multi_head", signatureName: "classify" }, [{ pos: [0.5, -0.5] }], { context })).results;
    },
    expected: labelled(classes, personScores),
    tolerance: 1e-6,
  },
  ...refusals("classify", "classify_x_to_y"),
];

const regress: readonly ContractCase[] = [
  {
    method: "regress",
    kind: "ok",
    title: "a column of values",
    run: async ({ client }) => (await client.regress(half("regress_x_to_y"), examples)).results,
    expected: [2.5, 3, 4.5],
  },
  {
    method: "regress",
    kind: "ok",
    title: "a vector of values",
    run: async ({ client }) => (await client.regress({ name: "multi_head", signatureName: "regress_flat" }, [stranger, stranger])).results,
    expected: [strangerValue, strangerValue],
    tolerance: 1e-6,
  },
  {
    method: "regress",
    kind: "ok",
    title: "a version, and serialized examples",
    run: async ({ client }) => {
      const { results, modelSpec } = await client.regress({ ...half("regress_x_to_y"), version: 123 }, [serialized]);
      return { results, modelSpec };
    },
    expected: { results: [2.5], modelSpec: { name: "half_plus_two", version: 123n, signatureName: "regress_x_to_y" } },
  },
  ...refusals("regress", "regress_x_to_y"),
];

const notOverRest = { REST: fails("UNIMPLEMENTED", "gRPC") };

/** A MultiInference call, which REST refuses whatever is in it. */
function multi(
  kind: ContractKind,
  title: string,
  models: readonly ModelLike[],
  sent: readonly ExampleLike[],
  expected: unknown,
): ContractCase {
  const tasks = models.map((model) => {
    const isClassify = typeof model !== "string" && model.signatureName?.startsWith("classify") === true;
    return { model, method: isClassify ? "classify" : "regress" } as const;
  });
  const run: ContractCase["run"] = async ({ client }) => (await client.multiInference(tasks, sent)).results;
  return { method: "multiInference", kind, title, run, expected, over: notOverRest };
}

const toY = half("regress_x_to_y");
const answering = (signatureName: string) => ({ ...half(signatureName), version: 123n });

const multiInference: readonly ContractCase[] = [
  multi(
    "ok",
    "a classification and two regressions",
    [half("classify_x_to_y"), toY, half("regress_x_to_y2")],
    [{ x: 1 }],
    [
      { method: "classify", results: [[{ label: "", score: 2.5 }]], modelSpec: answering("classify_x_to_y") },
      { method: "regress", results: [2.5], modelSpec: answering("regress_x_to_y") },
      { method: "regress", results: [3.5], modelSpec: answering("regress_x_to_y2") },
    ],
  ),
  multi("wrong model", "an unknown name", ["nowhere"], examples, fails("NOT_FOUND", "Latest(nowhere)")),
  multi("wrong version", "an unknown version", [{ ...toY, version: 9 }], examples, fails("NOT_FOUND", "Specific(half_plus_two, 9)")),
  multi("wrong label", "an unknown label", [{ ...toY, versionLabel: "no" }], examples, fails("INVALID_ARGUMENT", "version label: no")),
  multi("wrong signature", "an unknown signature", [toY, half("no")], examples, fails("INVALID_ARGUMENT", "not found in model graph: no")),
  multi(
    "wrong signature",
    "one twice",
    [toY, toY],
    examples,
    fails("INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"),
  ),
  multi(
    "wrong input",
    "a feature that is missing",
    [toY],
    [{ other: 1 }],
    fails("INVALID_ARGUMENT", "Feature: x (data type: float) is required"),
  ),
  {
    ...multi("wrong input", "tasks of two models", [toY, { name: "multi_head", signatureName: "regress" }], examples, fails("TypeError")),
    over: {},
  },
];

/** All calls over examples. */
export const exampleCases: readonly ContractCase[] = [...classify, ...regress, ...multiInference];
