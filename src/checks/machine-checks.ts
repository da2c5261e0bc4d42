/** The checks of one machine: can minid run here, well, and for ever? Each with its remedy. Pure; thresholds are named and explained. */
import type { Check, Judgement } from "./check.js";
import { conditionEntries } from "./conditions.js";
import type { MachineFacts } from "./machine-facts.js";

/** Below this a log or a model's index already fails to be written. */
const diskFreeBytesMin = 256 << 20;
/** What a small model and its logs take: below it, the next `minid pull` fails. */
const diskFreeBytesComfortable = 2 * 2 ** 30;
/** Agent, worker and pm2 without any model. */
const memoryBytesMin = 1 * 2 ** 30;
/** Weights, their prepacked copies and the cache, against the files' size. */
const memoryPerModelByte = 1.5;
/** This release cannot be older than that: a clock before it refuses every certificate. */
const wallMsMin = Date.UTC(2026, 0, 1);
const swapUsedBytesMax = 2 * 2 ** 30;

const supported: Readonly<Record<string, readonly string[]>> = { linux: ["x64", "arm64"], darwin: ["arm64", "x64"] };

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

type MachineCheck = Check<MachineFacts>;

const nodeVersion: MachineCheck = {
  code: "node_version", title: "the version of Node.js",
  meaning: "minid uses parts of Node.js that older releases do not have.",
  remedy: "Install the current LTS release of Node.js (https://nodejs.org), then run this again with it.",
  judge: ({ nodeVersion: found, nodeVersionMin: least }) => ({ severity: compareVersions(found, least) < 0 ? "error" : "ok", seen: `Node.js ${found}, at least ${least} is needed` }),
};

const architecture: MachineCheck = {
  code: "architecture", title: "operating system and processor",
  meaning: "The compute engines exist for macOS and Linux on 64-bit ARM and x86 only.",
  remedy: "Use one of those; under Rosetta or an emulator, install the native build of Node.js.",
  judge: ({ platform, arch }) => ({ severity: supported[platform]?.includes(arch) ? "ok" : "error", seen: `${platform} ${arch}` }),
};

const ports: MachineCheck = {
  code: "port_taken", title: "minid's ports",
  meaning: "Another program listens there, so the part of minid that needs the port cannot start.",
  remedy: "Stop that program (`ss -ltnp` on Linux, `lsof -iTCP -sTCP:LISTEN` on macOS name it) or choose another port.",
  judge: (facts) => facts.ports.map(({ setting, host, port, state, holder }): Judgement => {
    const at = `${setting} ${host}:${port}`;
    if (state === "free") return { severity: "ok", seen: `${at} is free` };
    if (state === "minid") return { severity: "ok", seen: `${at} is this node's own` };
    if (state === "forbidden") return { severity: "error", seen: `${at} cannot be listened on`, meaning: "The address is not this machine's, or the port needs more rights.", remedy: `Correct ${setting} or the address in the configuration.` };
    return { severity: "error", seen: `${at} is taken${holder === undefined ? "" : ` by ${holder}`}` };
  }),
};

const disk: MachineCheck = {
  code: "disk_space", title: "free space where the home is",
  meaning: "Without space no model can be fetched, no log written and no leadership term recorded.",
  remedy: "Free some space, or put the home on another disk with --home.",
  judge: ({ disk: found, home }) => {
    if (found === undefined) return { severity: "info", seen: `the file system of ${home} could not be asked` };
    const seen = `${gib(found.freeBytes)} of ${gib(found.totalBytes)} free at ${home}`;
    if (!found.writable) return { severity: "error", seen: `${home} cannot be written`, meaning: "minid keeps its identity, its leadership terms and its logs there.", remedy: "Give minid's user the directory (chown), or choose another with --home." };
    return { severity: found.freeBytes < diskFreeBytesMin ? "error" : found.freeBytes < diskFreeBytesComfortable ? "warning" : "ok", seen };
  },
};

const memory: MachineCheck = {
  code: "memory_small", title: "memory against the configured model",
  meaning: "One machine alone cannot hold the model; together with others each holds a part of it.",
  remedy: "Configure a smaller model, or let more machines join.",
  judge: ({ memory: { totalBytes }, modelBytes }) => {
    const seen = `${gib(totalBytes)} of memory${modelBytes === undefined ? "" : `, the model's files take ${gib(modelBytes)}`}`;
    if (totalBytes < memoryBytesMin) return { severity: "error", seen, meaning: "That is less than minid takes without any model.", remedy: "Use a machine with more memory." };
    return { severity: modelBytes !== undefined && modelBytes * memoryPerModelByte > totalBytes ? "warning" : "ok", seen };
  },
};

const swap: MachineCheck = {
  code: "swap_used", title: "memory swapped out",
  meaning: "Weights that are swapped out make every step wait for the disk.",
  remedy: "End other programs, lower memory_bytes_max, or configure a smaller model.",
  judge: ({ memory: { swapUsedBytes } }) => (swapUsedBytes === undefined ? undefined
    : { severity: swapUsedBytes > swapUsedBytesMax ? "warning" : "ok", seen: `${gib(swapUsedBytes)} swapped out` }),
};

