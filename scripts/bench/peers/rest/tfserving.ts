/** This package over REST, as its README shows. */
import { PredictionClient, tensor } from "../../../../src/index.js";
import type { ConnectPeer } from "../peer.js";

/** Our client with default options: it fetches the signature once, and checks the inputs of every call. */
export const connectTfservingRest: ConnectPeer = (port, values) => {
  const client = new PredictionClient("127.0.0.1", port, { transport: "rest" });
  return {
    predict: () => client.predict("m", { x: tensor("float32", [1, values.length], values) }),
    close: () => client.close(),
  };
};
