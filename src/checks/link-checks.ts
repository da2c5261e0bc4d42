/** The checks between two machines, from the side of the one that knocked. Pure; facts in `link-facts.ts`. */
import type { Check } from "./check.js";
import type { PeerLook, PortLook, Reach } from "./link-facts.js";

type LinkCheck = Check<PeerLook>;

/** Slower than an old 100 Mbit/s cable delivers: a prefill chunk takes longer on the way than in a stage. */
const bytesPerSecondMin = 6_250_000;
/** Every token passes every link: this much is felt in each of them. */
const rttMsMax = 20;
/** A link is only called slow by a machine that is so many times quicker with itself than a slow link is: a busy one cannot tell. */
const selfFactor = 4;

const anybody: readonly Reach[] = ["answers", "refused_us", "expired", "stranger", "hung", "closed"];
/** The machine itself gave a sign of life. */
const machineIsThere = ({ link }: PeerLook): boolean => link.pings === true || [link.agent, link.worker].some((look) => look !== undefined && anybody.includes(look.reach));
const noSign = (look: PortLook | undefined): boolean => look !== undefined && (look.reach === "silent" || look.reach === "unroutable");

const peerAgentDown: LinkCheck = {
  code: "agent_down", title: "whether an agent runs there",
  meaning: "The machine is up, but takes no part in the cluster.",
  remedy: "Start minid there: `minid up`, or as a service with `minid install`. If it was started and ended again, logs/agent.log there says why.",
  judge: ({ link: { agent, host, from }, left }) => {
    if (agent.reach !== "closed") return undefined;
    if (left) return { severity: "info", seen: `it left in order; ${host} refuses port ${agent.port}`, meaning: "It was stopped on purpose.", remedy: "" };
    return { severity: "error", seen: `${host} is up and refuses port ${agent.port}: no agent runs there (seen from ${from})` };
  },
};

const peerAgentHung: LinkCheck = {
  code: "agent_hung", title: "whether the agent there answers",
  meaning: "Its process is there but does nothing: the others plan around the machine, and clients of its front door wait in vain.",
  remedy: "On that machine: `minid doctor --fix` ends it, and pm2 starts it again.",
  judge: ({ link: { agent, host, from }, reported }) => (agent.reach === "hung" && !reported ? { severity: "error", seen: `${host} takes connections on port ${agent.port}, and nobody there answers them (seen from ${from})` } : undefined),
};

const peerWorkerDown: LinkCheck = {
  code: "worker_down", title: "whether a worker runs there",
  meaning: "Nothing listens on its worker's port: the machine computes nothing.",
  remedy: "pm2 starts it again unless it was told to stop it: start the node there again; logs/worker.log there says why it ended.",
  // A machine that reports says itself how its worker ended.
  judge: ({ link: { agent, worker, host, from }, reported }) => (worker?.reach === "closed" && agent.reach !== "closed" && !reported ? { severity: "error", seen: `${host} refuses port ${worker.port} because no worker runs there (seen from ${from})` } : undefined),
};

const portStranger: LinkCheck = {
  code: "port_taken", title: "who listens there",
  meaning: "Another program, or another machine's minid, answers where this member should.",
  remedy: "On that machine `minid doctor` names the program. If the address is another machine's: correct advertise_host or `devices`.",
  judge: ({ link: { agent, worker, host, from } }) => [agent, worker].flatMap((look) => (look?.reach === "stranger" ? [{ severity: "error" as const, seen: `${host}:${look.port} answers, but not as this member (seen from ${from})` }] : [])),
};

const portBlocked: LinkCheck = {
  code: "port_blocked", title: "whether a firewall stands between",
  meaning: "The machine answers, but not on this port: something between the two programs drops the packets.",
  remedy: "Let TCP 50050 and 50051 (agent_port, worker_port) in on that machine, and out on this one; switches and routers with filters count too.",
  judge: (look) => {
    const { link } = look;
    if (!machineIsThere(look)) return undefined;
    const sign = link.pings === true ? "answers ping" : "is up";
    const silent = [link.agent, link.worker].flatMap((port) => (port?.reach === "silent" ? [port.port] : []));
    return silent.length === 0 ? undefined : { severity: "error", seen: `${link.host} ${sign} but gives no answer on port ${silent.join(" and ")} (seen from ${link.from})` };
  },
};

