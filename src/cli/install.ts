/**
 * `minid install`: this machine runs minid from boot on, with nobody logged in, as a LaunchDaemon or a systemd unit. Run again it
 * upgrades, or does nothing. `--print` shows every file and command and changes nothing; `--check` only looks whether the machine is fit.
 */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import { renderFinding, worstOf } from "../checks/check.js";
import { homeSocket } from "../api/home-socket.js";
import { MinidError } from "../core/errors.js";
import { packageVersion } from "../core/package-info.js";
import { type SettingKey, flagName, settingKeys } from "../daemon/config/table.js";
import { engineOf, loopbackOf } from "../daemon/facts.js";
import { configArgs, homeArgs, jsonArgs, nodeSettings, packageRoot, stringArg } from "./common.js";
import { chooseModel } from "./default-model.js";
import { choosePm2Home } from "./pm2.js";
import { preflight } from "./preflight.js";
import { accountOf, closedDirectory, serviceUser } from "./service/accounts.js";
import { homeOf, userOf } from "./service/definition.js";
import { execute } from "./service/execute.js";
import { planInstall } from "./service/plan.js";
import { definitionOf, seeService } from "./service/see.js";
import { type ServicePlatform, type ServiceSpec, systemUser } from "./service/spec.js";
import { type Step, renderStep } from "./service/step.js";

const ownArgs = {
  print: { type: "boolean", description: "Show every file and command, and change nothing", default: false },
  check: { type: "boolean", description: "Only look whether this machine is fit, and change nothing", default: false },
  user: { type: "string", description: "User that minid runs as (default: who called sudo; on Linux else the system user minid, made if missing)", valueHint: "NAME" },
  join: { type: "string", description: "Join token of the cluster to join; - reads it from standard input", valueHint: "TOKEN" },
  "keep-awake": { type: "boolean", description: "Switch this machine's own sleep off too", default: false },
  force: { type: "boolean", description: "Install although a check found an error", default: false },
} as const;

const templates: Readonly<Record<ServicePlatform, string>> = { linux: "systemd/minid.service.template", darwin: "launchd/dev.minid.plist.template" };

export const installCommand = defineCommand({
  meta: { name: "install", description: "Run minid from boot on, as a system service; again to upgrade" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs, ...configArgs },
  run: async ({ args }) => install(args),
});

async function install(args: Readonly<Record<string, unknown>>): Promise<number> {
  const platform = servicePlatform();
  const definition = definitionOf(platform);
  // An upgrade keeps user and home unless others are named.
  const user = serviceUser(stringArg(args, "user") ?? (definition === undefined ? undefined : userOf(definition)), platform, process.env);
  const home = stringArg(args, "home") ?? (definition === undefined ? undefined : homeOf(definition)) ?? process.env["MINID_HOME"] ?? (user.name === systemUser.name ? systemUser.home : join(user.home, ".minid"));
  const { home: absolute, config } = nodeSettings({ ...args, home }, ownArgs);
  const [print, check, json] = ["print", "check", "json"].map((name) => args[name] === true);

  const findings = await preflight({ home: absolute, config, systemService: true });
  if (check) { console.log(json ? JSON.stringify(findings) : findings.map(renderFinding).join("\n")); return worstOf(findings) === "error" ? 1 : 0; }
  const bad = findings.filter((finding) => finding.severity === "error" || finding.severity === "warning");
  if (!json) for (const finding of bad) console.error(renderFinding(finding));

  requireReachable(user.name, fileURLToPath(packageRoot));
  requireShort(absolute);
  const url = `http://${loopbackOf(config.http_host)}:${config.http_port}`;
  const choice = await chooseModel(config, absolute);
  const spec: ServiceSpec = {
    platform, node: process.execPath, root: fileURLToPath(packageRoot).replace(/\/$/u, ""), home: absolute, user, url,
    flags: flagsGiven(args), joins: stringArg(args, "join") !== undefined, keepAwake: args["keep-awake"] === true,
    fetchMlx: platform === "darwin" && engineOf(config) === "mlx", pull: choice.pull,
  };
  const template = (path: string): string => readFileSync(new URL(path, packageRoot), "utf8");
  const steps = planInstall(spec, await seeService(platform, url, packageVersion()), { service: template(templates[platform]), sleep: template("systemd/minid-sleep.service.template") });
  if (print) { console.log(json ? JSON.stringify({ findings, steps }) : steps.map(renderStep).join("\n")); return 0; }
  if (bad.some((finding) => finding.severity === "error") && args["force"] !== true) throw new MinidError("step_failed", "this machine is not fit for minid (see above): mend that, or install all the same with --force");
  requireRoot("install");
  await execute(steps, { onStep: reporter(json === true), account: (name) => accountOf(name), joinToken: await joinToken(stringArg(args, "join")) });
  console.log(json ? JSON.stringify({ findings, steps, url }) : `minid runs from boot on: ${url} (minid status shows the ring)`);
  return 0;
}

/** The settings of this very command line, to be given to `minid up` at every start. */
function flagsGiven(args: Readonly<Record<string, unknown>>): string[] {
  const config = stringArg(args, "config");
  return [
    ...(config === undefined ? [] : ["--config", config]),
    ...settingKeys.flatMap((key: SettingKey) => {
      const value = stringArg(args, flagName(key));
      return value === undefined ? [] : [`--${flagName(key)}`, value];
    }),
  ];
}

/** The service's user must be able to read Node.js and minid: under another user's closed home it cannot. @throws MinidError usage */
function requireReachable(user: string, root: string): void {
  for (const path of [process.execPath, join(root, "package.json")]) {
    const closed = closedDirectory(path, accountOf(user));
    if (closed !== undefined) throw new MinidError("usage", `user ${user} cannot read ${path}: ${closed} is closed to others; install Node.js and minid for everyone (npm install --global), or name a user who can read it with --user`);
  }
}

/** With a longer path its sockets would lie in /tmp, and the service has a /tmp of its own, where `minid drain` does not find them. @throws MinidError usage */
function requireShort(home: string): void {
  if (homeSocket(home) !== join(home, "run", basename(homeSocket(home))) || choosePm2Home(home) !== join(home, "pm2")) {
    throw new MinidError("usage", `${home} is too long a path for the sockets of a service: choose a shorter --home (80 bytes at most)`);
  }
}

/** A token in the command line can be read by everyone on the machine with `ps` for as long as the command runs. */
async function joinToken(given: string | undefined): Promise<string | undefined> {
  return given === "-" ? (await readAll(process.stdin)).trim() : given;
}

export function servicePlatform(): ServicePlatform {
  const { platform } = process;
  if (platform === "linux" || platform === "darwin") return platform;
  throw new MinidError("usage", `minid is a service on macOS (launchd) and Linux (systemd), not on ${platform}: start it with minid up`);
}

/** @throws MinidError privilege_needed */
export function requireRoot(command: string): void {
  if (process.getuid?.() !== 0) throw new MinidError("privilege_needed", `minid ${command} changes this system: run it with sudo (--print shows what it would do)`);
}

export const reporter = (silent: boolean) => (step: Step): void => {
  if (!silent) console.log(step.kind === "file" ? `file      ${step.path}` : renderStep(step));
};
