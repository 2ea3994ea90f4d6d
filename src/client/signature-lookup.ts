/** Where the client needs a signature: to convert and check inputs before sending, and to explain refusals after. */
import { formatCall, isServingError } from "../errors.js";
import { inputsFor, inputsWithoutSignature, type PredictInputs, tensorsOnly } from "../predict-inputs.js";
import type { Signature } from "../signature.js";
import type { BatchingOptions, PredictResult, TensorMap, Transport } from "../transport/transport.js";
import type { Calls, ModelCall } from "./calls.js";
import { assertAsDefined } from "./definition-drift.js";
import { describeChange, describeDifference, errorOfCall, errorOfLookUp, signatureOf } from "./hints.js";
import type { SignatureDefinition } from "./model-definition.js";
import type { ClientSettings, PredictOptions } from "./options.js";
import { type CachedMetadata, SignatureCache } from "./signature-cache.js";

/** How long REST trusts the signature of a model whose version is not pinned: its answers do not tell when a new version has taken over. */
const unpinnedMaxAgeMs = 60_000;

/** How long an error waits for the signature that may explain it. */
const hintTimeoutMs = 1000;

/** What a predict call sends, and the signature it was made for, where that is known. */
export interface Prepared {
  readonly tensors: TensorMap;
  readonly signature?: Signature | undefined;
}

/** How a call deals with the signature. */
export interface Checking {
  /** Compare inputs with the signature before sending. */
  readonly check: boolean;
  /** Fetch the signature also where the call could do without. */
  readonly lookUp: boolean;
  /** What the signature has to be where it is looked up. @defaultValue anything */
  readonly definition?: SignatureDefinition | undefined;
}

/** The signatures of one transport's models. */
export class SignatureLookup {
  readonly #transport: Transport;
  readonly #calls: Calls;
  readonly #settings: ClientSettings;
  readonly #cache: SignatureCache;
  /** Whether the server has refused to tell a signature that calls could have done without. */
  #tellsNoSignatures = false;

