/**
 * What failed calls say, and what that means: the one table behind the hints, the retrying and the codes of errors.
 *
 * Texts are those of TensorFlow Serving 2.20.0, of grpc-js 1.14, of undici 7 and of this package itself. `docs/errors.md` shows the same
 * table to users; a test keeps the two equal.
 */
import type { StatusCode } from "./errors.js";

/** One way for a call to fail. */
export interface KnownFailure {
  /**
   * How the message begins, in each wording. `<x>` stands for anything, and so does `...`; what follows is not compared.
   *
   * An empty text is an empty message.
   */
  readonly texts: readonly string[];
  /** The code it comes with over gRPC. Over REST it tells apart what one HTTP status stands for. Absent where the code varies. */
  readonly code?: StatusCode;
  /** Cause, and what the caller can do. */
  readonly hint: string;
  /**
   * Whether the same call may succeed when it is sent again; `"once"` where the call itself may be the cause, so that two such failures
   * are enough.
   *
   * @defaultValue true for `UNAVAILABLE`, false for other codes
   */
  readonly retryable?: boolean | "once";
  /** Whether the way to the server failed, rather than the server refusing the call. @defaultValue false */
  readonly connection?: true;
  /** Whether the server refused the call because each of its threads has one. @defaultValue false */
  readonly outOfThreads?: true;
  /** Whether the call was refused here, so that no server was asked. @defaultValue false */
  readonly notSent?: true;
}

const noSignature = "the model has no signature of this name: getModelMetadata lists those it has; signatureName chooses one";
const nothingToRun = "the signature takes or computes nothing (as __saved_model_init_op does): choose another with signatureName";
const wrongNames =
  "the inputs are not those of the signature: getModelMetadata lists their names; client.model(name) checks before sending";
const wrongShape = "the values are ragged or nested in a way the signature does not expect: getModelMetadata tells the shapes";
const wrongKind =
  "the signature is not one for this method: choose another with signatureName (getModelMetadata lists them), or call predict";
const noJsonForm = "REST's JSON has no form for this dtype: use gRPC (port 8500 by default)";
const behindProxy =
  "a proxy answered, not the model server: the server behind it is down, or still loads its models and has no open port yet";
const tooManyPings =
  "the server ended the connection, normally because of keepalive pings less than 5 minutes apart: leave keepaliveMs at its default, or lower grpc.http2.min_ping_interval_without_data_ms in --grpc_channel_arguments";
const behindProxySlow =
  "a proxy waited too long for the model server, which may still be computing: raise the proxy's time-out, or look at the server's load";
const proxyRefuses = "a proxy refused the caller, as TensorFlow Serving itself never does: pass the credentials it wants as metadata";
const tooSlow =
  "raise timeoutMs, or look at the server's load: the first calls after a model has loaded are slow unless it has warm-up records";

const noClientCertificate = "the server wants a client certificate: set tls.cert and tls.key";
const clientCertificateRefused =
  "the server refused the client certificate: tls.cert has expired, is revoked, or comes from an authority that the server does not trust";

