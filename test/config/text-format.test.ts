import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  formatBatchingParameters,
  formatModelServerConfig,
  formatMonitoringConfig,
  formatPlatformConfigMap,
  formatSSLConfig,
  parseBatchingParameters,
  parseModelServerConfig,
  parseMonitoringConfig,
  parsePlatformConfigMap,
  parseSSLConfig,
} from "../../src/config/index.js";
import { bytesFromMessage, type ConfigMessage, jsonFromMessage, messageFromBytes, messageFromText } from "../../src/config/text-format.js";
import { FormatError } from "../../src/errors.js";
import { errorFrom } from "../support/error-from.js";

interface Entry {
  readonly name: string;
  readonly message: string;
  readonly file: string;
  readonly cpp_accepts: boolean;
  readonly cpp_errors?: readonly string[];
  readonly binary?: string;
  readonly canonical?: string;
  readonly json?: unknown;
}

const folder = new URL("../fixtures/config/", import.meta.url);
const read = (path: string) => new Uint8Array(readFileSync(new URL(path, folder)));
const text = (path: string) => new TextDecoder().decode(read(path));
const { entries } = JSON.parse(text("index.json")) as { entries: Entry[] };
const named = (list: readonly Entry[]) => list.map((entry) => [entry.name, entry] as const);
const accepted = entries.filter((entry) => entry.cpp_accepts);
const refused = entries.filter((entry) => !entry.cpp_accepts);

const pairs: Readonly<Record<string, readonly [ConfigMessage, (text: string) => unknown, (config: never) => string]>> = {
  "tensorflow.serving.ModelServerConfig": ["ModelServerConfig", parseModelServerConfig, formatModelServerConfig],
  "tensorflow.serving.BatchingParameters": ["BatchingParameters", parseBatchingParameters, formatBatchingParameters],
  "tensorflow.serving.MonitoringConfig": ["MonitoringConfig", parseMonitoringConfig, formatMonitoringConfig],
  "tensorflow.serving.SSLConfig": ["SSLConfig", parseSSLConfig, formatSSLConfig],
  "tensorflow.serving.PlatformConfigMap": ["PlatformConfigMap", parsePlatformConfigMap, formatPlatformConfigMap],
};

function pairOf({ message }: Entry) {
  const pair = pairs[message];
  if (pair === undefined) throw new Error(`no functions for ${message}`);
  return pair;
}

/** Two texts are equal if the messages in them are; maps have no order. */
const contentOf = (type: ConfigMessage, text: string) => messageFromText(type, text);

/** A configuration of that many models, a line each. */
const textOf = (models: number) => {
  const settings =
    'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 1 }';
  const lines = Array.from({ length: models }, (_, index) => `config { name: "m${index}" base_path: "/m/${index}" ${settings} }\n`);
  return `model_config_list {\n${lines.join("")}}\n`;
};

describe("texts that the C++ parser accepts", () => {
  it("are all there", () => {
    expect([accepted.length, refused.length]).toEqual([34, 33]);
  });

  it.each(named(accepted))("hold what C++ reads in them: %s", (_name, entry) => {
    const [type] = pairOf(entry);
    const message = messageFromText(type, text(entry.file));
    const expected = messageFromBytes(type, read(entry.binary ?? ""));
    expect(message).toEqual(expected);
    expect(messageFromBytes(type, bytesFromMessage(type, message))).toEqual(expected);
    expect(contentOf(type, text(entry.canonical ?? ""))).toEqual(expected);
    if (entry.json !== undefined) expect(jsonFromMessage(type, message)).toEqual(entry.json);
  });

  it.each(named(accepted))("come back the same from their domain type: %s", (_name, entry) => {
    const [type, parse, format] = pairOf(entry);
    const config = parse(text(entry.file));
    const written = format(config as never);
    expect(parse(written)).toEqual(config);
    // A file without a list of models starts a server without models, as one with an empty list does.
    const expected = ["empty", "only_comment"].includes(entry.name) ? "model_config_list {}" : text(entry.file);
    expect(contentOf(type, written)).toEqual(contentOf(type, expected));
  });
});

describe("texts that the C++ parser refuses", () => {
  it.each(named(refused))("are refused where C++ does: %s", (_name, entry) => {
    const [, parse] = pairOf(entry);
    const bad = text(entry.file);
    const error = errorFrom(() => parse(bad)) as FormatError;
    expect(error).toBeInstanceOf(FormatError);
    const [line = 0] = (entry.cpp_errors?.[0] ?? "").split(":").map(Number);
    expect(error.line).toBe(line);
    expect(error.message).toContain(`line ${error.line}, column ${error.column}: `);
  });
});

