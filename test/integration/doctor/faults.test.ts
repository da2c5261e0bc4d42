/**
 * `minid doctor` against staged faults, all real: processes killed and halted, ports blocked by nft, disks filled, files damaged, a
 * clock ahead, a second founder. Three machines, and a fourth that founds a cluster of its own, in network namespaces with production's ports and settings. Minutes: `npm run test:doctor`.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync, chmodSync, openSync, readSync, writeSync, closeSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readRunFile } from "../../../src/core/run-file.js";
import { homeFiles } from "../../../src/core/trust/trust.js";
import { readDurable } from "../../../src/core/durable-file.js";
import { clusterSchema, identitySchema } from "../../../src/core/trust/trust.js";
import { readCa } from "../../../src/daemon/identity/cluster.js";
import { createSigningRequest, signRequest } from "../../../src/daemon/security/certificates.js";
import { ClusterNode } from "../../support/cluster.js";
import { fillDisk } from "../../support/disks.js";
import { type Lan, createLan } from "../../support/lan.js";
import { whyNoNetwork } from "../../support/netns.js";
import { until } from "../../support/wait.js";
import { type Bedside, Casebook, doctor } from "./support.js";

const why = process.env["MINID_LONG"] === undefined ? "long: npm run test:doctor" : whyNoNetwork();
if (why !== undefined) console.log(`doctor's staged faults are skipped: ${why}`);

const embedded = join(process.cwd(), "models", "SmolLM2-135M-Instruct-8bit");
const dayMs = 86_400_000;
const patienceMs = 240_000;

/** Runs what follows in a mount namespace in which some of the system's files are the test's own. */
const overlay = (mounts: readonly (readonly [string, string])[]): string[] =>
  ["unshare", "-m", "--propagation", "private", "sh", "-c", [...mounts.map(([from, to]) => `mount --bind ${from} ${to}`), 'exec "$@"'].join(" && "), "sh"];

const hasFaketime = existsSync("/usr/bin/faketime");

/** Node 1 is asked; node 2 has its own model files, node 3 its own disk, its own /proc/meminfo, /proc/vmstat and /sys/class/thermal. */
class Ward {
  readonly book = new Casebook();
  readonly lan: Lan;
  readonly scratch: string;
  readonly models: string;
  readonly systemFiles: string;
  readonly #image: string;
  readonly nodes: readonly ClusterNode[];

  private constructor(lan: Lan, scratch: string) {
    this.lan = lan;
    this.scratch = scratch;
    this.models = join(scratch, "models", "SmolLM2-135M-Instruct-8bit");
    this.systemFiles = join(scratch, "system");
    this.#image = join(scratch, "disk.img");
    const [first, second, third] = lan.nodes as [ClusterNode, ClusterNode, ClusterNode];
    this.nodes = [first, second, new ClusterNode({ ...third.setup, prefix: [...third.setup.prefix ?? [], ...overlay([[join(this.systemFiles, "meminfo"), "/proc/meminfo"], [join(this.systemFiles, "vmstat"), "/proc/vmstat"], [join(this.systemFiles, "thermal"), "/sys/class/thermal"]])] })];
  }

