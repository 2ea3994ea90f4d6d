/** The channels of one transport: one at a time, and another where the one before is of no use any more. */
import { Channel, type ChannelOptions, connectivityState } from "@grpc/grpc-js";
import { RunningCalls } from "../../running-calls.js";
import type { TlsCredentials } from "../tls.js";
import { Connections } from "./connections.js";

/** Where calls go. */
export interface UnaryChannel {
  readonly connection: Channel;
  readonly running: RunningCalls;
  /** When a call has last ended by itself, however it did, or when the channel was opened; milliseconds of `performance.now()`. */
  heardAt: number;
}

/** What a transport makes its calls on. */
export interface Channels {
  /** Whether no more calls are taken. */
  readonly closed: boolean;
  /**
   * The channel for a call that is made now.
   *
   * @throws ServingError if the TLS credentials cannot be used.
   */
  forCall(): UnaryChannel;
  /**
   * A call found no answer in time: later calls get another channel, if no other call did on this one.
   *
   * @param wasConnected - Whether it was sent on a connection; one that waited for that says something only of a peer that stays silent.
   */
  doubt(channel: UnaryChannel, wasConnected: boolean): void;
  /** Cancel all calls and end all connections. */
  close(): void;
}

/** Calls with less time than the server needs meet their deadlines on good connections, too; so often at most are those replaced. */
const minSilenceMs = 250;

/** What all channels of a transport have in common. */
export interface ChannelSettings {
  /** In grpc-js's grammar. */
  readonly target: string;
  /** What certificates have to be for, unless the credentials say otherwise. */
  readonly host: string;
  readonly options: ChannelOptions;
}

/**
 * Channels to one target.
 *
 * grpc-js keeps a connection whose other end has vanished, or has left HTTP/2, until a keepalive ping fails: that is minutes, during which
 * every call would wait for its deadline. And after an attempt to connect has failed it lets calls fail for a while; where TLS files have
 * changed, those of another channel may succeed. One that is connected stays.
 */
export function createChannels({ target, host, options }: ChannelSettings, tls: TlsCredentials | undefined): Channels {
  const open = new Map<UnaryChannel, Connections>();
  let current: { readonly channel: UnaryChannel; readonly context: ReturnType<TlsCredentials["context"]> | undefined } | undefined;
  let closed = false;

  function renewed(): UnaryChannel {
    const context = tls?.context();
    if (current !== undefined && current.context === context) return current.channel;
    if (current !== undefined) retire(current.channel);
    const connections = new Connections(host, tls);
    const connection = new Channel(target, connections, options);
    const channel = { connection, running: new RunningCalls(), heardAt: performance.now() };
    open.set(channel, connections);
    current = { channel, context };
    return channel;
  }

  /** Its calls may still be waiting for a connection, or for answers from one that takes no more calls. */
  function retire(channel: UnaryChannel): void {
    channel.running.whenIdle(() => end(channel));
  }

  function end(channel: UnaryChannel): void {
    channel.running.close();
    channel.connection.close();
    open.get(channel)?.abandon();
    open.delete(channel);
  }

  return {
    get closed() {
      return closed;
    },
    forCall() {
      if (current === undefined) return renewed();
      const { channel } = current;
      if (tls === undefined || channel.connection.getConnectivityState(false) === connectivityState.READY) return channel;
      return renewed();
    },
    doubt(channel, wasConnected) {
      if (current?.channel !== channel || performance.now() - channel.heardAt < minSilenceMs) return;
      if (!wasConnected && open.get(channel)?.hasSilentPeer(minSilenceMs) !== true) return;
      current = undefined;
      retire(channel);
    },
    close() {
      closed = true;
      for (const channel of open.keys()) end(channel);
    },
  };
}
