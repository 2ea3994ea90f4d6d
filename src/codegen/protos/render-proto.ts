/**
 * Descriptor facts -> `.proto` text.
 *
 * What has an effect on the wire, on JSON names or on generated code is rendered: names, numbers, types, labels, oneofs, maps, enums,
 * reserved ranges, imports, services and the options `packed`, `deprecated`, `jstype`, `json_name` and `allow_alias`. File options
 * (`java_package` and the like) and comments are not. Extensions, groups and editions do not occur in TensorFlow's interface and are refused.
 *
 * Source: the Protocol Buffers language specifications for proto2 and proto3; `google/protobuf/descriptor.proto`.
 */
import { isFieldSet } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type EnumValueDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptions_JSType,
  FieldOptionsSchema,
  type FileDescriptorProto,
  type MethodDescriptorProto,
  type ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { assertDottedName, assertIdentifier, assertProtoPath, defaultJsonName } from "./descriptor-names.js";

const header = [
  "// Rendered from descriptor facts (names, numbers, types) by scripts/render-protos.ts; do not edit.",
  "// SPDX-License-Identifier: Apache-2.0",
];

/** Field numbers end here; `DescriptorProto.ReservedRange.end` is exclusive, so a range up to `max` ends one later. */
const maxFieldNumber = 536_870_911;
const maxEnumNumber = 2_147_483_647;

/** One enclosing scope of a type reference: its full name and what is declared directly in it. */
interface Scope {
  readonly name: string;
  readonly declared: ReadonlySet<string>;
}

interface Context {
  readonly proto3: boolean;
  /** Innermost first; the package is the last. */
  readonly scopes: readonly Scope[];
}

/**
 * Render one file as `.proto` text, declarations in descriptor order, two spaces a level.
 *
 * Compiling the text gives the same wire facts as `file`.
 *
 * @throws Error if the file holds something that is not covered, or a name that is not one.
 */
export function renderProto(file: FileDescriptorProto): string {
  const syntax = file.syntax === "" ? "proto2" : file.syntax;
  if (syntax !== "proto2" && syntax !== "proto3") throw new Error(`${file.name}: expected syntax proto2 or proto3, got ${syntax}`);
  if (file.extension.length > 0) throw new Error(`${file.name}: extensions are not covered by the renderer`);

  const context: Context = { proto3: syntax === "proto3", scopes: [{ name: file.package, declared: topLevelNames(file) }] };
  const blocks = [
    [...header, "", `syntax = "${syntax}";`],
    file.package === "" ? [] : [`package ${assertDottedName(file.package)};`],
    importLines(file),
    ...file.enumType.map((type) => enumLines(type)),
    ...file.messageType.map((message) => messageLines(message, context)),
    ...file.service.map((service) => serviceLines(service, context)),
  ];
  const text = blocks.filter((block) => block.length > 0).map((block) => block.join("\n"));
  return `${text.join("\n\n")}\n`;
}

function importLines(file: FileDescriptorProto): string[] {
  return file.dependency.map((path, index) => {
    const keyword = file.publicDependency.includes(index) ? "import public" : "import";
    return `${keyword} "${assertProtoPath(path)}";`;
  });
}

function messageLines(message: DescriptorProto, outer: Context): string[] {
  if (message.extension.length > 0 || message.extensionRange.length > 0 || message.options?.messageSetWireFormat) {
    throw new Error(`${message.name}: extensions are not covered by the renderer`);
  }
  const outerName = outer.scopes[0]?.name ?? "";
  const name = outerName === "" ? assertIdentifier(message.name) : `${outerName}.${assertIdentifier(message.name)}`;
  const context: Context = { proto3: outer.proto3, scopes: [{ name, declared: declaredNames(message) }, ...outer.scopes] };
  const entries = new Map<string, DescriptorProto>();
  for (const nested of message.nestedType) if (nested.options?.mapEntry) entries.set(`.${name}.${nested.name}`, nested);

  const sections = [
    message.options?.deprecated ? ["option deprecated = true;"] : [],
    reservedLines(messageRanges(message), message.reservedName),
    ...message.enumType.map((type) => enumLines(type)),
    ...message.nestedType.filter((nested) => !nested.options?.mapEntry).map((nested) => messageLines(nested, context)),
    memberLines(message, entries, context),
  ];
  return block(`message ${message.name}`, sections);
}

