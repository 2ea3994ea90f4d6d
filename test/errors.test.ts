import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { knownFailure, knownFailures } from "../src/error-hints.js";
import {
  FormatError,
  isServingError,
  RpcError,
  type RpcErrorOptions,
  ServingError,
  SignatureError,
  type StatusCode,
  statusCodeFromNumber,
  statusCodes,
  TensorError,
  tensorErrorOf,
} from "../src/errors.js";

function rpcError(options: Partial<RpcErrorOptions> = {}): RpcError {
  return new RpcError({ code: "INTERNAL", method: "predict", endpoint: "h:8500", transport: "grpc", serverMessage: "odd", ...options });
}

describe("RpcError", () => {
  it.each([
    [{ modelSpec: { name: "m" } }, "INTERNAL: predict m: odd"],
    [{ modelSpec: { name: "m", version: 3n } }, "INTERNAL: predict m:3: odd"],
    [{ modelSpec: { name: "m", versionLabel: "canary" } }, "INTERNAL: predict m@canary: odd"],
    [{ method: "reloadConfig" }, "INTERNAL: reloadConfig: odd"],
  ])("says code, call, model and the server's words (%#)", (options, message) => {
    expect(rpcError(options).message).toBe(message);
  });

  it("takes hint and retryable from its maker rather than from the table", () => {
    const text = "Server Threadpool Exhausted";
    const error = rpcError({ code: "RESOURCE_EXHAUSTED", serverMessage: text, hint: "wait", retryable: false });
    expect([error.hint, error.retryable]).toEqual(["wait", false]);
  });

  it("has no hint where nothing is known", () => {
    expect(rpcError()).not.toHaveProperty("hint");
  });
});

