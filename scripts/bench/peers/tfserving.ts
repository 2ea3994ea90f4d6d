/** This package, as its README shows. */
import { PredictionClient, tensor } from "../../../src/index.js";
import type { ConnectPeer } from "./peer.js";

/** Our client with default options. */
export const connectTfserving: ConnectPeer = (port, values) => {
  const client = new PredictionClient("127.0.0.1", port);
  return {
    predict: () => client.predict("m", { x: tensor("float32", [1, values.length], values) }),
    close: () => client.close(),
  };
};