describe("the place of an error", () => {
  const lines = (...all: readonly string[]) => all.join("\n");
  it.each<[string, string, number, number, string]>([
    [
      "of an unknown field",
      lines("model_config_list {", "  # config {", "  config { nam: 'm' }", "}"),
      3,
      12,
      "model_config_list.config.nam: unknown field",
    ],
    [
      "of a wrong value",
      lines("model_config_list {", "  config {", "    name: 'a{'", "    base_path: 5"),
      4,
      16,
      "model_config_list.config.base_path: expected a string",
    ],
    [
      "after a list",
      lines("model_config_list { config: [", "{ name: 'a' },", "{ name: 'b' } { } ] }"),
      3,
      15,
      'model_config_list.config: expected ","',
    ],
    ["of a brace too many", lines("model_config_list {", "}", "", "\t}"), 4, 2, 'text: expected a field name, got "}"'],
    ["at the end", lines("model_config_list {", "  config {", "}", ""), 4, 1, "model_config_list.config: unexpected end of input"],
    ["with Windows line ends", lines("model_config_list {\r", "  x\r", "}"), 2, 3, "model_config_list.x: unknown field"],
    [
      "of a string without an end",
      lines("model_config_list {", '  config { name: "m } }', "}"),
      2,
      18,
      "model_config_list.config.name: invalid U+000A",
    ],
    ["that is the character looked for", "model_config_list { \ue000 }", 1, 21, "model_config_list: unexpected U+E000"],
  ])("%s is told", (_title, bad, line, column, words) => {
    const error = errorFrom(() => parseModelServerConfig(bad));
    expect(error).toMatchObject({ name: "FormatError", code: "DATA_LOSS", line, column });
    expect((error as Error).message).toContain(`ModelServerConfig, line ${line}, column ${column}: ${words}`);
  });

  it("is found among thousands of models", () => {
    const text = textOf(5000);
    expect(text.length).toBeGreaterThan(800_000);
    expect(errorFrom(() => parseModelServerConfig(text.slice(0, -2)))).toMatchObject({ line: 5002, column: 1 });
    expect(errorFrom(() => parseModelServerConfig(text.replace("/m/2499", "/m/2499' '\\z")))).toMatchObject({ line: 2501, column: 35 });
  });

  it.each([
    ["a list of versions", `model_config_list { config { model_version_policy { specific { versions: [${"1,".repeat(400_000)}] } } } }`],
    ["a string in pieces", `model_config_list { config { name: ${"'' ".repeat(300_000)} 5 } }`],
    ["a text beyond a megabyte", `${textOf(7000)}}`],
  ])("is not looked for where that takes long: %s", (_title, text) => {
    const error = errorFrom(() => parseModelServerConfig(text)) as FormatError;
    expect(error).toBeInstanceOf(FormatError);
    expect(error).not.toHaveProperty("line");
    expect(error.message).toMatch(/^ModelServerConfig: (expected|cannot specify)/);
  });

  it("is in the column C++ tells, unless C++ tells where a token ends", () => {
    const exact = refused.filter((entry) => {
      const [, parse] = pairOf(entry);
      const { line, column } = errorFrom(() => parse(text(entry.file))) as FormatError;
      return entry.cpp_errors?.some((words) => words.startsWith(`${line}:${column}: `));
    });
    expect(exact.length).toBe(19);
  });
});

