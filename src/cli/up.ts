/**
 * `minid up`: agent and worker in the foreground under pm2-runtime. Checks first what would make them fail, shows progress while
 * the model loads, and says where to ask once a first token has really been produced. Ctrl-C ends everything.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync } from "node:fs";
import { isIPv6 } from "node:net";
import { hostname } from "node:os";
import { defineCommand } from "citty";
import { isLoopback } from "../api/access/caller.js";
import { portState } from "../checks/port-state.js";
import { bindableHost, isAnyAddress } from "../core/any-address.js";
import { sleep } from "../core/clock.js";
import { MinidError } from "../core/errors.js";
import { rememberSettings } from "../daemon/config/running.js";
import type { Config } from "../daemon/config/table.js";
import { environmentName, settingKeys } from "../daemon/config/table.js";
import { loopbackOf } from "../daemon/facts.js";
import { openAssistant } from "../model/assistant.js";
import { resolveModel } from "../model/store.js";
import { configArgs, homeArgs, nodeSettings, packageRoot, stringArg } from "./common.js";
import { chooseModel } from "./default-model.js";
import { join as joinCluster } from "./join-cluster.js";
import { NodeClient } from "./node-client.js";
import { clearHome, startPm2Runtime } from "./pm2.js";
import { Progress } from "./progress.js";
import { pullWithProgress } from "./pull.js";
import { stayAwake } from "./stay-awake.js";
import { notifySystemd } from "./systemd-notify.js";

const ownArgs = {
  join: { type: "string", description: "Join token of the cluster to join (see: minid token)", valueHint: "TOKEN" },
  peer: { type: "string", description: "A member to join through, where multicast DNS does not reach", valueHint: "HOST:PORT" },
} as const;

export const upCommand = defineCommand({
  meta: { name: "up", description: "Run this machine's agent and worker in the foreground" },
  args: { ...homeArgs, ...configArgs, ...ownArgs },
  run: async ({ args }) => up(args),
});

async function up(args: Readonly<Record<string, unknown>>): Promise<number> {
  const { home, config: wanted } = nodeSettings(args, ownArgs);
  makeHome(home);
  await clearHome(home);
  await requireFreePorts(wanted);
  prepareMlx(wanted);
  const config = await withModel(wanted, home);
  const { id, directory } = await resolveModel(config.model, home);
  await openAssistant(directory);
  const token = stringArg(args, "join");
  if (token !== undefined) await joinCluster({ home, config, token, peer: stringArg(args, "peer") });

  const stop = new AbortController();
  const onSignal = () => stop.abort(new Error("interrupted"));
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);

  const settings = settingsEnvironment(home, config);
  rememberSettings(home, settings);
  const runtime = startPm2Runtime({ home, env: settings, stdio: "log" });
  const ended = runtime.exited.then((code) => `with exit code ${code}`, String).then((how) => {
    if (!stop.signal.aborted) stop.abort(new MinidError("internal_error", `pm2-runtime ended by itself ${how}: see ${home}/logs`));
  });
  const stopNotifying = notifySystemd({ environment: process.env, isWell: () => answers(home), onProblem: (message) => console.error(`minid: ${message}`) });
  const fallAsleep = config.keep_awake ? stayAwake(process.platform, (message) => console.error(`minid: ${message}`)) : () => undefined;
  const progress = new Progress(process.stdout);
  try {
    await progress.untilServing({ ...addressesOf(config), modelId: id, home, signal: stop.signal });
    await aborted(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    progress.end();
    fallAsleep();
    stopNotifying();
    await runtime.stop();
    await ended;
  }
  const reason: unknown = stop.signal.reason;
  if (reason instanceof MinidError) throw reason;
  return 0;
}

/** With nothing configured and nothing here, the default comes from the hub. */
async function withModel(config: Config, home: string): Promise<Config> {
  const { model, pull } = await chooseModel(config, home);
  if (pull !== undefined) {
    console.log(`minid: no model is here yet: fetching ${pull} from ${config.hub_url}`);
    await pullWithProgress({ home, modelId: pull, revision: "main", hubUrl: config.hub_url, quiet: false });
  }
  return { ...config, model };
}

async function answers(home: string): Promise<boolean> {
  const reply = await NodeClient.ofHome(home).call("GET", "/health/live", { timeoutMs: 2_000 }).catch(() => undefined);
  return reply?.status === 200;
}

function addressesOf({ http_host, http_port, http_tls_cert }: Config): { url: string; elsewhereUrl: string | undefined } {
  const at = (host: string): string => `${http_tls_cert === undefined ? "http" : "https"}://${isIPv6(host) ? `[${host}]` : host}:${http_port}`;
  const [url, everywhere] = [at(loopbackOf(http_host)), isAnyAddress(http_host)];
  if (isLoopback(http_host) || http_host === "localhost") return { url, elsewhereUrl: undefined };
  return { url, elsewhereUrl: everywhere ? at(hostname().includes(".") ? hostname() : `${hostname()}.local`) : url };
}

function makeHome(home: string): void {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    chmodSync(home, 0o700);
  } catch (error) {
    throw new MinidError("home_unusable", `${home} cannot be used as minid's home (${(error as NodeJS.ErrnoException).code ?? "error"}): choose another with --home`);
  }
}

/** Before anything starts, so that the reason is one line here and not a crash loop in a log. */
async function requireFreePorts(config: Config): Promise<void> {
  const wanted = [
    { key: "http-port", host: await bindableHost(config.http_host), port: config.http_port },
    { key: "agent-port", host: config.grpc_host, port: config.agent_port },
    { key: "worker-port", host: config.grpc_host, port: config.worker_port },
  ];
  for (const { key, host, port } of wanted) {
    const { free, code } = await portState(host, port);
    if (free) continue;
    throw code === "EADDRINUSE"
      ? new MinidError("port_in_use", `port ${port} on ${host} is taken: is minid running already? Otherwise choose another with --${key}`)
      : new MinidError("config_invalid", `cannot listen on ${host}:${port} (${code}): correct --${key} or the address`);
  }
}

/** node-mlx's install script is not run by npm here (.npmrc); on a Mac its binary comes from the package's own installer, once. */
function prepareMlx(config: Config): void {
  if (process.platform !== "darwin" || config.engine === "onnx") return;
  const installed = spawnSync(process.execPath, [new URL("scripts/setup-mlx.mjs", packageRoot).pathname], { stdio: "inherit" });
  if (installed.status !== 0) throw new MinidError("engine_unavailable", "node-mlx could not be installed: see above, or start with --engine onnx");
}

/** Both processes read the same settings from their environment, resolved here once. */
function settingsEnvironment(home: string, config: Config): NodeJS.ProcessEnv {
  const settings: NodeJS.ProcessEnv = { MINID_HOME: home };
  for (const key of settingKeys) {
    const value = config[key];
    if (value !== undefined) settings[environmentName(key)] = typeof value === "string" ? value : JSON.stringify(value);
  }
  return settings;
}

async function aborted(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await sleep(86_400_000, { signal }).catch(() => undefined);
}
