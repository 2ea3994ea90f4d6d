/** TLS credentials: from what the caller names, texts, bytes and files, to what the next connection uses. Shared by both transports. */
import type { SecureContext } from "node:tls";
import { ServingError } from "../errors.js";

/** PEM: as text, as bytes of that text, or in a file. */
export type PemSource = string | Uint8Array | { readonly file: string };

/**
 * How connections are encrypted and both sides identified.
 *
 * Files are read when the first connection is made, and again for a new connection once they have changed. While changed files cannot be
 * read or do not belong together, as in the middle of a rotation, new connections use what was read before, and the process is warned.
 */
export interface TlsOptions {
  /** Certificates of the authorities that are trusted, instead of those that Node trusts. @defaultValue Node's */
  readonly ca?: PemSource | undefined;
  /** The client's certificate, with those between it and the authority; goes only with `key`. @defaultValue none */
  readonly cert?: PemSource | undefined;
  /** The private key of `cert`, not encrypted. @defaultValue none */
  readonly key?: PemSource | undefined;
  /** Name that the server is asked for, and its certificate has to be for. @defaultValue the host of the target */
  readonly serverName?: string | undefined;
  /** Take any certificate for the server's: whoever is on the way may then read and answer the calls. @defaultValue false */
  readonly insecureSkipVerify?: boolean | undefined;
}

/** What connections of one client are made with. */
export interface TlsCredentials {
  /** Name that the server's certificate has to be for; absent: the host of the target. */
  readonly serverName: string | undefined;
  /** Whether a server whose certificate is not valid is refused. */
  readonly rejectUnauthorized: boolean;
  /**
   * What the next connection uses: the same object until a file has changed.
   *
   * @throws ServingError `FAILED_PRECONDITION` that names option and file, if there is nothing usable yet.
   */
  context(): SecureContext;
}

const pemOptions = ["ca", "cert", "key"] as const;

/** What the lines around a block say of its content. */
const labels = { ca: "CERTIFICATE", cert: "CERTIFICATE", key: "PRIVATE KEY" } as const;

/** Credentials from checked options; reads nothing yet, but warns the process of `insecureSkipVerify`. */
export function createTlsCredentials(options: TlsOptions): TlsCredentials {
  const { serverName, insecureSkipVerify = false } = options;
  if (insecureSkipVerify) {
    process.emitWarning("tls.insecureSkipVerify is set: nobody checks who answers the calls of this PredictionClient", "SecurityWarning");
  }
  let current: { readonly stamp: string; readonly context: SecureContext } | undefined;
  let warned: string | undefined;

  /** Once, until it is another mistake or none. */
  function warn(message: string | undefined): void {
    if (message !== undefined && message !== warned) {
      process.emitWarning(`${message}; new connections use what was read before`, "SecurityWarning");
    }
    warned = message;
  }

  /** What is current, made anew where a file is not the one that was read. */
  function refreshed(): { readonly stamp: string; readonly context: SecureContext } {
    // Stamped before they are read: what changes meanwhile is read again the next time.
    const stamp = stampOf(options);
    return stamp === current?.stamp ? current : { stamp, context: contextFrom(options) };
  }

  return {
    serverName,
    rejectUnauthorized: !insecureSkipVerify,
    context() {
      try {
        current = refreshed();
        warn(undefined);
      } catch (error) {
        // A ServingError of files that are being replaced; the next connection looks again.
        if (current === undefined) throw error;
        warn((error as ServingError).message);
      }
      return current.context;
    },
  };
}

/** Tells the files from those that may take their place; a link counts as what it leads to. */
function stampOf(options: TlsOptions): string {
  return pemOptions
    .map((name) => {
      const file = fileOf(options[name]);
      if (file === undefined) return "";
      const { mtimeNs, size, ino } = reading(name, file, (fs) => fs.statSync(file, { bigint: true }));
      return `${mtimeNs} ${size} ${ino}`;
    })
    .join();
}

function contextFrom(options: TlsOptions): SecureContext {
  const [ca, cert, key] = pemOptions.map((name) => pemFrom(name, options[name]));
  const given = { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  try {
    return process.getBuiltinModule("node:tls").createSecureContext(given);
  } catch (cause) {
    const places = pemOptions.filter((name) => options[name] !== undefined).map((name) => placeOf(name, options[name]));
    throw unusable(`${places.join(" with ")}: ${(cause as Error).message}`, cause);
  }
}

/**
 * The text of a source.
 *
 * Checked here, because Node takes an authority's file without a certificate for one that trusts nobody, and an empty text for none.
 */
function pemFrom(name: keyof typeof labels, source: PemSource | undefined): string | undefined {
  if (source === undefined) return undefined;
  const file = fileOf(source);
  const text = file === undefined ? textOf(source) : reading(name, file, (fs) => fs.readFileSync(file, "latin1"));
  const begins = text.split("-----BEGIN ").length;
  const isWhole = begins > 1 && begins === text.split("-----END ").length;
  if (!isWhole || !text.includes(`${labels[name]}-----`)) {
    throw unusable(`${placeOf(name, source)}: expected PEM with a ${labels[name]}, got none or a part of it`);
  }
  if (name === "ca") for (const certificate of certificatesIn(text)) assertCertificate(certificate, placeOf(name, source));
  return text;
}

function certificatesIn(pem: string): string[] {
  return pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
}

/** Node passes over authorities' certificates that it cannot read, and then trusts fewer or none. */
function assertCertificate(pem: string, place: string): void {
  try {
    new (process.getBuiltinModule("node:crypto").X509Certificate)(pem);
  } catch (cause) {
    throw unusable(`${place}: expected PEM with certificates, got one that cannot be read: ${(cause as Error).message}`, cause);
  }
}

function textOf(source: PemSource | undefined): string {
  return typeof source === "string" ? source : Buffer.from(source as Uint8Array).toString("latin1");
}

function fileOf(source: PemSource | undefined): string | undefined {
  return typeof source === "object" && "file" in source ? source.file : undefined;
}

/** What a step with a file gives; neither module is loaded by clients without TLS. */
function reading<T>(name: string, file: string, step: (fs: typeof import("node:fs")) => T): T {
  try {
    return step(process.getBuiltinModule("node:fs"));
  } catch (cause) {
    throw unusable(`tls.${name} (${file}): ${(cause as Error).message}`, cause);
  }
}

/** An option as it stands in errors, without what it holds. */
function placeOf(name: string, source: PemSource | undefined): string {
  const file = fileOf(source);
  return file === undefined ? `tls.${name}` : `tls.${name} (${file})`;
}

function unusable(why: string, cause?: unknown): ServingError {
  const hint = "check that the path is right, that this process may read it, and that cert and key are PEM and belong together";
  return new ServingError(`the TLS credentials cannot be used: ${why}`, { code: "FAILED_PRECONDITION", hint, cause });
}
