import { beforeAll, describe, expect, it } from "vitest";
import type { FastifyInstance } from "fastify";
import { catalogue } from "../../../src/core/errors.js";
import { badRequests } from "../../support/bad-requests.js";
import { frontDoor, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

const generator = new ScriptedGenerator(saying([2]));
let server: FastifyInstance;
beforeAll(async () => { server = frontDoor(await smolModel(), generator); });

describe("bad input", () => {
  const table = badRequests(modelId);

  it("is a table of more than 150 requests", () => { expect(table.length).toBeGreaterThan(150); });

  it.each(table.map((bad) => [`${bad.url}: ${bad.name}`, bad] as const))("%s is refused", async (_name, { method, url, headers, body, status, code, param, word }) => {
    const response = await server.inject({ method, url, headers, ...(body !== undefined && { payload: body as string | object }) });
    const { error } = response.json<{ error: { message: string; type: string; code: string; param: string | null } }>();
    expect(error).toMatchObject({ code, param });
    expect(response.statusCode).toBe(status);
    expect(error.message).toContain(word);
    if (!url.startsWith("/v1/messages")) expect(error.type).toBe(catalogue[code].type);
    expect(response.headers["x-should-retry"]).toBe("false");
  });

  it("does not reach the generator", () => { expect(generator.requests).toEqual([]); });

  it("is not what OpenAI's fields without effect here are", async () => {
    const payload = { model: modelId, messages: [{ role: "user", content: "Hi", name: "Ann", annotations: [] }], user: "me", metadata: { a: "b" }, store: true, service_tier: "auto", safety_identifier: "x", prompt_cache_key: "y", n: 1 };
    expect((await server.inject({ method: "POST", url: "/v1/chat/completions", payload })).statusCode).toBe(200);
  });
});
