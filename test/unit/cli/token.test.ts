/** `minid token` as a person types it: made, listed, revoked. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foundCluster } from "../../../src/daemon/identity/cluster.js";
import { compiledPath } from "../../support/compiled.js";

const run = promisify(execFile);
let home = "";
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "minid-token-"));
  await foundCluster(home, { name: "ward", deviceId: "mini1" });
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const minid = async (...args: string[]): Promise<string> => (await run(process.execPath, [compiledPath("cli/main.js"), "token", ...args, "--home", home])).stdout.trim();

describe("minid token", () => {
  it("lists what was made, with its state, and never the secret", async () => {
    expect(await minid("list")).toBe("no tokens: minid token makes one");
    const lasting = JSON.parse(await minid("--ttl", "30m", "--json")) as { token: string; id: string; expires_at: string };
    const single = await minid("--once");
    expect(single).not.toContain("\n");

    const lines = (await minid("list")).split("\n");
    expect(lines).toHaveLength(2);
    expect(lines.find((line) => line.startsWith(lasting.id))).toMatch(/^\S+ {2}active +expires /u);
    expect(lines.find((line) => line.includes("once"))).toMatch(/^\S+ {2}active {3}once {2}expires \d{4}-\d{2}-\d{2}T/u);
    for (const line of lines) for (const token of [lasting.token, single]) expect(line).not.toContain(token.slice(-20));
  });

  it("shows a revoked one as revoked, and says what is wrong with an id that it does not know", async () => {
    const [{ tokenId }] = JSON.parse(await minid("list", "--json")) as [{ tokenId: string }];
    expect(await minid("revoke", tokenId)).toBe(`${tokenId} revoked`);
    expect((await minid("list")).split("\n").find((line) => line.startsWith(tokenId))).toContain("revoked");
    await expect(minid("revoke", "nobody")).rejects.toThrow(/nobody/u);
    await expect(minid("revoke")).rejects.toThrow(/minid token list/u);
  });
});
