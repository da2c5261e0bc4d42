/** A front door over the embedded model's own tokenizer and template whose answers cost nothing: what HTTP is fuzzed against. */
import { createServer } from "../../../src/api/server.js";
import type { ApiOptions } from "../../../src/api/options.js";
import type { RouteContext } from "../../../src/api/deps.js";
import { silentLog } from "../../../src/core/log.js";
import type { GenerateRequest, Generator } from "../../../src/daemon/inference/generate.js";
import { openAssistant } from "../../../src/model/assistant.js";

export const modelId = "org/smol";
const answerMax = 24;

export async function openDoor(options: Partial<ApiOptions> = {}) {
  const assistant = await openAssistant("models/SmolLM2-135M-Instruct-8bit");
  const model = { id: modelId, created: 1_700_000_000, contextMax: 8_192, fingerprint: "fp", assistant };
  const answer = assistant.tokenizer.encode("<think>Hm.</think>The answer is {\"a\": 1}. <tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"é🦊\"}}\n</tool_call> That is all there is to say.", false);
  const generator: Generator = {
    async *generate({ emitted, maxTokens, sampling, pooling }: GenerateRequest) {
      await Promise.resolve();
      if (pooling !== undefined) { yield { kind: "finished", reason: "stop", cachedPromptTokens: 0, embedding: [1, 0.5, -0.5] }; return; }
      yield { kind: "admitted", cachedPromptTokens: 1 };
      const said = answer.slice(0, Math.min(maxTokens, answerMax));
      for (let index = emitted.length; index < said.length; index += 1) {
        await Promise.resolve();
        yield { kind: "tokens", tokens: [{ token: said[index]!, index, ...(sampling.topLogprobs === undefined ? {} : { logprobs: { logprob: -1, top: [{ token: 5, logprob: -0.5 }] } }) }] };
      }
      yield { kind: "finished", reason: "length", cachedPromptTokens: 1 };
    },
  };
  const status: RouteContext["status"] = {
    health: () => ({ ready: true, reasons: [] }), clusterInfo: () => ({ totalDevices: 1, healthyDevices: 1, worldSize: 1, grpcActive: true }), devices: () => [],
    status: () => ({}), plan: () => ({}), metricsTargets: () => [], metrics: () => Promise.resolve({ contentType: "text/plain", body: "" }),
  };
  /** Bugs of ours that a request met: the front door tells clients `internal_error` and the log the rest. */
  const bugs: string[] = [];
  const log = { ...silentLog, error: (fields: object, message?: string) => { bugs.push(`${message ?? ""} ${JSON.stringify(fields)}`); } };
  const server = createServer({ generator, models: { list: () => [model], find: (id) => (id === modelId ? model : undefined) }, status, log }, options);
  return { server, bugs };
}
