/**
 * What the front door costs: HTTP, checks, template, tokenizer, text and events, against talking to the scheduler directly. Both stand on the
 * same scheduler over a ring that computes nothing, so that only their own work is left. `npm run bench:door [-- --tokens N]`
 *
 * Time to the first token is one request at a time; the cost per token is this process's CPU time (the client is another process),
 * because elapsed time says little on a busy machine. Then 1,000 idle connections and 200 open streams through one door.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { createServer } from "../src/api/server.js";
import { systemClock } from "../src/core/clock.js";
import { epochZero } from "../src/core/ids.js";
import { silentLog } from "../src/core/log.js";
import type { GenerateRequest } from "../src/daemon/inference/generate.js";
import { LocalGenerator } from "../src/daemon/inference/local-generator.js";
import { ResumingGenerator } from "../src/daemon/inference/resuming-generator.js";
import { RingDriver } from "../src/daemon/inference/ring-driver.js";
import { samplingFromWire } from "../src/daemon/inference/sampling-wire.js";
import { defaultSchedulerLimits } from "../src/daemon/inference/scheduler-types.js";
import { greedySampling } from "../src/core/worker-protocol.js";
import { openAssistant } from "../src/model/assistant.js";
import { resolveModel } from "../src/model/store.js";
import type { Order, Report } from "./door/client.js";
import { InstantRing } from "./door/instant-ring.js";

const { values } = parseArgs({ options: { tokens: { type: "string" }, requests: { type: "string" }, "step-ms": { type: "string" } } });
const tokensEach = Number(values.tokens ?? 200);
const firsts = Number(values.requests ?? 200);
const stepMs = Number(values["step-ms"] ?? 2);

const { id: model, directory } = await resolveModel("SmolLM2-135M-Instruct-8bit", "");
const assistant = await openAssistant(directory);
const text = assistant.tokenizer.encode("The quick brown fox jumps over the lazy dog, and then it tells a long story about the sea. ", false);

/** @param step milliseconds */
function makeRing(step: number, batchMax: number) {
  const driver = new RingDriver({ clock: systemClock, log: silentLog, limits: { ...defaultSchedulerLimits, queueMax: 512 }, onLost: (error) => { throw error; } });
  const local = new LocalGenerator(driver, systemClock);
  driver.start({ epoch: epochZero, planVersion: 1, modelId: model, worker: new InstantRing(text, step), plan: { worldSize: 1, slots: 256, kvTokensMax: 4_000_000, contextMax: 8_192, batchMax, prefillChunk: 128, engineReplay: "prefill" } });
  const generator = new ResumingGenerator({ clock: systemClock, leaders: { ready: () => Promise.resolve(local), whyNotReady: () => undefined } });
  const served = { id: model, created: 0, contextMax: 8_192, fingerprint: "bench", assistant };
  const server = createServer({
    generator, log: silentLog, models: { list: () => [served], find: (wanted) => (wanted === model ? served : undefined) },
    status: { health: () => ({ ready: true, reasons: [] }), clusterInfo: () => ({ totalDevices: 1, healthyDevices: 1, worldSize: 1, grpcActive: true }), devices: () => [], status: () => ({}), plan: () => ({}), metrics: () => Promise.resolve({ contentType: "text/plain", body: "" }), metricsTargets: () => [] },
  });
  return { driver, local, server };
}

type Ring = ReturnType<typeof makeRing>;

let requests = 0;
const directRequest = (maxTokens: number): GenerateRequest =>
  ({ requestId: `direct-${requests += 1}`, modelId: model, prompt: assistant.tokenizer.encode("Hi", false), emitted: [], sampling: samplingFromWire(greedySampling), maxTokens, stopTokens: [] });

async function direct(ring: Ring, atOnce: number, count: number, maxTokens: number): Promise<{ readonly firstMs: readonly number[]; readonly cpuUs: number }> {
  const firstMs: number[] = [];
  let left = count;
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left > 0) {
      left -= 1;
      const from = performance.now();
      let first = 0;
      for await (const event of ring.local.generate(directRequest(maxTokens), new AbortController().signal)) if (event.kind === "tokens") first ||= performance.now() - from;
      firstMs.push(first);
    }
  }));
  const { user, system } = process.cpuUsage(before);
  return { firstMs, cpuUs: user + system };
}

async function ask(client: ChildProcess, order: Order | "open"): Promise<Report> {
  client.send(order);
  const [report] = await once(client, "message") as [Report];
  return report;
}

