/** A front door over the embedded model's own tokenizer and template, and a generator that plays a script instead of computing. */
import { fileURLToPath } from "node:url";
import type { FastifyInstance } from "fastify";
import { expect, vi } from "vitest";
import { createServer } from "../../../src/api/server.js";
import type { ApiDeps } from "../../../src/api/deps.js";
import type { ApiOptions } from "../../../src/api/options.js";
import type { ServedModel } from "../../../src/api/served-model.js";
import type { StatusSource } from "../../../src/api/status-source.js";
import { silentLog } from "../../../src/core/log.js";
import type { GenerateEvent, GenerateRequest, Generator } from "../../../src/daemon/inference/generate.js";
import { openAssistant } from "../../../src/model/assistant.js";

export const modelDirectory = fileURLToPath(new URL("../../../models/SmolLM2-135M-Instruct-8bit/", import.meta.url));
export const modelId = "org/smol";
export const endOfTurn = 2;

export async function smolModel(changes: Partial<ServedModel> = {}): Promise<ServedModel> {
  return { id: modelId, created: 1_700_000_000, contextMax: 8_192, fingerprint: "fp_test", assistant: await openAssistant(modelDirectory), ...changes };
}

export const encode = (model: ServedModel, text: string): number[] => model.assistant.tokenizer.encode(text, false);

type Script = (request: GenerateRequest, signal: AbortSignal) => AsyncIterable<GenerateEvent>;

/** Remembers what it was asked and how each call ended. */
export class ScriptedGenerator implements Generator {
  readonly requests: GenerateRequest[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #script: Script;

  constructor(script: Script) { this.#script = script; }

  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    this.requests.push(request);
    this.signals.push(signal);
    return this.#script(request, signal);
  }
}

/** Says these tokens, one event each, keeping the generator's contract on stop tokens and maxTokens. */
export function saying(tokens: readonly number[]): Script {
  return async function* script(request) {
    yield { kind: "admitted", cachedPromptTokens: 3 };
    for (const [index, token] of tokens.slice(0, request.maxTokens).entries()) {
      await Promise.resolve();
      yield { kind: "tokens", tokens: [{ token, index }] };
      if (request.stopTokens.includes(token)) {
        yield { kind: "finished", reason: "stop", cachedPromptTokens: 3 };
        return;
      }
    }
    yield { kind: "finished", reason: "length", cachedPromptTokens: 3 };
  };
}

/** Says these tokens over and over until it is aborted, giving way to the event loop in between. */
export function babbling(tokens: readonly number[]): Script {
  return async function* script(_request, signal) {
    for (let index = 0; !signal.aborted; index += 1) {
      await new Promise((resolve) => { setImmediate(resolve); });
      yield { kind: "tokens", tokens: [{ token: tokens[index % tokens.length]!, index }] };
    }
    throw signal.reason as Error;
  };
}

/** Never says anything; ends when aborted. */
export const silent: Script = async function* script(_request, signal) {
  await new Promise((_resolve, reject) => { signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }); });
  yield { kind: "admitted", cachedPromptTokens: 0 };
};

export const healthyStatus: StatusSource = {
  health: () => ({ ready: true, reasons: [] }),
  clusterInfo: () => ({ totalDevices: 2, healthyDevices: 2, worldSize: 2, grpcActive: true }),
  devices: () => [
    { deviceId: "mini1", rank: 0, role: "coordinator", hostname: "localhost", status: "healthy" },
    { deviceId: "mini2", rank: 1, role: "worker", hostname: "mini2.local", status: "healthy" },
  ],
  status: () => ({ epoch: "1@abc" }),
  plan: () => ({ version: 1 }),
  metricsTargets: (askedAt) => [{ targets: [`${askedAt}:8100`], labels: {} }],
  metrics: () => Promise.resolve({ contentType: "text/plain; version=0.0.4; charset=utf-8", body: "minid_up 1\n" }),
};

export function frontDoor(model: ServedModel, generator: Generator, changes: Partial<ApiDeps> = {}, options: Partial<ApiOptions> = {}): FastifyInstance {
  const models = { list: () => [model], find: (id: string) => (id === model.id ? model : undefined) };
  return createServer({ generator, models, status: healthyStatus, log: silentLog, ...changes }, options);
}

/** The address of a server listening on a free loopback port. */
export const listen = (server: FastifyInstance): Promise<string> => server.listen({ host: "127.0.0.1", port: 0 });

/** The data of a whole event stream, comments left out. */
export function events(body: string): string[] {
  return body.split("\n\n").filter((block) => block.startsWith("data: ")).map((block) => block.slice("data: ".length));
}

export const until = (condition: () => void | Promise<void>) => vi.waitFor(condition, { timeout: 5_000, interval: 5 });

export const userSays = (content: string, rest: object = {}) => ({ model: modelId, messages: [{ role: "user", content }], ...rest });

export async function postChat(server: FastifyInstance, body: object) {
  const response = await server.inject({ method: "POST", url: "/v1/chat/completions", payload: body });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: () => response.json() };
}

export function expectError(response: { readonly status: number; readonly json: () => unknown }, status: number, code: string, param: string | null): void {
  expect(response.json()).toMatchObject({ error: { code, param } });
  expect(response.status).toBe(status);
  const { error } = response.json() as { error: Record<string, unknown> };
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  expect(typeof error["message"]).toBe("string");
}
