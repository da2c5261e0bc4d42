/** What a web page in a browser on this machine can do: DNS rebinding, blind requests across origins, CORS. */
import type { FastifyInstance } from "fastify";
import { beforeAll, describe, expect, it } from "vitest";
import { webPageRefusal } from "../../../../src/api/access/web-page.js";
import type { ServedModel } from "../../../../src/api/served-model.js";
import { expectError, frontDoor, saying, ScriptedGenerator, smolModel, userSays } from "../support.js";

const rules = { hostNames: ["mini2", "mini2.local", ".lab.example"], origins: ["https://chat.example.com"] };
const refused = (host: string | string[], origin?: string): string => webPageRefusal([host].flat(), origin, rules)?.code ?? "ok";

describe("the Host header of a caller without a key", () => {
  it("may be the loopback, an address, or a name of this machine", () => {
    const good = ["localhost", "LocalHost:8100", "app.localhost", "127.0.0.1:8100", "[::1]:8100", "192.168.1.5", "[fe80::1]", "mini2.local:8100", "mini2.local.", "MINI2", "gpu.lab.example"];
    expect(good.map((host) => [host, refused(host)])).toEqual(good.map((host) => [host, "ok"]));
  });

  it("may not be another name, no name, two names, or a name with ours in it", () => {
    const bad: (string | string[])[] = ["evil.example", "mini2.local.evil.example", "evil-mini2.local", "lab.example.evil", "127.0.0.1.evil.example", "localhost@evil.example", "", [], ["localhost", "evil.example"], "local host", "[::1", "[evil]:1", "localhost:8100:1", "::1"];
    expect(bad.map((host) => [host, refused(host)])).toEqual(bad.map((host) => [host, "host_not_allowed"]));
    expect(webPageRefusal(["anything"], undefined, { hostNames: ["*"], origins: [] })).toBeUndefined();
  });
});

describe("the Origin header of a caller without a key", () => {
  it("may be missing, our own, or one of the list", () => {
    expect([undefined, "http://localhost:8100", "https://localhost:8100", "https://chat.example.com"].map((origin) => refused("localhost:8100", origin))).toEqual(["ok", "ok", "ok", "ok"]);
  });

  it("may be nobody else's", () => {
    for (const origin of ["https://evil.example", "null", "http://localhost", "http://localhost:3000", "https://chat.example.com.evil.example", "http://chat.example.com"]) expect(refused("localhost:8100", origin)).toBe("origin_not_allowed");
  });
});

describe("the front door and web pages", () => {
  let model: ServedModel;
  beforeAll(async () => { model = await smolModel(); });
  const key = { keyId: "k", name: "page", scopes: ["inference"], limits: {} } as const;
  const door = (corsOrigins: readonly string[] = []): FastifyInstance =>
    frontDoor(model, new ScriptedGenerator(saying([5])), { keys: { find: (text) => (text === "good" ? key : undefined) } }, { corsOrigins });
  const chat = async (server: FastifyInstance, headers: Record<string, string>, method: "POST" | "OPTIONS" = "POST") => {
    const response = await server.inject({ method, url: "/v1/chat/completions", headers: { host: "localhost:8100", ...headers }, ...(method === "POST" && { payload: userSays("Hi", { max_tokens: 1 }) }) });
    return { status: response.statusCode, headers: response.headers, json: () => response.json() };
  };

  it("refuses a rebound name and a foreign page, and says which setting lets them in", async () => {
    const rebound = await chat(door(), { host: "rebind.evil.example" });
    expectError(rebound, 403, "host_not_allowed", null);
    expect(JSON.stringify(rebound.json())).toContain("http_allowed_hosts");
    expectError(await chat(door(), { origin: "https://evil.example" }), 403, "origin_not_allowed", null);
  });

  it("takes any name from a caller with a key: a rebound page has none", async () => {
    expect((await chat(door(), { host: "mini.tailnet.example", authorization: "Bearer good" })).status).toBe(200);
    expectError(await chat(door(), { host: "mini.tailnet.example", authorization: "Bearer bad" }), 403, "host_not_allowed", null);
  });

  it("answers no preflight while no origin is allowed", async () => {
    const { status, headers } = await chat(door(), { origin: "https://evil.example", "access-control-request-method": "POST" }, "OPTIONS");
    expect(status).toBe(403);
    expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("lets the pages of the list in, preflight and key included", async () => {
    const server = door(["https://chat.example.com"]);
    const preflight = await chat(server, { origin: "https://chat.example.com", "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type" }, "OPTIONS");
    expect([preflight.status, preflight.headers["access-control-allow-origin"], preflight.headers["access-control-allow-headers"]]).toEqual([204, "https://chat.example.com", "authorization,content-type"]);
    const answer = await chat(server, { origin: "https://chat.example.com", authorization: "Bearer good" });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([200, "https://chat.example.com"]);
    const other = await chat(server, { origin: "https://evil.example", "access-control-request-method": "POST" }, "OPTIONS");
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
  });

  it("takes no body that a page can send without asking", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) expectError(await chat(door(), { "content-type": type }), 415, "unsupported_media_type", null);
  });

  it("tells browsers to take answers for data, frame nothing and keep nothing", async () => {
    for (const url of ["/v1/models", "/nothing", "/health"]) {
      const { headers } = await door().inject({ url });
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "DENY", "cache-control": "no-store", "referrer-policy": "no-referrer", "cross-origin-resource-policy": "same-origin" });
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["server"]).toBeUndefined();
    }
  });
});
