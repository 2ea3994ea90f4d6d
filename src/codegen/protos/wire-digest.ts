/**
 * The wire digest: one sha256 over everything a descriptor set says about the wire.
 *
 * Two sets with the same digest describe the same interface, however their files are cut, ordered or commented. One line per fact:
 *
 *     message NAME
 *     field MESSAGE.NAME = NUMBER LABEL TYPE [packed] [oneof=NAME] [default="TEXT"] [json=NAME]
 *     field MESSAGE.NAME = NUMBER map<KEYTYPE, VALUETYPE>
 *     enum NAME open|closed
 *     value ENUM.NAME = NUMBER
 *     service NAME
 *     rpc SERVICE/METHOD ([stream ]REQUEST) returns ([stream ]RESPONSE)
 *
 * Lines are sorted by code point and each ends with `\n`. LABEL is `repeated`, `required`, `optional` where presence is tracked, else
 * `implicit`; `packed` is the effective encoding; oneofs that stand for proto3 `optional` do not count. File paths, options without effect
 * on the wire and reserved ranges play no part.
 */
import { createHash } from "node:crypto";
import { isFieldSet } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  type FileDescriptorProto,
  type FileDescriptorSet,
  type ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { ServingError } from "../../errors.js";
import { defaultJsonName } from "./descriptor-names.js";

/** Files of these packages, and of packages below them, take part. Google's own files differ between compilers and do not. */
const coveredPackages = ["tensorflow", "xla", "tsl"];

const notPackable: ReadonlySet<FieldDescriptorProto_Type> = new Set([
  FieldDescriptorProto_Type.STRING,
  FieldDescriptorProto_Type.BYTES,
  FieldDescriptorProto_Type.MESSAGE,
  FieldDescriptorProto_Type.GROUP,
]);

/** sha256, in hex, of the canonical lines of a descriptor set. */
export function wireDigest(set: FileDescriptorSet): string {
  const hash = createHash("sha256");
  for (const line of wireLines(set)) hash.update(`${line}\n`);
  return hash.digest("hex");
}

/**
 * The canonical lines of a descriptor set, sorted by code point.
 *
 * @throws ServingError `FAILED_PRECONDITION` that names a covered file with extensions or editions.
 */
export function wireLines(set: FileDescriptorSet): string[] {
  return set.file.filter(isCovered).flatMap(fileLines).sort(byCodePoint);
}

/** `Array.prototype.sort` compares UTF-16 units, which orders surrogate pairs before U+E000..U+FFFF. UTF-8 bytes order as code points do. */
function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function isCovered(file: FileDescriptorProto): boolean {
  return coveredPackages.some((name) => file.package === name || file.package.startsWith(`${name}.`));
}

/**
 * The canonical lines of one file of any package, in its order.
 *
 * @throws ServingError `FAILED_PRECONDITION` that names the file if it uses extensions or editions.
 */
export function fileLines(file: FileDescriptorProto): string[] {
  if (file.syntax !== "" && file.syntax !== "proto2" && file.syntax !== "proto3") {
    throw notCovered(`${file.name}: expected syntax proto2 or proto3, got ${file.syntax}: editions`);
  }
  if (file.extension.length > 0 || file.messageType.some(isExtended)) throw notCovered(`${file.name}: extensions`);
  const proto3 = file.syntax === "proto3";
  return [
    ...file.enumType.flatMap((type) => enumLines(file.package, type, proto3)),
    ...file.messageType.flatMap((message) => messageLines(file.package, message, proto3)),
    ...file.service.flatMap((service) => serviceLines(file.package, service)),
  ];
}

function notCovered(what: string): ServingError {
  return new ServingError(`${what} are not covered by the wire digest`, { code: "FAILED_PRECONDITION" });
}

function isExtended(message: DescriptorProto): boolean {
  return message.extension.length > 0 || message.extensionRange.length > 0 || message.nestedType.some(isExtended);
}

