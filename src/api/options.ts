/** The front door's settings, with their defaults and bounds. The agent fills them from its config table. */

export interface ApiOptions {
  /** Largest request body. */
  readonly bodyBytesMax: number;
  /** Deadline of a request that names none. */
  readonly requestTimeoutMs: number;
  /** Interval of the comments that keep a waiting stream's connection alive. */
  readonly keepAliveMs: number;
  /** What a stream's reader may leave unread before it is cut off. */
  readonly streamBufferBytesMax: number;
  /** What a finished stream's reader may take to read the end. */
  readonly streamFlushTimeoutMs: number;
  /** Bound on the arrival of a request's headers and body. */
  readonly receiveTimeoutMs: number;
  /** Bound on the arrival of the headers alone. */
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly headerBytesMax: number;
  readonly connectionsMax: number;
  /** Requests in flight on one connection (HTTP pipelining). */
  readonly pipelinedMax: number;
  /** Web pages of these origins may use the API: CORS. */
  readonly corsOrigins: readonly string[];
  /** A key is needed from this machine too. */
  readonly loopbackNeedsKey: boolean;
  /** Prompts and answers go to the log. */
  readonly logContent: boolean;
  /** minid's own, for `/openapi.json`. */
  readonly version: string;
}

export const apiDefaults: ApiOptions = Object.freeze({
  bodyBytesMax: 2 << 20,
  requestTimeoutMs: 600_000,
  keepAliveMs: 5_000,
  streamBufferBytesMax: 1 << 20,
  streamFlushTimeoutMs: 30_000,
  receiveTimeoutMs: 60_000,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 72_000,
  headerBytesMax: 16 << 10,
  connectionsMax: 4_096,
  pipelinedMax: 16,
  corsOrigins: [],
  loopbackNeedsKey: false,
  logContent: false,
  version: "0",
});

/** Bounds that are part of the API rather than of a machine's size. */
export const limits = {
  messages: 2_048,
  stopStrings: 4,
  stopSequences: 16,
  stopStringChars: 1_024,
  logitBiasEntries: 1_024,
  modelIdChars: 512,
  tools: 128,
  choices: 16,
  topLogprobs: 20,
  prompts: 32,
  /** Of one request. */
  answersAtOnce: 64,
  completionLogprobs: 5,
  /** As OpenAI's. */
  embeddingInputs: 2_048,
  promptTokens: 1 << 20,
  requestIdChars: 128,
} as const;
