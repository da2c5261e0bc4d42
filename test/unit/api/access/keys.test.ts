/** Who gets in: keys, scopes, and callers on this machine, over the real front door. */
import { mkdtemp, rm } from "node:fs/promises";
import type { FastifyInstance } from "fastify";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allows, needOf } from "../../../../src/api/access/rules.js";
import { callerOf, isLoopback } from "../../../../src/api/access/caller.js";
import { homeSocket, listenAtHome } from "../../../../src/api/home-socket.js";
import type { ServedModel } from "../../../../src/api/served-model.js";
import { NodeClient } from "../../../../src/cli/node-client.js";
import { systemClock } from "../../../../src/core/clock.js";
import type { KeyScope } from "../../../../src/core/trust/records.js";
import { Trust } from "../../../../src/core/trust/trust.js";
import { foundCluster } from "../../../../src/daemon/identity/cluster.js";
import { createKey, revokeKey, trustedKeys } from "../../../../src/daemon/security/api-keys.js";
import { expectError, frontDoor, healthyStatus, modelId, saying, ScriptedGenerator, smolModel, userSays } from "../support.js";

const away = "192.168.7.9";
let home: string;
let trust: Trust;
let model: ServedModel;
const keyOf = {} as Record<KeyScope, string>;
const drained: boolean[] = [];
const homeConnections = new WeakSet();

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "minid-keys-"));
  await foundCluster(home, { name: "lab", deviceId: "one" });
  trust = Trust.open(home);
  model = await smolModel();
  for (const scope of ["inference", "read-only", "admin"] as const) keyOf[scope] = (await createKey(home, { name: scope, scopes: [scope] })).key;
});
afterAll(async () => { trust.close(); await rm(home, { recursive: true, force: true }); });

const door = (loopbackNeedsKey = false): FastifyInstance => frontDoor(model, new ScriptedGenerator(saying([5, 6])), {
  keys: trustedKeys(trust, systemClock), admin: { drain: (draining) => { drained.push(draining); }, examine: () => Promise.resolve({ device: "mini1", cluster: undefined, machines: [], findings: [] }), logs: async function* () { yield* []; } }, homeConnections,
  status: { ...healthyStatus, health: () => ({ ready: false, reasons: [{ code: "no_plan", message: "mini2 is gone" }] }) },
}, { loopbackNeedsKey });

interface Ask { readonly from?: string; readonly key?: string; readonly headers?: Record<string, string>; readonly method?: "GET" | "POST"; readonly body?: object; readonly server?: FastifyInstance }
const ask = async (url: string, { from = away, key, headers = {}, method = "GET", body, server = door() }: Ask = {}) => {
  const response = await server.inject({ method, url, remoteAddress: from, headers: { ...headers, ...(key !== undefined && { authorization: `Bearer ${key}` }) }, ...(body && { payload: body }) });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: () => response.json() };
};
const chat = (options: Ask = {}) => ask("/v1/chat/completions", { method: "POST", body: userSays("Hi", { max_tokens: 2 }), ...options });

describe("a caller from another machine", () => {
  it("is refused without a key, in OpenAI's shape, and told how to get one", async () => {
    const refused = await chat();
    expectError(refused, 401, "invalid_api_key", null);
    expect(refused.headers["www-authenticate"]).toBe('Bearer realm="minid"');
    expect(refused.text).toContain("minid key create");
    for (const url of ["/v1/models", "/distributed/status", "/metrics", "/nothing/here"]) expectError(await ask(url), 401, "invalid_api_key", null);
  });

  it("finds no response that was stored for another key, by whatever way it asks", async () => {
    const server = door();
    const { key: other } = await createKey(home, { name: "other", scopes: ["inference"] });
    const respond = (key: string, body: object) => ask("/v1/responses", { method: "POST", server, key, body: { model: modelId, input: "Hi", max_output_tokens: 2, ...body } });
    const { id } = (await respond(keyOf.inference, {})).json() as { id: string };
    expect((await respond(keyOf.inference, { previous_response_id: id })).status).toBe(200);
    expectError(await respond(other, { previous_response_id: id }), 404, "not_found", "previous_response_id");
    expectError(await ask(`/v1/responses/${id}`, { server, key: other }), 404, "not_found", "response_id");
    expect((await server.inject({ method: "DELETE", url: `/v1/responses/${id}`, remoteAddress: away, headers: { authorization: `Bearer ${other}` } })).statusCode).toBe(404);
    expect((await ask(`/v1/responses/${id}`, { server, key: keyOf.inference })).status).toBe(200);
  });

  it("is refused in Anthropic's shape on /v1/messages", async () => {
    const refused = await ask("/v1/messages", { method: "POST", body: { model: modelId, max_tokens: 1, messages: [] } });
    expect([refused.status, refused.json()]).toMatchObject([401, { type: "error", error: { type: "authentication_error", code: "invalid_api_key" } }]);
  });

  it("gets in with a key, as OpenAI's or as Anthropic's clients send it", async () => {
    expect((await chat({ key: keyOf.inference })).status).toBe(200);
    expect((await chat({ headers: { "x-api-key": keyOf.inference } })).status).toBe(200);
    expect((await chat({ headers: { authorization: `bearer  ${keyOf.inference}` } })).status).toBe(200);
  });

  it("gets no further with a key that is misspelt, of another cluster, or of the wrong form", async () => {
    const last = keyOf.inference.slice(-1) === "0" ? "1" : "0";
    for (const key of [keyOf.inference.slice(0, -1) + last, `sk-minid-${"0".repeat(48)}`, "", "sk-", `${keyOf.inference}0`, keyOf.inference.toUpperCase()]) expectError(await chat({ key }), 401, "invalid_api_key", null);
  });

  it("may do what the key's scope says and nothing else", async () => {
    const drain = { method: "POST", body: { draining: true } } as const;
    const table = { chat: ["/v1/chat/completions", { method: "POST", body: userSays("Hi", { max_tokens: 1 }) }], models: ["/v1/models", {}], status: ["/distributed/status", {}], metrics: ["/metrics", {}], drain: ["/admin/drain", drain] } as const;
    const allowed: Record<KeyScope, readonly (keyof typeof table)[]> = { inference: ["chat", "models"], "read-only": ["models", "status", "metrics"], admin: ["chat", "models", "status", "metrics", "drain"] };
    for (const [scope, names] of Object.entries(allowed) as [KeyScope, readonly string[]][]) {
      for (const [name, [url, options]] of Object.entries(table)) {
        const reply = await ask(url, { ...options, key: keyOf[scope] });
        expect([scope, name, reply.status]).toEqual([scope, name, names.includes(name) ? 200 : 403]);
        if (reply.status === 403) expectError(reply, 403, "insufficient_scope", null);
      }
    }
  });

  it("learns whether the service is up without a key, but not what is wrong with it", async () => {
    expect([(await ask("/health/live")).status, (await ask("/health")).json()]).toEqual([200, { status: "unavailable", ready: false, reasons: [] }]);
    expect((await ask("/health", { key: keyOf["read-only"] })).text).toContain("mini2 is gone");
  });

  it("does not come from this machine because a header says so", async () => {
    for (const headers of [{ "x-forwarded-for": "127.0.0.1" }, { forwarded: "for=127.0.0.1" }, { "x-real-ip": "::1" }, { host: "localhost" }]) expectError(await chat({ headers }), 401, "invalid_api_key", null);
  });
});

