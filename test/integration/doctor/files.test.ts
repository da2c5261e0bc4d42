/**
 * `minid doctor` where no agent answers, from the files of a home alone: each fault in a home of its own, real files, real disks, a
 * real program on the port. Nothing computes, so it is quick; part of `npm run test:doctor`.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { homeFiles } from "../../../src/core/trust/trust.js";
import type * as Running from "../../../src/daemon/config/running.js";
import { foundCluster, readCa } from "../../../src/daemon/identity/cluster.js";
import { ensureIdentity } from "../../../src/daemon/identity/identity.js";
import { createSigningRequest, signRequest } from "../../../src/daemon/security/certificates.js";
import { freePorts } from "../../support/ports.js";
import { compiled } from "../../support/compiled.js";
import { canMount, fillDisk, linkModel, mountSmallDisk, unmountSmallDisk } from "../../support/disks.js";
import { alarmsOf, doctor } from "./support.js";

const { rememberSettings } = await compiled<typeof Running>("daemon/config/running.js");
const long = process.env["MINID_LONG"] !== undefined;
const dayMs = 86_400_000;

let scratch = "";
let count = 0;
beforeAll(() => { scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-files-"))); });
afterAll(() => { rmSync(scratch, { recursive: true, force: true }); });

/** A home as a node leaves it: in a cluster of its own, with the settings of its last start. */
async function home(settings: Readonly<Record<string, string>> = {}): Promise<string> {
  const path = join(scratch, `home${count += 1}`);
  mkdirSync(path, { mode: 0o700 });
  await foundCluster(path, { name: "ward", deviceId: "mini1" });
  const [http, agent, worker] = await freePorts(3);
  rememberSettings(path, { MINID_DEVICE_ID: "mini1", MINID_HTTP_PORT: String(http), MINID_AGENT_PORT: String(agent), MINID_WORKER_PORT: String(worker), MINID_MDNS: "false", MINID_GRPC_HOST: "127.0.0.1", MINID_HTTP_HOST: "127.0.0.1", ...settings });
  return path;
}

async function alarms(path: string): Promise<string[]> {
  const { examination } = await doctor({ name: "mini1", home: path });
  const found = alarmsOf(examination);
  console.log(`found: ${examination.findings.filter(({ severity }) => severity === "warning" || severity === "error").map(({ severity, code, seen }) => `${severity} ${code}: ${seen}`).join(" | ")}`);
  return found;
}

async function certificateAsOf(path: string, wallMs: number): Promise<void> {
  const identity = await ensureIdentity(path);
  const { clusterId } = await foundCluster(path, { name: "ward", deviceId: "mini1" });
  const { certificate } = await signRequest(await createSigningRequest(identity.key, identity.nodeId), { nodeId: identity.nodeId, clusterId }, await readCa(path), wallMs);
  writeFileSync(homeFiles(path).certificate, certificate);
}

/** A node that is down is down; everything else must be named besides. */
const down = "agent_down mini1";

