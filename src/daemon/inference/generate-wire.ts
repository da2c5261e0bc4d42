/** `Generate` of proto/agent.proto as TypeScript sees it, and the way to and from `generate.ts`. Both ends use this file and nothing else. */
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import type { Epoch } from "../../core/ids.js";
import { loadProto } from "../../core/proto.js";
import { type Sampling, type TokenLogprob, wireEpoch } from "../../core/worker-protocol.js";
import type { GenerateEvent, GenerateRequest, GeneratedToken } from "./generate.js";
import { samplingFromWire, samplingToWire } from "./sampling-wire.js";

export interface GenerateCall {
  readonly epoch: Epoch | null;
  readonly requestId: string;
  readonly modelId: string;
  readonly prompt: readonly number[];
  readonly emitted: readonly number[];
  readonly sampling: Sampling | null;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  readonly deadlineMs?: number;
  readonly priority: "PRIORITY_INTERACTIVE" | "PRIORITY_BATCH";
  readonly traceparent?: string;
  readonly clientRequestId?: string;
  /** Empty: generate. */
  readonly pooling?: string;
  readonly claim: Epoch | null;
}

interface WireLogprobs { readonly logprob: number; readonly top: readonly TokenLogprob[] }

/** Tokens of one answer, one after the other. */
export interface WireTokens { readonly firstIndex: number; readonly tokens: readonly number[]; readonly logprobs: readonly WireLogprobs[] }

export interface GenerateUpdate {
  readonly tokens?: WireTokens;
  readonly finished?: { readonly reason: string; readonly cachedPromptTokens: number; readonly embedding?: readonly number[] };
  readonly admitted?: { readonly cachedPromptTokens: number };
}

/** The part of the agents' client that generating takes; any client of the Agent service has it. */
export interface GenerateClient {
  generate(call: GenerateCall, metadata: grpc.Metadata, options: grpc.CallOptions): grpc.ClientReadableStream<GenerateUpdate>;
}

interface AgentPackage { readonly minid: { readonly agent: { readonly v1: { readonly Agent: grpc.ServiceClientConstructor } } } }

/** The agents' service: definition and client constructor. Reads the .proto file: keep the result. */
export function agentService(): grpc.ServiceClientConstructor {
  const proto: grpc.GrpcObject & Partial<AgentPackage> = loadProto("agent.proto");
  return (proto as grpc.GrpcObject & AgentPackage).minid.agent.v1.Agent;
}

export function requestToWire(request: GenerateRequest, epoch: Epoch): GenerateCall {
  const { requestId, modelId, prompt, emitted, maxTokens, stopTokens, deadlineMs } = request;
  return {
    epoch, requestId, modelId, prompt, emitted, maxTokens, stopTokens,
    sampling: samplingToWire(request.sampling),
    ...(deadlineMs === undefined ? {} : { deadlineMs: Math.max(1, Math.round(deadlineMs)) }),
    priority: request.priority === "batch" ? "PRIORITY_BATCH" : "PRIORITY_INTERACTIVE",
    pooling: request.pooling ?? "",
    claim: request.claim ?? null,
    traceparent: request.traceparent ?? "",
    clientRequestId: request.clientRequestId ?? "",
  };
}

/** @throws MinidError invalid_value */
export function requestFromWire(call: GenerateCall): GenerateRequest {
  if (!call.sampling) throw new MinidError("invalid_value", "sampling is missing: a caller of Generate must fill it in.", { param: "sampling" });
  for (const [param, tokens] of [["prompt", call.prompt], ["emitted", call.emitted]] as const) {
    const wrong = tokens.find((token) => token < 0);
    if (wrong !== undefined) throw new MinidError("invalid_value", `${param} has the token ${wrong}: token ids are not negative.`, { param });
  }
  const { pooling = "" } = call;
  if (pooling !== "" && pooling !== "last" && pooling !== "mean") throw new MinidError("invalid_value", `pooling is ${pooling}: it is last or mean.`, { param: "pooling" });
  return {
    requestId: call.requestId,
    modelId: call.modelId,
    prompt: call.prompt,
    emitted: call.emitted,
    sampling: samplingFromWire(call.sampling),
    maxTokens: call.maxTokens,
    stopTokens: call.stopTokens,
    ...(call.deadlineMs === undefined ? {} : { deadlineMs: call.deadlineMs }),
    priority: call.priority === "PRIORITY_BATCH" ? "batch" : "interactive",
    ...(pooling !== "" && { pooling }),
    ...(call.traceparent ? { traceparent: call.traceparent } : {}),
    ...(call.clientRequestId ? { clientRequestId: call.clientRequestId } : {}),
    ...(call.claim ? { claim: wireEpoch(call.claim) } : {}),
  };
}

export function eventToWire(event: GenerateEvent): GenerateUpdate {
  switch (event.kind) {
    case "admitted": return { admitted: { cachedPromptTokens: event.cachedPromptTokens } };
    case "finished": return { finished: { reason: event.reason, cachedPromptTokens: event.cachedPromptTokens, ...(event.embedding && { embedding: event.embedding }) } };
    default: return { tokens: tokensToWire(event.tokens) };
  }
}

export function tokensToWire(tokens: readonly GeneratedToken[]): WireTokens {
  return {
    firstIndex: tokens[0]?.index ?? 0,
    tokens: tokens.map(({ token }) => token),
    logprobs: tokens.flatMap(({ logprobs }) => (logprobs ? [logprobs] : [])),
  };
}

export function tokensFromWire({ firstIndex, tokens, logprobs }: WireTokens): GeneratedToken[] {
  return tokens.map((token, offset) => {
    const of = logprobs[offset];
    return { token, index: firstIndex + offset, ...(of ? { logprobs: of } : {}) };
  });
}

/** @returns undefined for an update of a newer protocol that this version does not know. */
export function eventFromWire(update: GenerateUpdate): GenerateEvent | undefined {
  if (update.tokens) return { kind: "tokens", tokens: tokensFromWire(update.tokens) };
  if (update.finished) {
    const { reason, cachedPromptTokens, embedding = [] } = update.finished;
    return { kind: "finished", reason: reason === "stop" ? "stop" : "length", cachedPromptTokens, ...(embedding.length > 0 && { embedding }) };
  }
  if (update.admitted) return { kind: "admitted", cachedPromptTokens: update.admitted.cachedPromptTokens };
  return undefined;
}
