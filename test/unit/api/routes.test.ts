import { beforeAll, describe, expect, it } from "vitest";
import type { ServedModel } from "../../../src/api/served-model.js";
import { expectError, frontDoor, healthyStatus, modelId, saying, ScriptedGenerator, smolModel } from "./support.js";

let model: ServedModel;
beforeAll(async () => { model = await smolModel(); });

const nobody = new ScriptedGenerator(saying([]));
const get = async (url: string, changes = {}, method: "GET" | "DELETE" | "POST" | "HEAD" = "GET") => {
  const response = await frontDoor(model, nobody, changes).inject({ method, url });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: () => response.json() };
};

describe("the front door's other routes", () => {
  it("lists the models", async () => {
    expect((await get("/v1/models")).json()).toEqual({ object: "list", data: [{ id: modelId, object: "model", created: 1_700_000_000, owned_by: "minid", max_model_len: 8_192 }] });
  });

  it("finds a model whose id has a slash, encoded or not", async () => {
    expect((await get("/v1/models/org/smol")).json()).toMatchObject({ id: modelId });
    expect((await get("/v1/models/org%2Fsmol")).json()).toMatchObject({ id: modelId });
    expectError(await get("/v1/models/org/other"), 404, "model_not_found", "model");
  });

  it("answers /distributed/gpu-info in exactly the documented shape", async () => {
    expect((await get("/distributed/gpu-info")).text).toBe(JSON.stringify({
      cluster_info: { total_devices: 2, healthy_devices: 2, world_size: 2, gRPC_communication: "Active" },
      devices: [
        { device_id: "mini1", rank: 0, role: "coordinator", hostname: "localhost", status: "healthy" },
        { device_id: "mini2", rank: 1, role: "worker", hostname: "mini2.local", status: "healthy" },
      ],
    }));
  });

  it("keeps gpu-info's documented fields when more are added, and says when gRPC is down", async () => {
    const status = {
      ...healthyStatus,
      clusterInfo: () => ({ totalDevices: 1, healthyDevices: 0, worldSize: 0, grpcActive: false }),
      devices: () => [{ deviceId: "mini1", rank: 0, role: "coordinator" as const, hostname: "localhost", status: "loading", extra: { status: "x", layers: [0, 30] } }],
    };
    expect((await get("/distributed/gpu-info", { status })).json()).toEqual({
      cluster_info: { total_devices: 1, healthy_devices: 0, world_size: 0, gRPC_communication: "Inactive" },
      devices: [{ device_id: "mini1", rank: 0, role: "coordinator", hostname: "localhost", status: "loading", layers: [0, 30] }],
    });
  });

  it("answers /health with 200 when ready, else with 503 and the reasons", async () => {
    const ready = await get("/health");
    expect([ready.status, ready.json()]).toEqual([200, { status: "ok", ready: true, reasons: [] }]);
    const reasons = [{ code: "model_does_not_fit", message: "2 GB are missing." }];
    const unready = await get("/health", { status: { ...healthyStatus, health: () => ({ ready: false, reasons }) } });
    expect([unready.status, unready.json()]).toEqual([503, { status: "unavailable", ready: false, reasons }]);
    expect(Number(unready.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("answers /health/live whatever the cluster does", async () => {
    const live = await get("/health/live", { status: { ...healthyStatus, health: () => ({ ready: false, reasons: [] }) } });
    expect([live.status, live.json()]).toEqual([200, { status: "live" }]);
  });

  it("prints status, plan and metrics as they come from the status source", async () => {
    expect((await get("/distributed/status")).json()).toEqual({ epoch: "1@abc" });
    expect((await get("/distributed/plan")).json()).toEqual({ version: 1 });
    expectError(await get("/distributed/plan", { status: { ...healthyStatus, plan: () => undefined } }), 503, "not_ready", null);
    const metrics = await get("/metrics");
    expect([metrics.headers["content-type"], metrics.text]).toEqual(["text/plain; version=0.0.4; charset=utf-8", "minid_up 1\n"]);
  });

  it("refuses an unknown address with 404 and a wrong method with 405 and Allow", async () => {
    expectError(await get("/v1/nothing"), 404, "not_found", null);
    const wrong = await get("/v1/chat/completions");
    expectError(wrong, 405, "method_not_allowed", null);
    expect(wrong.headers["allow"]).toBe("POST");
    expectError(await get("/v1/models/org/smol", {}, "DELETE"), 405, "method_not_allowed", null);
    expectError(await get("/health", {}, "POST"), 405, "method_not_allowed", null);
    expect((await get("/health", {}, "HEAD")).status).toBe(200);
  });

  it("returns the client's request id, or one of its own when that is missing or unprintable", async () => {
    const server = frontDoor(model, nobody);
    const idFor = async (sent?: string) => (await server.inject({ url: "/health/live", ...(sent !== undefined && { headers: { "x-request-id": sent } }) })).headers["x-request-id"];
    expect(await idFor("trace-1")).toBe("trace-1");
    expect(await idFor()).toMatch(/^req_[0-9a-f]{24}$/u);
    expect(await idFor("two words")).toMatch(/^req_/u);
    expect(await idFor("x".repeat(200))).toMatch(/^req_/u);
    const refused = await server.inject({ method: "POST", url: "/v1/chat/completions", headers: { "x-request-id": "trace-2" }, payload: {} });
    expect(refused.headers["x-request-id"]).toBe("trace-2");
    const undecodable = await server.inject({ url: "/v1/%zz", headers: { "x-request-id": "trace-3" } });
    expect([undecodable.statusCode, undecodable.headers["x-request-id"]]).toEqual([400, "trace-3"]);
    expect(undecodable.json()).toMatchObject({ error: { code: "malformed_request" } });
  });
});
