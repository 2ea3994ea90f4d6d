/** Compile-time expectations of typed models; checked by `tsc`, never run. */

import type { ModelClient } from "../../src/client/model-client.js";
import { defineModel, type ModelDefinition } from "../../src/client/model-definition.js";
import type { PredictionClient } from "../../src/client/prediction-client.js";
import type { DefaultSignatureName, InputOf, ModelInputs, ModelOutputs, SignatureNameOf } from "../../src/client/typed-model.js";
import type { ExampleLike } from "../../src/example-values.js";
import { type ServableDefinition, servable } from "../../src/server/servable.js";
import { type AnyTensor, type Tensor, tensor } from "../../src/tensor/tensor.js";
import type { PredictResult } from "../../src/transport/transport.js";

/** Holds if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(answer: Same<A, B>): void;

declare const client: PredictionClient;
declare const anyTensor: AnyTensor;
declare const dynamic: ModelDefinition;
declare const flag: boolean;

const digits = defineModel({
  name: "digits",
  signatures: {
    serving_default: {
      inputs: { image: { dtype: "float32", shape: [null, 8, 8, 1] } },
      outputs: { probabilities: { dtype: "float32", shape: [null, 10] }, digit: { dtype: "int64", shape: [null] } },
    },
    embed: {
      methodName: "tensorflow/serving/predict",
      inputs: { image: { dtype: "float32", shape: [null, 8, 8, 1] }, "depth:0": { dtype: "int32", shape: [], default: 3 } },
      outputs: { embedding: { dtype: "float16", shape: [null, 16] } },
    },
  },
});

const ranker = defineModel({
  name: "ranker",
  versionLabel: "stable",
  signatures: {
    rank: {
      inputs: {
        query: { dtype: "string", shape: [] },
        ids: { dtype: "int64", shape: [null] },
        explain: { dtype: "bool", shape: [], default: false },
        weights: { dtype: "float64", shape: [null], optional: true },
        spectrum: { dtype: "complex64", shape: null, optional: true },
      },
      outputs: { scores: { dtype: "float64", shape: [null] } },
    },
    classify: {
      methodName: "tensorflow/serving/classify",
      inputs: { inputs: { dtype: "string", shape: [null] } },
      outputs: { classes: { dtype: "string", shape: [null, null] }, scores: { dtype: "float32", shape: [null, null] } },
    },
    regress: {
      methodName: "tensorflow/serving/regress",
      inputs: { inputs: { dtype: "string", shape: [null] } },
      outputs: { outputs: { dtype: "float32", shape: [null, 1] } },
    },
    lookup: {
      inputs: { table: { dtype: "resource", shape: [] }, ["__proto__"]: { dtype: "uint8", shape: [] } },
      outputs: { constructor: { dtype: "bool", shape: [] }, handle: { dtype: "variant", shape: [] } },
    },
  },
});

const image = tensor("float32", [1, 8, 8, 1], new Float32Array(64));
const ids = tensor("int64", [2], [1n, 2n]);
const someExamples: ExampleLike[] = [{ age: 1 }];

export function definitionsKeepTheirData(): void {
  same<typeof digits.name, "digits">(true);
  same<SignatureNameOf<typeof digits>, "serving_default" | "embed">(true);
  same<DefaultSignatureName<typeof digits>, "serving_default">(true);
  same<DefaultSignatureName<typeof ranker>, never>(true);
  same<typeof digits.signatures.serving_default.inputs.image.shape, readonly [null, 8, 8, 1]>(true);
  defineModel({ name: "m", version: 3n, signatures: {} });
  defineModel({ name: "m", version: 3, signatures: { s: { inputs: {}, outputs: {} } } });
  const spec = { dtype: "complex128", shape: [], default: tensor("complex128", [], new Float64Array(2)) } as const;
  defineModel({ name: "m", signatures: { s: { inputs: { z: spec }, outputs: {} } } });

  // @ts-expect-error a model has a name
  defineModel({ signatures: {} });
  // @ts-expect-error a model has signatures
  defineModel({ name: "m" });
  // @ts-expect-error version and label exclude each other
  defineModel({ name: "m", version: 1, versionLabel: "stable", signatures: {} });
  // @ts-expect-error the signature is chosen by the client or the call
  defineModel({ name: "m", signatureName: "s", signatures: {} });
  // @ts-expect-error a signature has outputs
  defineModel({ name: "m", signatures: { s: { inputs: {} } } });
  // @ts-expect-error no such dtype
  defineModel({ name: "m", signatures: { s: { inputs: { x: { dtype: "float", shape: [] } }, outputs: {} } } });
  // @ts-expect-error an input has a shape
  defineModel({ name: "m", signatures: { s: { inputs: { x: { dtype: "int8" } }, outputs: {} } } });
  // @ts-expect-error sizes are numbers
  defineModel({ name: "m", signatures: { s: { inputs: { x: { dtype: "int8", shape: ["?"] } }, outputs: {} } } });
  // @ts-expect-error an input that has to be given says nothing
  defineModel({ name: "m", signatures: { s: { inputs: { x: { dtype: "int8", shape: [], optional: false } }, outputs: {} } } });
  // @ts-expect-error a default is a value
  defineModel({ name: "m", signatures: { s: { inputs: { x: { dtype: "int8", shape: [], default: { a: 1 } } }, outputs: {} } } });
  // @ts-expect-error definitions are read only
  digits.name = "other";
  // @ts-expect-error also inside
  digits.signatures.serving_default.inputs.image.dtype = "int8";
}

export async function inputsAreTyped(): Promise<void> {
  const model = client.model(digits);
  await model.predict({ image });
  await model.predict({ image: 0.5 });
  await model.predict({ image: [[[[0], [1]]]] });
  await model.predict({ image: new Float32Array(64) });
  await model.predict({ image: [new Float32Array(8), new Float64Array(8)] });
  await model.predict({ image: new Float64Array(64) } as const);
  await model.predict(image);
  await model.predict(0.5);
  await model.predict([[0, 1]] as const);
  await model.predict([[new Float32Array(8)]]);
  const inputs: ModelInputs<typeof digits> = { image };
  await model.predict(inputs);
  await model.predict({ image: [] });

  // @ts-expect-error inputs are not optional
  await model.predict();
  // @ts-expect-error the input is missing
  await model.predict({});
  // @ts-expect-error no such input
  await model.predict({ picture: image });
  // @ts-expect-error no such input beside the right one
  await model.predict({ image, mask: image });
  // @ts-expect-error an input is not undefined
  await model.predict({ image: undefined });
  // @ts-expect-error a tensor of another dtype
  await model.predict({ image: ids });
  // @ts-expect-error which dtype the tensor has is not known
  await model.predict({ image: anyTensor });
  // @ts-expect-error a bare tensor of another dtype
  await model.predict(ids);
  // @ts-expect-error a string is no float32
  await model.predict({ image: "0.5" });
  // @ts-expect-error nor is a list of strings
  await model.predict([["0.5"]]);
  // @ts-expect-error booleans are only bool
  await model.predict({ image: [true] });
  // @ts-expect-error bigints are only integers
  await model.predict({ image: [1n] });
  // @ts-expect-error whole numbers in a typed array stay whole numbers
  await model.predict({ image: new Int32Array(64) });
  // @ts-expect-error null is no value
  await model.predict({ image: [null] });
}

export async function signaturesAreTyped(): Promise<void> {
  const model = client.model(digits);
  await model.predict({ image }, { signatureName: "serving_default" });
  await model.predict({ image }, { signatureName: "embed" });
  await model.predict({ image, "depth:0": 2 }, { signatureName: "embed" });
  await model.predict({ image, "depth:0": new Int8Array(1) }, { signatureName: "embed" });
  await model.predict({ image, "depth:0": tensor("int32", [], [2]) }, { signatureName: "embed", timeoutMs: 1 });
  await model.predict(image, { signatureName: "embed" });
  const embed = client.model(digits, { signatureName: "embed" });
  await embed.predict({ image, "depth:0": 2n });
  await embed.predict({ image }, { signatureName: "serving_default", signal: new AbortController().signal });
  client.model(digits, { version: 3 });
  client.model(digits, { versionLabel: "canary", check: false });

  // @ts-expect-error no such signature
  await model.predict({ image }, { signatureName: "embedding" });
  // @ts-expect-error the input belongs to another signature
  await model.predict({ image, "depth:0": 2 });
  // @ts-expect-error an optional input has its dtype too
  await model.predict({ image, "depth:0": "deep" }, { signatureName: "embed" });
  // @ts-expect-error wider whole numbers do not fit
  await model.predict({ image, "depth:0": new Uint32Array(1) }, { signatureName: "embed" });
  // @ts-expect-error an optional input alone
  await model.predict({ "depth:0": 2 }, { signatureName: "embed" });
  // @ts-expect-error the bare value is the required input
  await model.predict(new Int8Array(1), { signatureName: "embed" });
  // @ts-expect-error the client's signature counts
  await embed.predict({ image }, { outputFilter: ["digit"] });
  // @ts-expect-error no such signature for the client
  client.model(digits, { signatureName: "embedding" });
  // @ts-expect-error version and label exclude each other
  client.model(digits, { version: 1, versionLabel: "stable" });
  // @ts-expect-error no such option
  client.model(digits, { signature: "embed" });
}

export async function outputsAreTyped(): Promise<void> {
  const result = await client.model(digits).predict({ image });
  same<typeof result.outputs, { probabilities: Tensor<"float32">; digit: Tensor<"int64"> }>(true);
  same<typeof result.outputs.digit.values, BigInt64Array>(true);
  same<typeof result.modelSpec, PredictResult["modelSpec"]>(true);
  const untyped: PredictResult = result;
  same<ModelOutputs<typeof digits, "embed">, { embedding: Tensor<"float16"> }>(true);
  const embedded = await client.model(digits).predict(image, { signatureName: "embed" });
  same<typeof embedded.outputs.embedding, Tensor<"float16">>(true);
  const digit = await client.model(digits).predict(image, { outputFilter: ["digit"] });
  same<typeof digit.outputs, { digit: Tensor<"int64"> }>(true);
  const all = await client.model(digits).predict(image, { outputFilter: [] });
  same<typeof all.outputs, typeof result.outputs>(true);
  const wanted: ("digit" | "probabilities")[] = flag ? ["digit"] : [];
  const some = await client.model(digits).predict(image, { outputFilter: wanted });
  same<typeof some.outputs, { digit?: Tensor<"int64">; probabilities?: Tensor<"float32"> }>(true);
  const filtered = await client.model(digits).predict(image, { signatureName: "embed", outputFilter: ["embedding"] });
  same<typeof filtered.outputs, { embedding: Tensor<"float16"> }>(true);
  const odd = await client.model(ranker).predict({ table: flag as never, ["__proto__"]: 1 }, { signatureName: "lookup" });
  same<typeof odd.outputs.constructor, Tensor<"bool">>(true);
  same<typeof odd.outputs.handle, never>(true);

  // @ts-expect-error no such output
  void result.outputs.probability;
  // @ts-expect-error the output belongs to another signature
  void result.outputs.embedding;
  // @ts-expect-error int64 values are bigints
  const numbers: Float32Array = result.outputs.digit.values;
  // @ts-expect-error an output that was not asked for
  void digit.outputs.probabilities;
  // @ts-expect-error it may not have been asked for
  void some.outputs.digit.values;
  // @ts-expect-error no such output to ask for
  await client.model(digits).predict(image, { outputFilter: ["score"] });
  // @ts-expect-error an output of another signature
  await client.model(digits).predict(image, { outputFilter: ["embedding"] });
  // @ts-expect-error names that are not known
  await client.model(digits).predict(image, { outputFilter: Object.keys(result.outputs) });
  void [untyped, numbers];
}

export async function dtypesConvert(): Promise<void> {
  const model = client.model(ranker, { signatureName: "rank" });
  await model.predict({ query: "a", ids });
  await model.predict({ query: new Uint8Array(1), ids: [1, 2n] });
  await model.predict({ query: ["a", new Uint8Array(1)], ids: new BigInt64Array(1) });
  await model.predict({ query: "a", ids: [new Int32Array(1), new Uint32Array(1)], explain: [[true]], weights: [0.5] });
  await model.predict({ query: "a", ids: 1, weights: new Float64Array(1), spectrum: tensor("complex64", [], new Float32Array(2)) });
  same<InputOf<"qint8">, Tensor<"qint8">>(true);
  same<InputOf<"resource">, never>(true);

  // @ts-expect-error two inputs are missing
  await model.predict("a");
  // @ts-expect-error numbers are no strings
  await model.predict({ query: 1, ids });
  // @ts-expect-error unsigned 64 bits do not fit
  await model.predict({ query: "a", ids: new BigUint64Array(1) });
  // @ts-expect-error bool takes booleans
  await model.predict({ query: "a", ids, explain: 1 });
  // @ts-expect-error float32 rows are not widened to float64
  await model.predict({ query: "a", ids, weights: new Float32Array(1) });
  // @ts-expect-error complex numbers come as tensors
  await model.predict({ query: "a", ids, spectrum: [1, 2] });
  // @ts-expect-error not even an empty list
  await model.predict({ query: "a", ids, spectrum: [] });
  // @ts-expect-error no tensor is a resource
  await model.predict({ table: 1, ["__proto__"]: 1 }, { signatureName: "lookup" });
}

export async function modelsWithoutDefaultNameTheirSignature(): Promise<void> {
  const model = client.model(ranker);
  await model.predict({ query: "a", ids }, { signatureName: "rank" });
  await model.predict(["a"], { signatureName: "classify" });
  await model.classify(someExamples, { signatureName: "classify", context: { age: 2 } });
  await model.regress([{ age: [1, 2] }], { signatureName: "regress" });
  await client.model(ranker, { signatureName: "classify" }).classify(someExamples);
  const { results } = await client.model(ranker, { signatureName: "regress" }).regress(someExamples);
  same<typeof results, number[]>(true);
  await model.waitForModel({ pollIntervalMs: 10 });
  await model.getModelMetadata();

  // @ts-expect-error which signature?
  await model.predict({ query: "a", ids });
  // @ts-expect-error also with other options
  await model.predict({ query: "a", ids }, { timeoutMs: 1 });
  // @ts-expect-error which signature?
  await model.classify(someExamples);
  // @ts-expect-error a signature for regress
  await model.classify(someExamples, { signatureName: "regress" });
  // @ts-expect-error a signature for predict
  await client.model(ranker, { signatureName: "rank" }).regress(someExamples);
  // @ts-expect-error the model classifies nothing
  await client.model(digits).classify(someExamples);
  // @ts-expect-error dates are no features
  await model.classify([{ at: new Date() }], { signatureName: "classify" });
}

export async function manyItemsHaveTheTypesOfOne(): Promise<void> {
  const model = client.model(digits);
  for await (const { index, result } of model.predictMany([image, { image }])) {
    same<typeof index, number>(true);
    same<typeof result.outputs, ModelOutputs<typeof digits, "serving_default">>(true);
  }
  for await (const item of model.predictMany([image], { signatureName: "embed", outputFilter: ["embedding"], onError: "yield" })) {
    if ("result" in item) same<typeof item.result.outputs.embedding, Tensor<"float16">>(true);
    else same<typeof item.error, Error>(true);
  }
  // @ts-expect-error strings are no images
  model.predictMany(["a"]);
  // @ts-expect-error no such signature
  model.predictMany([image], { signatureName: "none" });
}

export async function modelsThatAreNotKnownByType(): Promise<void> {
  const untyped: ModelClient = client.model("digits");
  same<Awaited<ReturnType<typeof untyped.predict>>, PredictResult>(true);
  await untyped.predict({ anything: 1 }, { signatureName: "any", outputFilter: ["y"] });
  await client.model({ name: "digits", version: 3n }, { signatureName: "embed" }).predict(1);
  const read = await client.model(dynamic).predict({ x: image, y: [1] }, { signatureName: "read_at_run_time" });
  const output: AnyTensor | undefined = read.outputs["y"];

  // @ts-expect-error dates are no tensors
  await untyped.predict({ x: new Date() });
  client.model("digits", { batching: { maxBatchRows: 32, allowedBatchRows: [8, 32], onBatch: ({ rows }) => void rows } });
  // @ts-expect-error not a model
  client.model(3);
  void output;
}

export function definitionsServeInTests(): void {
  const served: ServableDefinition["signatures"] = digits.signatures;
  servable({
    signatures: { serving_default: digits.signatures.serving_default },
    predict: ({ image }) => {
      same<typeof image, Tensor<"float32">>(true);
      return { probabilities: image.values, digit: [1] };
    },
  });
  void served;
}