/** Fields in descriptor order; a oneof stands where its first member does. */
function memberLines(message: DescriptorProto, entries: ReadonlyMap<string, DescriptorProto>, context: Context): string[] {
  const lines: string[] = [];
  const written = new Set<number>();
  for (const field of message.field) {
    const oneof = oneofIndex(field);
    if (oneof === undefined) {
      lines.push(fieldLine(field, entries, context));
    } else if (!written.has(oneof)) {
      written.add(oneof);
      const members = message.field.filter((member) => oneofIndex(member) === oneof);
      const declaration = message.oneofDecl[oneof];
      if (declaration === undefined) throw new Error(`${message.name}.${field.name}: oneof ${oneof} is not declared`);
      const memberTexts = members.map((member) => fieldLine(member, entries, context));
      lines.push(...block(`oneof ${assertIdentifier(declaration.name)}`, [memberTexts]));
    }
  }
  return lines;
}

/** The oneof a field was written in; the ones that stand for proto3 `optional` have no text of their own. */
function oneofIndex(field: FieldDescriptorProto): number | undefined {
  return isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex) && !field.proto3Optional ? field.oneofIndex : undefined;
}

function fieldLine(field: FieldDescriptorProto, entries: ReadonlyMap<string, DescriptorProto>, context: Context): string {
  const name = assertIdentifier(field.name);
  const entry = entries.get(field.typeName);
  const type = entry === undefined ? `${labelText(field, context)}${typeText(field, context)}` : mapText(entry, context);
  const options = fieldOptions(field);
  return `${type} ${name} = ${field.number}${options.length > 0 ? ` [${options.join(", ")}]` : ""};`;
}

function labelText(field: FieldDescriptorProto, context: Context): string {
  if (field.label === FieldDescriptorProto_Label.REPEATED) return "repeated ";
  if (field.label === FieldDescriptorProto_Label.REQUIRED) return "required ";
  if (oneofIndex(field) !== undefined) return "";
  return !context.proto3 || field.proto3Optional ? "optional " : "";
}

function mapText(entry: DescriptorProto, context: Context): string {
  const key = entry.field.find((field) => field.number === 1);
  const value = entry.field.find((field) => field.number === 2);
  if (key === undefined || value === undefined) throw new Error(`${entry.name}: expected a map entry with fields 1 and 2`);
  return `map<${typeText(key, context)}, ${typeText(value, context)}>`;
}

function typeText(field: FieldDescriptorProto, context: Context): string {
  if (field.type === FieldDescriptorProto_Type.GROUP) throw new Error(`${field.name}: groups are not covered by the renderer`);
  if (field.typeName !== "") return referenceText(field.typeName, context);
  const name = FieldDescriptorProto_Type[field.type];
  if (name === undefined) throw new Error(`${field.name}: unknown field type ${field.type}`);
  return name.toLowerCase();
}

/**
 * The shortest reference that names `fullName` from inside the context.
 *
 * The compiler looks the first part up from the innermost scope outwards and stops at the first hit, whatever that is: a shorter form is
 * used only where no inner scope declares its first part, and the leading dot where even the full name would be caught.
 */
function referenceText(fullName: string, context: Context): string {
  const name = assertDottedName(fullName).replace(/^\./, "");
  const inner: Scope[] = [];
  for (const scope of context.scopes) {
    const relative = scope.name === "" ? name : name.startsWith(`${scope.name}.`) ? name.slice(scope.name.length + 1) : undefined;
    if (relative !== undefined && !isDeclared(inner, relative)) return relative;
    inner.push(scope);
  }
  return isDeclared(inner, name) ? `.${name}` : name;
}

function isDeclared(scopes: readonly Scope[], reference: string): boolean {
  const first = reference.split(".", 1)[0] ?? reference;
  return scopes.some((scope) => scope.declared.has(first));
}

function topLevelNames(file: FileDescriptorProto): ReadonlySet<string> {
  const named = [...file.messageType, ...file.enumType, ...file.enumType.flatMap((type) => type.value), ...file.service];
  return new Set(named.map((declaration) => declaration.name));
}

/** Everything that shares the scope of a message: enum values too belong to the message, not to their enum. */
function declaredNames(message: DescriptorProto): ReadonlySet<string> {
  const named = [
    ...message.field,
    ...message.oneofDecl,
    ...message.nestedType,
    ...message.enumType,
    ...message.enumType.flatMap((type) => type.value),
  ];
  return new Set(named.map((declaration) => declaration.name));
}

