/** Peers behind TLS: those that never get as far, and those that misbehave once it is up. */
import type { Socket } from "node:net";
import { createSecureContext, type SecureContextOptions, TLSSocket, type TLSSocketOptions } from "node:tls";
import { makeCertificates } from "../support/certificates.js";
import type { FaultPeer } from "./fault-case.js";
import { startSocketPeer } from "./socket-peer.js";

/** The identities of all peers and clients over TLS. */
export const certificates = await makeCertificates();

/** What the scheme of a target says about its transport. */
export type TlsScheme = "grpcs" | "https";

/** What a peer shows and asks for; by default the right certificate. */
export type TlsPeerOptions = SecureContextOptions & Pick<TLSSocketOptions, "ALPNProtocols" | "requestCert" | "rejectUnauthorized">;

/** What a peer does with each connection once TLS is up; `below` is the connection that carries it. */
export type SecureScript = (socket: TLSSocket, below: Socket) => void;

/** Start a peer that takes the client's first bytes, which are its ClientHello, and runs a script. */
export function startHelloPeer(scheme: TlsScheme, script: (socket: Socket) => void): Promise<FaultPeer> {
  return startSocketPeer(scheme, (socket) => void socket.once("data", () => script(socket)));
}

/** Start a peer that does its part of TLS and then runs a script. */
export function startTlsPeer(scheme: TlsScheme, script: SecureScript, options: TlsPeerOptions = {}): Promise<FaultPeer> {
  const { cert, key } = certificates.server;
  const { ALPNProtocols = [scheme === "grpcs" ? "h2" : "http/1.1"], requestCert, rejectUnauthorized, ...contents } = options;
  const secureContext = createSecureContext({ cert, key, ...contents });
  const settings = { isServer: true, secureContext, ALPNProtocols, requestCert, rejectUnauthorized };
  return startSocketPeer(scheme, (below) => {
    const socket = new TLSSocket(below, settings);
    // Broken handshakes and resets are what this is about.
    socket.on("error", () => undefined).once("secure", () => script(socket, below));
    socket.resume();
  });
}
