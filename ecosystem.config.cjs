// What pm2-runtime runs: the agent, the worker and its standby, as siblings, so that none takes another along when it dies.
// The agent decides who dies (SIGKILL by pid), pm2 decides who lives again. Every setting below answers a measured pitfall.
const { homedir } = require("node:os");
const { join } = require("node:path");

const home = process.env.MINID_HOME || join(homedir(), ".minid");
// The bounds of a graceful stop: the agent drains and lets its clients' answers end; the worker computes on for it until it is gone.
const drainTimeoutMs = Number(process.env.MINID_DRAIN_TIMEOUT_MS || 25_000);
const agentStopMs = drainTimeoutMs + 15_000;
const workerStopMs = agentStopMs + 16_000;
const dist = process.env.MINID_DIST || join(__dirname, "dist");

/** @param killTimeoutMs between SIGTERM and SIGKILL: the process's own bound on a graceful stop plus a margin. */
const app = (role, script, killTimeoutMs, log = role === "standby" ? "worker" : role) => ({
  name: `minid-${role}`,
  script: join(dist, script),
  interpreter: process.execPath,
  exec_mode: "fork",
  cwd: home,
  // The supervision policy backs off from crash loops; pm2 must never give up, and must not be slow after a single kill.
  // Together with a restart delay, a lower max_restarts leaves an app waiting for ever. The delay grows by 1.5 to at most 15 s.
  max_restarts: 1e9,
  exp_backoff_restart_delay: 10,
  kill_timeout: killTimeoutMs,
  kill_retry_time: 20,
  // Our apps have no children; killing by tree would run `ps`.
  treekill: false,
  // No telemetry hooks inside our processes.
  pmx: false,
  vizion: false,
  // Loading maps costs a restarted worker a tenth of its start; the compiled code reads like its source.
  disable_source_map_support: true,
  // Their own lines go to `<log>.log`, which they rotate themselves (src/core/rotating-file.ts); here lands what is no line of theirs:
  // a native library's last words, Node's own warnings.
  out_file: join(home, "logs", `${log}.out.log`),
  error_file: join(home, "logs", `${log}.out.log`),
  merge_logs: true,
  env: { MINID_HOME: home, MINID_ROLE: role },
});

module.exports = {
  apps: [
    app("agent", "daemon/main.js", agentStopMs),
    app("worker", "worker/main.js", workerStopMs),
    // The same program: whoever finds a living worker in the run file waits until it is dead (src/worker/succession.ts).
    ...(process.env.MINID_WORKER_STANDBY === "false" ? [] : [app("standby", "worker/main.js", workerStopMs)]),
  ],
};
