/** The `.proto` files of upstream's source trees: from release archives, or from local folders. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { FormatError, ServingError } from "../../errors.js";
import { isCompilersFile, isProtoPath } from "./descriptor-names.js";
import { filesBelow } from "./files-below.js";
import { readTar } from "./tar.js";
import { assertVersion } from "./versions.js";

/** File contents by path. */
export type ProtoFiles = Map<string, Uint8Array>;

/** Where one of the two source trees comes from. */
export interface ProtoSource {
  /** Version of the release, such as `2.20.0`. */
  readonly version: string;
  /** Source tree on this machine, which is taken instead of an archive. */
  readonly directory?: string | undefined;
  /** URL of the release's `.tar.gz`, with `{version}` in it; not used beside `directory`. */
  readonly url: string;
}

/** URL patterns of the releases of TensorFlow and TensorFlow Serving. */
export const releaseUrls = Object.freeze({
  tensorflow: "https://github.com/tensorflow/tensorflow/archive/refs/tags/v{version}.tar.gz",
  serving: "https://github.com/tensorflow/serving/archive/refs/tags/{version}.tar.gz",
});

/** Where imports are looked up below the top of a source tree, in this order. */
const importRoots = ["", "third_party/xla/", "third_party/xla/third_party/tsl/"];

/** Bytes of an archive before and after unpacking, far above those of a release. */
const maxPackedBytes = 1024 ** 3;
const maxUnpackedBytes = 8 * 1024 ** 3;

/**
 * Check what can be checked before anything is fetched.
 *
 * @param what - What errors call the version; the other options are called as it is, with an ending.
 * @throws RangeError
 */
export async function assertSource(source: ProtoSource, what: string): Promise<void> {
  assertVersion(source.version, what);
  if (source.directory !== undefined) {
    const found = await stat(source.directory).catch(() => undefined);
    if (found?.isDirectory() !== true) throw new RangeError(`${what}-dir: expected a folder, got ${JSON.stringify(source.directory)}`);
  } else if (!/^https?:\/\//.test(source.url) || !source.url.includes("{version}") || !URL.canParse(archiveUrl(source))) {
    throw new RangeError(
      `${what}-url: expected an http or https URL with {version} in it, got ${JSON.stringify(withoutSecrets(source.url))}`,
    );
  } else if (hasCredentials(archiveUrl(source))) {
    throw new RangeError(`${what}-url: expected a URL without user name and password, got ${JSON.stringify(withoutSecrets(source.url))}`);
  }
}

/**
 * The `.proto` files of a source tree, keyed by the path they are imported by.
 *
 * @throws ServingError `UNAVAILABLE` if the archive's server is not reached, `NOT_FOUND` if it has no such archive.
 * @throws FormatError if the archive is damaged or not to be trusted.
 */
export async function readSource(source: ProtoSource, signal?: AbortSignal): Promise<ProtoFiles> {
  const { directory } = source;
  const files = directory === undefined ? await readArchive(source, signal) : await readDirectory(directory);
  return assertNoClash(byImportPath(files), describeSource(source));
}

/** In words, such as `https://.../v2.20.0.tar.gz`. */
export function describeSource(source: ProtoSource): string {
  return source.directory ?? withoutSecrets(archiveUrl(source));
}

/**
 * A URL, or what was meant to be one, as it may be shown: without what stands before the last @, which may be a password, and without query.
 * In a password all characters may stand that have a meaning in URLs; where a query may begin before the @, nothing behind it is shown.
 */
