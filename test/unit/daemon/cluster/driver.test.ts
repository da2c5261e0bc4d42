/** The driver and a home that takes no file: what hangs on the record waits, a person is told why, and it heals by itself. */
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import { silentLog } from "../../../../src/core/log.js";
import { insecureTransport } from "../../../../src/core/transport.js";
import { ClusterCore } from "../../../../src/daemon/cluster/cluster.js";
import { clusterDefaults } from "../../../../src/daemon/cluster/contract.js";
import { ClusterDriver, readClusterRecord } from "../../../../src/daemon/cluster/driver.js";
import { PeerLinks } from "../../../../src/daemon/cluster/links.js";
import { PROTOCOL } from "../../../../src/daemon/cluster/messages.js";
import { plannerDefaults } from "../../../../src/daemon/planner/plan.js";
import { until } from "../../../support/wait.js";
import { id, localFacts, model } from "./make.js";

it("leads nobody before its term is on the disk, says why, and goes on when it can be written", async () => {
  const home = await mkdtemp(join(tmpdir(), "minid-driver-"));
  // For root no mode forbids writing; a directory in the file's place does.
  const inTheWay = join(home, "cluster-state.json");
  await mkdir(inTheWay);
  const core = new ClusterCore({
    identity: { nodeId: id("a"), clusterId: "cluster", clusterName: "home", protocol: PROTOCOL }, config: { ...clusterDefaults, planner: plannerDefaults },
    facts: localFacts("mini1"), model, durable: undefined, counterFloor: 0, now: systemClock.now(), wallMs: systemClock.wallMs(),
  });
  const links = new PeerLinks({ transport: insecureTransport, anyMember: "", trustDigest: () => "", onRefused: () => undefined, log: silentLog });
  const driver = new ClusterDriver({ core, clock: systemClock, links, home, log: silentLog, tickIntervalMs: clusterDefaults.tickIntervalMs, onEffect: () => undefined, onChange: () => undefined });
  driver.start();
  try {
    const [condition] = await until("it is told", () => { const found = driver.conditions(); return found.length > 0 && found; });
    expect(condition).toMatchObject({ code: "home_not_written", severity: "error", message: expect.stringContaining(inTheWay) as string });
    // Long enough for an election to have ended, were the disk sound.
    await new Promise((resolve) => { setTimeout(resolve, 3 * clusterDefaults.settleMs); });
    expect(driver.view().leader).toBeUndefined();
    await rm(inTheWay, { recursive: true });
    await until("it leads", () => driver.view().leader === id("a"));
    expect(driver.conditions()).toEqual([]);
    expect((await readClusterRecord(home))?.epoch.nodeId).toBe(id("a"));
    expect((await readdir(home)).filter((file) => file.endsWith(".tmp"))).toEqual([]);
  } finally {
    await driver.stop();
    links.close();
    await rm(home, { recursive: true, force: true });
  }
});