  constructor(transport: Transport, calls: Calls, settings: ClientSettings) {
    this.#transport = transport;
    this.#calls = calls;
    this.#settings = settings;
    this.#cache = new SignatureCache({
      maxAgeMs: transport.needsSignature === true ? unpinnedMaxAgeMs : Number.POSITIVE_INFINITY,
      now: () => performance.now(),
    });
  }

  /** The inputs where they can be sent as they are: tensors, and no signature that is known or needed. */
  asGiven(call: ModelCall, inputs: PredictInputs, checking: Checking, batch: false | BatchingOptions | undefined): Prepared | undefined {
    const tensors = tensorsOnly(inputs);
    // Which outputs have a row for each input row, only the signature tells.
    const isShared = batch !== undefined && batch !== false && !this.#tellsNoSignatures;
    const needed = tensors === undefined || checking.lookUp || isShared || this.#transport.needsSignature === true;
    return needed || this.#cache.peek(call.spec) !== undefined ? undefined : { tensors };
  }

  /** What to send for these inputs by the signature, which is looked up where it is not known. */
  async prepare(call: ModelCall, inputs: PredictInputs, checking: Checking): Promise<Prepared> {
    const known = this.#cache.peek(call.spec);
    const tensors = tensorsOnly(inputs);
    if (known === undefined && tensors !== undefined && !checking.lookUp && this.#transport.needsSignature !== true) {
      return (await this.#preparedForSharing(call, inputs, checking)) ?? { tensors };
    }
    const entry = known ?? (await this.#lookUp(call));
    try {
      const prepared = fitted(call, entry, inputs, checking);
      if (prepared !== undefined) return prepared;
    } catch (error) {
      if (!isServingError(error, "SignatureError") || entry.startedAt >= call.startedAt) throw error;
    }
    // Known from an earlier call, and does not fit: the model may have changed since.
    this.#cache.drop(call.spec);
    const fresh = await this.#lookUp(call, call.startedAt);
    return fitted(call, fresh, inputs, checking) ?? { tensors: inputsWithoutSignature(inputs, formatCall(call.method, call.spec)) };
  }

  /** What to send for tensors that only sharing a request needs a signature for; `undefined` where the server does not tell it. */
  async #preparedForSharing(call: ModelCall, inputs: PredictInputs, checking: Checking): Promise<Prepared | undefined> {
    let entry: CachedMetadata;
    try {
      entry = await this.#lookUp(call);
    } catch (error) {
      // A call that is over fails by itself; any other may succeed without. These codes speak of the server, others of the model or the moment.
      if (isServingError(error) && (error.code === "UNIMPLEMENTED" || error.code === "INTERNAL")) this.#tellsNoSignatures = true;
      return undefined;
    }
    return fitted(call, entry, inputs, checking);
  }

  /** Over gRPC every answer tells its version, so that a new one shows at once. */
  forgetOldVersion({ spec }: ModelCall, { modelSpec }: PredictResult): void {
    const known = this.#cache.peek(spec)?.metadata.modelSpec.version;
    if (known !== undefined && modelSpec.version !== undefined && known !== modelSpec.version) this.#cache.drop(spec);
  }

  /** The error of a predict call; where the server found fault with the request, with what differs from the signature as a hint. */
  async explain(call: ModelCall, tensors: TensorMap, options: PredictOptions, error: unknown): Promise<unknown> {
    const isMisfit = isServingError(error) && (error.code === "INVALID_ARGUMENT" || error.code === "FAILED_PRECONDITION");
    if (!isMisfit) return error;
    const known = this.#cache.peek(call.spec);
    // Only answers tell their version: where every call is refused, nothing but this error says that a new one may have taken over.
    const isStale = known !== undefined && call.spec.version === undefined && known.startedAt < call.startedAt;
    if (isStale) this.#cache.drop(call.spec);
    if (!isServingError(error, "RpcError")) return error;
    const entry = known === undefined || isStale ? await this.#lookUpForHint(call) : known;
    if (call.options.signal?.aborted === true) return call.options.signal.reason;
    const difference = entry && describeDifference(entry.metadata, call.spec, tensors, options);
    if (difference === undefined) return error;
    return errorOfCall(call, error, `${describeChange(known?.metadata, entry?.metadata)}${difference}`);
  }

  /** The metadata of the call's model; a fetch that is begun here serves all who ask meanwhile, so it has a deadline of its own. */
  async #lookUp(call: ModelCall, notBefore?: number): Promise<CachedMetadata> {
    const { deadline, signal, metadata, retry } = call.options;
    try {
      return await this.#cache.get(call.spec, {
        deadline,
        signal,
        notBefore,
        metadata,
        fetch: async (unwanted) => {
          const ownDeadline = Math.max(deadline, performance.now() + this.#settings.timeoutMs);
          return this.#transport.getModelMetadata(call.spec, { deadline: ownDeadline, signal: unwanted, metadata, retry });
        },
        onDeadline: () => this.#calls.deadlineError(call, "waiting for the model's signature"),
      });
    } catch (error) {
      // The look-up is a detail of the call, and may have been begun by another one.
      const isFailure = isServingError(error) && (error.name === "RpcError" || error.name === "ServingError");
      throw isFailure && signal?.aborted !== true ? errorOfLookUp(call, error) : error;
    }
  }

  /** The metadata where the server tells it soon; its error is worth more than what went wrong in a look-up for a hint. */
  async #lookUpForHint(call: ModelCall): Promise<CachedMetadata | undefined> {
    const deadline = Math.min(call.options.deadline, performance.now() + hintTimeoutMs);
    return this.#lookUp({ ...call, options: { ...call.options, deadline } }).catch(() => undefined);
  }
}

/** The inputs as one signature wants them; `undefined` if the model has no signature of the name. */
function fitted(call: ModelCall, { metadata }: CachedMetadata, inputs: PredictInputs, checking: Checking): Prepared | undefined {
  const { check, definition } = checking;
  const signature = signatureOf(metadata, call.spec);
  if (definition !== undefined) assertAsDefined(definition, metadata, signature, call.spec);
  if (signature === undefined) return undefined;
  return { tensors: inputsFor(signature, inputs, formatCall(call.method, call.spec), check), signature };
}
