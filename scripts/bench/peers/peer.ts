/** A library that sends Predict over gRPC, as the end-to-end benches drive it. */

/** A connected client with a request to send. */
export interface Peer {
  /** Make the request from the values, send it, and give the answer as the library gives it. */
  predict(): Promise<unknown>;
  close(): unknown;
}

/** Connect to a port of 127.0.0.1; the values are the request's only input, `x` of the model `m`, with shape `[1, values.length]`. */
export type ConnectPeer = (port: number, values: Float32Array<ArrayBuffer>) => Peer | Promise<Peer>;
