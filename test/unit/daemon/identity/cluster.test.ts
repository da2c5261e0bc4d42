import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Trust, homeFiles } from "../../../../src/core/trust/trust.js";
import { currentCluster, foundCluster } from "../../../../src/daemon/identity/cluster.js";
import { ensureIdentity } from "../../../../src/daemon/identity/identity.js";

const options = { name: "lab", deviceId: "mini" };

describe("a home's identity and cluster", () => {
  let home: string;
  beforeEach(async () => { home = await mkdtemp(join(tmpdir(), "minid-home-")); });
  afterEach(() => rm(home, { recursive: true, force: true }));

  it("are made once and stay", async () => {
    const identity = await ensureIdentity(home);
    expect(identity.nodeId).toMatch(/^[0-9a-f]{32}$/u);
    const cluster = await foundCluster(home, options);
    expect(await foundCluster(home, { ...options, name: "another" })).toEqual(cluster);
    expect(await ensureIdentity(home)).toEqual(identity);
    const trust = Trust.open(home);
    expect(trust.records.members()).toMatchObject([{ nodeId: identity.nodeId, deviceId: "mini" }]);
    trust.close();
  });

  it("are readable by their owner only, every file of them", async () => {
    await foundCluster(home, options);
    const names = (await readdir(home, { recursive: true, withFileTypes: true })).map((entry) => ({ path: join(entry.parentPath, entry.name), file: entry.isFile() }));
    expect(names.length).toBeGreaterThan(7);
    for (const { path, file } of names) expect((await stat(path)).mode & 0o777, path).toBe(file ? 0o600 : 0o700);
  });

  it("are whole again after a crash at any step of putting a membership in place", async () => {
    const cluster = await foundCluster(home, options);
    const files = homeFiles(home);
    const identity = await readFile(files.identity, "utf8");

    // Before the rename: complete beside, the old one already moved away, and the identity not yet written.
    await rename(files.tls, join(home, "tls.next"));
    await rm(files.cluster);
    await rm(files.identity);
    expect(await currentCluster(home)).toEqual(cluster);
    const trust = Trust.open(home);
    expect(trust.cluster).toEqual(cluster);
    expect(identity).toContain(trust.nodeId);
    trust.close();

    // Before the preparation was complete: nothing happened.
    await mkdir(join(home, "tls.next"));
    await writeFile(join(home, "tls.next", "ca.pem"), "half");
    expect(await currentCluster(home)).toEqual(cluster);
    expect(await readdir(home)).not.toContain("tls.next");
  });

  it("says which file to restore when the key is lost", async () => {
    await foundCluster(home, options);
    await rm(homeFiles(home).key);
    await expect(ensureIdentity(home)).rejects.toMatchObject({ code: "home_unusable", message: expect.stringContaining("node.key") as string });
  });
});