async function throughDoor(client: ChildProcess, order: Extract<Order, { kind: "stream" }>): Promise<{ readonly firstMs: readonly number[]; readonly cpuUs: number; readonly events: number; readonly failed: number }> {
  const before = process.cpuUsage();
  const report = await ask(client, order);
  const { user, system } = process.cpuUsage(before);
  if (report.kind !== "streamed") throw new Error("the client reported something else");
  return { ...report, cpuUs: user + system };
}

const percentile = (values: readonly number[], part: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN;

const client = fork(new URL("./door/client.ts", import.meta.url), { stdio: "inherit" });
const port = async (ring: Ring): Promise<number> => Number(new URL(await ring.server.listen({ host: "127.0.0.1", port: 0 })).port);

// --- the first token, one request at a time, on a ring that answers at once
const quick = makeRing(0, 16);
const quickPort = await port(quick);
await throughDoor(client, { kind: "stream", port: quickPort, model, atOnce: 1, requests: firsts, maxTokens: 2 });
await direct(quick, 1, firsts, 2);
const firstDoor = await throughDoor(client, { kind: "stream", port: quickPort, model, atOnce: 1, requests: firsts, maxTokens: 2 });
const firstDirect = await direct(quick, 1, firsts, 2);
await quick.server.close();
quick.driver.stop("done");

// --- the cost of a token, on a ring whose steps take a while, as an engine's do
const cost: Record<number, { directUs: number; doorUs: number; failed: number }> = {};
for (const atOnce of [1, 16]) {
  const paced = makeRing(stepMs, 16);
  const pacedPort = await port(paced);
  const count = atOnce === 1 ? 4 : 2 * atOnce;
  await throughDoor(client, { kind: "stream", port: pacedPort, model, atOnce, requests: count, maxTokens: tokensEach });
  const door = await throughDoor(client, { kind: "stream", port: pacedPort, model, atOnce, requests: count, maxTokens: tokensEach });
  await direct(paced, atOnce, count, tokensEach);
  const alone = await direct(paced, atOnce, count, tokensEach);
  cost[atOnce] = { directUs: alone.cpuUs / (count * tokensEach), doorUs: door.cpuUs / (count * tokensEach), failed: door.failed };
  await paced.server.close();
  paced.driver.stop("done");
}

// --- many connections
const crowded = makeRing(stepMs, 16);
const crowdedPort = await port(crowded);
const rss = (): number => Math.round(process.memoryUsage().rss / 2 ** 20);
const rssMiB = { before: rss(), idle: 0, first: 0, second: 0 };
await ask(client, { kind: "idle", port: crowdedPort, connections: 1_000 });
rssMiB.idle = rss();
const round = () => throughDoor(client, { kind: "stream", port: crowdedPort, model, atOnce: 200, requests: 200, maxTokens: 40 });
const firstRound = await round();
rssMiB.first = rss();
// Before the server's own keep-alive time ends them.
const stillOpen = await ask(client, "open");
const secondRound = await round();
rssMiB.second = rss();
client.send("end");
await crowded.server.close();
crowded.driver.stop("done");

const added = (part: number): number => percentile(firstDoor.firstMs, part) - percentile(firstDirect.firstMs, part);
console.log(`load ${loadavg()[0]!.toFixed(1)} on ${availableParallelism()} cores, steps of ${stepMs} ms, ${tokensEach} tokens an answer`);
console.log(`first token, added by the front door: median ${added(0.5).toFixed(2)} ms, p90 ${added(0.9).toFixed(2)} ms (direct ${percentile(firstDirect.firstMs, 0.5).toFixed(2)}, door ${percentile(firstDoor.firstMs, 0.5).toFixed(2)})`);
console.log(`CPU of a request's beginning and end: direct ${(firstDirect.cpuUs / firsts / 1_000).toFixed(2)} ms, door ${(firstDoor.cpuUs / firsts / 1_000).toFixed(2)} ms`);
for (const [atOnce, { directUs, doorUs }] of Object.entries(cost)) console.log(`a token, ${atOnce} at once: direct ${directUs.toFixed(0)} us of CPU, door ${doorUs.toFixed(0)} us, added ${(doorUs - directUs).toFixed(0)} us`);
console.log(`1,000 idle connections (${stillOpen.kind === "idle" ? stillOpen.open : 0} open afterwards), 200 streams at once: ${firstRound.failed + secondRound.failed} failed of 400; RSS ${rssMiB.before} MiB before, ${rssMiB.idle} with the connections, ${rssMiB.first} after 200 answers, ${rssMiB.second} after 400`);
console.log(JSON.stringify({ added: { medianMs: added(0.5), p90Ms: added(0.9) }, cost, rssMiB }));
process.exitCode = firstRound.failed + secondRound.failed === 0 && stillOpen.kind === "idle" && stillOpen.open === 1_000 ? 0 : 1;
