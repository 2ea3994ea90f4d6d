/** What peers behind TLS do wrong, most of which is alike over both transports. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { FaultCase, FaultExpectation, FaultPeer } from "./fault-case.js";
import { answerWell, rpcError, succeeds, timedOut } from "./grpc-case.js";
import { dataFrames, grpcMessage } from "./grpc-frames.js";
import { goodResponse } from "./grpc-messages.js";
import { GrpcConnection, type GrpcStream } from "./grpc-peer.js";
import { unexpected } from "./rest-expectations.js";
import {
  afterMetadata,
  endsWith,
  pours,
  type RawAnswer,
  type RawBody,
  rawResponse,
  reset,
  resetsAfter,
  restConnection,
  type SocketScript,
  sendsJson,
  sendsRaw,
} from "./rest-peer.js";
import { startSocketPeer } from "./socket-peer.js";
import { certificates, type SecureScript, startHelloPeer, startTlsPeer, type TlsPeerOptions, type TlsScheme } from "./tls-peer.js";

type Script<Peer> = readonly [name: string, script: Peer, expected: FaultExpectation];

const tls = { ca: certificates.ca.cert };

const timeoutMs = 400;
/** Where nothing is waited for, a busy machine is not to make the time run out. */
const longTimeoutMs = 10_000;

function tlsCase(name: string, start: FaultCase["start"], expected: FaultExpectation, options: FaultCase["options"] = {}): FaultCase {
  return { name, start, expected, timeoutMs: expected === timedOut ? timeoutMs : longTimeoutMs, options: { tls, ...options } };
}

/** A record of TLS, with the version that all records carry. */
function record(type: number, contents: readonly number[], length = contents.length): Buffer {
  return Buffer.from([type, 3, 3, length >> 8, length & 255, ...contents]);
}

const recordTypes = { alert: 21, handshake: 22, applicationData: 23 } as const;
const levels = { warning: 1, fatal: 2 } as const;
const alerts = { internalError: 80, userCanceled: 90, unrecognizedName: 112 } as const;

const alert = (level: keyof typeof levels, what: keyof typeof alerts) => record(recordTypes.alert, [levels[level], alerts[what]]);

/** Its random number, session and cipher are all ones, and so are the lengths among them. */
const brokenHello = record(recordTypes.handshake, [2, 0, 0, 118, 3, 3, ...new Array<number>(116).fill(255)]);
const halfHello = brokenHello.subarray(0, 40);
const garbage = Buffer.alloc(512, 0xa5);

const floods = (bytes: Uint8Array) => (socket: Socket) => pours(bytes, Buffer.concat(new Array(4096).fill(bytes)))(socket);

const unavailable = (text: RegExp, hint?: RegExp) => rpcError("UNAVAILABLE", text, hint);
/** The reset may overtake what was sent before it. */
const cut = unavailable(/ECONNRESET|disconnected before secure TLS/);
const closedEarly = unavailable(/disconnected before secure TLS/, /instead of answering in TLS/);
const notTls = unavailable(/wrong version number/, /does not speak TLS/);
const lost = unavailable(/./, /connection was lost|before they are up/);

/** What a peer answers to a ClientHello. */
const answersToHello: readonly Script<SocketScript>[] = [
  ["never answers the ClientHello", () => undefined, timedOut],
  ["closes behind the ClientHello", (socket) => void socket.end(), closedEarly],
  ["resets behind the ClientHello", reset, cut],
  ["sends half a ServerHello and stays silent", sendsRaw(halfHello), timedOut],
  ["sends half a ServerHello and closes", endsWith(halfHello), closedEarly],
  ["sends half a ServerHello and resets", resetsAfter(halfHello), cut],
  ["sends a ServerHello of wrong lengths", sendsRaw(brokenHello), unavailable(/SSL routines/)],
  ["sends garbage instead of a ServerHello", sendsRaw(garbage), notTls],
  ["sends data instead of a ServerHello", sendsRaw(record(recordTypes.applicationData, [1, 2, 3])), unavailable(/unexpected message/)],
  ["declares a record of 64 KiB", sendsRaw(record(recordTypes.handshake, [], 65_535)), unavailable(/packet length too long/)],
  ["floods with warnings instead of a ServerHello", floods(alert("warning", "userCanceled")), unavailable(/too many warn alerts/)],
  ["floods with empty records instead of a ServerHello", floods(record(recordTypes.handshake, [])), unavailable(/record too small/)],
  ["breaks the handshake off with the alert internal_error", sendsRaw(alert("fatal", "internalError")), unavailable(/alert number 80/)],
  [
    "breaks the handshake off with the alert unrecognized_name",
    sendsRaw(alert("fatal", "unrecognizedName")),
    unavailable(/alert number 112/, /no certificate for this host/),
  ],
  ["answers in plain HTTP", endsWith(rawResponse({ status: "400 Bad Request" })), notTls],
];

