/** Tar archives made by hand, wrong ones among them. */
import { gzipSync } from "node:zlib";

/** An entry; a regular file where no type is given. */
export interface TarEntry {
  readonly path: string;
  readonly content?: string;
  /** Type flag of the header, such as `5` for a folder or `x` for pax records. */
  readonly type?: string;
  /** Size in the header, where it is not that of the content. */
  readonly size?: string;
}

/** A tar archive in the ustar format, without compression. */
export function tarOf(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), Buffer.alloc(1024)]);
}

/** A release archive as GitHub makes it: everything in one folder, and a comment before it. */
export function releaseArchive(folder: string, files: ReadonlyMap<string, string>): Buffer {
  const entries = [...files].map(([path, content]) => ({ path: `${folder}/${path}`, content }));
  const comment = { path: "pax_global_header", type: "g", content: paxRecord("comment", "0123456789abcdef") };
  return gzipSync(tarOf([comment, { path: `${folder}/`, type: "5" }, ...entries]));
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const length = [1, 2, 3, 4].map((digits) => bytes + digits).find((total, index) => `${total}`.length === index + 1);
  return `${length}${rest}`;
}

function entryBlocks({ path, content = "", type = "0", size }: TarEntry): Buffer[] {
  const body = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(path, 0, 100);
  header.write("0000644\0", 100);
  header.write(size ?? `${body.length.toString(8).padStart(11, "0")}\0`, 124, 12);
  header.write(" ".repeat(8), 148);
  header.write(type, 156);
  header.write("ustar\u000000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return [header, body, Buffer.alloc(-body.length & 511)];
}
