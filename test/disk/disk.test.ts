/**
 * Disks that fail under a real node: full (ENOSPC), read-only (EROFS), and with sectors that cannot be read (EIO); under its home and under
 * the model; while it runs and when it starts. It runs on, or it says in one message what is wrong; and when the disk is well again it is the
 * same machine of the same cluster. The table is in docs/DAMAGE.md; MINID_WRITE_DAMAGE=1 writes it. `npm run test:disk`; Linux and root.
 */
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Answer } from "../support/answer.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { DyingDisk, canMount, fillDisk, linkModel, mountSmallDisk, moveOnto, readOnly, unmountSmallDisk } from "../support/disks.js";
import { Hopeless, until } from "../support/wait.js";

interface Sick { readonly heal: () => void }
/** @property apply puts the disk under it, the node being down. @property sicken makes it fail. */
interface Disk { readonly apply: () => void; readonly sicken: () => Sick; readonly remove: () => void }

const question = { prompt: "Tell me a long story about a fox.", maxTokens: 12 };
const root = process.cwd();
const waitMs = 300_000;
const sick = /EIO|ENOSPC|EROFS/u;
let cluster: Cluster;
let node: ClusterNode;
let model: string;
let undisturbed: Answer;
let identity: string;

const whoIs = async (): Promise<string> => { const { node: self, cluster: of } = await node.status(); return `${self.node_id} ${of.id}`; };
const ready = () => until("the node is ready", async () => (await node.status()).ready, waitMs);

beforeAll(async () => {
  if (!canMount) return;
  const scratch = fileURLToPath(new URL(`file:///tmp/minid-disk-${process.pid}/`));
  model = join(scratch, "SmolLM2-135M-Instruct-8bit");
  linkModel(join(root, "models", "SmolLM2-135M-Instruct-8bit"), model);
  cluster = await startCluster({ nodes: 1, model, settings: { threads: 1, "context-max": 256, "worker-standby": false, "drain-timeout-ms": 100 }, readyTimeoutMs: waitMs });
  node = cluster.nodes[0]!;
  undisturbed = await node.ask(question);
  identity = await whoIs();
  await node.stop();
}, 600_000);
afterAll(async () => {
  await cluster?.stop();
  if (model !== undefined) rmSync(join(model, ".."), { recursive: true, force: true });
});

const small = (sicken: () => Sick): Disk => ({ apply: () => { moveOnto(node.home, (home) => { mountSmallDisk(home, 48); }); }, sicken, remove: () => { unmountSmallDisk(node.home); } });
let dying: DyingDisk;
const dies: Pick<Disk, "sicken" | "remove"> = { sicken: () => { dying.fail(); return { heal: () => { dying.heal(); } }; }, remove: () => { dying.remove(); } };
const shard = "model-00002-of-00003.safetensors";

const disks: Readonly<Record<string, () => Disk>> = {
  "home full (ENOSPC)": () => small(() => ({ heal: fillDisk(node.home) })),
  "home read-only (EROFS)": () => small(() => ({ heal: readOnly(node.home) })),
  "home's data unreadable (EIO)": () => ({ ...dies, apply: () => { moveOnto(node.home, (home) => { dying = new DyingDisk(cluster.scratch, home); }); } }),
  "a shard unreadable (EIO)": () => ({
    ...dies,
    apply: () => {
      const at = join(cluster.scratch, "shard-disk");
      dying = new DyingDisk(cluster.scratch, at);
      writeFileSync(join(at, shard), readFileSync(join(model, shard)));
      renameSync(join(model, shard), join(model, `${shard}.away`));
      symlinkSync(join(at, shard), join(model, shard));
    },
    remove: () => { renameSync(join(model, `${shard}.away`), join(model, shard)); dying.remove(); },
  }),
  "the model's directory read-only (EROFS)": () => ({
    apply: () => { moveOnto(model, (directory) => { mountSmallDisk(directory, 256); }); },
    sicken: () => ({ heal: readOnly(model) }),
    remove: () => { unmountSmallDisk(model); },
  }),
};