const localNetworkPrivacy: LinkCheck = {
  code: "local_network_privacy", title: "macOS's Local Network privacy, in effect",
  meaning: "macOS keeps this program from the local network: connections fail although the machine is there.",
  remedy: "Run minid as a LaunchDaemon (`sudo minid install`), or allow it in System Settings > Privacy & Security > Local Network.",
  judge: ({ link: { platform, pings, agent, host, from } }) => (platform === "darwin" && pings === true && agent.reach === "unroutable" ? { severity: "error", seen: `${host} answers ping, but ${from} may not connect to it (EHOSTUNREACH)` } : undefined),
};

const unreachable: LinkCheck = {
  code: "machine_unreachable", title: "whether the machine is there",
  meaning: "It is off, asleep, unplugged, or on another network.",
  remedy: "Look at power, cable and Wi-Fi of that machine; if it is gone for good, `minid forget` it.",
  judge: (look) => {
    const { link, left } = look;
    if (machineIsThere(look) || !noSign(link.agent)) return undefined;
    return { severity: left ? "info" : "error", seen: `${link.host} gives no sign: no ping, no port (seen from ${link.from})` };
  },
};

const refusedUs: LinkCheck = {
  code: "refused_by_member", title: "whether members take this machine for one",
  meaning: "The other machine is well, but does not take this one for a member: it was removed with `minid forget`, or its certificate is expired or of another key.",
  remedy: "Look at the clock and the certificate here. If it was removed: join again with a new token.",
  judge: ({ link: { agent, host, from, to }, reported }) => (agent.reach === "refused_us" && !reported ? { severity: "error", seen: `${to} (${host}) ends every connection of ${from}` } : undefined),
};

const peerExpired: LinkCheck = {
  code: "certificate_expired", title: "the certificate that the machine shows",
  meaning: "Nobody takes its connections, and it cannot be asked what is wrong.",
  remedy: "On that machine: look at the clock, then `minid doctor --fix`.",
  judge: ({ link: { agent, host, from } }) => (agent.reach === "expired" ? { severity: "error", seen: `${host} shows a certificate that has expired, by the clock of ${from}` } : undefined),
};

const noReport: LinkCheck = {
  code: "no_report", title: "whether it says how it is",
  meaning: "The machine answers, but gave no findings of its own: it runs an older release, or is too busy to look at itself.",
  remedy: "Run `minid doctor` there.",
  judge: ({ link: { agent, host }, reported, refusal }) => (agent.reach === "answers" && !reported && refusal !== undefined ? { severity: "warning", seen: `${host} answers, but gave no report: ${refusal}` } : undefined),
};

const slowLink: LinkCheck = {
  code: "link_slow", title: "how fast the link is",
  meaning: "Every token passes this link: answers are slower than the machines are.",
  remedy: "Use a cable instead of Wi-Fi, and look whether the port came up with less than a gigabit (cable, switch).",
  judge: ({ link: { rttMs, bytesPerSecond, selfRttMs, selfBytesPerSecond, from, agent } }) => {
    const busy = (selfBytesPerSecond ?? Infinity) < selfFactor * bytesPerSecondMin || (selfRttMs ?? 0) * selfFactor > rttMsMax;
    if (agent.reach !== "answers" || busy) return undefined;
    const slow = [
      ...(bytesPerSecond !== undefined && bytesPerSecond < bytesPerSecondMin ? [`carries ${(bytesPerSecond * 8 / 1e6).toFixed(1)} Mbit/s`] : []),
      ...(rttMs !== undefined && rttMs > rttMsMax ? [`takes ${rttMs.toFixed(0)} ms there and back`] : []),
    ];
    if (slow.length > 0) return { severity: "warning", seen: `the way from ${from} ${slow.join(" and ")}` };
    return { severity: "ok", seen: `from ${from}: ${rttMs === undefined ? "?" : rttMs.toFixed(1)} ms, ${bytesPerSecond === undefined ? "?" : Math.round(bytesPerSecond * 8 / 1e6)} Mbit/s` };
  },
};

export const linkChecks: readonly LinkCheck[] = [peerAgentDown, peerAgentHung, peerWorkerDown, portStranger, portBlocked, localNetworkPrivacy, unreachable, refusedUs, peerExpired, noReport, slowLink];
