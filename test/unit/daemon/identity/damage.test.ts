/**
 * Every file of a node's home, truncated, zeroed, filled with garbage, removed or unreadable while the node is down: what the next start
 * makes of it, up to where the agent would serve. It runs as the same machine in the same cluster, or it ends with one message that names the
 * file. It never becomes another machine in silence. `docs/DAMAGE.md` is this table; MINID_WRITE_DAMAGE=1 writes it. Sixty starts: only in
 * `npm run test:damage`.
 */
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../../src/core/clock.js";
import { MinidError } from "../../../../src/core/errors.js";
import { nodeId } from "../../../../src/core/ids.js";
import { silentLog } from "../../../../src/core/log.js";
import { Trust, writeRecord } from "../../../../src/core/trust/trust.js";
import { readClusterRecord } from "../../../../src/daemon/cluster/driver.js";
import { loadConfig } from "../../../../src/daemon/config/load.js";
import { readKnownPeers, rememberPeers } from "../../../../src/daemon/discovery/known-peers.js";
import { foundCluster } from "../../../../src/daemon/identity/cluster.js";
import { createKey, listKeys, revokeKey } from "../../../../src/daemon/security/api-keys.js";
import { renewIfDue } from "../../../../src/daemon/security/renewer.js";
import { createToken } from "../../../../src/daemon/security/tokens.js";
import { EpochStore } from "../../../../src/worker/epoch-store.js";

const damages: Record<string, (file: string) => Promise<void>> = {
  truncated: async (file) => { await truncate(file, Math.floor((await stat(file)).size / 2)); },
  zeroed: async (file) => { await writeFile(file, Buffer.alloc((await stat(file)).size)); },
  garbage: async (file) => { await writeFile(file, "\u0000\u00ff{]garbage"); },
  missing: async (file) => { await rm(file); },
  // For root no mode forbids reading; a directory in a file's place cannot be read by anybody.
  unreadable: async (file) => { await rm(file); await mkdir(file); },
};

let scratch: string | undefined;
let identity: string;
const files: string[] = [];

beforeAll(async () => {
  if (process.env["MINID_LONG"] !== "1") return;
  scratch = await mkdtemp(join(tmpdir(), "minid-damage-"));
  const home = join(scratch, "sound");
  await mkdir(home);
  await writeFile(join(home, "config.json"), JSON.stringify({ device_id: "mini1" }));
  await foundCluster(home, { name: "lab", deviceId: "mini1" });
  await createKey(home, { name: "good" });
  await revokeKey(home, (await createKey(home, { name: "revoked" })).keyId);
  await createToken(home);
  await writeRecord(home, { kind: "forgotten", nodeId: nodeId("ee".repeat(16)), by: nodeId("ee".repeat(16)), atMs: 1 });
  await rememberPeers(home, ["10.0.0.9:50050"]);
  const epochs = await EpochStore.open(home, silentLog);
  await epochs.accept({ counter: 7, nodeId: nodeId("ee".repeat(16)) });
  identity = await start(home);
  files.push(...(await readdir(home, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(home.length + 1)).toSorted());
});
afterAll(async () => { if (scratch !== undefined) await rm(scratch, { recursive: true, force: true }); });

/** What a start reads of a home, in the agent's order and then the worker's. @returns who it is afterwards. */
async function start(home: string): Promise<string> {
  const config = loadConfig({ home, environment: {} });
  const cluster = await foundCluster(home, { name: "lab", deviceId: config.device_id });
  await renewIfDue(home, cluster, systemClock);
  const trust = Trust.open(home);
  try {
    if (!trust.records.members().some((member) => member.nodeId === trust.nodeId)) throw new Error("a node that is no member of its own cluster");
    if (!trust.records.isForgotten(nodeId("ee".repeat(16))) && (await readdir(join(home, "tls", "trust"))).some((name) => name.startsWith("forgotten"))) throw new Error("a forgotten machine came back");
    const revoked = (await readdir(join(home, "tls", "trust"))).some((name) => name.startsWith("key-end"));
    if (revoked && (await listKeys(home)).filter((key) => key.state === "active").length > 1) throw new Error("a revoked key came back");
    await readClusterRecord(home);
    await readKnownPeers(home);
    await EpochStore.open(home, silentLog);
    return `${trust.nodeId} ${trust.cluster.clusterId}`;
  } finally { trust.close(); }
}

async function outcomeOf(file: string, damage: (file: string) => Promise<void>): Promise<string> {
  const home = await mkdtemp(join(scratch ?? "", "home-"));
  await cp(join(scratch ?? "", "sound"), home, { recursive: true });
  await damage(join(home, file));
  try {
    return await start(home) === identity ? "runs" : "BECAME ANOTHER MACHINE";
  } catch (error) {
    if (!(error instanceof MinidError) || !["home_unusable", "config_invalid"].includes(error.code)) return `UNCLEAR: ${String(error)}`;
    const named = error.message.includes(join(home, file)) || error.message.includes(join(home, "tls"));
    return named ? "one message" : `NAMES NO FILE: ${error.message}`;
  } finally { await rm(home, { recursive: true, force: true }); }
}

/** Records are named after what they are about; the table names their kind. */
const kindOf = (file: string): string => file.replace(/(trust\/[a-z-]+)\..*\.json$/u, "$1.*.json");

describe.runIf(process.env["MINID_LONG"] === "1")("a home with one damaged file", () => {
  it("gives the same machine or one message, for every file and every damage", async () => {
    const rows = new Map<string, string[]>();
    for (const file of files) {
      const outcomes: string[] = [];
      for (const damage of Object.values(damages)) outcomes.push(await outcomeOf(file, damage));
      rows.set(kindOf(file), outcomes);
    }
    const table = [
      "| file | " + Object.keys(damages).join(" | ") + " |", `|---|${"---|".repeat(Object.keys(damages).length)}`,
      ...Array.from(rows, ([file, outcomes]) => `| \`${file}\` | ${outcomes.join(" | ")} |`),
    ].join("\n");
    const bad = Array.from(rows).filter(([, outcomes]) => outcomes.some((outcome) => outcome !== "runs" && outcome !== "one message"));
    expect(bad).toEqual([]);
    const page = fileURLToPath(new URL("../../../../docs/DAMAGE.md", import.meta.url));
    if (process.env["MINID_WRITE_DAMAGE"] === "1") await writeFile(page, (await readFile(page, "utf8")).replace(/(<!-- table -->\n)[^]*?(<!-- end -->)/u, (_all, begin: string, end: string) => `${begin}${table}\n${end}`));
    expect(await readFile(page, "utf8")).toContain(table);
  }, 300_000);
});
