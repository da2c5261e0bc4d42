/**
 * `npm run test:ops`: the logs of a real cluster at the most talkative level. They rotate under load and lose nothing, a full log disk
 * stops no answer, and nowhere in them is a prompt, an answer, an API key, a join token or a private key. `minid logs` and
 * `minid status --watch` are read meanwhile.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { homeFiles } from "../../src/core/trust/trust.js";
import type { LogLine } from "../../src/daemon/logs/log-line.js";
import type { StatusSnapshot } from "../../src/daemon/status.js";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster.js";
import { canMount, fillDisk, mountSmallDisk, unmountSmallDisk } from "../support/disks.js";
import { until } from "../support/wait.js";

const waitMs = 240_000;
const bytesMax = 64 << 10;
const filesMax = 3;
/** While one process renames the files, another writes on. */
const slackBytes = 16 << 10;
const logDiskMegabytes = 8;
/** In every question; the model repeats it in its answers. */
const word = "Whippoorwillian";
const question = `Say ${word} three times.`;

describe.skipIf(!canMount)("the logs of a real cluster (skipped where small disks cannot be mounted)", () => {
  let cluster: Cluster;
  let key = "";
  const secrets = new Map<string, string>();
  const followers: ChildProcess[] = [];
  const logs = (node: ClusterNode): string => join(node.home, "logs");
  const disk = (): string => logs(cluster.nodes[2]!);

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 3, start: 1, settings: { "log-level": "trace", "log-bytes-max": bytesMax, "log-files-max": filesMax }, readyTimeoutMs: waitMs });
    const [founder, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    mountSmallDisk(disk(), logDiskMegabytes);
    key = (await founder.cli("key", "create")).stdout.trim();
    secrets.set("API key", key);
    for (const node of [second, third]) {
      const token = await founder.token();
      secrets.set(`join token of ${node.name}`, token);
      node.start(token);
    }
    await cluster.ready(waitMs);
  }, 400_000);
  afterAll(async () => {
    for (const child of followers) child.kill("SIGTERM");
    try { unmountSmallDisk(disk()); } catch { /* it was never mounted */ }
    await cluster?.stop();
  }, 240_000);

  /** A command that goes on; its lines so far. */
  function follow(node: ClusterNode, ...args: string[]): string[] {
    const child = spawn(process.execPath, [join(node.setup.root, "dist", "cli", "main.js"), ...args, "--home", node.home], { stdio: ["ignore", "pipe", "inherit"] });
    followers.push(child);
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => { lines.push(line); });
    return lines;
  }

  /** @returns the answer's text and its request id. */
  async function ask(node: ClusterNode, maxTokens = 1): Promise<{ readonly text: string; readonly id: string }> {
    const response = await fetch(`${node.url}/v1/chat/completions`, {
      method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(waitMs),
      body: JSON.stringify({ model: (await node.status()).model.id, messages: [{ role: "user", content: question }], max_tokens: maxTokens, temperature: 0 }),
    });
    const body = await response.json() as { readonly choices?: readonly { readonly message: { readonly content: string } }[] };
    expect(response.status, JSON.stringify(body)).toBe(200);
    return { text: body.choices?.[0]?.message.content ?? "", id: response.headers.get("x-request-id") ?? "" };
  }

  const linesOf = async (node: ClusterNode, ...args: string[]): Promise<LogLine[]> => (await node.cli("logs", "--json", ...args)).stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as LogLine);

  it("are told of all machines by any of them, by machine, by level and by request", async () => {
    const [first, , third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    expect(new Set((await linesOf(first, "--lines", "1000")).map(({ device }) => device))).toEqual(new Set(["node1", "node2", "node3"]));
    expect(new Set((await linesOf(third, "--lines", "1000", "--node", "node1")).map(({ device }) => device))).toEqual(new Set(["node1"]));
    expect((await linesOf(first, "--lines", "1000", "--level", "warn")).every(({ level }) => level === "warn" || level === "error")).toBe(true);
    const { id } = await ask(third, 8);
    const found = await until("the request's lines", async () => {
      const lines = await linesOf(first, "--request", id, "--level", "debug");
      return lines.some(({ message }) => message === "answered") && lines;
    }, waitMs);
    // From the front door to every worker.
    expect(found.every(({ fields }) => fields["requestId"] === id)).toBe(true);
    expect(found.find(({ message }) => message === "answered")?.device).toBe("node3");
    expect(new Set(found.filter(({ process: name }) => name === "worker").map(({ device }) => device))).toEqual(new Set(["node1", "node2", "node3"]));
  }, 300_000);

  it("rotate under load, keep to their bound and lose no line; a follower sees each once", async () => {
    const seen = follow(cluster.nodes[1]!, "logs", "--follow", "--lines", "0", "--json");
    await until("the follower listens", async () => { await ask(cluster.nodes[0]!); return seen.length > 0; }, waitMs);
    const asked = new Map<string, string>();
    const rotated = (): boolean => cluster.nodes.every((node) => [1, 2].every((index) => readdirSync(logs(node)).includes(`agent.log.${index}`)));
    const client = async (node: ClusterNode): Promise<void> => {
      while (!rotated()) asked.set((await ask(node)).id, node.name);
    };
    await Promise.all(cluster.nodes.flatMap((node) => Array.from({ length: 4 }, () => client(node))));
    console.log(`rotated after ${asked.size} answers`);
    expect(asked.size).toBeGreaterThan(100);

    await until("the follower has seen every answer", () => {
      const told = seen.map((line) => JSON.parse(line) as LogLine).filter(({ message }) => message === "answered");
      const times = new Map<string, number>();
      for (const { fields } of told) times.set(String(fields["requestId"]), (times.get(String(fields["requestId"])) ?? 0) + 1);
      const wrong = [...asked.keys()].filter((id) => times.get(id) !== 1);
      if (wrong.length > 0) throw new Error(`${wrong.length} of ${asked.size} answers were not seen just once: ${wrong.slice(0, 3).map((id) => `${id} by ${asked.get(id) ?? ""} ${times.get(id) ?? 0} times`).join(", ")}`);
      return true;
    }, 30_000);
    for (const node of cluster.nodes) {
      for (const name of ["agent", "worker"]) {
        const files = readdirSync(logs(node)).filter((file) => file === `${name}.log` || file.startsWith(`${name}.log.`));
        expect(files.length, `${node.name} ${files.join(" ")}`).toBeLessThanOrEqual(filesMax);
        for (const file of files) {
          expect(statSync(join(logs(node), file)).size, `${node.name} ${file}`).toBeLessThanOrEqual(bytesMax + slackBytes);
          for (const line of readFileSync(join(logs(node), file), "utf8").split("\n")) if (line !== "") expect(() => JSON.parse(line) as unknown, `${node.name} ${file}: ${line}`).not.toThrow();
        }
      }
    }
  }, 600_000);

  it("stop no answer when their disk is full, and say afterwards what is missing", async () => {
    const third = cluster.nodes[2]!;
    const watched = follow(cluster.nodes[0]!, "status", "--watch", "--json");
    const before = await ask(third, 24);
    const free = fillDisk(disk());
    try {
      for (const node of cluster.nodes) expect((await ask(node, 24)).text).toBe(before.text);
      const doctor = await third.cli("doctor", "--json").catch((error: { stdout: string }) => error);
      expect(doctor.stdout).toContain("log_disk_full");
      // Whatever begins now begins on a full disk.
      for (const part of ["worker", "agent"] as const) {
        const pid = await third.pid(part);
        await third.kill(part);
        await until(`a new ${part}`, async () => (await third.pid(part)) !== pid, waitMs);
        await cluster.ready(waitMs);
        expect((await ask(third, 24)).text).toBe(before.text);
      }
    } finally { free(); }
    const told = (): string | undefined => readdirSync(disk()).filter((name) => /^agent\.log(?:\.\d)?$/u.test(name))
      .flatMap((name) => readFileSync(join(disk(), name), "utf8").split("\n")).find((line) => line.includes("lines were lost"));
    const lost = await until("the log goes on, and says that lines were lost", async () => {
      // A log that is rotated makes room even on a full disk: then nothing was lost.
      const room = fillDisk(disk());
      try { await ask(third); } finally { room(); }
      return await until("it is told", async () => { await ask(third); return told(); }, 3_000);
    }, waitMs);
    expect((JSON.parse(lost) as { lines: number }).lines).toBeGreaterThan(0);

    // Somebody watched all the while.
    const pictures = watched.map((line) => JSON.parse(line) as StatusSnapshot);
    expect(pictures.length).toBeGreaterThan(5);
    const healths = new Set(pictures.map(({ devices }) => devices.find(({ device_id }) => device_id === "node3")?.status));
    expect([...healths]).toContain("healthy");
    expect(healths.size).toBeGreaterThan(1);
  }, 600_000);

  it("hold no prompt, answer, API key, join token or private key, whatever went wrong", async () => {
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    const model = (await first.status()).model.id;
    const wrong = `mk_${word}_wrong_key`;
    secrets.set("wrong API key", wrong);
    const send = async (url: string, body: string, headers: Record<string, string> = {}): Promise<number> => (await fetch(`${first.url}${url}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body })).status;
    expect(await send("/v1/chat/completions", `{"messages": ["${question}`)).toBe(400);
    expect(await send("/v1/chat/completions", JSON.stringify({ model, messages: [{ role: question, content: question }] }))).toBe(400);
    expect(await send("/v1/chat/completions", JSON.stringify({ model, messages: [{ role: "user", content: question.repeat(9_000) }] }))).toBe(400);
    expect(await send("/v1/completions", JSON.stringify({ model, prompt: question, max_tokens: 1, structured_outputs: { regex: `${word}(` } }))).toBe(400);
    await send(`/v1/chat/completions?api_key=${key}`, JSON.stringify({ model: word, messages: [] }), { authorization: `Bearer ${wrong}` });
    await send(`/v1/${word}?key=${key}`, question, { "x-api-key": wrong });
    expect((await second.cli("join", secrets.get("join token of node2") ?? "")).stdout).toContain("already a member");
    // An answer that is carried over a fault is told a second time, with its prompt and all its tokens.
    let killed: Promise<void> | undefined;
    await first.ask({ prompt: question, maxTokens: 60 }, { onText: (count) => { if (count === 20) killed = second.kill("worker"); } });
    await killed;
    await cluster.ready(waitMs);

    for (const node of cluster.nodes) {
      const files = homeFiles(node.home);
      for (const [name, path] of [["key", files.key], ["CA key", files.caKey]] as const) {
        const pem = ((): string => { try { return readFileSync(path, "utf8"); } catch { return ""; } })();
        const [line] = pem.split("\n").filter((text) => text !== "" && !text.startsWith("-")).slice(1);
        if (line !== undefined) secrets.set(`${name} of ${node.name}`, line);
      }
    }
    expect(secrets.size).toBeGreaterThanOrEqual(6);
    const words = [["prompt", word], ["prompt without capitals", word.toLowerCase()], ["PEM", "PRIVATE KEY"], ...secrets] as const;
    let bytes = 0;
    const found: string[] = [];
    for (const node of cluster.nodes) {
      const sources = [...readdirSync(logs(node)).filter((file) => file !== "filler").map((file) => [file, readFileSync(join(logs(node), file), "utf8")] as const), ["minid up", node.lastWords()] as const, ["minid logs", (await node.cli("logs", "--lines", "10000", "--level", "trace")).stdout] as const];
      for (const [source, text] of sources) {
        bytes += text.length;
        for (const [what, secret] of words) if (text.includes(secret)) found.push(`${what} in ${source} of ${node.name}: ${text.split("\n").find((line) => line.includes(secret))?.slice(0, 300) ?? ""}`);
      }
    }
    console.log(`${(bytes / 1e6).toFixed(1)} MB of logs searched for ${words.length} secrets`);
    expect(bytes).toBeGreaterThan(3 * bytesMax);
    expect(found).toEqual([]);
  }, 400_000);

  it("end with their cluster", async () => {
    for (const child of followers) {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
    expect(followers.map(({ exitCode }) => exitCode)).toEqual(followers.map(() => 0));
  });
});
