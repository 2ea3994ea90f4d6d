/** A process that starts the built server with three JavaScript models, has it listen on both ports, and closes it. */
import { servable, startModelServer } from "tfserving/server";

const signature = {
  inputs: { x: { dtype: "float32", shape: [null] } },
  outputs: { y: { dtype: "float32", shape: [null] } },
};
const model = servable({ signatures: { serving_default: signature }, predict: ({ x }) => ({ y: x }) });

const server = await startModelServer({ models: { a: { 1: model }, b: { 1: model }, c: { 1: model } } });
if (!(server.grpcPort > 0 && server.restPort > 0)) throw new Error(`expected two ports, got ${server.grpcPort} and ${server.restPort}`);
await server.close();
