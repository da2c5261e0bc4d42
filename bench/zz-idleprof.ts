import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { startCluster } from "../test/support/cluster.js";
const require = createRequire("/work/wt/sim/package.json");
const WebSocket = require("ws");
async function profile(pid: number, out: string, seconds: number) {
  process.kill(pid, "SIGUSR1");
  await delay(1500);
  const list = await (await fetch("http://127.0.0.1:9229/json/list")).json();
  const ws = new WebSocket(list[0].webSocketDebuggerUrl);
  await new Promise((r) => ws.on("open", r));
  let id = 0; const waits = new Map<number, (v: any) => void>();
  ws.on("message", (d: Buffer) => { const m = JSON.parse(d.toString()); waits.get(m.id)?.(m.result); });
  const call = (method: string, params = {}) => new Promise<any>((r) => { id += 1; waits.set(id, r); ws.send(JSON.stringify({ id, method, params })); });
  await call("Profiler.enable"); await call("Profiler.setSamplingInterval", { interval: 500 }); await call("Profiler.start");
  await delay(seconds * 1000);
  const { profile } = await call("Profiler.stop");
  writeFileSync(out, JSON.stringify(profile));
  ws.close();
}
const cpu = (pid: number) => { const f = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /u, "").split(" "); return Number(f[11]) * 10 + Number(f[12]) * 10; };
const status = (pid: number) => readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)![1];
const cluster = await startCluster({ nodes: 3, settings: { threads: 1 } });
try {
  const leader = await cluster.leader();
  await delay(12000);
  const rows = await Promise.all(cluster.nodes.flatMap((n) => (["agent", "worker"] as const).map(async (part) => ({ name: n.name + (n === leader ? "*" : ""), part, pid: await n.pid(part) }))));
  const a = rows.map((r) => cpu(r.pid)); const t = performance.now();
  await delay(30000);
  const s = (performance.now() - t) / 1000;
  rows.forEach((r, i) => console.log(r.name, r.part, ((cpu(r.pid) - a[i]!) / 10 / s).toFixed(2) + " % core", status(r.pid) + " kB", "ms/s", ((cpu(r.pid) - a[i]!) / s).toFixed(1)));
  const agent = rows.find((r) => r.part === "agent" && r.name.endsWith("*"))!;
  await profile(agent.pid, "/tmp/brief/simout/idle-agent.cpuprofile", 25);
} finally { await cluster.stop(); }
