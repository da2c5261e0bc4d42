/** What the systems' own tools print, read into facts. Pure: the text comes from `machine-probe.ts`. What is not understood is `undefined`. */
import type { FirewallFact, PowerFact } from "./machine-facts.js";

/** `pmset -g custom` or `pmset -g`: blocks of ` name   value` lines; what holds on mains power counts. */
export function parsePmset(text: string): PowerFact {
  const mains = /AC Power:\n([\s\S]*?)(?:\n\S|$)/u.exec(text)?.[1] ?? text;
  const value = (name: string): number | undefined => {
    const found = new RegExp(`^\\s*${name}\\s+(\\d+)`, "mu").exec(mains)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const [sleep, autorestart, womp] = [value("sleep"), value("autorestart"), value("womp")];
  return {
    idleSleep: sleep === undefined ? undefined : sleep === 0 ? "never" : "possible",
    ...(autorestart !== undefined && { autorestart: autorestart === 1 }),
    ...(womp !== undefined && { wakeOnLan: womp === 1 }),
    detail: sleep === undefined ? "pmset says nothing of sleep" : `pmset: sleep ${sleep}${sleep === 0 ? "" : " minutes"}`,
  };
}

export interface LinuxPower {
  /** `/sys/power/state`: what the kernel can do; undefined: there is no such file. */
  readonly kernelStates: string | undefined;
  /** `systemctl is-enabled sleep.target`. */
  readonly sleepTarget: string | undefined;
  /** `systemctl get-default`. */
  readonly defaultTarget: string | undefined;
  /** logind's IdleAction. */
  readonly idleAction: string | undefined;
  readonly hasLid: boolean;
}

/** A Linux machine falls asleep when its kernel can, its targets are not masked, and something asks for it: a desktop, a lid, an idle action. */
export function linuxPower({ kernelStates, sleepTarget, defaultTarget, idleAction, hasLid }: LinuxPower): PowerFact {
  if (kernelStates === undefined || !/\b(?:mem|freeze|standby|disk)\b/u.test(kernelStates)) return { idleSleep: "never", detail: "this machine's kernel cannot sleep" };
  if (sleepTarget?.trim().startsWith("masked")) return { idleSleep: "never", detail: "sleep.target is masked" };
  if (sleepTarget === undefined && idleAction === undefined) return { idleSleep: undefined, detail: "systemd does not answer" };
  const reasons = [
    ...(defaultTarget?.trim() === "graphical.target" ? ["a desktop"] : []),
    ...(hasLid ? ["a lid"] : []),
    ...(idleAction !== undefined && !/\bignore\b/u.test(idleAction) ? [`logind's IdleAction ${idleAction.trim()}`] : []),
  ];
  return reasons.length > 0
    ? { idleSleep: "possible", detail: `sleep.target is not masked and there is ${reasons.join(", ")}` }
    : { idleSleep: "never", detail: "nothing here asks for sleep (no desktop, no lid, no idle action)" };
}

/** `socketfilterfw --getglobalstate` and `--getblockall`. */
export function parseSocketFilter(globalState: string, blockAll: string): FirewallFact {
  const active = /State = [12]|enabled/u.test(globalState);
  const blocked = /State = 2|DISABLED/u.test(globalState) ? /State = 2/u.test(globalState) : /blocking all|enabled/iu.test(blockAll);
  return { name: "macOS's application firewall", active, letsIn: active && blocked ? false : undefined };
}

/** `ufw status`: `50050/tcp   ALLOW   Anywhere`. */
export function parseUfw(text: string, ports: readonly number[]): FirewallFact {
  const active = /^Status: active/mu.test(text);
  const allowed = [...text.matchAll(/^(\d+)(?::(\d+))?(?:\/tcp)?\s+ALLOW/gmu)].map((match) => [Number(match[1]), Number(match[2] ?? match[1])] as const);
  return { name: "ufw", active, letsIn: ports.every((port) => allowed.some(([first, last]) => first <= port && port <= last)) };
}

/** `firewall-cmd --list-ports`: `50050-50051/tcp 8100/tcp`. */
export function parseFirewalld(state: string, portList: string, ports: readonly number[]): FirewallFact {
  const open = [...portList.matchAll(/(\d+)(?:-(\d+))?\/tcp/gu)].map((match) => [Number(match[1]), Number(match[2] ?? match[1])] as const);
  return { name: "firewalld", active: state.trim() === "running", letsIn: ports.every((port) => open.some(([first, last]) => first <= port && port <= last)) };
}

/** `sysctl -n vm.swapusage`: `total = 2048.00M  used = 1234.50M  free = 813.50M`. */
export function parseSwapUsage(text: string): number | undefined {
  const found = /used = ([\d.]+)([KMG])/u.exec(text);
  if (!found) return undefined;
  return Math.round(Number(found[1]) * 1_024 ** ("KMG".indexOf(found[2]!) + 1));
}

/** One line of /proc/meminfo, in bytes. */
export function parseMeminfo(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "mu").exec(text)?.[1];
  return found === undefined ? undefined : Number(found) * 1_024;
}