function fieldOptions(field: FieldDescriptorProto): string[] {
  const options: string[] = [];
  if (isFieldSet(field, FieldDescriptorProtoSchema.field.defaultValue)) options.push(`default = ${defaultText(field)}`);
  if (field.jsonName !== "" && field.jsonName !== defaultJsonName(field.name))
    options.push(`json_name = ${JSON.stringify(field.jsonName)}`);
  const set = field.options;
  if (set === undefined) return options;
  if (isFieldSet(set, FieldOptionsSchema.field.packed)) options.push(`packed = ${set.packed}`);
  if (set.jstype !== FieldOptions_JSType.JS_NORMAL) options.push(`jstype = ${FieldOptions_JSType[set.jstype]}`);
  if (set.deprecated) options.push("deprecated = true");
  return options;
}

/** Descriptors hold defaults as text: strings raw, bytes already escaped, everything else as it is written. */
function defaultText(field: FieldDescriptorProto): string {
  const { name, type, defaultValue } = field;
  if (type === FieldDescriptorProto_Type.STRING) return JSON.stringify(defaultValue);
  const isBytes = type === FieldDescriptorProto_Type.BYTES;
  const expected = isBytes ? /^(?:[^"\\\n]|\\[^\n])*$/ : /^[-+.\w]+$/;
  if (!expected.test(defaultValue)) throw new Error(`${name}: unexpected default ${JSON.stringify(defaultValue)}`);
  return isBytes ? `"${defaultValue}"` : defaultValue;
}

function enumLines(type: EnumDescriptorProto): string[] {
  const ranges = type.reservedRange.map(({ start, end }) => rangeText(start, end, maxEnumNumber));
  const options: string[] = [];
  if (type.options?.allowAlias) options.push("option allow_alias = true;");
  if (type.options?.deprecated) options.push("option deprecated = true;");
  return block(`enum ${assertIdentifier(type.name)}`, [options, reservedLines(ranges, type.reservedName), type.value.map(enumValueLine)]);
}

function enumValueLine(value: EnumValueDescriptorProto): string {
  return `${assertIdentifier(value.name)} = ${value.number}${value.options?.deprecated ? " [deprecated = true]" : ""};`;
}

/** A message's ranges exclude their end, an enum's include it. */
function messageRanges(message: DescriptorProto): string[] {
  return message.reservedRange.map(({ start, end }) => rangeText(start, end - 1, maxFieldNumber));
}

function rangeText(first: number, last: number, max: number): string {
  if (first === last) return `${first}`;
  return `${first} to ${last === max ? "max" : last}`;
}

function reservedLines(ranges: readonly string[], names: readonly string[]): string[] {
  const lines: string[] = [];
  if (ranges.length > 0) lines.push(`reserved ${ranges.join(", ")};`);
  if (names.length > 0) lines.push(`reserved ${names.map((name) => `"${assertIdentifier(name)}"`).join(", ")};`);
  return lines;
}

function serviceLines(service: ServiceDescriptorProto, context: Context): string[] {
  const options = service.options?.deprecated ? ["option deprecated = true;"] : [];
  return block(`service ${assertIdentifier(service.name)}`, [options, service.method.map((method) => methodLine(method, context))]);
}

function methodLine(method: MethodDescriptorProto, context: Context): string {
  const request = `${method.clientStreaming ? "stream " : ""}${referenceText(method.inputType, context)}`;
  const response = `${method.serverStreaming ? "stream " : ""}${referenceText(method.outputType, context)}`;
  const end = method.options?.deprecated ? " { option deprecated = true; }" : ";";
  return `rpc ${assertIdentifier(method.name)}(${request}) returns (${response})${end}`;
}

/** `head { ... }` with the non-empty sections indented and one blank line between them; `head {}` where there are none. */
function block(head: string, sections: readonly (readonly string[])[]): string[] {
  const filled = sections.filter((section) => section.length > 0);
  if (filled.length === 0) return [`${head} {}`];
  const body = filled.flatMap((section, index) => (index === 0 ? section : ["", ...section]));
  return [`${head} {`, ...body.map((line) => (line === "" ? "" : `  ${line}`)), "}"];
}
