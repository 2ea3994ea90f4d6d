/** How models differ from the definitions in a file that `tfserving types` wrote. */
import { type Drift, signatureDrift } from "../client/definition-drift.js";
import { assertModelDefinition, type ModelDefinition } from "../client/model-definition.js";
import type { DefinedModel } from "../codegen/model-types.js";
import { quotedName } from "../tensor/names.js";

/**
 * Every way in which a model is not as a file defines it; each text begins with the constant and the signature.
 *
 * @param definition - What the file exports as the model's constant; `undefined` if it exports none.
 * @throws TypeError or RangeError if the definition is none.
 */
export function modelDrift({ exportName, name, signatures }: DefinedModel, definition: unknown): Drift[] {
  if (definition === undefined) return [{ text: `${exportName}: not in the file`, isBreaking: true }];
  const defined = definition as ModelDefinition;
  assertModelDefinition(defined);
  const renamed = { text: `name: ${quotedName(defined.name)} in the definition, ${quotedName(name)} in the model`, isBreaking: true };
  const drift = [...(defined.name === name ? [] : [renamed]), ...signaturesDrift(defined.signatures, signatures)];
  return drift.map(({ text, isBreaking }) => ({ text: `${exportName}: ${text}`, isBreaking }));
}

function signaturesDrift(defined: ModelDefinition["signatures"], served: DefinedModel["signatures"]): Drift[] {
  const names = new Set([...Object.keys(defined), ...Object.keys(served)]);
  return [...names].flatMap((name) => {
    const [before, now] = [ownValue(defined, name), ownValue(served, name)];
    const what = `signature ${quotedName(name)}`;
    if (before === undefined) return [{ text: `${what}: not in the definition`, isBreaking: false }];
    if (now === undefined) return [{ text: `${what}: not in the model`, isBreaking: true }];
    return signatureDrift(before, now).map(({ text, isBreaking }) => ({ text: `${what}, ${text}`, isBreaking }));
  });
}

function ownValue<Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