describe("parseModelServerConfig", () => {
  it("reads two models with labels and versions of their own", () => {
    const { models } = parseModelServerConfig(text("valid/two_models_labels.txtpb"));
    expect(models.map((model) => ({ ...model, versionLabels: { ...model.versionLabels } }))).toEqual([
      {
        name: "a",
        basePath: "/models/a",
        modelPlatform: "tensorflow",
        versionPolicy: { specific: [1n, 2n] },
        versionLabels: { stable: 1n, canary: 2n },
      },
      { name: "b", basePath: "gs://bucket/b", modelPlatform: "tensorflow", versionPolicy: "all", versionLabels: {} },
    ]);
  });

  it("keeps labels of every name", () => {
    const text = 'model_config_list { config { version_labels { key: "__proto__" value: 3 } } }';
    const { models } = parseModelServerConfig(text);
    expect(Object.entries(models[0]?.versionLabels ?? {})).toEqual([["__proto__", 3n]]);
    expect(parseModelServerConfig(formatModelServerConfig({ models }))).toEqual({ models });
  });

  describe("rejects", () => {
    it.each([
      ["what the stock server ends at", 'custom_model_config { type_url: "a/b" }', "expected model_config_list, got custom_model_config"],
      [
        "a model type that upstream does not have",
        "model_config_list { config { model_type: 7 } }",
        'expected modelType "TENSORFLOW" or "OTHER", got "7"',
      ],
      ["a text beyond the limit", " ".repeat(2 ** 22 + 1), "expected a text of at most 4194304 characters, got 4194305"],
    ])("%s", (_title, text, words) => {
      const error = errorFrom(() => parseModelServerConfig(text));
      expect(error).toBeInstanceOf(FormatError);
      expect((error as Error).message).toContain(words);
    });

    it("messages nested beyond the limit", () => {
      const any = "[type.googleapis.com/tensorflow.serving.PlatformConfigMap] { platform_configs { value { source_adapter_config {";
      const text = `platform_configs { value { source_adapter_config { ${any.repeat(1000)}`;
      expect(() => parsePlatformConfigMap(text)).toThrow("recursion limit of 50 reached");
    });

    it("what is no text", () => {
      expect(() => parseModelServerConfig(read("valid/basic.txtpb") as never)).toThrow(TypeError);
    });

    it("huge numbers and strings in bounded time", () => {
      const label = (value: string) => `model_config_list { config { version_labels { value: ${value} } } }`;
      expect(() => parseModelServerConfig(label("9".repeat(100_000)))).toThrow(FormatError);
      expect(() => parseModelServerConfig(label(`"${"\\x41".repeat(100_000)}"`))).toThrow("expected an integer, got a string");
      expect(() => parseModelServerConfig("[".repeat(100_000))).toThrow(FormatError);
    });
  });
});

describe("formatModelServerConfig", () => {
  it("writes text format", () => {
    const models = [
      { name: 'say "m"', basePath: "/m", modelPlatform: "tensorflow", versionPolicy: { specific: [1n] }, versionLabels: { stable: 1n } },
    ];
    expect(formatModelServerConfig({ models })).toBe(`model_config_list: {
  config: {
    name: "say \\"m\\""
    base_path: "/m"
    model_platform: "tensorflow"
    model_version_policy: {
      specific: {
        versions: 1
      }
    }
    version_labels: {
      key: "stable"
      value: 1
    }
  }
}
`);
  });

  it("writes what is read again, also of thousands of models", () => {
    const config = parseModelServerConfig(textOf(5500));
    const written = formatModelServerConfig(config);
    expect(written.length).toBeGreaterThan(2 ** 20);
    expect(parseModelServerConfig(written)).toEqual(config);
  });

  it("rejects a configuration of another form, and members it does not know", () => {
    expect(() => formatModelServerConfig({ models: [{ name: "m", basePath: "/m", version_policy: "all" } as never] })).toThrow(
      "config.models[0].version_policy: unknown option",
    );
    expect(() => formatModelServerConfig({ models: [{ name: "m" } as never] })).toThrow('model "m": basePath: expected a string');
  });
});

describe("batching parameters", () => {
  it("are written and read", () => {
    const parameters = { maxBatchSize: 128, batchTimeoutMicros: 1000, maxEnqueuedBatches: 1_000_000, numBatchThreads: 8 };
    const text = formatBatchingParameters(parameters);
    expect(text.replace(/\s+/g, " ").trim()).toBe(
      "max_batch_size: { value: 128 } batch_timeout_micros: { value: 1000 } max_enqueued_batches: { value: 1000000 } num_batch_threads: { value: 8 }",
    );
    expect(parseBatchingParameters(text)).toEqual(parameters);
    expect(parseBatchingParameters(`# for one GPU\n${text}`)).toEqual(parameters);
  });

  it("tell 0 from what is absent", () => {
    expect(parseBatchingParameters("batch_timeout_micros {} pad_variable_length_inputs: true")).toEqual({
      batchTimeoutMicros: 0,
      padVariableLengthInputs: true,
    });
    expect(formatBatchingParameters({ maxBatchSize: undefined })).toBe("");
  });

  describe("rejects", () => {
    it.each([
      ["a fraction", { maxBatchSize: 1.5 }, "BatchingParameters: maxBatchSize: expected a whole number below 2^53, got 1.5"],
      ["a size that is no number", { allowedBatchSizes: ["1"] }, 'allowedBatchSizes: expected a whole number below 2^53, got "1"'],
      ["sizes that are no list", { allowedBatchSizes: 1 }, "expected Array, got 1"],
      ["a name that is no text", { threadPoolName: 1 }, "expected string, got 1"],
      ["an unknown parameter", { maxBatchRows: 1 }, 'key "maxBatchRows" is unknown'],
      ["no parameters", null, "expected an object, got null"],
    ])("%s", (_title, parameters, words) => {
      expect(() => formatBatchingParameters(parameters as never)).toThrow(words);
    });

    it("a number that is not exact in JavaScript", () => {
      expect(() => parseBatchingParameters("max_batch_size { value: 9007199254740993 }")).toThrow(
        "maxBatchSize: expected a number below 2^53, got 9007199254740993",
      );
    });
  });
});

