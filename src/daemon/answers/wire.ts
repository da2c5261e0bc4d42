/** The `Answers` service of proto/agent.proto as TypeScript sees it, and the way to and from `record.ts`. What comes off the wire is checked here. */
import type grpc from "@grpc/grpc-js";
import { MinidError } from "../../core/errors.js";
import { loadProto } from "../../core/proto.js";
import { wireEpoch } from "../../core/worker-protocol.js";
import { type WireTokens, tokensFromWire, tokensToWire } from "../inference/generate-wire.js";
import type { ClaimAsked, ClaimVerdict } from "./ledger.js";
import { type AnswerHead, type AnswerRecord, type AnswerUpdate, type Claim, type LogPart, partsOf } from "./record.js";

type WireEpoch = { readonly counter: number; readonly nodeId: string } | null;
interface WireHead { readonly created: number; readonly fingerprint: string; readonly context?: string }
interface WireLog { readonly requestId: string; readonly tokens: WireTokens | null; readonly cachedPromptTokens?: number; readonly finished: string }

export interface WireClaim { readonly key: string; readonly digest: string; readonly claim: WireEpoch }
export interface WireRecord { readonly key: string; readonly digest: string; readonly claim: WireEpoch; readonly head: WireHead | null; readonly logs: readonly WireLog[] }
export interface WireVerdict { readonly verdict: string; readonly highest: WireEpoch; readonly record: WireRecord | null }
export interface WireRecords { readonly records: readonly WireRecord[] }
export interface WireReceipt { readonly behind: readonly string[]; readonly gaps: readonly string[] }

type Unary<Request, Reply> = (request: Request, options: grpc.CallOptions, callback: (error: grpc.ServiceError | null, reply?: Reply) => void) => grpc.ClientUnaryCall;
export interface AnswersClient extends grpc.Client { readonly claim: Unary<WireClaim, WireVerdict>; readonly keep: Unary<WireRecords, WireReceipt> }

interface AnswersPackage { readonly minid: { readonly agent: { readonly v1: { readonly Answers: grpc.ServiceClientConstructor } } } }

/** Reads the .proto file: keep the result. */
export function answersService(): grpc.ServiceClientConstructor {
  const proto: grpc.GrpcObject & Partial<AnswersPackage> = loadProto("agent.proto");
  return (proto as grpc.GrpcObject & AnswersPackage).minid.agent.v1.Answers;
}

/** What another member answered to a claim. */
export type Verdict =
  | { readonly kind: "granted"; readonly before: Claim; readonly head: AnswerHead | undefined; readonly logs: readonly LogPart[] }
  | { readonly kind: "behind"; readonly highest: Claim }
  | { readonly kind: "reused" };

export interface Receipt { readonly behind: readonly string[]; readonly gaps: readonly string[] }

const hash = /^[0-9a-f]{64}$/u;
/** Of a request's id: `chatcmpl-…-p3-15`. */
const requestIdMax = 128;
const contextMax = 16 << 20;

function checked(key: string, digest: string): void {
  if (!hash.test(key) || !hash.test(digest)) throw new MinidError("invalid_value", "key and digest are 64 hex digits each: the caller must send hashes.", { param: "key" });
}

export function claimFromWire({ key, digest, claim }: WireClaim): ClaimAsked {
  checked(key, digest);
  return { key, digest, claim: wireEpoch(claim) };
}

export function verdictToWire(verdict: ClaimVerdict): WireVerdict {
  switch (verdict.kind) {
    case "granted": return { verdict: "granted", highest: verdict.before ?? null, record: recordToWire(verdict.record) };
    case "behind": return { verdict: "behind", highest: verdict.highest, record: null };
    default: return { verdict: "reused", highest: null, record: null };
  }
}

export function verdictFromWire({ verdict, highest, record }: WireVerdict): Verdict {
  switch (verdict) {
    case "granted": return { kind: "granted", before: wireEpoch(highest), head: record?.head ? headFromWire(record.head) : undefined, logs: (record?.logs ?? []).map(logFromWire) };
    case "behind": return { kind: "behind", highest: wireEpoch(highest) };
    case "reused": return { kind: "reused" };
    default: throw new MinidError("invalid_value", `a member answered a claim with '${verdict.slice(0, 32)}'`);
  }
}

function recordToWire(record: AnswerRecord): WireRecord {
  return { key: record.key, digest: record.digest, claim: record.claim, head: record.head ?? null, logs: partsOf(record, () => 0).map(logToWire) };
}

export function updateToWire({ key, digest, claim, head, logs }: AnswerUpdate): WireRecord {
  return { key, digest, claim, head, logs: logs.map(logToWire) };
}

/** @throws MinidError invalid_value */
export function updateFromWire({ key, digest, claim, head, logs }: WireRecord): AnswerUpdate {
  checked(key, digest);
  if (!head) throw new MinidError("invalid_value", "a record without a head is no record.", { param: "head" });
  return { key, digest, claim: wireEpoch(claim), head: headFromWire(head), logs: logs.map(logFromWire) };
}

function headFromWire({ created, fingerprint, context }: WireHead): AnswerHead {
  if (!Number.isSafeInteger(created) || fingerprint.length > 512 || (context?.length ?? 0) > contextMax) throw new MinidError("invalid_value", "the head of a record is out of bounds.", { param: "head" });
  return { created, fingerprint, ...(context === undefined ? {} : { context }) };
}

function logToWire({ requestId, tokens, cachedPromptTokens, finished }: LogPart): WireLog {
  return { requestId, tokens: tokensToWire(tokens), ...(cachedPromptTokens === undefined ? {} : { cachedPromptTokens }), finished: finished ?? "" };
}

function logFromWire({ requestId, tokens, cachedPromptTokens, finished }: WireLog): LogPart {
  if (requestId.length > requestIdMax) throw new MinidError("invalid_value", "the request id of a log is too long.", { param: "logs" });
  const taken = tokens === null ? [] : tokensFromWire(tokens);
  if (taken.some(({ token }) => token < 0)) throw new MinidError("invalid_value", "a log has a negative token: token ids are not negative.", { param: "logs" });
  return { requestId, tokens: taken, cachedPromptTokens, finished: finished === "stop" || finished === "length" ? finished : undefined };
}