function withoutSecrets(url: string): string {
  const [, scheme = "", rest = ""] = /^(https?:\/\/)?(.*)$/is.exec(url) ?? [];
  const [, hidden = "", shown = ""] = /^(.*@)?(.*)$/s.exec(rest) ?? [];
  if (/[?#]/.test(hidden)) return `${scheme}***`;
  return `${scheme}${hidden && "***@"}${shown.replace(/[?#].*$/s, "")}`;
}

function hasCredentials(url: string): boolean {
  const { username, password } = new URL(url);
  return username !== "" || password !== "";
}

function archiveUrl({ url, version }: ProtoSource): string {
  return url.replaceAll("{version}", version);
}

async function readDirectory(directory: string): Promise<ProtoFiles> {
  const files: ProtoFiles = new Map();
  for (const path of await filesBelow(directory, ".proto")) files.set(path, await readFile(join(directory, path)));
  return files;
}

async function readArchive(source: ProtoSource, signal: AbortSignal | undefined): Promise<ProtoFiles> {
  const files: ProtoFiles = new Map();
  const name = describeSource(source);
  const body = await openArchive(archiveUrl(source), name, signal);
  const packed = upTo(maxPackedBytes, body, name);
  try {
    // What a server sends with Content-Encoding: gzip, fetch has unpacked already.
    const { head, rest } = await splitHead(packed);
    const isPacked = head[0] === 0x1f && head[1] === 0x8b;
    const what = isPacked ? name : `${name}: no gzip, read as tar`;
    const read = async (unpacked: AsyncIterable<Uint8Array>) => {
      const chunks = upTo(maxUnpackedBytes, unpacked, what);
      for await (const { path, bytes } of readTar(chunks, { name: what, isWanted: (path) => path.endsWith(".proto") })) {
        files.set(path, bytes);
      }
    };
    await (isPacked ? pipeline(rest, createGunzip(), read) : pipeline(rest, read));
  } catch (error) {
    throw archiveError(name, error, signal);
  }
  return belowTopFolder(files, name);
}

async function openArchive(url: string, name: string, signal: AbortSignal | undefined): Promise<AsyncIterable<Uint8Array>> {
  const response = await fetch(url, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    throw archiveError(name, error, signal);
  });
  if (response.ok && response.body !== null) return response.body;
  await response.body?.cancel();
  const again = response.status >= 500 || response.status === 429;
  throw new ServingError(`${name}: the server answered ${response.status} ${response.statusText}`, {
    code: again ? "UNAVAILABLE" : "NOT_FOUND",
    hint: "the URL patterns of mirrors are set with --tensorflow-url and --serving-url, local source trees with --tensorflow-dir and --serving-dir",
  });
}

/** Errors of zlib are damage, errors of fetch and of its body the connection's. */
function archiveError(name: string, error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) return signal.reason;
  if (!(error instanceof Error) || error instanceof ServingError) return error;
  const { message } = error;
  if ("code" in error && /^Z_/.test(String(error.code))) return new FormatError(`${name}: damaged archive: ${message}`, { cause: error });
  const reason = error.cause instanceof Error ? `${message}: ${error.cause.message}` : message;
  return new ServingError(`${name}: ${reason}`, { code: "UNAVAILABLE", cause: error });
}

/** The first two bytes, if there are as many, and all chunks with these among them. */
async function splitHead(chunks: AsyncGenerator<Uint8Array>): Promise<{ head: Uint8Array; rest: AsyncGenerator<Uint8Array> }> {
  let head = new Uint8Array();
  while (head.length < 2) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  return { head, rest: startingWith(head, chunks) };
}

async function* startingWith(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield head;
  yield* rest;
}

/** The same chunks, until they are more than that. */
async function* upTo(maxBytes: number, chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new FormatError(`${name}: the archive has more than ${maxBytes} bytes, which is more than a release has`);
    yield chunk;
  }
}

/** Archives of GitHub hold one folder, which holds the tree. */
function belowTopFolder(files: ProtoFiles, name: string): ProtoFiles {
  const tops = new Set([...files.keys()].map((path) => path.slice(0, path.indexOf("/") + 1)));
  const [top = "", ...others] = tops;
  if (others.length > 0 || tops.has("")) {
    throw new FormatError(`${name}: expected one folder with everything in it, got ${JSON.stringify([...tops].slice(0, 3))}`);
  }
  return new Map([...files].map(([path, bytes]) => [path.slice(top.length), bytes]));
}

/** Where two roots have a file of one name, the first has it: as for a compiler that looks through them, whose own files it brings. */
function byImportPath(files: ProtoFiles): ProtoFiles {
  const resolved: ProtoFiles = new Map();
  for (const root of importRoots) {
    for (const [path, bytes] of files) {
      const imported = path.slice(root.length);
      const isWanted = importRootOf(path) === root && isProtoPath(imported) && !isCompilersFile(imported);
      if (isWanted && !resolved.has(imported)) resolved.set(imported, bytes);
    }
  }
  return resolved;
}

/**
 * Return `files` if no path is both a file and a folder, so that all can be written.
 *
 * @param name - What errors call their source.
 * @throws FormatError
 */
export function assertNoClash(files: ProtoFiles, name: string): ProtoFiles {
  for (const path of files.keys()) {
    for (let end = path.indexOf("/"); end !== -1; end = path.indexOf("/", end + 1)) {
      const folder = path.slice(0, end);
      if (files.has(folder)) throw new FormatError(`${name}: ${folder} is a file, and the folder of ${path} too`);
    }
  }
  return files;
}

/** The longest one. */
function importRootOf(path: string): string {
  return importRoots.findLast((root) => path.startsWith(root)) ?? "";
}
