/** The checks that need several machines' word. Pure; facts in `cluster-facts.ts`. */
import type { Check, Judgement } from "./check.js";
import type { ClusterLook, MachineWord } from "./cluster-facts.js";
import { conditionEntries } from "./conditions.js";

type ClusterCheck = Check<ClusterLook>;

/** More than this makes tokens and certificates seem expired, and is far beyond what NTP leaves. */
const clockSkewMsMax = 10_000;

/** `mini1, mini3: 0.1.0; mini2: 0.2.0` */
function grouped(machines: readonly MachineWord[], by: (machine: MachineWord) => string): { readonly kinds: number; readonly text: string } {
  const groups = new Map<string, string[]>();
  for (const machine of machines) groups.set(by(machine), [...groups.get(by(machine)) ?? [], machine.device]);
  return { kinds: groups.size, text: [...groups].map(([value, devices]) => `${devices.sort().join(", ")}: ${value}`).sort().join("; ") };
}

const versionSkew: ClusterCheck = {
  code: "version_skew", title: "one release everywhere",
  meaning: "Different releases work together as long as their protocol is the same, but were not tested so, and only the newest has the newest mends.",
  remedy: "Install the same release everywhere, one machine after the other.",
  judge: ({ machines }) => {
    const { kinds, text } = grouped(machines.filter((machine) => machine.software !== ""), (machine) => machine.software);
    return { severity: kinds > 1 ? "warning" : "ok", seen: text };
  },
};

const clockSkew: ClusterCheck = {
  code: "clock_skew", ...conditionEntries.clock_skew,
  judge: ({ machines }) => machines.flatMap((machine): Judgement[] => {
    const { device, clockAheadMs, clockUncertainMs } = machine;
    if (clockAheadMs === undefined) return [];
    const surely = Math.abs(clockAheadMs) - clockUncertainMs;
    const seen = `the clock of ${device} is ${(Math.abs(clockAheadMs) / 1_000).toFixed(1)} s ${clockAheadMs > 0 ? "ahead of" : "behind"} the asker's`;
    return [{ severity: surely > clockSkewMsMax ? "warning" : "ok", seen }];
  }),
};

const modelDiffers: ClusterCheck = {
  code: "model_differs", title: "one model configured everywhere",
  meaning: "Rank 0's setting counts: when another machine becomes rank 0, the cluster serves another model.",
  remedy: "Set `model` to the same on every machine.",
  judge: ({ machines }) => {
    const { kinds, text } = grouped(machines.filter((machine) => machine.modelId !== ""), (machine) => machine.modelId);
    return { severity: kinds > 1 ? "warning" : "ok", seen: text };
  },
};

const modelFilesDiffer: ClusterCheck = {
  code: "model_files_differ", title: "the same weights everywhere (--deep)",
  meaning: "Two machines hold different weights under one name: the ring computes nonsense, and no error shows it.",
  remedy: "Fetch the file again on the machine that differs from the others; of two, on both.",
  judge: ({ machines }) => {
    const read = machines.filter((machine) => Object.keys(machine.digests).length > 0);
    const files = [...new Set(read.flatMap((machine) => Object.keys(machine.digests)))].sort();
    const different = files.flatMap((file) => {
      const holders = read.filter((machine) => machine.digests[file] !== undefined);
      const { kinds, text } = grouped(holders, (machine) => (machine.digests[file] ?? "").slice(0, 12));
      return kinds > 1 ? [`${file} (${text})`] : [];
    });
    if (read.length < 2) return undefined;
    return { severity: different.length > 0 ? "error" : "ok", seen: different.length > 0 ? different.join("; ") : `${files.length} files, the same on ${read.length} machines` };
  },
};

const split: ClusterCheck = {
  code: "cluster_split", title: "one rank 0 for all",
  meaning: "The machines do not agree who leads: the cluster is in two parts, or an election is under way.",
  remedy: "Wait ten seconds and look again. If it stays, the parts do not hear each other: see the findings on links.",
  judge: ({ machines }) => {
    const leading = machines.filter((machine) => machine.leader !== undefined);
    if (leading.length === 0) return undefined;
    const { kinds, text } = grouped(leading, (machine) => machine.leader ?? "");
    return { severity: kinds > 1 ? "error" : "ok", seen: kinds > 1 ? `rank 0 is, for ${text}` : text };
  },
};

const unmet: ClusterCheck = {
  code: "member_unmet", title: "members that were never met",
  meaning: "It was admitted to the cluster, but since this agent's start nothing was heard of it, and no address of it is known.",
  remedy: "Start it and let it find the others; if it is gone for good, `minid forget` it.",
  judge: ({ unmet: devices }) => ({ severity: devices.length > 0 ? "warning" : "ok", seen: devices.length > 0 ? devices.join(", ") : "none" }),
};

const oneWay: ClusterCheck = {
  code: "one_way_link", title: "links that work in one direction only",
  meaning: "One machine reaches the other, but not the reverse: a firewall on one side, two addresses, or a route that is missing.",
  remedy: "Look at the firewall and the routes of the machine that is not reached.",
  judge: ({ links }) => links.flatMap((link): Judgement[] => {
    const back = links.find((other) => other.from === link.to && other.to === link.from);
    const bad = link.agent.reach === "silent" || link.agent.reach === "unroutable";
    return bad && back?.agent.reach === "answers" ? [{ severity: "error", seen: `${link.to} reaches ${link.from}, but ${link.from} does not reach ${link.to} (${link.host}:${link.agent.port})` }] : [];
  }),
};

export const clusterChecks: readonly ClusterCheck[] = [versionSkew, clockSkew, modelDiffers, modelFilesDiffer, split, unmet, oneWay];
