/**
 * What has to happen so that a machine runs minid from boot on, or no longer does. Pure: the spec and what was seen in, steps out.
 *
 * Installing is idempotent: where all is as wanted and running in this version, there is nothing to do but what costs nothing.
 * Upgrading is installing again: the definition is rewritten, and a restart drains the node as every stop does.
 * Removing leaves the home, owned by root (its keys must not fall to whoever gets the removed user's number), unless it is purged.
 */
import { fillTemplate, filledIn, powerBefore } from "./definition.js";
import { type ServiceSeen, type ServiceSpec, definitionPath, serviceLabel, sleepDefinitionPath, sleepTargets, sleepUnitName, systemUser, unitName } from "./spec.js";
import type { Step } from "./step.js";

const domainTarget = `system/${serviceLabel}`;

export interface Templates {
  readonly service: string;
  /** Linux. */
  readonly sleep: string;
}

export function planInstall(spec: ServiceSpec, seen: ServiceSeen, templates: Templates): Step[] {
  const { platform, user, home, root, node } = spec;
  const content = fillTemplate(spec, templates.service, seen);
  const changed = content !== seen.definition;
  const sleepContent = platform === "linux" ? filledIn(spec, templates.sleep) : undefined;
  const sleepChanged = sleepContent !== seen.sleepDefinition;
  const upgraded = seen.runningVersion !== seen.packageVersion;
  const main = [node, `${root}/dist/cli/main.js`];
  return [
    ...(user.make ? [command(["useradd", "--system", "--user-group", "--home-dir", user.home, "--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", systemUser.comment, user.name], "the user it runs as")] : []),
    { kind: "directory", path: home, mode: 0o700, owner: user.name },
    { kind: "directory", path: `${home}/logs`, mode: 0o700, owner: user.name },
    { kind: "own", path: home, owner: user.name },
    ...(spec.fetchMlx ? [command([node, `${root}/scripts/setup-mlx.mjs`], "node-mlx's library, once")] : []),
    ...(spec.joins ? [{ ...command([...main, "join", "-", "--home", home, ...spec.flags], "join the cluster"), as: user.name, secret: "join token" as const }] : []),
    ...(spec.pull === undefined ? [] : [{ ...command([...main, "pull", spec.pull, "--home", home, ...hubFlags(spec.flags)], "fetch the model"), as: user.name }]),
    ...(spec.keepAwake ? stayAwake(spec) : []),
    ...(changed ? [{ kind: "file" as const, path: definitionPath[platform], mode: 0o644, content }] : []),
    ...(sleepContent !== undefined && sleepChanged ? [{ kind: "file" as const, path: sleepDefinitionPath, mode: 0o644, content: sleepContent }] : []),
    ...(platform === "linux" ? startSystemd(seen, { changed, sleepChanged, upgraded }) : startLaunchd(seen, changed, upgraded)),
    { kind: "untilAnswers", url: spec.url },
  ];
}

/** `minid pull` knows few of `minid up`'s flags. */
function hubFlags(flags: readonly string[]): string[] {
  const at = flags.indexOf("--hub-url");
  return at < 0 ? [] : flags.slice(at, at + 2);
}

function startSystemd(seen: ServiceSeen, { changed, sleepChanged, upgraded }: { readonly changed: boolean; readonly sleepChanged: boolean; readonly upgraded: boolean }): Step[] {
  return [
    ...(changed || sleepChanged ? [command(["systemctl", "daemon-reload"], "read the units")] : []),
    ...(seen.enabled ? [] : [command(["systemctl", "enable", unitName, sleepUnitName], "start at boot, with nobody logged in; hand the ranks over before sleep")]),
    ...(seen.loaded && !changed && !upgraded ? [] : [command(["systemctl", "restart", unitName], seen.loaded ? "drain and run this version" : "start now")]),
  ];
}

function startLaunchd(seen: ServiceSeen, changed: boolean, upgraded: boolean): Step[] {
  if (seen.loaded && !changed) return upgraded ? [command(["launchctl", "kickstart", "-k", domainTarget], "run this version")] : [];
  return [
    // bootout returns before the service is gone, and bootstrap fails until it is.
    ...(seen.loaded ? bootout() : []),
    command(["launchctl", "enable", domainTarget], "an earlier `launchctl disable` would keep it from starting"),
    command(["launchctl", "bootstrap", "system", definitionPath.darwin], "start now, and at every boot"),
  ];
}

const bootout = (): Step[] => [
  { ...command(["launchctl", "bootout", domainTarget], "drain and stop"), mayFail: true },
  { kind: "untilFails", argv: ["launchctl", "print", domainTarget], why: "launchd has let go of it" },
];

function stayAwake({ platform }: ServiceSpec): Step[] {
  if (platform === "darwin") return [command(["pmset", "-a", "sleep", "0", "autorestart", "1", "womp", "1"], "never sleep; start again after a power cut; wake for the network")];
  return [command(["systemctl", "mask", ...sleepTargets], "never sleep")];
}

export interface Removal {
  readonly platform: ServiceSpec["platform"];
  readonly definition: string | undefined;
  readonly sleepDefinition: string | undefined;
  readonly loaded: boolean;
  readonly home: string;
  /** The system user of `systemUser` exists and is the one this service ran as. */
  readonly ownUser: boolean;
  readonly purge: boolean;
}

export function planUninstall(removal: Removal): Step[] {
  const { platform, definition, sleepDefinition, loaded, home, ownUser, purge } = removal;
  const [installed, sleepInstalled] = [definition !== undefined, sleepDefinition !== undefined];
  const before = powerBefore(definition ?? "");
  return [
    ...(platform === "linux" ? [
      ...(installed || loaded ? [{ ...command(["systemctl", "disable", "--now", unitName, ...(sleepInstalled ? [sleepUnitName] : [])], "drain, stop, and do not start at boot"), mayFail: true }] : []),
      ...(sleepInstalled ? [{ kind: "remove" as const, path: sleepDefinitionPath }] : []),
      ...(installed ? [{ kind: "remove" as const, path: definitionPath.linux }] : []),
      ...(installed || sleepInstalled ? [command(["systemctl", "daemon-reload"], "forget the unit"), { ...command(["systemctl", "reset-failed", unitName], "forget how it ended"), mayFail: true }] : []),
      ...(before ? [command(["systemctl", "unmask", ...sleepTargets], "the machine may sleep again")] : []),
    ] : [
      ...(loaded ? bootout() : []),
      ...(installed ? [{ kind: "remove" as const, path: definitionPath.darwin }] : []),
      ...(before ? [command(["pmset", "-a", ...Object.entries(before).flatMap(([name, value]) => [name, String(value)])], "the power settings as they were")] : []),
    ]),
    ...(purge ? [{ kind: "remove" as const, path: home }] : ownUser ? [{ kind: "own" as const, path: home, owner: "root" }] : []),
    ...(ownUser ? [{ ...command(["userdel", systemUser.name], "the user that minid install made"), mayFail: true }] : []),
  ];
}

const command = (argv: readonly string[], why: string) => ({ kind: "command" as const, argv, why });
