/** The file of `--ssl_config_file`: TLS of the gRPC port; the REST port has none. */
import { jsonFromMessage, messageFromJson, messageFromText, textFromMessage } from "./text-format.js";

/** What a server and its clients are identified by: the PEM texts themselves, not paths of files. */
export interface SSLConfig {
  /** Private key of the server. A file with this text is a secret. */
  readonly serverKey?: string | undefined;
  /** Certificate of the server, with those between it and the root. */
  readonly serverCert?: string | undefined;
  /** Certificates of those who may sign a client's; needed for `clientVerify`. */
  readonly customCa?: string | undefined;
  /** Whether clients need a certificate. The server's default is false. */
  readonly clientVerify?: boolean | undefined;
}

/**
 * The configuration in a text; comments are skipped.
 *
 * @throws FormatError naming field, line and column, if the server's parser would refuse the text.
 */
export function parseSSLConfig(text: string): SSLConfig {
  return jsonFromMessage("SSLConfig", messageFromText("SSLConfig", text)) as SSLConfig;
}

/**
 * The text of a configuration, for `--ssl_config_file`.
 *
 * @throws TypeError if a member has another type, or there is no such member.
 */
export function formatSSLConfig(config: SSLConfig): string {
  return textFromMessage("SSLConfig", messageFromJson("SSLConfig", config));
}