function messageLines(scope: string, message: DescriptorProto, proto3: boolean): string[] {
  const name = `${scope}.${message.name}`;
  const entries = message.nestedType.filter((nested) => nested.options?.mapEntry);
  const maps = new Map(entries.map((entry) => [`${name}.${entry.name}`, entry]));
  return [
    `message ${name}`,
    ...message.field.map((field) => fieldLine(name, message, field, maps, proto3)),
    ...message.enumType.flatMap((type) => enumLines(name, type, proto3)),
    ...message.nestedType.filter((nested) => !nested.options?.mapEntry).flatMap((nested) => messageLines(name, nested, proto3)),
  ];
}

function fieldLine(
  owner: string,
  message: DescriptorProto,
  field: FieldDescriptorProto,
  maps: ReadonlyMap<string, DescriptorProto>,
  proto3: boolean,
): string {
  const words = ["field", `${owner}.${field.name}`, "=", `${field.number}`];
  const entry = maps.get(withoutDot(field.typeName));
  if (entry === undefined) {
    words.push(labelText(field, proto3), typeText(field));
    if (isPacked(field, proto3)) words.push("packed");
  } else {
    const types = [...entry.field].sort((a, b) => a.number - b.number).map(typeText);
    words.push(`map<${types.join(", ")}>`);
  }
  if (inOneof(field) && !field.proto3Optional) words.push(`oneof=${message.oneofDecl[field.oneofIndex]?.name ?? ""}`);
  if (isFieldSet(field, FieldDescriptorProtoSchema.field.defaultValue)) words.push(`default=${asciiJson(field.defaultValue)}`);
  if (field.jsonName !== "" && field.jsonName !== defaultJsonName(field.name)) words.push(`json=${field.jsonName}`);
  return words.join(" ");
}

function labelText(field: FieldDescriptorProto, proto3: boolean): string {
  if (field.label === FieldDescriptorProto_Label.REPEATED) return "repeated";
  if (field.label === FieldDescriptorProto_Label.REQUIRED) return "required";
  const tracked = !proto3 || field.proto3Optional || inOneof(field) || field.type === FieldDescriptorProto_Type.MESSAGE;
  return tracked ? "optional" : "implicit";
}

function inOneof(field: FieldDescriptorProto): boolean {
  return isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex);
}

function typeText(field: FieldDescriptorProto): string {
  const kind = FieldDescriptorProto_Type[field.type]?.toLowerCase() ?? `${field.type}`;
  return field.typeName === "" ? kind : `${kind} ${withoutDot(field.typeName)}`;
}

function isPacked(field: FieldDescriptorProto, proto3: boolean): boolean {
  if (field.label !== FieldDescriptorProto_Label.REPEATED || notPackable.has(field.type)) return false;
  const { options } = field;
  return options !== undefined && isFieldSet(options, FieldOptionsSchema.field.packed) ? options.packed : proto3;
}

function enumLines(scope: string, type: EnumDescriptorProto, proto3: boolean): string[] {
  const name = `${scope}.${type.name}`;
  return [`enum ${name} ${proto3 ? "open" : "closed"}`, ...type.value.map((value) => `value ${name}.${value.name} = ${value.number}`)];
}

function serviceLines(scope: string, service: ServiceDescriptorProto): string[] {
  const name = `${scope}.${service.name}`;
  const methods = service.method.map((method) => {
    const request = `${method.clientStreaming ? "stream " : ""}${withoutDot(method.inputType)}`;
    const response = `${method.serverStreaming ? "stream " : ""}${withoutDot(method.outputType)}`;
    return `rpc ${name}/${method.name} (${request}) returns (${response})`;
  });
  return [`service ${name}`, ...methods];
}

function withoutDot(name: string): string {
  return name.replace(/^\./, "");
}

/** JSON text with everything outside ASCII escaped, as the reference program writes it. */
function asciiJson(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
