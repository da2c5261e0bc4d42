import { once } from "node:events";
import { createServer } from "node:net";
import grpc from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { expect, it } from "vitest";
import { insecureTransport } from "../../../src/core/transport.js";

it("listens at a second attempt, when whoever had the port has gone", async () => {
  const dying = createServer().listen(0, "127.0.0.1");
  await once(dying, "listening");
  const where = { host: "127.0.0.1", port: (dying.address() as { port: number }).port };
  const server = new grpc.Server();
  new HealthImplementation({ "": "SERVING" }).addToServer(server);
  await expect(insecureTransport.listen(server, where)).rejects.toMatchObject({ code: "port_in_use" });
  dying.close();
  await once(dying, "close");
  const listener = await insecureTransport.listen(server, where);
  try {
    expect(listener.port).toBe(where.port);
    const client = new grpc.Client(`127.0.0.1:${where.port}`, grpc.credentials.createInsecure());
    const reply = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest("/grpc.health.v1.Health/Check", (bytes: Buffer) => bytes, (bytes) => bytes, Buffer.alloc(0), (error, bytes) => { if (bytes) resolve(bytes); else reject(error ?? new Error("no reply")); });
    });
    client.close();
    // Field 1, SERVING.
    expect([...reply]).toEqual([8, 1]);
  } finally { await listener.close(); }
});
