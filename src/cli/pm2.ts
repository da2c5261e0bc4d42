/**
 * Runs pm2-runtime in the foreground of one home, as a separate program (pm2 is AGPL: run, never imported).
 *
 * Guarantees: `stop()` leaves no process behind and resolves with 0 after an orderly stop; a pm2-runtime that is killed takes
 * its apps along (they exit on 'disconnect'); a starter that is killed takes pm2-runtime along (`pm2-guard.ts`); one home has
 * one pm2 at a time.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep, Timers } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import { isAlive, killProcess, processStartTime } from "../core/process-identity.js";
import { readRunFile, removeRunFile, writeRunFile } from "../core/run-file.js";
import { shortDirectory } from "../core/short-directory.js";
import { keepPm2Lines, rotateLogs } from "./log-files.js";

/** The longest name of a socket that pm2 makes in PM2_HOME. */
const longestSocketName = "interactor.sock";
/** What stopping takes beyond the drain: more than the longest kill_timeout (ecosystem.config.cjs), so that pm2 has the time to report. */
const stopMarginMs = 30_000;
const drainTimeoutDefaultMs = 25_000;
const goneTimeoutMs = 5_000;
const pollIntervalMs = 20;
const logCheckIntervalMs = 60_000;

export interface Pm2Options {
  /** The node's home, absolute; made if it is missing. */
  readonly home: string;
  /** The MINID_* settings; everything else is inherited from this process. */
  readonly env: NodeJS.ProcessEnv;
  /** Of pm2-runtime itself: `log` is `<home>/logs/pm2.log`. The apps write to files of their own in `<home>/logs`. */
  readonly stdio: "inherit" | "ignore" | "pipe" | "log";
  /** Default: ecosystem.config.cjs of this checkout. */
  readonly ecosystem?: string;
}

export interface Pm2Runtime {
  readonly child: ChildProcess;
  /** Resolves with pm2-runtime's exit code, or 128 + 9 when it was killed; also when it ends by itself. */
  readonly exited: Promise<number>;
  /** SIGTERM, the apps' graceful stop, and SIGKILL for whatever outlives its bound. Idempotent. @returns the exit code, 0 after an orderly stop. */
  stop(): Promise<number>;
}

/** Where pm2 keeps its sockets: inside the home, or in a short private directory when the home's path is too long for a socket. */
export const choosePm2Home = (home: string, temporary = tmpdir()): string => shortDirectory(home, join(home, "pm2"), longestSocketName, temporary);

/**
 * Makes a home startable: ends what a killed pm2 left behind (a stopped app, for instance, which still holds its ports).
 * Call it before looking for free ports.
 * @throws MinidError home_unusable when another minid runs from this home.
 */
export async function clearHome(home: string): Promise<void> {
  const other = readRunFile(home, "pm2");
  if (other && isAlive(other)) {
    throw new MinidError("home_unusable", `home ${home} is in use by a running minid (pm2-runtime, pid ${other.pid}): stop it, or choose another --home`);
  }
  await killLeftovers(home);
}

