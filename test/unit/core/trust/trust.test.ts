import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeId } from "../../../../src/core/ids.js";
import { Trust, type TrustChange, homeFiles, writeRecord } from "../../../../src/core/trust/trust.js";
import { foundCluster } from "../../../../src/daemon/identity/cluster.js";

const other = nodeId("cc".repeat(16));

describe("the trust of a home", () => {
  let home: string;
  const open: Trust[] = [];
  const opened = (onProblem?: (message: string) => void): Trust => { const trust = Trust.open(home, onProblem ? { onProblem } : {}); open.push(trust); return trust; };
  beforeEach(async () => { home = await mkdtemp(join(tmpdir(), "minid-home-")); await foundCluster(home, { name: "lab", deviceId: "one" }); });
  afterEach(async () => { for (const trust of open.splice(0)) trust.close(); await rm(home, { recursive: true, force: true }); });

  it("is not there before the home is in a cluster, and the message says what to do", async () => {
    const empty = await mkdtemp(join(tmpdir(), "minid-home-"));
    expect(() => Trust.open(empty)).toThrow(/minid join TOKEN/u);
    await rm(empty, { recursive: true });
  });

  it("sees what another process of the home wrote, without losing its own", async () => {
    const trust = opened();
    const changes: TrustChange[] = [];
    trust.onChange((change) => changes.push(change));
    const ours = { kind: "forgotten", nodeId: nodeId("dd".repeat(16)), by: trust.nodeId, atMs: 1 } as const;
    await Promise.all([trust.add([ours]), writeRecord(home, { kind: "forgotten", nodeId: other, by: trust.nodeId, atMs: 1 })]);
    trust.refresh();
    expect([trust.records.isForgotten(ours.nodeId), trust.records.isForgotten(other)]).toEqual([true, true]);
    expect(changes).toContain("records");
    expect(opened().digest).toBe(trust.digest);
  });

  it("fails closed: a damaged record of a forgotten machine still forgets it", async () => {
    await writeFile(join(homeFiles(home).trust, `forgotten.${other}.json`), "damaged");
    expect(opened().records.isForgotten(other)).toBe(true);
  });

  it("keeps the last good state when a file is damaged under it, and says so once", async () => {
    const problems: string[] = [];
    const trust = opened((message) => problems.push(message));
    const before = trust.material;
    await writeFile(homeFiles(home).certificate, "damaged");
    trust.refresh();
    trust.refresh();
    expect(trust.material).toBe(before);
    expect(problems).toEqual([expect.stringContaining(homeFiles(home).tls)]);
    expect(() => Trust.open(home)).toThrow(/restore it/u);
  });

  it("removes the records of tokens that expired long ago", async () => {
    await writeRecord(home, { kind: "token", tokenId: "01".repeat(8), verifier: "ab".repeat(32), once: false, createdAtMs: 0, expiresAtMs: 1, by: other });
    const trust = opened();
    expect(trust.records.tokens()).toEqual([]);
    expect((await readdir(homeFiles(home).trust)).filter((name) => name.startsWith("token"))).toEqual([]);
  });
});