describe("a key", () => {
  it("is refused from the moment it is revoked, and revoking it again changes nothing", async () => {
    const { key, keyId } = await createKey(home, { name: "short-lived" });
    expect((await chat({ key })).status).toBe(200);
    expect((await revokeKey(home, keyId)).state).toBe("revoked");
    trust.refresh();
    expectError(await chat({ key }), 401, "invalid_api_key", null);
    expect((await revokeKey(home, key)).state).toBe("revoked");
  });

  it("is refused once it has expired", async () => {
    const past = { ...systemClock, wallMs: () => systemClock.wallMs() - 120_000 };
    const { key } = await createKey(home, { ttlMs: 60_000, clock: past });
    expectError(await chat({ key }), 401, "invalid_api_key", null);
  });
});

describe("a caller on this machine", () => {
  it("needs no key, and a placeholder does no harm", async () => {
    for (const from of ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]) expect((await chat({ from })).status).toBe(200);
    expect((await chat({ from: "127.0.0.1", key: "EMPTY" })).status).toBe(200);
  });

  it("needs one when a proxy on this machine passes others' requests on", async () => {
    expectError(await chat({ from: "127.0.0.1", headers: { "x-forwarded-for": "203.0.113.9" } }), 401, "invalid_api_key", null);
  });

  it("needs one when the configuration says so", async () => {
    expectError(await chat({ from: "127.0.0.1", server: door(true) }), 401, "invalid_api_key", null);
    expect((await chat({ from: "127.0.0.1", key: keyOf.inference, server: door(true) })).status).toBe(200);
  });

  it("is held to the scope of a key that it shows", async () => {
    expectError(await ask("/metrics", { from: "127.0.0.1", key: keyOf.inference }), 403, "insufficient_scope", null);
  });

  it("gives orders over the home's socket or with the admin scope, not over the loopback", async () => {
    drained.length = 0;
    expectError(await ask("/admin/drain", { from: "127.0.0.1", method: "POST", body: { draining: true } }), 401, "invalid_api_key", null);
    const server = door(true);
    await server.ready();
    const socket = await listenAtHome(home, server, homeConnections);
    try {
      expect(await NodeClient.ofHome(home).json("POST", "/admin/drain", { body: { draining: true } })).toEqual({ draining: true });
      await expect(NodeClient.ofHome(home).json("POST", "/admin/drain", { body: {} })).rejects.toMatchObject({ code: "missing_required_parameter" });
      expect(await NodeClient.ofHome(home).json("GET", "/distributed/status")).toEqual({ epoch: "1@abc" });
    } finally { await socket.close(); await server.close(); }
    expect(drained).toEqual([true]);
    expect(homeSocket(home).startsWith(home)).toBe(true);
  });
});

describe("the table of addresses", () => {
  it("closes what nobody has decided about", () => {
    expect(needOf("/something/new")).toBe("admin");
    expect(allows(["inference", "read-only"], "admin")).toBe(false);
  });

  it("has a line for every route but the orders", async () => {
    const { paths } = (await ask("/openapi.json")).json() as { paths: object };
    expect(Object.keys(paths).filter((path) => needOf(path) === "admin" && !path.startsWith("/admin/"))).toEqual([]);
  });

  it("calls loopback only what is", () => {
    expect(["127.0.0.1", "::1", "::ffff:127.1.2.3", "128.0.0.1", "::ffff:10.0.0.1", "127.0.0.1.evil", "", undefined].map(isLoopback)).toEqual([true, true, true, false, false, false, false, false]);
    expect(callerOf({ address: undefined, homeSocket: false, headers: {} }, { keys: { find: () => undefined }, loopbackNeedsKey: false })).toEqual({ kind: "nobody", why: "no key" });
  });
});
