/**
 * Texts as vectors: what `/v1/embeddings` asks of the ring, and how the answer becomes OpenAI's object. An input is a sequence
 * of the scheduler like any other, computed in the same steps as the answers beside it and begun again when the ring breaks.
 */
import { MinidError } from "../core/errors.js";
import { greedySampling } from "../core/worker-protocol.js";
import type { GenerateRequest, Generator } from "../daemon/inference/generate.js";
import { checkPromptTokens, requireModel } from "./models.js";
import { samplingFromWire } from "../daemon/inference/sampling-wire.js";
import { untilAborted } from "./request-scope.js";
import type { EmbeddingsRequest } from "./schemas/embeddings.js";
import type { ModelDirectory, ServedModel } from "./served-model.js";

/** Inputs of one request that are with the scheduler at once: enough to fill its steps, and not its line. */
const atOnceMax = 16;

export interface EmbeddingsJob {
  readonly model: ServedModel;
  /** One for each input. */
  readonly requests: readonly GenerateRequest[];
  readonly dimensions: number;
  readonly encoding: "float" | "base64";
}

/** @throws MinidError for what the schema cannot see */
export function embeddingsJob(models: ModelDirectory, request: EmbeddingsRequest, id: string): EmbeddingsJob {
  const model = requireModel(models, request.model);
  const { tokenizer, embedding, spec } = model.assistant;
  if (embedding.kind === "unsupported") throw new MinidError("unsupported_parameter", `The model '${model.id}' cannot embed: ${embedding.why}.`, { param: "model" });
  const dimensions = request.dimensions ?? spec.hiddenSize;
  if (dimensions > spec.hiddenSize) throw new MinidError("invalid_value", `Invalid value for 'dimensions': it is ${dimensions}, and this model's embeddings have ${spec.hiddenSize}.`, { param: "dimensions" });
  const inputs = inputsOf(request.input);
  const requests = inputs.map((input, index): GenerateRequest => {
    const param = Array.isArray(request.input) && typeof request.input[0] !== "number" ? `input[${index}]` : "input";
    const prompt = typeof input === "string" ? tokenizer.encode(input, true) : input;
    checkPromptTokens(prompt, tokenizer.vocabSize, param);
    if (prompt.length > model.contextMax) {
      throw new MinidError("context_length_exceeded", `This model's maximum context length is ${model.contextMax} tokens. However, your ${param} resulted in ${prompt.length} tokens. Please reduce the length of the ${param}.`, { param });
    }
    return { requestId: `${id}-${index}`, modelId: model.id, prompt, emitted: [], sampling: samplingFromWire(greedySampling), maxTokens: 1, stopTokens: [], pooling: embedding.pooling };
  });
  return { model, requests, dimensions, encoding: request.encoding_format ?? "float" };
}

function inputsOf(input: EmbeddingsRequest["input"]): readonly (string | readonly number[])[] {
  if (typeof input === "string") return [input];
  return typeof input[0] === "number" ? [input as number[]] : input as (string | number[])[];
}

/** @returns the pooled hidden state, not of unit length. @throws MinidError from the generator, or the signal's reason */
export async function embeddingOf(generator: Generator, request: GenerateRequest, signal: AbortSignal): Promise<readonly number[]> {
  for await (const event of untilAborted(generator.generate(request, signal), signal)) {
    if (event.kind === "finished" && event.embedding) return event.embedding;
  }
  // A leader of an older version generates instead.
  throw new MinidError("engine_failed", "The leader gave no embedding. Upgrade minid on that machine.");
}

/** @param embed of one request. @throws whatever the first failing one throws */
export async function embedAll(job: EmbeddingsJob, embed: (request: GenerateRequest) => Promise<readonly number[]>): Promise<object> {
  const data: object[] = [];
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (next < job.requests.length && !failed) {
      const index = next;
      next += 1;
      try {
        const vector = unitLength((await embed(job.requests[index]!)).slice(0, job.dimensions));
        data[index] = { object: "embedding", index, embedding: job.encoding === "base64" ? base64(vector) : Array.from(vector) };
      } catch (thrown) {
        failed = true;
        throw thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, job.requests.length) }, worker));
  const tokens = job.requests.reduce((sum, { prompt }) => sum + prompt.length, 0);
  return { object: "list", data, model: job.model.id, usage: { prompt_tokens: tokens, total_tokens: tokens } };
}

/** Of length 1, as OpenAI's are: then their dot product is the cosine. What was cut off is no part of the length. */
export function unitLength(values: readonly number[]): Float32Array {
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return Float32Array.from(values, (value) => (length === 0 ? 0 : value / length));
}

/** Little-endian float32, as OpenAI's clients decode it. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  vector.forEach((value, index) => { bytes.writeFloatLE(value, index * 4); });
  return bytes.toString("base64");
}