describe("what is no configuration", () => {
  it.each(Object.values(pairs))("is refused in plain words: %s", (type, _parse, format) => {
    const words = type === "ModelServerConfig" ? "config: expected { models: [...] }, got" : `${type}: expected an object, got`;
    for (const [value, name] of [
      [undefined, "undefined"],
      [null, "null"],
      ["x", '"x"'],
    ]) {
      const error = errorFrom(() => format(value as never));
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toBe(`${words} ${name}`);
    }
  });
});

describe("the other files", () => {
  it("have domain types of their own", () => {
    expect(parseMonitoringConfig('prometheus_config { enable: true path: "/metrics" }')).toEqual({
      prometheusConfig: { enable: true, path: "/metrics" },
    });
    expect(formatMonitoringConfig({ prometheusConfig: { enable: true, path: undefined } })).toBe(
      "prometheus_config: {\n  enable: true\n}\n",
    );
    const ssl = { serverKey: "-----BEGIN\nabc\n", serverCert: "x", clientVerify: true };
    expect(formatSSLConfig(ssl)).toContain('server_key: "-----BEGIN\\nabc\\n"');
    expect(parseSSLConfig(formatSSLConfig(ssl))).toEqual(ssl);
  });

  it("hold sessions and batching by platform", () => {
    const tensorflow = {
      sourceAdapterConfig: {
        legacyConfig: {
          batchingParameters: { maxBatchSize: 8, allowedBatchSizes: [4, 8] },
          sessionConfig: { gpuOptions: { allowGrowth: true }, operationTimeoutInMs: "5" },
          enableModelWarmup: true,
        },
      },
    };
    const text = formatPlatformConfigMap({ platformConfigs: { tensorflow, empty: {}, ["__proto__"]: { sourceAdapterConfig: {} } } });
    expect(text).toContain("[type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig]: {");
    const { platformConfigs } = parsePlatformConfigMap(text);
    expect(platformConfigs["tensorflow"]).toEqual(tensorflow);
    expect(platformConfigs["empty"]).toEqual({});
    expect(Object.keys(platformConfigs)).toContain("__proto__");
  });

  it("keep messages of other types as bytes", () => {
    const { platformConfigs } = parsePlatformConfigMap(text("valid/any_raw.txtpb"));
    expect(platformConfigs["t"]).toEqual({
      sourceAdapterConfig: { typeUrl: "type.googleapis.com/a.B", value: new Uint8Array([0x0a, 1, 0x78]) },
    });
  });

  describe("rejects", () => {
    it.each([
      ["no platforms", {}, "expected platformConfigs to be an object, got undefined"],
      ["a platform that is none", { platformConfigs: { t: 1 } }, "expected platformConfigs.t to be an object, got 1"],
      [
        "an unknown member beside them",
        { platformConfigs: {}, platforms: {} },
        "platforms: unknown option, expected one of platformConfigs",
      ],
      [
        "an unknown member of a message",
        { platformConfigs: { t: { sourceAdapterConfig: { typeUrl: "a/b", value: new Uint8Array(), type: "b" } } } },
        "platformConfigs.t.sourceAdapterConfig.type: unknown option",
      ],
      ["an unknown member", { platformConfigs: { t: { adapter: {} } } }, "platformConfigs.t.adapter: unknown option"],
      ["an unknown field", { platformConfigs: { t: { sourceAdapterConfig: { x: 1 } } } }, 'key "x" is unknown'],
      [
        "a message without bytes",
        { platformConfigs: { t: { sourceAdapterConfig: { typeUrl: "a/b" } } } },
        "expected typeUrl to be a string and value a",
      ],
      [
        "a fraction in its batching",
        { platformConfigs: { t: { sourceAdapterConfig: { legacyConfig: { batchingParameters: { maxBatchSize: 0.5 } } } } } },
        "maxBatchSize: expected a whole number",
      ],
    ])("%s", (_title, config, words) => {
      expect(() => formatPlatformConfigMap(config as never)).toThrow(words);
    });

    it("bytes that are not the message they are said to be", () => {
      const url = "type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig";
      const text = `platform_configs { value { source_adapter_config { type_url: "${url}" value: "\\xff" } } }`;
      expect(() => parsePlatformConfigMap(text)).toThrow(FormatError);
    });
  });
});