/** Contents of the handshake that the client cannot take, or the peer itself does not. */
const handshakes: readonly Script<TlsPeerOptions>[] = [
  ["shows a certificate that nobody trusts", certificates.otherServer, unavailable(/unable to verify/, /tls\.ca/)],
  [
    "wants a client certificate",
    { requestCert: true, rejectUnauthorized: true, ca: certificates.ca.cert },
    unavailable(/alert number 116/, /tls\.cert and tls\.key/),
  ],
  [
    "speaks nothing newer than TLS 1.1",
    { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
    unavailable(/alert number 70/, /shares no TLS version/),
  ],
  ["shares no protocol with the client", { ALPNProtocols: ["spdy/3.1"] }, unavailable(/alert number 120/, /another protocol inside/)],
];

/** What a peer does once TLS is up, and in the middle of a response. */
const losses: readonly Script<SecureScript>[] = [
  ["stays silent", () => undefined, timedOut],
  ["closes", (socket) => void socket.end(), lost],
  ["closes without close_notify", (_socket, below) => void below.destroy(), lost],
  ["resets", (_socket, below) => reset(below), lost],
];

/** The connection is of no use any more. */
const damaged = { grpcs: unavailable(/a TLS record was damaged/, /connection was lost/), https: unavailable(/SSL routines/) };

/** Records in the middle of a response that nobody with the keys has sent. */
const forgeries: readonly (readonly [string, SecureScript])[] = [
  ["sends garbage instead of a record", (_socket, below) => void below.write(garbage)],
  ["sends an alert in clear text", (_socket, below) => void below.write(alert("fatal", "internalError"))],
  [
    "sends a record with other keys",
    (_socket, below) => void below.write(record(recordTypes.applicationData, new Array<number>(64).fill(7))),
  ],
];

/** A peer of which only the later connections get an answer. */
function startSilentOnce(scheme: TlsScheme): Promise<FaultPeer> {
  let connections = 0;
  return startTlsPeer(scheme, (socket, below) => {
    connections++;
    if (connections > 1) answering[scheme](socket, below);
  });
}

/** The cases that both transports have. */
function commonCases(scheme: TlsScheme): FaultCase[] {
  return [
    tlsCase("closes at once", () => startSocketPeer(scheme, (socket) => void socket.end()), closedEarly),
    tlsCase("resets at once", () => startSocketPeer(scheme, reset), cut),
    tlsCase("sends back what it gets", () => startSocketPeer(scheme, (socket) => void socket.pipe(socket)), unavailable(/SSL routines/)),
    ...answersToHello.map(([name, script, expected]) => tlsCase(name, () => startHelloPeer(scheme, script), expected)),
    ...handshakes.map(([name, options, expected]) => tlsCase(name, () => startTlsPeer(scheme, answering[scheme], options), expected)),
    ...losses.map(([name, script, expected]) => tlsCase(`finishes TLS and ${name}`, () => startTlsPeer(scheme, script), expected)),
    ...losses.map((loss) => halfwayCase(scheme, loss)),
    ...forgeries.map(([name, then]) => halfwayCase(scheme, [name, then, damaged[scheme]])),
    tlsCase("stays silent on the first connection, with retries", () => startSilentOnce(scheme), succeeds, {
      retry: { attemptTimeoutMs: timeoutMs },
    }),
    tlsCase("agrees on no protocol, and answers", () => startTlsPeer(scheme, answering[scheme], { ALPNProtocols: [] }), succeeds),
  ];
}

const goodBytes = rawResponse({ body: '{"outputs": [2.5, 3, 4.5]}' });

/** What answers well. */
const answering: Readonly<Record<TlsScheme, SecureScript>> = {
  grpcs: (socket) => void eachGrpcCall(socket, answerWell),
  https: restConnection({ answer: afterMetadata(sendsJson('{"outputs": [2.5, 3, 4.5]}')) }),
};

/** What answers the half of it, with something behind that. */
const halfAnswering: Readonly<Record<TlsScheme, (then: SecureScript) => SecureScript>> = {
  grpcs: (then) => (socket, below) =>
    void eachGrpcCall(socket, (stream) => {
      stream.headers().send(dataFrames(stream.id, grpcMessage(goodResponse)).subarray(0, 20));
      socket.write("", () => then(socket, below));
    }),
  https: (then) => sending(goodBytes.subarray(0, -8), then),
};

async function eachGrpcCall(socket: TLSSocket, script: (stream: GrpcStream) => void): Promise<never> {
  const connection = new GrpcConnection(socket);
  await connection.handshake();
  for (;;) script(await connection.request());
}

/** Sends these bytes over REST, and then does something else. */
function sending(bytes: RawBody, then: SecureScript): SecureScript {
  return (socket, below) => {
    const answer: RawAnswer = () => void socket.write(bytes, () => then(socket, below));
    restConnection({ answer: afterMetadata(answer) })(socket);
  };
}

function halfwayCase(scheme: TlsScheme, [name, then, expected]: Script<SecureScript>): FaultCase {
  return tlsCase(`${name} in the middle of a response`, () => startTlsPeer(scheme, halfAnswering[scheme](then)), expected);
}

const answersInHttp: SecureScript = (socket) => void socket.once("data", () => socket.end(rawResponse({ status: "400 Bad Request" })));

/** Faults over gRPC with TLS. */
export const grpcTlsCases: readonly FaultCase[] = [
  ...commonCases("grpcs"),
  tlsCase(
    "agrees on no protocol, and answers in HTTP/1.1",
    () => startTlsPeer("grpcs", answersInHttp, { ALPNProtocols: [] }),
    unavailable(/Protocol error/, /not in gRPC/),
  ),
];

/** A body that ends with the connection, of which nobody says that it was meant to. */
function withoutLength(name: string, body: string, expected: FaultExpectation): FaultCase {
  const script = sending(`HTTP/1.1 200 OK\r\n\r\n${body}`, (_socket, below) => void below.destroy());
  return tlsCase(name, () => startTlsPeer("https", script), expected);
}

/** Faults over REST with TLS. */
export const restTlsCases: readonly FaultCase[] = [
  ...commonCases("https"),
  withoutLength("closes without close_notify behind a whole body without a length", '{"outputs": [2.5]}', succeeds),
  withoutLength("closes without close_notify in the middle of a body without a length", '{"outputs": [2.', unexpected(/number/)),
];
