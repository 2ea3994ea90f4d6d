/** How a model has changed since its definition was written. */
import { inspect, isDeepStrictEqual } from "node:util";
import { formatCall, SignatureError } from "../errors.js";
import { type ModelSpec, signatureNameOf } from "../model-spec.js";
import { type Signature, type TensorSpec, tensorFromPlain } from "../signature.js";
import { quotedName, quotedNames } from "../tensor/names.js";
import { elementCount, formatShape, shapesEqual } from "../tensor/shape.js";
import type { AnyTensor } from "../tensor/tensor.js";
import type { ModelMetadata } from "../transport/transport.js";
import { type InputDefinition, methodNameOf, type SignatureDefinition } from "./model-definition.js";

/** One way in which a signature is not as it was defined. */
export interface Drift {
  /** Such as `input "x": float32 [?] in the definition, int32 [?] in the model`. */
  readonly text: string;
  /** Whether every call that was compiled with the definition may be wrong now, whatever it passes. */
  readonly isBreaking: boolean;
}

/** Every way in which a model's signature is not as it was defined; empty where they are equal. */
export function signatureDrift(defined: SignatureDefinition, signature: Signature): Drift[] {
  const [before, now] = [methodNameOf(defined), signature.methodName];
  // Servers run signatures of any method, unless --enable_signature_method_name_check is set; they then say what is wrong.
  const method = before === now ? [] : [{ text: `method name: ${changeText(quotedName(before), quotedName(now))}`, isBreaking: false }];
  return [...method, ...specDrift("input", defined.inputs, signature.inputs), ...specDrift("output", defined.outputs, signature.outputs)];
}

/** The definitions that a signature was found to agree with, so that later calls need not compare them. */
const agreeing = new WeakMap<Signature, WeakSet<SignatureDefinition>>();

/**
 * Check that a definition still holds for the signature that a call is about to use.
 *
 * @throws SignatureError listing every breaking difference.
 */
export function assertAsDefined(
  defined: SignatureDefinition,
  { signatures, modelSpec }: ModelMetadata,
  signature: Signature | undefined,
  spec: ModelSpec,
): void {
  if (signature !== undefined && agreeing.get(signature)?.has(defined) === true) return;
  const differences =
    signature === undefined
      ? [`no signature ${quotedName(signatureNameOf(spec))} in the model, only ${quotedNames(Object.keys(signatures))}`]
      : signatureDrift(defined, signature).flatMap(({ text, isBreaking }) => (isBreaking ? [text] : []));
  if (differences.length > 0) {
    const served = modelSpec.version === undefined ? "the model" : `version ${modelSpec.version}`;
    throw new SignatureError(`${formatCall("predict", spec)}: ${served} is not as defined`, differences);
  }
  if (signature !== undefined) agreeing.set(signature, (agreeing.get(signature) ?? new WeakSet()).add(defined));
}

type Specs<Spec> = Readonly<Record<string, Spec>>;

function specDrift(kind: "input" | "output", defined: Specs<InputDefinition>, served: Specs<TensorSpec>): Drift[] {
  const names = new Set([...Object.keys(defined), ...Object.keys(served)]);
  return [...names].flatMap((name) => {
    const before = Object.hasOwn(defined, name) ? defined[name] : undefined;
    const now = Object.hasOwn(served, name) ? served[name] : undefined;
    const change = changeOf(before, now);
    if (change === undefined) return [];
    return [{ text: `${kind} ${quotedName(name)}: ${change}`, isBreaking: isBreaking(kind, before, now) }];
  });
}

/** What changed of an input or output, in words; `undefined` if nothing did. */
function changeOf(before: InputDefinition | undefined, now: TensorSpec | undefined): string | undefined {
  if (specText(before) !== specText(now)) return changeText(specText(before), specText(now));
  if (before?.default === undefined || now?.default === undefined) return undefined;
  return defaultChange(tensorFromPlain(before.default, before as TensorSpec, "default"), now.default);
}

/** The shapes if those differ, else the first element that does. */
function defaultChange(before: AnyTensor, now: AnyTensor): string | undefined {
  if (isDeepStrictEqual([before.shape, before.values], [now.shape, now.values])) return undefined;
  const { shape } = before;
  if (!shapesEqual(shape, now.shape)) return `default: ${changeText(formatShape(shape), formatShape(now.shape))}`;
  const [given, served] = [elements(before), elements(now)];
  const flat = given.findIndex((element, i) => !isDeepStrictEqual(element, served[i]));
  // Floats that are no number can differ in bits that no element shows.
  if (flat < 0) return undefined;
  const index = shape.map((size, axis) => `[${Math.floor(flat / elementCount(shape.slice(axis + 1))) % size}]`).join("");
  return `default${index}: ${changeText(elementText(given[flat]), elementText(served[flat]))}`;
}

/** In row-major order. */
function elements(tensor: AnyTensor): unknown[] {
  const nested: unknown[] = [tensor.toNested()];
  return nested.flat(tensor.shape.length);
}

/** In one line; a long text is cut, and control characters are escaped. */
function elementText(element: unknown): string {
  return inspect(element instanceof Uint8Array ? new TextDecoder().decode(element) : element, {
    maxStringLength: 100,
    breakLength: Infinity,
  });
}

function changeText(before: string, now: string): string {
  return `${before} in the definition, ${now} in the model`;
}

function specText(spec: InputDefinition | undefined): string {
  if (spec === undefined) return "not";
  return `${spec.dtype} ${formatShape(spec.shape)}${isOptional(spec) ? ", optional" : ""}`;
}

function isOptional(spec: InputDefinition): boolean {
  return spec.optional === true || spec.default !== undefined;
}

/** Of optional inputs that are gone or have lost their default, only the calls are wrong that give or leave them out: their check tells. */
function isBreaking(kind: "input" | "output", before: InputDefinition | undefined, now: TensorSpec | undefined): boolean {
  if (now === undefined) return kind === "output" || (before !== undefined && !isOptional(before));
  if (before === undefined) return kind === "input" && !isOptional(now);
  return before.dtype !== now.dtype || !canBeEqual(before.shape, now.shape);
}

/** Whether a tensor can fit both shapes. */
function canBeEqual(a: TensorSpec["shape"], b: TensorSpec["shape"]): boolean {
  if (a === null || b === null) return true;
  return a.length === b.length && a.every((size, axis) => size === null || b[axis] === null || size === b[axis]);
}