describe("knownFailure", () => {
  it.each<[StatusCode, string, boolean, string]>([
    ["RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", true, "--grpc_max_threads"],
    ["RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue", false, "time-out"],
    ["RESOURCE_EXHAUSTED", "received initial metadata size exceeds limit", false, "8 KiB"],
    ["RESOURCE_EXHAUSTED", "Bandwidth exhausted or memory limit exceeded", false, "keepaliveMs"],
    ["RESOURCE_EXHAUSTED", "Received message larger than max (5 vs 4)", false, "size limit"],
    ["RESOURCE_EXHAUSTED", "the answer is larger than maxResponseBytes (4)", false, "maxResponseBytes"],
    ["UNAVAILABLE", "Stream refused by server", true, "shuts down"],
    ["UNAVAILABLE", "Too many pings", true, "keepaliveMs"],
    [
      "UNAVAILABLE",
      "The batch scheduling queue to which this task was submitted is full; currently 10 batches enqueued and max_enqueued_batches is 10",
      true,
      "max_enqueued_batches",
    ],
    ["UNAVAILABLE", "Connection dropped", true, "lost"],
    [
      "FAILED_PRECONDITION",
      "Tensors with name 'x:0' from different tasks have different shapes and padding is turned off.",
      true,
      "another caller",
    ],
    ["FAILED_PRECONDITION", 'Serving signature key "a" not found.', false, "signature"],
  ])("tells the causes of %s apart by text: %s (traps 20, 21, 22)", (code, serverMessage, retryable, hint) => {
    const error = rpcError({ code, serverMessage });
    expect([error.retryable, error.hint]).toEqual([retryable, expect.stringContaining(hint)]);
  });

  it("finds every failure by each of its own texts, so that none hides another", () => {
    for (const failure of knownFailures) {
      for (const text of failure.texts) {
        const message = text === "" ? "" : `${text.replace("...", "before ").replaceAll(/<[^<>]*>/g, "some")} and more`;
        expect(knownFailure(message, [failure.code ?? "INTERNAL"]), text).toBe(failure);
      }
    }
  });

  it("compares the code, because a model may say anything", () => {
    expect(knownFailure("Server Threadpool Exhausted", ["INTERNAL"])).toBeUndefined();
    expect(knownFailure("my Server Threadpool Exhausted", ["RESOURCE_EXHAUSTED"])).toBeUndefined();
  });

  it("takes a long hostile message without trying every way to read it", () => {
    const message = "JSON Value: found at incorrect Failed to process element: Expecting tensor ".repeat(50_000);
    const start = performance.now();
    expect(knownFailure(message, ["INVALID_ARGUMENT"])).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it("gives hints of one line that name only flags the server has", () => {
    const flags = new Set(
      "model_name model_config_file file_system_poll_wait_seconds allow_version_labels_for_unavailable_models grpc_max_threads grpc_socket_path grpc_channel_arguments enable_batching batching_parameters_file rest_api_port rest_api_timeout_in_ms".split(
        " ",
      ),
    );
    for (const { hint } of knownFailures) {
      expect(hint).toMatch(/^[^\n]{20,320}[^.\s]$/);
      for (const [, flag = ""] of hint.matchAll(/--(\w+)/g)) expect(flags).toContain(flag);
    }
  });
});

interface Recorded {
  readonly transport: string;
  readonly response?: { readonly code?: string; readonly message?: string };
}

describe("the refusals recorded from TensorFlow Serving 2.20.0", () => {
  /** Answers to requests that this package never sends: no model name, no or another metadata field, a task without a method... */
  const toRequestsNeverSent = [
    "Missing ModelSpec",
    "ModelSpec has no name specified.",
    "Found ModelSpec with an empty model name.",
    "All ModelSpecs in a MultiInferenceRequest",
    "GetModelMetadataRequest must specify",
    "Metadata field ",
    "Unsupported signature method_name: ",
  ];
  /** The words say all there is to say. */
  const clear = ["Duplicate evaluation of signature: "];

  it.each(["errors-grpc", "predict-grpc", "classify-regress", "metadata-status"])("%s all have a hint", (group) => {
    const { exchanges } = JSON.parse(readFileSync(new URL(`./fixtures/golden/${group}.json`, import.meta.url), "utf8")) as {
      exchanges: Recorded[];
    };
    const without = new Set<string>();
    let refusals = 0;
    for (const { transport, response } of exchanges) {
      const { code = "OK", message = "" } = response ?? {};
      if (transport !== "grpc" || code === "OK" || (code === "INTERNAL" && message === "")) continue;
      refusals++;
      if (rpcError({ code: code as StatusCode, serverMessage: message }).hint === undefined) without.add(message);
    }
    expect(refusals).toBeGreaterThan(5);
    const surprising = [...without].filter((message) => ![...toRequestsNeverSent, ...clear].some((start) => message.startsWith(start)));
    expect(surprising).toEqual([]);
  });
});

describe("tensorErrorOf", () => {
  it("puts code and call before the words of the tensor and keeps its hint", () => {
    const inner = new TensorError('output "y": expected 4 bytes, got 3', { hint: "use gRPC" });
    const error = tensorErrorOf({ method: "predict", modelSpec: { name: "m", version: 2 } }, inner);
    expect(error.message).toBe('INVALID_ARGUMENT: predict m:2: output "y": expected 4 bytes, got 3');
    expect([error.hint, error.cause]).toEqual(["use gRPC", inner]);
  });
});

describe("SignatureError", () => {
  it("lists every difference", () => {
    const error = new SignatureError("predict m", ['input "a": missing', 'input "b": unknown']);
    expect(error.message).toBe('INVALID_ARGUMENT: predict m: input "a": missing; input "b": unknown');
    expect(error.differences).toHaveLength(2);
  });
});

describe("FormatError", () => {
  it("is DATA_LOSS and says where", () => {
    expect(new FormatError("bad", { offset: 7 })).toMatchObject({ code: "DATA_LOSS", retryable: false, offset: 7 });
    expect(new FormatError("bad", { line: 1, column: 2 })).toMatchObject({ line: 1, column: 2 });
  });
});

describe("isServingError", () => {
  it("knows the family and its classes", () => {
    const error: unknown = rpcError();
    expect([isServingError(error), isServingError(error, "ServingError"), isServingError(error, "RpcError")]).toEqual([true, true, true]);
    expect(isServingError(error, "TensorError")).toBe(false);
    expect(isServingError(new ServingError("x", { code: "ABORTED" }), "RpcError")).toBe(false);
  });

  it("knows the errors of another copy of this package", () => {
    const foreign = Object.assign(new Error("x"), { name: "RpcError", [Symbol.for("tfserving.ServingError")]: true });
    expect([isServingError(foreign), isServingError(foreign, "RpcError")]).toEqual([true, true]);
  });

  it.each([undefined, null, "NOT_FOUND", new Error("x"), { name: "RpcError" }])("is false for %s", (value) => {
    expect(isServingError(value)).toBe(false);
  });
});

describe("statusCodeFromNumber", () => {
  it("names the seventeen codes and calls all other numbers UNKNOWN", () => {
    expect(statusCodes.map((_, number) => statusCodeFromNumber(number))).toEqual([...statusCodes]);
    expect([-1, 17, 1.5].map(statusCodeFromNumber)).toEqual(["UNKNOWN", "UNKNOWN", "UNKNOWN"]);
  });
});
