import { describe, expect, it } from "vitest";
import { nodeId } from "../../../src/core/ids.js";
import type { LoadRequest } from "../../../src/core/worker-protocol.js";
import { fromWire, sealed, toWire, unsealed } from "../../../src/worker/activations.js";
import { parseLoadRequest } from "../../../src/worker/load-request.js";
import { workerSettings } from "../../../src/worker/settings.js";

const good: LoadRequest = {
  epoch: { counter: 1, nodeId: nodeId("aa") }, planVersion: 1, modelId: "m", modelDir: "/models/m", rank: 1, worldSize: 2, layerFirst: 3, layerEnd: 6,
  engine: "onnx", numerics: "fast", threads: 2, slots: 4, contextMax: 128, batchMax: 2, nextAddress: "127.0.0.1:1", nextName: "x.minid",
};

describe("a Load request", () => {
  it("is the same stage for another rank above 0, another plan and another neighbour, and not for rank 0", () => {
    const key = (more: Partial<LoadRequest>): string => parseLoadRequest({ ...good, ...more }).stageKey;
    expect(key({ rank: 2, worldSize: 4, planVersion: 9, nextAddress: "127.0.0.1:2" })).toBe(key({}));
    expect(key({ rank: 0 })).not.toBe(key({}));
    expect(key({ layerEnd: 7 })).not.toBe(key({}));
    expect(key({ numerics: "exact" })).not.toBe(key({}));
  });

  it.each([
    [{ epoch: { counter: 0, nodeId: nodeId("") } }, "epoch"], [{ epoch: { counter: 1, nodeId: nodeId("x".repeat(65)) } }, "epoch"], [{ epoch: { counter: 2 ** 60, nodeId: nodeId("x") } }, "epoch"],
    [{ engine: "tpu" }, "engine"], [{ numerics: "quick" }, "numerics"], [{ modelDir: "models/m" }, "modelDir"], [{ rank: 2 }, "rank"], [{ worldSize: 0 }, "worldSize"], [{ layerEnd: 3 }, "layerEnd"],
    [{ slots: 0 }, "slots"], [{ slots: 1e9 }, "slots"], [{ contextMax: 1 }, "contextMax"], [{ batchMax: 0 }, "batchMax"], [{ threads: 1e6 }, "threads"], [{ nextAddress: "" }, "nextAddress"],
  ])("is refused for %j, naming %s", (more, field) => {
    expect(() => parseLoadRequest({ ...good, ...more })).toThrow(expect.objectContaining({ code: "invalid_value", param: field }));
  });
});

describe("activations", () => {
  it("come back bit for bit from unaligned bytes", () => {
    const values = Float32Array.of(1.5, -0, Number.NaN, 3e-45);
    const message = Buffer.concat([Buffer.from([7]), toWire(values)]);
    expect(toWire(fromWire(message.subarray(1))).equals(toWire(values))).toBe(true);
    expect(() => fromWire(message)).toThrow("float32");
  });

  it("are known to have been changed by a single bit; those of an older version are taken as they are", () => {
    const { hidden, checksum } = sealed(Float32Array.of(1.5, -0, 2));
    expect(unsealed({ hidden, checksum })).toEqual(Float32Array.of(1.5, -0, 2));
    const flipped = Buffer.from(hidden);
    flipped[5]! ^= 0b100;
    expect(() => unsealed({ hidden: flipped, checksum })).toThrow(expect.objectContaining({ code: "stage_lost", retryable: true }));
    expect(unsealed({ hidden: flipped })).toHaveLength(3);
  });
});

describe("worker settings", () => {
  it("come from the environment with the documented defaults", () => {
    expect(workerSettings({ MINID_HOME: "/h", MINID_ENGINE: "onnx" })).toEqual({ home: "/h", host: "0.0.0.0", port: 50_051, logLevel: "info", logFiles: undefined, insecure: false, standby: false, engine: "onnx" });
    expect(workerSettings({ MINID_HOME: "/h", MINID_GRPC_HOST: "127.0.0.1", MINID_WORKER_PORT: "0", MINID_LOG_LEVEL: "debug", MINID_INSECURE: "1", MINID_ENGINE: "mlx", MINID_ROLE: "standby" })).toEqual({ home: "/h", host: "127.0.0.1", port: 0, logLevel: "debug", logFiles: undefined, insecure: true, standby: true, engine: "mlx" });
  });

  it.each([[{ MINID_HOME: "relative" }, "MINID_HOME"], [{ MINID_WORKER_PORT: "many" }, "MINID_WORKER_PORT"], [{ MINID_WORKER_PORT: "70000" }, "MINID_WORKER_PORT"], [{ MINID_LOG_LEVEL: "loud" }, "MINID_LOG_LEVEL"]])("refuse %j by name", (environment, name) => {
    expect(() => workerSettings({ MINID_HOME: "/h", ...environment })).toThrow(name);
  });
});