  static async open(): Promise<Ward> {
    const scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-ward-")));
    const models = join(scratch, "models", "SmolLM2-135M-Instruct-8bit");
    // Patient: on a small machine that does much else, members would come and go by themselves. The cache's promise is above what the worker has.
    const lan = await createLan(4, { settings: { threads: 1, "worker-standby": false, "context-max": 4_096, "suspect-after-ms": 6_000, "dead-after-ms": 15_000 }, settingsOf: (index) => (index === 1 ? { model: models } : {}) });
    const ward = new Ward(lan, scratch);
    try { await ward.#prepare(); } catch (error) { await ward.close(); throw error; }
    return ward;
  }

  async #prepare(): Promise<void> {
    cpSync(embedded, this.models, { recursive: true, dereference: true });
    mkdirSync(join(this.systemFiles, "thermal", "cooling_device0"), { recursive: true });
    for (const name of ["meminfo", "vmstat"]) writeFileSync(join(this.systemFiles, name), readFileSync(`/proc/${name}`));
    for (const [name, text] of [["type", "Processor"], ["cur_state", "0"], ["max_state", "10"]] as const) writeFileSync(join(this.systemFiles, "thermal", "cooling_device0", name), `${text}\n`);
    // Sparse: what is allocated in it takes no room outside.
    const third = this.nodes[2]!;
    mkdirSync(third.home, { recursive: true });
    writeFileSync(this.#image, "");
    truncateSync(this.#image, 4 * 2 ** 30);
    execFileSync("mkfs.ext4", ["-q", "-m", "0", this.#image]);
    execFileSync("mount", ["-o", "loop", this.#image, third.home]);
    chmodSync(third.home, 0o700);
    const second = this.nodes[1]!;
    mkdirSync(join(second.home, "logs"), { recursive: true, mode: 0o700 });
    chmodSync(second.home, 0o700);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", join(second.home, "logs")]);
    this.node(1).start();
    await this.node(1).listening();
    for (const node of this.nodes.slice(1)) node.start(await this.lan.bareToken(this.node(1)));
    await this.ring();
  }

  node(index: number): ClusterNode { return this.nodes[index - 1]!; }
  at(index: number): Bedside { const node = this.node(index); return { name: node.name, home: node.home, prefix: ["ip", "netns", "exec", this.lan.network.host(index).namespace] }; }

  async ring(running = this.nodes): Promise<void> {
    await until(`${running.length} nodes ready`, async () => (await Promise.all(running.map((node) => node.status()))).every((status) => status.ready && status.world_size === running.length), patienceMs);
  }

  /** Signs a node's key anew as of some other time. @returns puts the old certificate back. */
  async certificateAsOf(index: number, wallMs: number): Promise<() => void> {
    const { home } = this.node(index);
    const files = homeFiles(home);
    const before = readFileSync(files.certificate);
    const identity = await readDurable(files.identity, identitySchema);
    const cluster = await readDurable(files.cluster, clusterSchema);
    const { certificate } = await signRequest(await createSigningRequest(readFileSync(files.key, "utf8"), identity!.nodeId), { nodeId: identity!.nodeId, clusterId: cluster!.clusterId }, await readCa(home), wallMs);
    const put = (content: string | Buffer): void => { writeFileSync(`${files.certificate}.new`, content, { mode: 0o600 }); renameSync(`${files.certificate}.new`, files.certificate); };
    put(certificate);
    return () => { put(before); };
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await node.stop();
    for (const place of [join(this.node(2).home, "logs"), this.node(3).home]) try { execFileSync("umount", ["-l", place], { stdio: "ignore" }); } catch { /* it was never mounted */ }
    await this.lan.remove();
    if (process.env["MINID_KEEP"] === undefined) rmSync(this.scratch, { recursive: true, force: true });
  }
}

describe.skipIf(why !== undefined)("minid doctor, asked on the first of three machines", () => {
  let ward: Ward;
  beforeAll(async () => { ward = await Ward.open(); }, 600_000);
  afterAll(async () => {
    const rows = ward?.book.rows ?? [];
    console.log(`${rows.length} faults found, ${new Set(rows.map(({ code }) => code)).size} codes: ${[...new Set(rows.map(({ code }) => code))].sort().join(", ")}`);
    await ward?.close();
  }, 300_000);

  it("finds nothing wrong with a healthy cluster", async () => {
    await ward.book.healthy(ward.at(1));
    // A machine that is too busy to report in time is asked again.
    await until("three reports", async () => (await doctor(ward.at(1))).examination.machines.filter(({ reported }) => reported).length === 3, patienceMs);
  }, 300_000);

  it("names what is wrong with another machine's files", async () => {
    const { home } = ward.node(2);
    const at = ward.at(1);
    writeFileSync(join(home, "config.json"), '{"modle": "x"}');
    await ward.book.finds("a configuration with a key that does not exist", at, "config_invalid", "node2");
    rmSync(join(home, "config.json"));

    chmodSync(join(home, "tls"), 0o755);
    await ward.book.finds("a home that everybody can read", at, "home_permissions", "node2");
    const mended = await doctor(ward.at(2), "--fix");
    expect(mended.examination.fixed?.map(({ code, done }) => `${code} ${done}`)).toEqual(["home_permissions true"]);
    expect(statSync(join(home, "tls")).mode & 0o777).toBe(0o700);

    writeFileSync(join(home, "worker-epoch.json"), readFileSync(join(home, "worker-epoch.json"), "utf8").replace(/"counter":\d+/u, '"counter":4711'));
    await ward.book.finds("an epoch record that was changed", at, "state_damaged", "node2");
    expect((await doctor(ward.at(2), "--fix")).examination.fixed?.map(({ code }) => code)).toEqual(["state_damaged"]);
    await ward.book.finds("a record that was damaged before", at, "state_set_aside", "node2");
    rmSync(join(home, "worker-epoch.json.damaged"));

    const shard = readdirSync(ward.models).find((name) => name.endsWith(".safetensors"))!;
    const path = join(ward.models, shard);
    const { size } = statSync(path);
    const file = openSync(path, "r+");
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, size - 4_096);
    writeSync(file, Buffer.from([byte[0]! ^ 0x40]), 0, 1, size - 4_096);
    await ward.book.finds("one bit of a shard flipped", at, "model_files_differ", undefined, "--deep");
    writeSync(file, byte, 0, 1, size - 4_096);
    closeSync(file);

    renameSync(path, `${path}.whole`);
    writeFileSync(path, readFileSync(`${path}.whole`).subarray(0, size - 1_000_000));
    await ward.book.finds("a shard cut short", at, "model_corrupt", "node2");
    renameSync(`${path}.whole`, path);
    renameSync(ward.models, `${ward.models}.gone`);
    await ward.book.finds("a model directory that is gone", at, "model_missing", "node2");
    renameSync(`${ward.models}.gone`, ward.models);

    const free = fillDisk(join(home, "logs"));
    await ward.book.finds("a full log disk", at, "log_disk_full", "node2");
    free();
    const filler = join(ward.node(3).home, "filler");
    execFileSync("fallocate", ["-l", String(3_800 * 2 ** 20), filler]);
    await ward.book.finds("a full disk under the home", at, "disk_space", "node3");
    rmSync(filler);

    const put = await ward.certificateAsOf(2, Date.now() - 27 * dayMs);
    await ward.book.finds("a certificate with three days left", at, "certificate_expiring", "node2");
    put();
    await ward.book.healthy(at);
  }, 900_000);

  it("names what is wrong with another machine's hardware", async () => {
    const at = ward.at(1);
    const meminfo = readFileSync("/proc/meminfo", "utf8");
    const shown = (change: (text: string) => string): void => { writeFileSync(join(ward.systemFiles, "meminfo"), change(meminfo)); };
    shown((text) => text.replace(/^MemAvailable:.*$/mu, "MemAvailable:      10240 kB"));
    await ward.book.finds("memory that other programs have taken", at, "memory_short", "node3");
    shown((text) => text.replace(/^SwapTotal:.*$/mu, "SwapTotal:   8388608 kB").replace(/^SwapFree:.*$/mu, "SwapFree:    2097152 kB"));
    await ward.book.finds("six gigabytes swapped out", at, "swap_used", "node3");
    shown((text) => text);

    let pages = 0;
    const vmstat = readFileSync("/proc/vmstat", "utf8");
    const swapping = setInterval(() => { pages += 2_000; writeFileSync(join(ward.systemFiles, "vmstat"), vmstat.replace(/^pswpout \d+$/mu, `pswpout ${pages}`)); }, 100);
    try { await ward.book.finds("pages going out to swap", at, "swapping", "node3"); } finally { clearInterval(swapping); }

    writeFileSync(join(ward.systemFiles, "thermal", "cooling_device0", "cur_state"), "4\n");
    await ward.book.finds("a processor cooled down by the kernel", at, "thermal_throttling", "node3");
    writeFileSync(join(ward.systemFiles, "thermal", "cooling_device0", "cur_state"), "0\n");
    await ward.book.healthy(at);
  }, 600_000);

  it("names what is wrong with another machine's processes", async () => {
    const at = ward.at(1);
    const second = ward.node(2);
    const pm2 = (...args: string[]) => execFileSync(process.execPath, [join(process.cwd(), "node_modules", ".bin", "pm2"), ...args], { env: { ...process.env, PM2_HOME: join(second.home, "pm2"), PM2_DISCRETE_MODE: "true", PM2_DISABLE_VERSION_CHECK: "1" }, stdio: "ignore" });
    // A stopped worker waits for its agent's end; killed meanwhile, it is not started again.
    const stopping = spawn(process.execPath, [join(process.cwd(), "node_modules", ".bin", "pm2"), "stop", "minid-worker"], { env: { ...process.env, PM2_HOME: join(second.home, "pm2"), PM2_DISCRETE_MODE: "true" }, stdio: "ignore" });
    await until("pm2 stops the worker", () => readFileSync(join(second.home, "logs", "pm2.log"), "utf8").includes("Stopping app:minid-worker"), 60_000);
    await second.kill("worker");
    await new Promise((resolve) => { stopping.once("exit", resolve); });
    await ward.book.finds("the worker stopped: port 50051 refused", at, { code: "worker_down", seen: /^port 50051 is refused because no worker runs here; it last ended \d+ s ago \(SIGKILL\)/u }, "node2");
    pm2("start", "minid-worker");
    await ward.ring();

    await second.signal("agent", "SIGSTOP");
    await ward.book.finds("a hung agent (SIGSTOP), from outside", at, "agent_hung", "node2");
    await ward.book.finds("a hung agent (SIGSTOP), on its own machine", ward.at(2), "agent_hung", "node2");
    expect((await doctor(ward.at(2), "--fix")).examination.fixed?.map(({ code, done }) => `${code} ${done}`)).toContain("agent_hung true");
    await ward.ring();

    await second.kill("node");
    await ward.book.finds("a node killed whole, from outside", at, "agent_down", "node2");
    await ward.book.finds("a node killed whole, on its own machine", ward.at(2), "agent_down", "node2");
    const squatter = ward.lan.network.host(2).spawn(process.execPath, ["-e", "require('net').createServer(() => {}).listen(50051, '0.0.0.0', () => console.log('ready'))"], { stdio: ["ignore", "pipe", "ignore"] });
    await new Promise((resolve) => { squatter.stdout?.once("data", resolve); });
    const taken = await ward.book.finds("the worker's port taken by another program", ward.at(2), "port_taken", "node2");
    expect(taken.seen).toContain(`by node (pid ${squatter.pid})`);
    squatter.kill("SIGKILL");

    const limited = new ClusterNode({ ...second.setup, prefix: [...second.setup.prefix ?? [], "prlimit", "--nofile=1024:1024"] });
    limited.start();
    try {
      await limited.listening();
      await ward.book.finds("a node started with few open files", at, "open_files_low", "node2");
      writeFileSync(join(limited.home, "cluster-state.json"), "{}");
      await limited.kill("agent");
      await ward.book.finds("an agent that ends after every start", ward.at(2), "agent_crash_loop", "node2");
      const why = await ward.book.finds("the record that it cannot start from", ward.at(2), "state_damaged", "node2");
      expect(why.seen).toContain("cluster-state.json");
      await doctor(ward.at(2), "--fix");
      await until("the agent is back", async () => (await limited.status()).ready, patienceMs);
    } finally { await limited.stop(); }
    rmSync(join(second.home, "cluster-state.json.damaged"), { force: true });
    second.start();
    await ward.ring();
    await ward.book.healthy(at);
  }, 1_200_000);

  it("names what is wrong between machines", async () => {
    const at = ward.at(1);
    const { network } = ward.lan;
    await network.blockPort(network.host(2), 50_051);
    await ward.book.finds("the worker's port blocked on the way", at, "port_blocked", "node2");
    await network.heal();
    await network.blockPort(network.host(2), 50_050);
    await ward.book.finds("the agent's port blocked on the way", at, "port_blocked", "node2");
    await network.heal();
    await network.blockPortBetween(network.host(1), network.host(2), 50_050);
    await ward.book.finds("a port that one machine reaches and the other does not", ward.at(2), "one_way_link", undefined);
    await network.heal();
    await network.cut(network.host(2));
    await ward.book.finds("a machine unplugged", at, "machine_unreachable", "node2");
    await network.heal();
    await ward.ring();
    await network.slow(network.host(2), "2mbit");
    await ward.book.finds("a link of 2 Mbit/s", at, "link_slow", "node2");
    await network.fast(network.host(2));

    const input = (...rule: string[]) => network.host(2).run("nft", ...rule);
    await input("add", "table", "inet", "filter");
    await input("add", "chain", "inet", "filter", "input", "{ type filter hook input priority 0; policy accept; }");
    await input("add", "rule", "inet", "filter", "input", "udp", "dport", "5353", "drop");
    await ward.book.finds("a firewall that eats multicast DNS", at, "mdns_deaf", "node2");
    await input("flush", "chain", "inet", "filter", "input");
    await input("add", "rule", "inet", "filter", "input", "tcp", "dport", "50051", "drop");
    await ward.book.finds("a firewall on the machine itself", at, "firewall", "node2");
    await input("delete", "table", "inet", "filter");
    await ward.ring();

    await network.blockMulticast();
    await ward.book.finds("a switch that carries no multicast", at, "multicast_blocked", undefined);
    await network.heal();
    await ward.book.healthy(at);
  }, 1_200_000);

  it("names what is wrong with the cluster's members", async () => {
    const at = ward.at(1);
    const restore = await ward.certificateAsOf(2, Date.now() - 60 * dayMs);
    await ward.book.finds("an expired certificate, from outside", at, "certificate_expired", "node2");
    await ward.book.finds("an expired certificate, on its own machine", ward.at(2), "certificate_expired", "node2");
    expect((await doctor(ward.at(2), "--fix")).examination.fixed?.map(({ code, done }) => `${code} ${done}`)).toContain("certificate_expired true");
    void restore;
    await ward.ring();

    const absent = join(ward.scratch, "absent");
    execFileSync("ip", ["netns", "exec", ward.lan.network.host(1).namespace, process.execPath, join(process.cwd(), "dist", "cli", "main.js"), "join", await ward.node(1).token(), "--home", absent, "--device-id", "node9"], { stdio: "ignore" });
    await ward.book.finds("a member that was admitted and never came", at, "member_unmet", undefined);
    await ward.node(1).cli("forget", "node9");

    const founder = ward.lan.node(4);
    founder.start();
    try {
      await founder.listening();
      await ward.book.finds("a second founder of a cluster of one name", at, "two_clusters_one_name", undefined);
    } finally { await founder.stop(); }

    // Another release, on a clock that is ten minutes ahead.
    const second = ward.node(2);
    await second.stop();
    await ward.book.finds("a node stopped in order", at, "agent_down", "node2");
    const root = join(ward.scratch, "release");
    mkdirSync(root);
    for (const name of ["dist", "proto"]) cpSync(join(process.cwd(), name), join(root, name), { recursive: true });
    cpSync(join(process.cwd(), "ecosystem.config.cjs"), join(root, "ecosystem.config.cjs"));
    for (const name of ["node_modules", "models"]) symlinkSync(join(process.cwd(), name), join(root, name));
    const packageJson = readFileSync(join(process.cwd(), "package.json"), "utf8");
    writeFileSync(join(root, "package.json"), packageJson.replace(/"version": "[^"]+"/u, '"version": "0.0.9"'));
    const other = join(ward.scratch, "models", "Other-135M");
    cpSync(embedded, other, { recursive: true, dereference: true });
    const elsewhere = new ClusterNode({ ...second.setup, root, settings: { ...second.setup.settings, model: other }, prefix: [...second.setup.prefix ?? [], ...(hasFaketime ? ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", "+10m"] : [])] });
    elsewhere.start();
    try {
      await elsewhere.listening();
      await ward.book.finds("a machine with another release", at, "version_skew", undefined);
      await ward.book.finds("a machine configured with another model", at, "model_differs", undefined);
      if (hasFaketime) await ward.book.finds("a clock ten minutes ahead", at, "clock_skew", undefined);
      writeFileSync(join(root, "package.json"), packageJson);
      await ward.book.finds("an upgrade that waits for a restart", at, "restart_needed", "node2");
    } finally { await elsewhere.stop(); }

    await ward.node(1).cli("forget", "node3");
    await ward.book.finds("a forgotten machine that goes on calling", at, "forgotten_still_trying", undefined);
    await ward.book.finds("a machine that was forgotten, by its own word", ward.at(3), "refused_by_member", undefined);
    expect(readRunFile(ward.node(3).home, "agent")).toBeDefined();
  }, 1_200_000);
});
