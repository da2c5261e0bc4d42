import grpc from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { dialTarget } from "../../../src/core/dial.js";
import { until } from "../../support/wait.js";

describe("the target of a peer with several addresses", () => {
  it.each([
    [["10.0.0.1:50050"], "10.0.0.1:50050"],
    [["10.0.0.1:50050", "192.168.1.2:50050", "127.0.0.1:50050"], "ipv4:10.0.0.1:50050,192.168.1.2:50050"],
    [["127.0.0.1:50050", "127.0.0.2:50050"], "ipv4:127.0.0.1:50050,127.0.0.2:50050"],
    [["10.0.0.1:50050", "127.0.0.1:50050"], "10.0.0.1:50050"],
    [["mini2.local:50050", "10.0.0.1:50050"], "mini2.local:50050"],
    [["10.0.0.1:50050", "mini2.local:50050", "10.0.0.2:50050"], "ipv4:10.0.0.1:50050,10.0.0.2:50050"],
    [["[fd00::1]:50050"], "[fd00::1]:50050"],
    [[], ""],
  ])("%j is %s", (addresses, target) => { expect(dialTarget(addresses)).toBe(target); });

  it("leads to the peer although the first address refuses", async () => {
    const server = new grpc.Server();
    const port = await new Promise<number>((resolve, reject) => { server.bindAsync("127.0.0.2:0", grpc.ServerCredentials.createInsecure(), (error, bound) => { if (error) reject(error); else resolve(bound); }); });
    const client = new grpc.Client(dialTarget([`127.0.0.1:${port}`, `127.0.0.2:${port}`]), grpc.credentials.createInsecure());
    try {
      let ready = false;
      client.waitForReady(Date.now() + 10_000, (error) => { ready = error === undefined; });
      await until("it is connected", () => ready);
    } finally {
      client.close();
      server.forceShutdown();
    }
  });
});