/** Known failures; the first that fits counts, so the particular stands before the general. */
export const knownFailures: readonly KnownFailure[] = [
  // Models, versions, labels, signatures.
  {
    texts: ["Servable not found for request: <model>"],
    code: "NOT_FOUND",
    hint: "no such model or version is loaded: getModelStatus tells whether it still loads or failed; otherwise look at the name and the server's --model_name or --model_config_file",
  },
  {
    texts: ["Could not find any versions of model <name>", "Could not find version <version> of model <name>"],
    code: "NOT_FOUND",
    hint: "the server has never seen this model or version: check the name and --model_config_file (a model just added shows at the next look at the file system, --file_system_poll_wait_seconds)",
  },
  {
    texts: ["Unrecognized servable version label: <label>"],
    code: "INVALID_ARGUMENT",
    hint: "the label is not in version_labels of this model in --model_config_file; a model the server does not know gives the same text",
  },
  {
    texts: ["Model labels does not init yet"],
    code: "UNAVAILABLE",
    hint: "the server has not applied its first configuration yet: try again, or wait with waitForModel",
  },
  {
    texts: [`Serving signature key "<name>" not found`, `Serving signature name: "<name>" not found`],
    code: "FAILED_PRECONDITION",
    hint: noSignature,
  },
  {
    texts: ["No signature was found with the name: <name>", "Requested signature not found in model graph: <name>"],
    code: "INVALID_ARGUMENT",
    hint: noSignature,
  },
  {
    texts: [
      "Expected one input Tensor.",
      "Expected one output Tensor.",
      "Expected classification signature <what>",
      "Expected regression signature <what>",
      "No classification inputs found in SignatureDef",
      "No classification outputs found in SignatureDef",
      "No regression inputs found in SignatureDef",
      "No regression outputs found in SignatureDef",
    ],
    code: "INVALID_ARGUMENT",
    hint: wrongKind,
  },
  { texts: ["Failed to get input map for signature: <name>"], code: "INVALID_ARGUMENT", hint: nothingToRun },
  { texts: ["Node 'NoOp' (type: 'NoOp', num of outputs: 0)"], code: "OUT_OF_RANGE", hint: nothingToRun },

  // Inputs and outputs.
  {
    texts: [
      "input size does not match signature: <count>",
      "Signature input alias: <name>",
      "Inputs contains invalid name",
      "Missing named input: <name>",
      "inputs is a plain value/list",
      "instances is a plain list",
      "Failed to process element: <row> keys must be equal to: <names>",
      "Failed to process element: <row> does not have named input: <name>",
    ],
    code: "INVALID_ARGUMENT",
    hint: wrongNames,
  },
  {
    texts: [
      "Expects arg[<index>] to be <dtype> but <dtype> is provided",
      "JSON Value: <value> is not of expected type: <dtype>",
      "Failed to process element: <row> is not of expected type: <dtype>",
    ],
    code: "INVALID_ARGUMENT",
    hint: "an input has another dtype than the signature: getModelMetadata tells it; client.model(name) converts plain values to it",
  },
  {
    texts: [
      "Encountered list at unexpected <place>",
      "JSON Value: <value> found at incorrect level",
      "Failed to process element: <row> Expecting tensor size: <count>",
      "Failed to process element: <row> Expecting shape [<shape>]",
      "Failed to process element: <row> Encountered list at unexpected <place>",
    ],
    code: "INVALID_ARGUMENT",
    hint: wrongShape,
  },
  {
    texts: ["JSON Value: <value> No values in 'instances' array"],
    code: "INVALID_ARGUMENT",
    hint: "REST's row format cannot carry a batch without rows, and a server that batches may hang on one: answer empty batches without a call",
  },
  {
    texts: ["JSON Parse error: <error>"],
    code: "INVALID_ARGUMENT",
    hint: "the request did not arrive as it was sent: look for a proxy that changes or compresses bodies (the server unpacks gzip up to 100 MiB, nothing else)",
  },
  {
    texts: ["tensor parsing error: <name>"],
    code: "INVALID_ARGUMENT",
    hint: "the server could not read this input: its dtype, shape and number of bytes do not belong together",
  },
  {
    texts: ["output tensor alias not found in signature: <name>", "duplicate output tensor alias: <name>"],
    code: "INVALID_ARGUMENT",
    hint: "outputFilter takes names of the signature's outputs, each once: getModelMetadata lists them",
  },
  { texts: ["Conversion of JSON Value: <value> to type: <dtype>"], code: "UNIMPLEMENTED", hint: noJsonForm },
  {
    texts: ["Failed to process element: <row> Conversion of JSON Value: <value> to type: <dtype>"],
    code: "INVALID_ARGUMENT",
    hint: noJsonForm,
  },
  {
    texts: ["Failed to write JSON value for tensor type: <dtype>"],
    code: "INVALID_ARGUMENT",
    hint: `an output cannot be sent back: ${noJsonForm}`,
  },
  {
    texts: ["Tensor name: <name> has no shape information", "Tensor name: <name> has inconsistent batch size"],
    code: "INVALID_ARGUMENT",
    hint: 'REST\'s row format needs outputs of one and the same first dimension: use restFormat "column", or gRPC',
  },
  {
    texts: ["Input is empty."],
    code: "INVALID_ARGUMENT",
    hint: "classify and regress need at least one example",
  },
  {
    texts: ["Name: <example>, Feature: <feature> is required", "Name: <example>, Key: <feature>"],
    code: "INVALID_ARGUMENT",
    hint: "a feature is missing, of another kind or of another length than the model parses: number is float, bigint is int64, string and bytes are bytes",
  },
  {
    texts: ["Could not parse example input"],
    code: "INVALID_ARGUMENT",
    hint: "this input takes serialized tf.Examples: make them with tfserving/example",
  },

  // Load, limits and server-side batching.
  {
    texts: ["Server Threadpool Exhausted"],
    code: "RESOURCE_EXHAUSTED",
    retryable: true,
    outOfThreads: true,
    hint: "the server runs grpc_max_threads - 1 calls at a time and refuses the rest: send fewer at once or raise --grpc_max_threads",
  },
  {
    texts: ["The batch scheduling queue to which this task was submitted is full"],
    code: "UNAVAILABLE",
    hint: "the server's batching cannot keep up: send less at once, or raise max_enqueued_batches or num_batch_threads in --batching_parameters_file",
  },
  {
    texts: ["Run() timeout exceeded while waiting in batching queue"],
    code: "RESOURCE_EXHAUSTED",
    hint: "a time-out, not a limit: the call waited in the server's batch queue for longer than it had; raise timeoutMs (REST: --rest_api_timeout_in_ms too) or num_batch_threads in --batching_parameters_file",
  },
  {
    texts: ["Task size <rows> is larger than maximum input batch size <rows>"],
    code: "INVALID_ARGUMENT",
    hint: "the call has more rows than one batch: send fewer, or raise max_batch_size in --batching_parameters_file",
  },
  {
    texts: ["Batching Run() input tensors must have <what>"],
    code: "INVALID_ARGUMENT",
    hint: "with --enable_batching every input needs the same first dimension: a signature with scalar inputs cannot be batched",
  },
  {
    texts: ["Tensors with name '<name>' from different tasks have different shapes"],
    code: "FAILED_PRECONDITION",
    retryable: "once",
    hint: "the server batched this call with another caller's of another shape: try again, send equal shapes, or set pad_variable_length_inputs in --batching_parameters_file",
  },
  {
    texts: ["Batched output tensor <what>"],
    code: "FAILED_PRECONDITION",
    hint: "an output does not have one row for each input row, which --enable_batching needs: serve this model without batching",
  },
  {
    texts: ["received initial metadata size exceeds limit", "received metadata size exceeds <limit>", "HTTP 431 "],
    code: "RESOURCE_EXHAUSTED",
    hint: "the call's metadata is too large (over gRPC the server takes 8 KiB): send less of it",
  },
  {
    texts: [
      "Received message larger than max",
      "Received message that decompresses to a size larger than <limit>",
      "Attempted to send message with a size larger than <limit>",
      "the answer is larger than maxResponseBytes",
      "HTTP 413 ",
    ],
    code: "RESOURCE_EXHAUSTED",
    hint: "the message is over a size limit: that of maxResponseBytes where it is set, else normally that of a proxy, for the server's own is 2 GiB: raise it, or send fewer rows",
  },
  {
    texts: ["the client's queue is full: <load>"],
    code: "RESOURCE_EXHAUSTED",
    notSent: true,
    hint: "more calls wait for this server than concurrency.maxQueued allows: send fewer at once, raise it or concurrency.maxInFlight, or give the server more threads (--grpc_max_threads) or replicas",
  },
  {
    texts: ["the client's batching queue is full: <load>"],
    code: "RESOURCE_EXHAUSTED",
    notSent: true,
    hint: "more rows wait than batching.maxQueuedRows allows: send fewer at once, raise it, maxBatchRows or maxInFlightBatches, or add replicas",
  },
  {
    texts: ["waited <time> ms in the client's queue: <load>"],
    code: "RESOURCE_EXHAUSTED",
    notSent: true,
    hint: "the call's turn did not come within concurrency.queueTimeoutMs: raise it or concurrency.maxInFlight, send fewer at once, or give the server more threads (--grpc_max_threads) or replicas",
  },
  { texts: ["Too many pings"], code: "UNAVAILABLE", retryable: "once", hint: tooManyPings },
  { texts: ["Bandwidth exhausted or memory limit exceeded"], code: "RESOURCE_EXHAUSTED", hint: tooManyPings },

  // Time.
  {
    texts: ["Deadline exceeded after <time>Waiting for LB pick", "the deadline passed before there was a connection"],
    code: "DEADLINE_EXCEEDED",
    connection: true,
    hint: "no connection was there in time: check host, port (8500 by default) and firewalls; a server that hangs while it starts looks the same",
  },
  {
    texts: ["Timed out waiting for notification"],
    code: "DEADLINE_EXCEEDED",
    hint: `the model ran out of time: ${tooSlow}; REST stops it after --rest_api_timeout_in_ms (30 s by default) whatever timeoutMs says`,
  },
  {
    texts: ["no answer within <time> ms, the time for one attempt"],
    code: "DEADLINE_EXCEEDED",
    retryable: true,
    connection: true,
    hint: "retry.attemptTimeoutMs cut every attempt short: the server is slower than that, or its network swallows packets",
  },
  {
    texts: [
      "the deadline passed before the call was sent",
      "time ran out while loading the transport",
      "time ran out while waiting for the model's signature",
      "time ran out while waiting for the addresses of <name>",
    ],
    code: "DEADLINE_EXCEEDED",
    hint: "time was up before the call was sent: timeoutMs also covers loading the transport, resolving names, connecting, waiting in the client's queue, looking up the signature and a metadata function",
  },
  {
    texts: [
      "Deadline exceeded",
      "Deadline Exceeded",
      "the deadline passed before the answer was complete",
      "time ran out while waiting for <what>",
    ],
    code: "DEADLINE_EXCEEDED",
    hint: `no answer came in time: ${tooSlow}`,
  },

  // Loading and configuration.
  {
    texts: ["version <version> failed to load: <error>"],
    retryable: false,
    hint: "the server gave this version up: its log has the whole story; repair the version folder or add a new version",
  },
  {
    texts: ["<count> model(s) did not become available: <errors>"],
    code: "UNKNOWN",
    hint: "new models of this reload failed to load, the rest of it stays applied: repair their version folders (the server's log has the whole story) and send it again",
  },
  {
    texts: ["Request to assign label to version <version> of model <name>"],
    code: "FAILED_PRECONDITION",
    hint: "labels go on loaded versions only: reload without the label, waitForModel the version, then reload with it (or start the server with --allow_version_labels_for_unavailable_models)",
  },
  {
    texts: ["Illegal setting neither <what>", "Illegal setting both <what>"],
    code: "INVALID_ARGUMENT",
    hint: "the server remembers a model like this and refuses every later reload: restart it, and give each model exactly one of modelPlatform and modelType",
  },

  {
    texts: ["No request-logger-creator provided."],
    code: "INVALID_ARGUMENT",
    hint: "the stock server refuses a model with loggingConfig: leave it out",
  },

  // TLS.
  {
    texts: ["...certificate has expired", "...certificate is not yet valid"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the server's certificate is not valid today: renew it at the server, unless this machine's clock is wrong",
  },
  {
    texts: ["...Hostname/IP does not match certificate's altnames", "...SSL alert number 112"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the server has no certificate for this host: connect to a name that its certificate lists, or set tls.serverName to one",
  },
  {
    texts: [
      "...self-signed certificate",
      "...unable to verify the first certificate",
      "...unable to get local issuer certificate",
      "...unable to get issuer certificate",
    ],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the server's certificate comes from an authority that is not trusted here: set tls.ca to the authority's certificate, and see that the server sends those between",
  },
  {
    texts: ["...SSL alert number 116"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: noClientCertificate,
  },
  {
    texts: ["HTTP 400 with an HTML page<start>No required SSL certificate was sent"],
    code: "INVALID_ARGUMENT",
    connection: true,
    hint: noClientCertificate,
  },
  {
    texts: [
      "...SSL alert number 42",
      "...SSL alert number 43",
      "...SSL alert number 44",
      "...SSL alert number 45",
      "...SSL alert number 46",
      "...SSL alert number 48",
      "...SSL alert number 49",
    ],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: clientCertificateRefused,
  },
  {
    texts: ["HTTP 400 with an HTML page<start>The SSL certificate error"],
    code: "INVALID_ARGUMENT",
    connection: true,
    hint: clientCertificateRefused,
  },
  {
    texts: ["...SSL alert number 40", "...SSL alert number 70"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the server broke the TLS handshake off: it wants a client certificate (tls.cert with tls.key), or shares no TLS version or cipher with this client",
  },
  {
    texts: ["...SSL alert number 120"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the port speaks TLS, but another protocol inside: use grpcs:// for gRPC's port and https:// for REST's",
  },
  {
    texts: ["...wrong version number"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the port does not speak TLS: use grpc:// or http:// and leave the option tls out, or take the port of the proxy that adds TLS",
  },
  {
    texts: ["...disconnected before secure TLS connection was established"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "the port closed the connection instead of answering in TLS: it does not speak it (use grpc:// or http://), refuses the client certificate, or belongs to a proxy whose server still loads",
  },
  {
    texts: ["...SSL routines"],
    code: "UNAVAILABLE",
    retryable: "once",
    connection: true,
    hint: "TLS with the server failed: it broke off for a reason of its own, or what came is not TLS; the text says what OpenSSL saw",
  },
  {
    texts: [
      "HTTP 400 with an HTML page<start>The plain HTTP request was sent to HTTPS port",
      "HTTP 400 with an unknown body: Client sent an HTTP request to an HTTPS server",
    ],
    code: "INVALID_ARGUMENT",
    connection: true,
    hint: "the port expects TLS: use https://",
  },

  // Connections.
  {
    texts: ["No connection established. Last error: undefined", "Proxy response (<status>) !== 200 when HTTP Tunneling"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "the proxy of the environment (option proxy) is not there or refused to connect: check its address and credentials in HTTP_PROXY or HTTPS_PROXY (gRPC: in lower case), and NO_PROXY",
  },
  {
    texts: ["...ECONNREFUSED"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "nothing listens there: TensorFlow Serving opens its ports only after all models have loaded (gRPC 8500; REST 8501, off without --rest_api_port); waitForModel waits for it",
  },
  {
    texts: ["...connect ENOENT <path>", "...connect EACCES <path>"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "no socket that this process may open is at the path: compare it with --grpc_socket_path",
  },
  {
    texts: ["Name resolution failed", "...ENOTFOUND", "...EAI_AGAIN"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "the host name has no address here: check its spelling, and DNS or the container network",
  },
  {
    texts: ["...ETIMEDOUT", "...EHOSTUNREACH", "...ENETUNREACH", "...Connect Timeout Error"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "the host cannot be reached: check the address, routes and firewalls",
  },
  {
    texts: ["No connection established. Last error: Protocol error", "No connection established. Last error: Flow control error"],
    code: "UNAVAILABLE",
    retryable: false,
    connection: true,
    hint: "the port answers, but not in gRPC: is it the REST port (8501 by default)? gRPC is 8500; for REST use an http:// or https:// target",
  },
  {
    texts: ["No connection established"],
    code: "UNAVAILABLE",
    connection: true,
    hint: "the port closes connections before they are up: it expects TLS (use grpcs://, or the option tls), does not accept the client certificate, is not gRPC's, or belongs to a proxy whose server still loads",
  },
  {
    texts: ["Connection dropped", "Socket closed", "enter idle", "other side closed", "...ECONNRESET", "...EPIPE"],
    code: "UNAVAILABLE",
    retryable: "once",
    connection: true,
    hint: "the connection was lost: the server stopped, crashed (an input of wrong rank can do that: look at its log before sending the same again), expects TLS (use https:// or grpcs://), or does not accept the client certificate",
  },
  {
    texts: ["Stream refused by server"],
    code: "UNAVAILABLE",
    hint: "the server, or a proxy before it, takes no more calls on this connection for now: it shuts down, or limits how many run at once",
  },
  {
    texts: ["the answer is not HTTP/1.1"],
    code: "INTERNAL",
    connection: true,
    hint: "the port does not speak plain HTTP: is it gRPC's (8500 by default), which takes a grpc:// target, or one that expects TLS, which takes https://? REST is 8501, without TLS",
  },
  {
    texts: ["HTTP 502 ", "Received HTTP status code 502"],
    code: "UNAVAILABLE",
    retryable: "once",
    connection: true,
    hint: behindProxy,
  },
  {
    texts: ["HTTP 503 ", "Received HTTP status code 503"],
    code: "UNAVAILABLE",
    connection: true,
    hint: behindProxy,
  },
  {
    texts: ["HTTP 504 ", "Received HTTP status code 504"],
    retryable: false,
    hint: behindProxySlow,
  },
  {
    texts: ["HTTP 429 ", "Received HTTP status code 429"],
    retryable: true,
    hint: "a proxy limits how many calls it lets through, as TensorFlow Serving itself does not: send fewer at once",
  },
  {
    texts: ["HTTP 401 ", "HTTP 403 ", "HTTP 407 ", "Received HTTP status code 401", "Received HTTP status code 403"],
    retryable: false,
    hint: proxyRefuses,
  },
  {
    texts: ["HTTP <status> with an HTML page", "HTTP 404 ", "Malformed request: <request>"],
    retryable: false,
    hint: "this is not TensorFlow Serving's REST API: check host, port (8501 by default, not gRPC's 8500) and path prefix",
  },
  {
    texts: ["Received HTTP status code <status>", "Received RST_STREAM with code 0"],
    retryable: false,
    hint: "an HTTP server answered, but not a gRPC one: check host and port (8500 by default), and that a proxy between passes gRPC on",
  },
  {
    texts: ["unexpected answer: <what>"],
    code: "INTERNAL",
    hint: "the answer is not what TensorFlow Serving sends: check host and port, and proxies that change answers",
  },
  {
    texts: ["", "The server does not implement the method <path>", "unknown service <name>"],
    code: "UNIMPLEMENTED",
    hint: "a gRPC server, but not TensorFlow Serving, or one without this method: check host and port",
  },

  // Last, because any code and text may come with it.
  {
    texts: ["...[[{{"],
    retryable: false,
    hint: "an operation inside the model refused the values: usually a shape, rank or range that the model needs but its signature does not say",
  },
];

/** How a call fails whose metadata function failed, alike over every transport; nothing was sent then. */
export function metadataFailure(cause: unknown): { readonly code: "UNAUTHENTICATED"; readonly text: string; readonly hint: string } {
  return {
    code: "UNAUTHENTICATED",
    text: `the metadata function failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "nothing was sent: the function given as the client's metadata rejected, threw or gave something that is no metadata; cause is its error",
  };
}

/**
 * What is known about a message.
 *
 * @param codes - Codes the failure may have.
 */
export function knownFailure(message: string, codes: readonly StatusCode[]): KnownFailure | undefined {
  return knownFailures.find(
    ({ texts, code }) => (code === undefined || codes.includes(code)) && texts.some((text) => isTextOf(message, text)),
  );
}

/** Whether a message begins like a text of the table; parts are looked for one after the other, because a message may be long and hostile. */
function isTextOf(message: string, text: string): boolean {
  if (text === "") return message === "";
  const [start = "", ...parts] = text.split(/<[^<>]*>|\.\.\./);
  if (!message.startsWith(start)) return false;
  let position = start.length;
  for (const part of parts) {
    const found = message.indexOf(part, position);
    if (found < 0) return false;
    position = found + part.length;
  }
  return true;
}