/** Call `clearHome` first. @throws MinidError home_unusable when the directories it needs cannot be made. */
export function startPm2Runtime(options: Pm2Options): Pm2Runtime {
  const { home } = options;
  const pm2Home = choosePm2Home(home);
  for (const directory of [home, join(home, "logs"), join(home, "run"), pm2Home]) makePrivateDirectory(directory);
  keepPm2FromMeasuring(pm2Home);
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const guard = new URL("./pm2-guard.js", import.meta.url).href;
  const ecosystem = options.ecosystem ?? join(root, "ecosystem.config.cjs");
  const output = options.stdio === "log" ? "pipe" : options.stdio;
  const child = spawn(process.execPath, ["--import", guard, pm2RuntimePath(), "start", ecosystem], {
    cwd: home, env: pm2Environment({ ...process.env, ...options.env }, home, pm2Home), stdio: ["ignore", output, output, "ipc"], detached: true,
  });
  if (options.stdio === "log") {
    for (const stream of [child.stdout, child.stderr]) if (stream) keepPm2Lines(stream, join(home, "logs", "pm2.log"));
  }
  const rotation = new Timers((_, error) => process.emitWarning(`log rotation failed: ${String(error)}`));
  rotation.every("rotate logs", logCheckIntervalMs, () => { rotateLogs(join(home, "logs")); });
  const exited = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
  });
  if (child.pid !== undefined) writeRunFile(home, "pm2", { pid: child.pid, startTime: processStartTime(child.pid), incarnation: "", port: 0 });

  const cleanUp = exited.then(async (code) => {
    rotation.stop();
    await killLeftovers(home);
    try {
      removeRunFile(home, "pm2", child.pid ?? 0);
      if (pm2Home !== join(home, "pm2")) rmSync(pm2Home, { recursive: true, force: true });
    } catch (error) {
      // A disk that takes no writes any more is what pm2 died of: that it is dead must be heard all the same.
      process.emitWarning(`${home} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
    return code;
  });
  let stopping: Promise<number> | undefined;
  const stop = async (): Promise<number> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGTERM");
      const late = new AbortController();
      void sleep(stopTimeoutMs(options.env), { signal: late.signal, unref: true }).then(() => { child.kill("SIGKILL"); }, () => undefined);
      await exited;
      late.abort();
    }
    return await cleanUp;
  };
  return { child, exited: cleanUp, stop: () => (stopping ??= stop()) };
}

const stopTimeoutMs = (env: NodeJS.ProcessEnv): number => Number(env["MINID_DRAIN_TIMEOUT_MS"] ?? drainTimeoutDefaultMs) + stopMarginMs;

function pm2RuntimePath(): string {
  const packageJson = createRequire(import.meta.url).resolve("pm2/package.json");
  return join(dirname(packageJson), "bin", "pm2-runtime");
}

/** What pm2 sees: no service keys, no update check, its own short home, and restart delays that are forgotten soon after a recovery. */
export function pm2Environment(env: NodeJS.ProcessEnv, home: string, pm2Home: string): NodeJS.ProcessEnv {
  const foreign = /^(SECRET_KEY|PUBLIC_KEY|KEYMETRICS_.*|PM2_.*|pm_id|NODE_APP_INSTANCE|NODE_CHANNEL_.*)$/;
  return {
    ...Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.test(name))),
    MINID_HOME: home,
    PM2_HOME: pm2Home,
    PM2_DISABLE_VERSION_CHECK: "1",
    PM2_DISCRETE_MODE: "true",
    PM2_KILL_SIGNAL: "SIGTERM",
    // Every 2 s, forget the restart delay of an app that has been up for 1.5 s: a worker that is killed now and then comes
    // back at once, and one that dies while starting is slowed down to a try every 15 s.
    PM2_WORKER_INTERVAL: "2000",
    EXP_BACKOFF_RESET_TIMER: "1500",
  };
}

/** pm2 has its host measured every PM2_WORKER_INTERVAL, by `df` on Linux and by four more programs on macOS, for a display that nobody sees here. */
function keepPm2FromMeasuring(pm2Home: string): void {
  try {
    writeFileSync(join(pm2Home, "module_conf.json"), JSON.stringify({ pm2: { sysmonit: "false" } }), { mode: 0o600 });
  } catch { /* A full disk: it costs a little processor time, nothing else. */ }
}

/** @throws MinidError home_unusable */
function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const found = lstatSync(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) throw new Error("it is not a directory of this user's own");
  } catch (error) {
    throw new MinidError("home_unusable", `directory ${path} cannot be used: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Apps that outlived their pm2, stopped ones for instance, hold ports: kill them, after making sure that they are ours. */
async function killLeftovers(home: string): Promise<void> {
  const leftovers = (["agent", "worker", "standby"] as const).map((role) => readRunFile(home, role)).filter((found) => found !== undefined);
  for (const leftover of leftovers) killProcess(leftover);
  const deadline = performance.now() + goneTimeoutMs;
  while (leftovers.some(isAlive) && performance.now() < deadline) await sleep(pollIntervalMs);
}