const clock: MachineCheck = {
  code: "clock_unsynchronized", title: "the clock",
  meaning: "Certificates and join tokens are refused when clocks disagree.",
  remedy: "Linux: `timedatectl set-ntp true`. macOS: `sudo systemsetup -setusingnetworktime on`.",
  judge: ({ clock: { wallMs, synchronized, detail } }) => {
    const now = new Date(wallMs).toISOString();
    if (wallMs < wallMsMin) return { severity: "error", seen: `the clock says ${now}`, meaning: "That is before this release existed: every certificate is not valid yet." };
    if (synchronized === undefined) return { severity: "info", seen: `${now}; nobody could be asked whether it is kept by the network (${detail})`, meaning: "", remedy: "" };
    return { severity: synchronized ? "ok" : "warning", seen: `${now}, ${synchronized ? "kept by the network" : "not kept by the network"} (${detail})` };
  },
};

const multicast: MachineCheck = {
  code: "mdns_deaf", ...conditionEntries.mdns_deaf,
  judge: ({ multicast: tests, platform }) => {
    if (tests === undefined) return { severity: "info", seen: "switched off (mdns: false)", meaning: "Machines meet only through `devices` and join tokens.", remedy: "" };
    if (tests.length === 0) return { severity: "warning", seen: "no network interface but the loopback", meaning: "This machine is on no network.", remedy: "Plug it in, or join a network." };
    return tests.map(({ interface: name, address, heard, problem }): Judgement => {
      const at = `${name} (${address})`;
      if (heard) return { severity: "ok", seen: `heard on ${at}` };
      const why = problem === undefined ? "" : `: ${problem}`;
      return { severity: "warning", seen: `not heard on ${at}${why}`, ...(platform === "darwin" && { remedy: "System Settings > Privacy & Security > Local Network: allow the program that started this; installed as a LaunchDaemon minid is exempt. Otherwise open UDP 5353, or name the peers in `devices`." }) };
    });
  },
};

const firewall: MachineCheck = {
  code: "firewall", title: "firewalls",
  meaning: "The other machines may not reach this one.",
  remedy: "Let TCP 50050 and 50051 (agent_port, worker_port), UDP 5353, and TCP 8100 if clients ask from outside, in from this network.",
  judge: ({ firewalls }) => {
    if (firewalls.length === 0) return { severity: "ok", seen: "none found" };
    return firewalls.map(({ name, active, letsIn }): Judgement => {
      if (!active) return { severity: "ok", seen: `${name} is off` };
      if (letsIn === true) return { severity: "ok", seen: `${name} lets minid's ports in` };
      return letsIn === false ? { severity: "warning", seen: `${name} does not let minid's ports in` } : { severity: "info", seen: `${name} is on; what it lets in could not be read` };
    });
  },
};

const localNetwork: MachineCheck = {
  code: "local_network_privacy", title: "macOS's Local Network privacy",
  meaning: "Since macOS 15 a program of a login session may be kept from the local network without any error: connections give EHOSTUNREACH, multicast is deaf.",
  remedy: "Run minid as a LaunchDaemon (`sudo minid install`), or allow it in System Settings > Privacy & Security > Local Network.",
  judge: ({ platform, macosVersion, systemService }) => {
    if (platform !== "darwin") return undefined;
    const concerned = compareVersions(macosVersion, "15.0.0") >= 0;
    if (!concerned || systemService) return { severity: "ok", seen: `macOS ${macosVersion}${systemService ? ", as a LaunchDaemon: exempt" : ""}` };
    return { severity: "info", seen: `macOS ${macosVersion}, in a login session` };
  },
};

const sleep: MachineCheck = {
  code: "sleep_enabled", title: "whether the machine may fall asleep",
  meaning: "A sleeping machine serves nothing; its ranks are planned around, which costs a few seconds each time.",
  remedy: "macOS: `sudo pmset -a sleep 0 autorestart 1 womp 1`. Linux: `sudo systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target`.",
  judge: ({ power }) => {
    if (power.idleSleep === undefined) return { severity: "info", seen: `could not be found out (${power.detail})`, meaning: "A machine that sleeps serves nothing." };
    return { severity: power.idleSleep === "possible" ? "warning" : "ok", seen: power.detail };
  },
};

const autorestart: MachineCheck = {
  code: "no_autorestart", title: "starting again after a power cut",
  meaning: "After a power cut the machine stays off until somebody presses its button.",
  remedy: "`sudo pmset -a autorestart 1`.",
  judge: ({ power: { autorestart: on } }) => (on === undefined ? undefined : { severity: on ? "ok" : "warning", seen: on ? "autorestart 1" : "autorestart 0" }),
};

export const machineChecks: readonly MachineCheck[] = [nodeVersion, architecture, ports, disk, memory, swap, clock, multicast, firewall, localNetwork, sleep, autorestart];

/** By number, part by part: negative when `a` is older. What is not a number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const parts = (text: string) => text.split(/[.-]/u).map((part) => Number.parseInt(part, 10) || 0);
  const [left, right] = [parts(a), parts(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