describe.skipIf(!long)("minid doctor without an agent", () => {
  it("finds a node that is down, and nothing else", async () => { expect(await alarms(await home())).toEqual([down]); });

  it("finds a home that does not exist, and one that is a file", async () => {
    expect(await alarms(join(scratch, "nowhere"))).toContainEqual(expect.stringMatching(/^home_unusable /u));
    writeFileSync(join(scratch, "file"), "");
    expect(await alarms(join(scratch, "file"))).toContainEqual(expect.stringMatching(/^home_unusable /u));
  });

  it("finds a home in no cluster", async () => {
    const path = join(scratch, "empty");
    mkdirSync(path, { mode: 0o700 });
    expect(await alarms(path)).toContainEqual(expect.stringMatching(/^no_cluster /u));
  });

  it("finds a configuration that is refused", async () => {
    const path = await home();
    writeFileSync(join(path, "config.json"), '{"http_port": "eighty"}');
    expect(await alarms(path)).toEqual([down, "config_invalid mini1"].sort(byName));
  });

  it("finds rights of others, and takes them away", async () => {
    const path = await home();
    chmodSync(path, 0o755);
    chmodSync(homeFiles(path).caKey, 0o644);
    expect(await alarms(path)).toContain("home_permissions mini1");
    const { examination } = await doctor({ name: "mini1", home: path }, "--fix");
    expect(examination.fixed?.map(({ done }) => done)).toEqual([true, true]);
    expect(alarmsOf(examination)).toEqual([down]);
  });

  it("finds a damaged record, moves it aside, and says so from then on", async () => {
    const path = await home();
    writeFileSync(join(path, "cluster-state.json"), '{"sha256":"0","value":{}}');
    expect(await alarms(path)).toContain("state_damaged mini1");
    const { examination } = await doctor({ name: "mini1", home: path }, "--fix");
    expect(alarmsOf(examination)).toEqual([down, "state_set_aside mini1"]);
  });

  it("finds keys that do not belong together", async () => {
    const [path, other] = [await home(), await home()];
    copyFileSync(homeFiles(other).key, homeFiles(path).key);
    expect(await alarms(path)).toContain("trust_damaged mini1");
  });

  it("finds certificates that have expired and that should have been renewed, and renews them", async () => {
    for (const [ageDays, code] of [[60, "certificate_expired"], [27, "certificate_expiring"]] as const) {
      const path = await home();
      await certificateAsOf(path, Date.now() - ageDays * dayMs);
      expect(await alarms(path)).toContain(`${code} mini1`);
      expect(alarmsOf((await doctor({ name: "mini1", home: path }, "--fix")).examination)).toEqual([down]);
    }
  });

  it("finds a model that is not there, and one that is cut short", async () => {
    expect(await alarms(await home({ MINID_MODEL: "nobody/nothing" }))).toContain("model_missing mini1");
    const model = join(scratch, "cut");
    linkModel(join(process.cwd(), "models", "SmolLM2-135M-Instruct-8bit"), model);
    const shard = join(model, readdirSync(model).find((name) => name.endsWith(".safetensors"))!);
    // The file shares its bytes with the model's own: a copy takes its place before it is cut.
    copyFileSync(shard, `${shard}.copy`);
    renameSync(`${shard}.copy`, shard);
    truncateSync(shard, readFileSync(shard).length - 4_096);
    expect(await alarms(await home({ MINID_MODEL: model }))).toContain("model_corrupt mini1");
  });

  it("finds a port that another program has, and names the program", async () => {
    const path = await home();
    const { MINID_WORKER_PORT: port = "" } = JSON.parse(readFileSync(join(path, "run", "settings.json"), "utf8")) as Record<string, string>;
    const squatter = spawn(process.execPath, ["-e", `require("net").createServer(() => {}).listen(${port}, "127.0.0.1", () => console.log("ready"))`], { stdio: ["ignore", "pipe", "ignore"] });
    try {
      await once(squatter.stdout, "data");
      const { examination } = await doctor({ name: "mini1", home: path });
      expect(alarmsOf(examination)).toContain("port_taken mini1");
      expect(examination.findings.find(({ code, severity }) => code === "port_taken" && severity === "error")?.seen).toContain(`by node (pid ${squatter.pid})`);
    } finally { squatter.kill("SIGKILL"); }
  });

  it.skipIf(!canMount)("finds a full disk under the home, and one under the logs", async () => {
    const small = join(scratch, "small");
    mountSmallDisk(small, 8);
    try {
      const path = await home();
      renameSyncAcross(path, join(small, "home"));
      fillDisk(small);
      expect(await alarms(join(small, "home"))).toContain("disk_space mini1");
    } finally { unmountSmallDisk(small); }
    const logged = await home();
    mountSmallDisk(join(logged, "logs"), 8);
    try { expect(await alarms(logged)).toContain("log_disk_full mini1"); } finally { unmountSmallDisk(join(logged, "logs")); }
  });

  it("finds an agent that pm2 starts again and again, and its last words", async () => {
    const path = await home();
    mkdirSync(join(path, "logs"));
    const local = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    writeFileSync(join(path, "logs", "pm2.log"), `${local}: PM2 log: App [minid-agent:0] exited with code [1] via signal [SIGINT]\n`.repeat(6));
    writeFileSync(join(path, "logs", "agent.log"), "minid agent: port_in_use: 0.0.0.0:50050 is in use\n");
    const { examination } = await doctor({ name: "mini1", home: path });
    expect(examination.findings.find(({ code, severity }) => code === "agent_crash_loop" && severity === "error")?.seen).toContain("port_in_use: 0.0.0.0:50050 is in use");
  });
});

const byName = (a: string, b: string): number => (a < b ? -1 : 1);

function renameSyncAcross(from: string, to: string): void { execFileSync("cp", ["-a", from, to]); }
