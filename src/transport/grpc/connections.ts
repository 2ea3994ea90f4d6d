/** The connections of a channel, made the way grpc-js asks for them, and ended where it cannot. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ChannelCredentials, credentials } from "@grpc/grpc-js";
import type { TlsCredentials } from "../tls.js";

/** When a connection whose peer has said nothing is given up, in milliseconds; REST waits as long. */
const silenceTimeoutMs = 20_000;

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** A connection on its way to HTTP/2. */
interface Attempt {
  readonly socket: Socket;
  /** Whether the peer has begun to speak HTTP/2; as far as it may, since it begins with its settings. */
  hasAnswered(): boolean;
}

/**
 * Credentials of one channel that also know its connections.
 *
 * grpc-js waits without limit for a peer that accepts and stays silent, and once the channel is closed nothing ends that connection: with
 * TLS it would keep the process alive.
 */
export class Connections extends ChannelCredentials {
  readonly #tls: TlsCredentials | undefined;
  /** What a certificate has to be for, unless the credentials say otherwise. */
  readonly #host: string;
  readonly #attempts = new Set<Attempt>();
  #abandoned = false;

  constructor(host: string, tls: TlsCredentials | undefined) {
    super();
    this.#host = host;
    this.#tls = tls;
  }

  /** End the connections whose peers have not answered, and those that are made from now on. */
  abandon(): void {
    this.#abandoned = true;
    for (const attempt of this.#attempts) endUnanswered(attempt);
  }

  _isSecure(): boolean {
    return this.#tls !== undefined;
  }

  _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  _createSecureConnector(...settings: Parameters<ChannelCredentials["_createSecureConnector"]>): SecureConnector {
    const insecure = credentials.createInsecure()._createSecureConnector(...settings);
    return { ...insecure, connect: (socket) => this.#connect(socket) };
  }

  async #connect(socket: Socket): ReturnType<SecureConnector["connect"]> {
    if (this.#abandoned) {
      socket.destroy();
      throw new Error("the channel is closed");
    }
    const before = socket.bytesRead;
    let hasAnswered = () => socket.bytesRead > before;
    this.#track({ socket, hasAnswered: () => hasAnswered() });
    if (this.#tls === undefined) return { socket, secure: false };
    hasAnswered = () => false;
    const secured = await shakeHands(socket, this.#host, this.#tls);
    // Counts what was decrypted.
    hasAnswered = () => secured.bytesRead > 0;
    return { socket: secured, secure: true };
  }

  #track(attempt: Attempt): void {
    this.#attempts.add(attempt);
    const timer = setTimeout(() => endUnanswered(attempt), silenceTimeoutMs).unref();
    attempt.socket.once("close", () => {
      clearTimeout(timer);
      this.#attempts.delete(attempt);
    });
  }
}

function endUnanswered({ socket, hasAnswered }: Attempt): void {
  if (!hasAnswered()) socket.destroy();
}

/** TLS on a connection, with what the credentials hold at this time. */
function shakeHands(socket: Socket, host: string, tls: TlsCredentials): Promise<TLSSocket> {
  const { connect } = process.getBuiltinModule("node:tls");
  const { isIP } = process.getBuiltinModule("node:net");
  const name = tls.serverName ?? host;
  // Servers are asked for by names only (RFC 6066, section 3); an address is compared with the certificate all the same.
  const servername = isIP(name) === 0 ? name : "";
  const { rejectUnauthorized } = tls;
  const settings = { socket, host: name, servername, secureContext: tls.context(), rejectUnauthorized, ALPNProtocols: ["h2"] };
  return new Promise((resolve, reject) => {
    const secured = connect(settings, () => resolve(secured));
    // Stays: after the handshake grpc-js hears of the connection's end, where this is nobody's error.
    secured.on("error", reject);
  });
}