/** The node is up and well, and its disk fails: a question, and then a worker that dies. */
async function whileRunning(): Promise<string> {
  const killed = await node.pid("worker");
  const over = new AbortController();
  const answered = node.ask(question, { signal: over.signal }).then(({ text }) => { expect(text).toBe(undisturbed.text); return "answers"; });
  const diedOfIt = until("its worker died of it", async () => (over.signal.aborted || await saysWhy()) ? "its worker dies of it" : undefined, waitMs);
  const first = await Promise.race([answered, diedOfIt]).finally(() => { over.abort(); });
  await Promise.allSettled([answered, diedOfIt]);
  if (first === "answers") await node.kill("worker");
  const then = await until("the worker is back, or it is said why not", async () => {
    if (await saysWhy()) return "a worker that dies cannot come back, and it is said why";
    const status = await node.status();
    const worker = status.devices.find((device) => device.self)?.worker;
    return status.ready && worker?.healthy && worker.pid !== killed ? "a worker that dies comes back" : undefined;
  }, waitMs);
  if (then.includes("comes back")) expect((await node.ask(question)).text).toBe(undisturbed.text);
  return `${first}; ${then}`;
}

/** Why its worker has no stage, where that is the disk; in its status, or where no agent answers in what its log said last. */
async function saysWhy(): Promise<boolean> {
  const worker = (await node.status().catch(() => undefined))?.devices.find((device) => device.self)?.worker;
  return sick.test(worker?.error ?? "") || (worker === undefined && sick.test(node.lastWords()));
}

async function atStart(): Promise<string> {
  node.start();
  return await until("it runs, or says why not", async () => {
    if (!node.running) {
      if (!sick.test(node.output)) throw new Hopeless(`it ended without a reason: ${node.output}`);
      return "one message";
    }
    if (/again and again.*(?:EIO|ENOSPC|EROFS)/u.test(node.output)) return "one message, and tries again until it can start";
    const status = await node.status();
    if (status.ready) return "runs";
    if (sick.test(status.devices.find((device) => device.self)?.worker?.error ?? "")) return "runs without its stage, and says why";
    return status.reasons.some(({ code, message }) => code === "home_not_written" && sick.test(message)) ? "runs, serves nothing until it can write, and says why" : undefined;
  }, waitMs);
}

describe.runIf(canMount)("a node on a disk that fails", () => {
  const rows = new Map<string, readonly [string, string]>();

  it.each(Object.keys(disks))("%s: it runs on or says why, and is the same machine afterwards", async (name) => {
    const disk = disks[name]!();
    disk.apply();
    try {
      node.start();
      await ready();
      const { heal } = disk.sicken();
      const outcomes = await (async () => {
        try {
          const running = await whileRunning();
          await node.stop();
          return [running, await atStart()] as const;
        } finally { heal(); }
      })();
      // A node that is up finds by itself that its disk is well again.
      if (!node.running) node.start();
      await ready();
      expect(await whoIs()).toBe(identity);
      expect((await node.ask(question)).text).toBe(undisturbed.text);
      rows.set(name, outcomes);
    } catch (error) {
      throw new Error(`${name}: ${String(error)}\n${node.lastWords()}`, { cause: error });
    } finally {
      await node.stop();
      disk.remove();
    }
  }, 1_200_000);

  it("does what docs/DAMAGE.md says", () => {
    const table = ["| disk | while it runs | when it starts |", "|---|---|---|", ...Array.from(rows, ([name, [running, starting]]) => `| ${name} | ${running} | ${starting} |`)].join("\n");
    const page = fileURLToPath(new URL("../../docs/DAMAGE.md", import.meta.url));
    if (process.env["MINID_WRITE_DAMAGE"] === "1") writeFileSync(page, readFileSync(page, "utf8").replace(/(<!-- disks -->\n)[^]*?(<!-- end of disks -->)/u, (_all, begin: string, end: string) => `${begin}${table}\n${end}`));
    expect(readFileSync(page, "utf8")).toContain(table);
  });
});
