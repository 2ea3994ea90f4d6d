import { createSecureContext } from "node:tls";
import { connectivityState } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { type Channels, createChannels } from "../../../src/transport/grpc/channels.js";
import type { TlsCredentials } from "../../../src/transport/tls.js";

const settings = { target: "dns:localhost:1", host: "localhost", options: {} };

const opened: Channels[] = [];
afterEach(() => {
  for (const channels of opened.splice(0)) channels.close();
});

/** Channels over TLS whose files a test can change. */
function secureChannels() {
  const files = { now: createSecureContext() };
  const tls: TlsCredentials = { serverName: undefined, rejectUnauthorized: true, context: () => files.now };
  const channels = createChannels(settings, tls);
  opened.push(channels);
  const change = () => {
    files.now = createSecureContext();
  };
  return { channels, change };
}

const stateOf = ({ connection }: ReturnType<Channels["forCall"]>) => connection.getConnectivityState(false);

const endless = { deadline: Number.POSITIVE_INFINITY, cancel: () => undefined, expire: () => undefined };

describe("createChannels with TLS", () => {
  it("keeps its channel while the files stay the same", () => {
    const { channels } = secureChannels();
    expect(channels.forCall()).toBe(channels.forCall());
  });

  it("replaces a channel that is not connected when files have changed, and closes it", () => {
    const { channels, change } = secureChannels();
    const first = channels.forCall();
    change();
    const second = channels.forCall();
    expect(second).not.toBe(first);
    expect([stateOf(first), stateOf(second)]).toEqual([connectivityState.SHUTDOWN, connectivityState.IDLE]);
  });

  it("closes a replaced channel only once its calls have settled", () => {
    const { channels, change } = secureChannels();
    const first = channels.forCall();
    const calls = [{ ...endless }, { ...endless }];
    for (const call of calls) first.running.add(call);
    change();
    channels.forCall();
    const states = calls.map((call) => {
      first.running.delete(call);
      return stateOf(first);
    });
    expect(states).toEqual([connectivityState.IDLE, connectivityState.SHUTDOWN]);
  });

  it("closes every channel that is left, with the calls of each", () => {
    const { channels, change } = secureChannels();
    const cancelled: string[] = [];
    const first = channels.forCall();
    first.running.add({ ...endless, cancel: () => cancelled.push("first") });
    change();
    const second = channels.forCall();
    second.running.add({ ...endless, cancel: () => cancelled.push("second") });
    channels.close();
    expect([channels.closed, cancelled]).toEqual([true, ["first", "second"]]);
    expect([first, second].map(stateOf)).toEqual([connectivityState.SHUTDOWN, connectivityState.SHUTDOWN]);
  });
});

describe("createChannels", () => {
  const plainChannels = () => {
    const channels = createChannels(settings, undefined);
    opened.push(channels);
    return channels;
  };

  it("keeps one channel and closes it", () => {
    const channels = plainChannels();
    const channel = channels.forCall();
    expect([channels.forCall(), channels.closed, stateOf(channel)]).toEqual([channel, false, connectivityState.IDLE]);
    channels.close();
    expect([channels.closed, stateOf(channel)]).toEqual([true, connectivityState.SHUTDOWN]);
  });

  it("replaces a channel that is in doubt and has been silent for a while, once, and closes it with its last call", () => {
    const channels = plainChannels();
    const first = channels.forCall();
    const call = { ...endless };
    first.running.add(call);
    channels.doubt(first, true);
    expect(channels.forCall()).toBe(first);
    first.heardAt -= 1000;
    channels.doubt(first, true);
    const second = channels.forCall();
    channels.doubt(first, true);
    expect([channels.forCall() === second, second === first, stateOf(first)]).toEqual([true, false, connectivityState.IDLE]);
    first.running.delete(call);
    expect([stateOf(first), stateOf(second)]).toEqual([connectivityState.SHUTDOWN, connectivityState.IDLE]);
  });
});
