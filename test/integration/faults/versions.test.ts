/**
 * A roll from one protocol version to the next: nodes of adjacent versions are one ring, those too far apart stay out and say so. The other
 * version is this checkout's build with another range of protocols in it. `npm run test:faults`.
 */
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PROTOCOL } from "../../../src/daemon/cluster/messages.js";
import { differences } from "../../support/answer.js";
import { type ClusterNode, startCluster } from "../../support/cluster.js";
import { until } from "../../support/wait.js";

const question = { prompt: "Tell me a story about a lighthouse.", maxTokens: 40 };
const timeoutMs = 400_000;

/** @returns a build like this one that speaks `range`. */
function buildThatSpeaks(range: { min: number; max: number }, scratch: string): string {
  const root = join(scratch, `${range.min}-${range.max}`);
  for (const name of ["dist", "proto", "package.json", "ecosystem.config.cjs"]) cpSync(name, join(root, name), { recursive: true });
  for (const name of ["node_modules", "models"]) symlinkSync(realpathSync(name), join(root, name));
  const file = join(root, "dist", "daemon", "cluster", "messages.js");
  const source = readFileSync(file, "utf8");
  const changed = source.replace(`{ min: ${PROTOCOL.min}, max: ${PROTOCOL.max} }`, `{ min: ${range.min}, max: ${range.max} }`);
  expect(changed).not.toBe(source);
  writeFileSync(file, changed);
  return root;
}

describe.runIf(process.env["MINID_LONG"] === "1")("nodes of different versions", () => {
  let scratch: string;
  beforeAll(() => { scratch = realpathSync(mkdtempSync(join(tmpdir(), "minid-versions-"))); });
  afterAll(() => { rmSync(scratch, { recursive: true, force: true }); });

  it("are one ring during the roll to the next protocol, and restart into it one by one without losing the answer", async () => {
    const next = buildThatSpeaks({ min: PROTOCOL.max, max: PROTOCOL.max + 1 }, scratch);
    const cluster = await startCluster({ nodes: 2, settings: { threads: 1, "drain-timeout-ms": 60_000 }, rootOf: (index) => (index === 0 ? process.cwd() : next) });
    try {
      const [old, young] = cluster.nodes as [ClusterNode, ClusterNode];
      const undisturbed = await old.ask(question);
      expect((await young.status()).world_size).toBe(2);
      expect(differences(await young.ask(question), undisturbed)).toEqual([]);
      const answer = young.ask({ ...question });
      expect(await old.stop()).toBe(0);
      expect(differences(await answer, undisturbed)).toEqual([]);
      old.start();
      await cluster.ready();
      expect(differences(await old.ask(question), undisturbed)).toEqual([]);
    } finally { await cluster.stop(); }
  }, timeoutMs);

  it("stay apart when their protocols are too far apart, name the condition, and go on serving", async () => {
    const far = buildThatSpeaks({ min: PROTOCOL.max + 1, max: PROTOCOL.max + 1 }, scratch);
    const cluster = await startCluster({ nodes: 2, start: 1, settings: { threads: 1 }, rootOf: (index) => (index === 0 ? process.cwd() : far) });
    try {
      const [old, young] = cluster.nodes as [ClusterNode, ClusterNode];
      young.start(await old.token());
      await until("the old one names the other", async () => (await old.status()).conditions.some(({ code }) => code === "protocol_mismatch"), 120_000);
      expect((await old.status()).world_size).toBe(1);
      expect((await old.ask(question)).completionTokens).toBe(question.maxTokens);
    } finally { await cluster.stop(); }
  }, timeoutMs);
});
