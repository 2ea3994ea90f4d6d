/** The connections of a channel, made the way grpc-js asks for them, and ended where it cannot. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ChannelCredentials, credentials } from "@grpc/grpc-js";
import type { TlsCredentials } from "../tls.js";

/** How long connections are waited for. */
export interface ConnectionLimits {
  /** When a connection whose peer has said nothing is given up, in milliseconds. */
  readonly silenceMs: number;
  /** How long a closed channel may take to send what it still has to say, in milliseconds. */
  readonly lastWordsMs: number;
}

/** Attempts to connect over REST are given up after the same time. */
const connectionLimits: ConnectionLimits = Object.freeze({ silenceMs: 20_000, lastWordsMs: 500 });

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** A connection on its way to HTTP/2. */
interface Connection {
  readonly socket: Socket;
  /** Whether the TLS handshake is still to be finished. */
  isShakingHands: boolean;
  /** What the peer's next words are awaited on: the socket, or what TLS makes of it, which counts what was decrypted. */
  listened: Socket;
  /** Bytes that had come there before; from a proxy there are some. */
  bytesBefore: number;
  /** Since when. */
  since: number;
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
  readonly #open = new Set<Connection>();
  readonly #limits: ConnectionLimits;
  #abandoned = false;

  constructor(host: string, tls: TlsCredentials | undefined, limits = connectionLimits) {
    super();
    this.#host = host;
    this.#tls = tls;
    this.#limits = limits;
  }

  /** Whether a peer has accepted a connection, or finished the TLS handshake, some time ago and not sent a single byte since. */
  hasSilentPeer(silenceMs: number): boolean {
    const latest = performance.now() - silenceMs;
    return [...this.#open].some((connection) => connection.since <= latest && isSilent(connection));
  }

  /** End all connections, and those that are made from now on; for a channel that has been closed. */
  abandon(): void {
    this.#abandoned = true;
    for (const connection of this.#open) {
      endUnanswered(connection);
      // The channel ends those that speak HTTP/2, but not where a peer has broken its rules. First goes what the channel still has to say;
      // a peer that has stopped reading does not let it go.
      setImmediate(() => connection.socket.destroySoon());
      setTimeout(() => connection.socket.destroy(), this.#limits.lastWordsMs).unref();
    }
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
    const isShakingHands = this.#tls !== undefined;
    const connection = { socket, isShakingHands, listened: socket, bytesBefore: socket.bytesRead, since: performance.now() };
    this.#track(connection);
    if (this.#tls === undefined) return { socket, secure: false };
    const secured = await shakeHands(socket, this.#host, this.#tls);
    Object.assign(connection, { isShakingHands: false, listened: secured, bytesBefore: 0, since: performance.now() });
    return { socket: secured, secure: true };
  }

  #track(connection: Connection): void {
    this.#open.add(connection);
    const timer = setTimeout(() => endUnanswered(connection), this.#limits.silenceMs).unref();
    connection.socket.once("close", () => {
      clearTimeout(timer);
      this.#open.delete(connection);
    });
  }
}

/** Whether the peer has said nothing; a server that speaks HTTP/2 begins with its settings. */
function isSilent({ listened, bytesBefore }: Connection): boolean {
  return listened.bytesRead === bytesBefore;
}

function endUnanswered(connection: Connection): void {
  if (connection.isShakingHands || isSilent(connection)) connection.socket.destroy();
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
    // Both stay: after the handshake grpc-js hears of the connection's end, where this is nobody's error.
    secured.on("error", reject);
    secured.on("close", () => reject(new Error("the connection ended before the TLS handshake did")));
  });
}
