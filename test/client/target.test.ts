import { describe, expect, it } from "vitest";
import { parseDestination, parseTarget, targetFromHost } from "../../src/client/target.js";

describe("parseTarget", () => {
  const valid = [
    ["localhost:8500", { transport: "grpc", target: "localhost:8500" }],
    ["localhost", { transport: "grpc", target: "localhost:8500" }],
    ["grpc://tf.example:9000", { transport: "grpc", target: "tf.example:9000" }],
    ["GRPC://host/", { transport: "grpc", target: "host:8500" }],
    ["[::1]:9000", { transport: "grpc", target: "[::1]:9000" }],
    ["grpc://[::1]", { transport: "grpc", target: "[::1]:8500" }],
    ["unix:/run/tf.sock", { transport: "grpc", target: "unix:/run/tf.sock" }],
    ["unix:///run/tf.sock", { transport: "grpc", target: "unix:/run/tf.sock" }],
    ["http://host", { transport: "rest", url: "http://host:8501" }],
    ["http://host:80/a/b/", { transport: "rest", url: "http://host:80/a/b" }],
    ["http://[::1]:8501", { transport: "rest", url: "http://[::1]:8501" }],
  ] as const;
  it.each(valid)("reads %s", (text, target) => {
    expect(parseTarget(text)).toEqual(target);
  });

  describe("rejects", () => {
    const wrong: [text: string, error: new (message: string) => Error, message: RegExp][] = [
      ["https://host", TypeError, /TLS is not supported in this version/],
      ["grpcs://host", TypeError, /TLS is not supported in this version/],
      ["dns:///host:8500", TypeError, /stands for several addresses/],
      ["ftp://host", TypeError, /unknown scheme "ftp", expected "host:8500"/],
      ["grpc://host/prefix", TypeError, /path for gRPC is not supported in this version, got "\/prefix"/],
      ["", TypeError, /expected a host name or address/],
      [":8500", TypeError, /expected a host name or address/],
      ["http://", TypeError, /expected a host name or address/],
      ["unix:", TypeError, /path of a socket/],
      ["host:0", RangeError, /from 1 to 65535, got 0/],
      ["host:65536", RangeError, /from 1 to 65535, got 65536/],
      ["host:", RangeError, /got ""/],
      ["host:http", RangeError, /got "http"/],
      ["::1", TypeError, /"\[::1\]:8500"/],
      ["[host]:8500", TypeError, /got "\[host\]"/],
      ["http://user:secret@host", TypeError, /credentials/],
      ["http://host?x=1", TypeError, /query/],
      ["http://host/#top", TypeError, /fragment/],
      ["my host:8500", TypeError, /white space/],
    ];
    it.each(wrong)("%j", (text, error, message) => {
      expect(() => parseTarget(text)).toThrow(error);
      expect(() => parseTarget(text)).toThrow(message);
    });

    it("without repeating a password", () => {
      for (const target of ["http://user:secret@host", "user:secret@host:8500", "ftp://user:secret@host", "https://user:secret@host"]) {
        expect(() => parseTarget(target)).toThrow(expect.not.stringContaining("secret"));
      }
    });
  });
});

describe("targetFromHost", () => {
  it.each([
    ["localhost", 8500, "grpc", { transport: "grpc", target: "localhost:8500" }],
    ["::1", 8500, "grpc", { transport: "grpc", target: "[::1]:8500" }],
    ["[::1]", 8500, "grpc", { transport: "grpc", target: "[::1]:8500" }],
    ["127.0.0.1", 8501, "rest", { transport: "rest", url: "http://127.0.0.1:8501" }],
  ] as const)("joins %s and %i for %s", (host, port, transport, target) => {
    expect(targetFromHost(host, port, transport)).toEqual(target);
  });

  describe("rejects", () => {
    it.each([
      ["http://host", 8501, TypeError, /without a scheme/],
      ["", 8500, TypeError, /empty string/],
      ["host:8500", 8500, TypeError, /got "host:8500"/],
      ["host/prefix", 8500, TypeError, /got "host\/prefix"/],
      ["host", 0, RangeError, /got 0/],
      ["host", 1.5, RangeError, /got 1.5/],
      ["host", Number.NaN, RangeError, /got NaN/],
      ["host", 70000, RangeError, /got 70000/],
    ] as const)("%j and %d", (host, port, error, message) => {
      expect(() => targetFromHost(host, port, "grpc")).toThrow(error);
      expect(() => targetFromHost(host, port, "grpc")).toThrow(message);
    });
  });
});

describe("parseDestination", () => {
  it.each([
    ["host", { transport: "grpc", targets: [{ transport: "grpc", target: "host:8500" }] }],
    [
      ["a", "grpc://b:1", "unix:/c"],
      {
        transport: "grpc",
        targets: [
          { transport: "grpc", target: "a:8500" },
          { transport: "grpc", target: "b:1" },
          { transport: "grpc", target: "unix:/c" },
        ],
      },
    ],
    [["http://a/x"], { transport: "rest", targets: [{ transport: "rest", url: "http://a:8501/x" }] }],
    ["dns:///models.ns.svc", { transport: "grpc", name: { host: "models.ns.svc", port: 8500 } }],
    ["DNS:///host:1", { transport: "grpc", name: { host: "host", port: 1 } }],
    ["dns:///[::1]:8500", { transport: "grpc", name: { host: "::1", port: 8500 } }],
  ])("reads %j", (to, destination) => {
    expect(parseDestination(to)).toEqual(destination);
  });

  it("takes a target that stands twice once", () => {
    expect(parseDestination(["a", "b", "a:8500"])).toMatchObject({ targets: [{ target: "a:8500" }, { target: "b:8500" }] });
  });

  it("takes a host named like the scheme for a host", () => {
    expect(parseDestination("dns:8500")).toMatchObject({ targets: [{ target: "dns:8500" }] });
  });

  describe("rejects", () => {
    it.each([
      ["dns://8.8.8.8/host", /expected "dns:\/\/\/host:8500", without a name server/],
      ["dns:///host/path", /expected no path, got "\/path"/],
      ["dns:///", /expected a host name or address, got none/],
      [[], /expected at least one, got an empty array/],
      [["a", "dns:///b"], /pass it alone/],
      [["a", "http://b"], /expected replicas over one transport/],
    ])("%j", (to, message) => {
      expect(() => parseDestination(to)).toThrow(TypeError);
      expect(() => parseDestination(to)).toThrow(message);
    });
  });
});
