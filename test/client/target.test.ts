import { describe, expect, it } from "vitest";
import { parseDestination, parseTarget, settleTls, targetFromHost } from "../../src/client/target.js";

describe("parseTarget", () => {
  const valid = [
    ["localhost:8500", { transport: "grpc", target: "localhost:8500" }],
    ["localhost", { transport: "grpc", target: "localhost:8500" }],
    ["grpc://tf.example:9000", { transport: "grpc", target: "tf.example:9000", tls: false }],
    ["GRPC://host/", { transport: "grpc", target: "host:8500", tls: false }],
    ["grpc://host/a/b/", { transport: "grpc", target: "host:8500", prefix: "/a/b", tls: false }],
    ["grpcs://host", { transport: "grpc", target: "host:443", tls: true }],
    ["GRPCS://host:9000/prefix", { transport: "grpc", target: "host:9000", prefix: "/prefix", tls: true }],
    ["grpcs://host/ü/../x", { transport: "grpc", target: "host:443", prefix: "/x", tls: true }],
    ["[::1]:9000", { transport: "grpc", target: "[::1]:9000" }],
    ["grpc://[::1]", { transport: "grpc", target: "[::1]:8500", tls: false }],
    ["unix:/run/tf.sock", { transport: "grpc", target: "unix:/run/tf.sock" }],
    ["unix:///run/tf.sock", { transport: "grpc", target: "unix:/run/tf.sock" }],
    ["http://host", { transport: "rest", url: "http://host:8501", tls: false }],
    ["http://host:80/a/b/", { transport: "rest", url: "http://host:80/a/b", tls: false }],
    ["http://[::1]:8501", { transport: "rest", url: "http://[::1]:8501", tls: false }],
    ["https://host", { transport: "rest", url: "https://host:443", tls: true }],
    ["HTTPS://host:8443/a/", { transport: "rest", url: "https://host:8443/a", tls: true }],
  ] as const;
  it.each(valid)("reads %s", (text, target) => {
    expect(parseTarget(text)).toStrictEqual(target);
  });

  describe("rejects", () => {
    const wrong: [text: string, error: new (message: string) => Error, message: RegExp][] = [
      ["dns:///host:8500", TypeError, /stands for several addresses/],
      ["ftp://host", TypeError, /unknown scheme "ftp", expected "host:8500"/],
      ["host:8500/prefix", TypeError, /expected a scheme before a host with a path, such as "grpc:\/\/"/],
      ["grpcs://", TypeError, /expected a host name or address/],
      ["grpcs://host?x=1", TypeError, /query/],
      ["grpcs://host:0", RangeError, /got 0/],
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
      ["a", "grpc://b:1", "unix:/c", "grpcs://d/x"],
      {
        transport: "grpc",
        targets: [
          { transport: "grpc", target: "a:8500" },
          { transport: "grpc", target: "b:1", tls: false },
          { transport: "grpc", target: "unix:/c" },
          { transport: "grpc", target: "d:443", prefix: "/x", tls: true },
        ],
      },
    ],
    [["http://a/x"], { transport: "rest", targets: [{ transport: "rest", url: "http://a:8501/x", tls: false }] }],
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

describe("settleTls", () => {
  const settled = (to: string | readonly string[], withTls: boolean) => settleTls(parseDestination(to), withTls);

  it.each([
    ["host:8500", false, false],
    ["host:8500", true, true],
    ["unix:/s", true, true],
    ["dns:///host", false, false],
    ["dns:///host", true, true],
    ["grpc://host", false, false],
    ["grpcs://host", false, true],
    ["grpcs://host", true, true],
    ["http://host", false, false],
    ["https://host", false, true],
    ["https://host", true, true],
  ])("of %s with the option %j is %j", (to, withTls, tls) => {
    expect(settled(to, withTls)).toMatchObject({ tls });
  });

  it("makes the URL of host and port one of https", () => {
    const destination = { transport: "rest", targets: [targetFromHost("host", 8501, "rest")] } as const;
    expect(settleTls(destination, true)).toMatchObject({ targets: [{ url: "https://host:8501" }] });
    expect(settleTls(destination, false)).toMatchObject({ targets: [{ url: "http://host:8501" }] });
  });

  it("lets the option decide for targets that stand beside schemes with TLS", () => {
    expect(settled(["a:1", "grpcs://b"], true)).toMatchObject({ tls: true, targets: [{ tls: true }, { tls: true }] });
  });

  describe("rejects", () => {
    it.each([
      ["grpc://host", true, 'target host:8500: option tls goes with "grpcs://", got "grpc://"'],
      ["http://host", true, 'target host:8501: option tls goes with "https://", got "http://"'],
      [["a", "grpcs://b"], false, "expected replicas all with TLS or all without, got b:443 with it and a:8500 without"],
      [["https://a:1", "http://b"], false, "expected replicas all with TLS or all without, got a:1 with it and b:8501 without"],
    ])("%j with the option %j", (to, withTls, message) => {
      expect(() => settled(to, withTls)).toThrow(TypeError);
      expect(() => settled(to, withTls)).toThrow(message);
    });
  });
});
