/** The checks of a node's processes: who runs, who does not, and why. Pure; facts in `node-facts.ts`. */
import type { Check } from "./check.js";
import { type NodeLook, type ProcessLook, crashWindowMs } from "./node-facts.js";
import { ago } from "./units.js";

type NodeCheck = Check<NodeLook>;

/** So many ends within `crashWindowMs` are no accident any more. */
const crashesMax = 4;

/** `; it last ended 12 s ago (exit code 1): port_in_use: …` */
function lastCrash({ lastEnd, lastWords }: ProcessLook): string {
  const end = lastEnd === undefined ? "" : `; it last ended ${ago(lastEnd.agoMs)} (${lastEnd.how})`;
  return lastWords === "" ? end : `${end === "" ? "; its last words" : end}: ${lastWords}`;
}

const isThere = ({ state }: ProcessLook): boolean => state !== "gone";

const agentDown: NodeCheck = {
  code: "agent_down", title: "the agent",
  meaning: "This machine takes no part in its cluster and answers nobody.",
  remedy: "Start it: `minid up`, or as a service with `minid install`. If it was started and ended again, logs/agent.log says why.",
  judge: ({ agent, pm2, home }) => {
    if (home.state !== "ok") return undefined;
    if (isThere(agent)) return { severity: "ok", seen: `pid ${agent.pid ?? "?"}` };
    return { severity: "error", seen: `no agent runs here${isThere(pm2) ? `, although pm2 (pid ${pm2.pid ?? "?"}) does` : ", and no pm2 that would start it"}${lastCrash(agent)}` };
  },
};

const agentHung: NodeCheck = {
  code: "agent_hung", title: "whether the agent answers",
  meaning: "Its process is there but does nothing: the others plan around this machine, and clients of its front door wait in vain.",
  remedy: "`minid doctor --fix` ends it (SIGKILL), and pm2 starts it again. A stopped process (Ctrl-Z, SIGSTOP, a debugger) goes on with SIGCONT.",
  judge: ({ agent, ports }) => {
    if (!isThere(agent) || agent.answers === undefined) return undefined;
    if (agent.answers) return { severity: "ok", seen: "it answers" };
    return { severity: "error", seen: `process ${agent.pid ?? "?"} is there${agent.state === "stopped" ? ", halted by a signal," : ""} but does not answer on port ${ports.http}` };
  },
};

const crashLoop = (code: string, name: "agent" | "worker", meaning: string): NodeCheck => ({
  code, title: `whether pm2 starts the ${name} again and again`, meaning,
  remedy: `Read logs/${name}.log: the last lines before each start say why. Other findings here may name the cause.`,
  judge: (look) => {
    const { endsLately, lastWords } = look[name];
    return { severity: endsLately >= crashesMax ? "error" : "ok", seen: `ended ${endsLately} times in ${crashWindowMs / 1_000} s${endsLately >= crashesMax && lastWords !== "" ? `: ${lastWords}` : ""}` };
  },
});

const agentCrashLoop = crashLoop("agent_crash_loop", "agent", "The agent ends soon after each start; pm2 tries ever more seldom, at last every 15 seconds.");
const workerCrashLoop = crashLoop("worker_crash_loop", "worker", "The worker ends soon after each start: this machine cannot compute, and the plan goes round it.");

const workerDown: NodeCheck = {
  code: "worker_down", title: "the worker",
  meaning: "Nothing listens on the worker's port: the other machines' connections are refused, and this machine computes nothing.",
  remedy: "Nobody has to start it by hand: pm2 does, unless it was told to stop it. Start the node again (`minid up`, or the service); logs/worker.log says why the worker ended.",
  judge: ({ worker, agent, pm2, ports }) => {
    if (isThere(worker)) return { severity: "ok", seen: `pid ${worker.pid ?? "?"}` };
    // A whole node that is down is one finding, not two.
    if (!isThere(agent) && !isThere(pm2)) return undefined;
    return { severity: "error", seen: `port ${ports.worker} is refused because no worker runs here${lastCrash(worker)}` };
  },
};

const workerHung: NodeCheck = {
  code: "worker_hung", title: "whether the worker is let run",
  meaning: "Its process is there but halted; its agent ends it within seconds, and without an agent nobody does.",
  remedy: "Let it go on with SIGCONT, or end it with SIGKILL: pm2 starts it again.",
  judge: ({ worker }) => (isThere(worker) ? { severity: worker.state === "stopped" ? "error" : "ok", seen: worker.state === "stopped" ? `process ${worker.pid ?? "?"} is halted by a signal` : "running" } : undefined),
};

const unsupervised: NodeCheck = {
  code: "supervisor_down", title: "pm2, who starts what ends",
  meaning: "Agent or worker run without pm2: whichever ends next stays away.",
  remedy: "Stop what is left of the node and start it again with `minid up`, or the service.",
  judge: ({ pm2, agent, worker }) => (isThere(agent) || isThere(worker) ? { severity: isThere(pm2) ? pm2.state === "stopped" ? "warning" : "ok" : "warning", seen: isThere(pm2) ? pm2.state === "stopped" ? `pm2 (pid ${pm2.pid ?? "?"}) is halted by a signal` : `pid ${pm2.pid ?? "?"}` : "no pm2 runs for this home" } : undefined),
};

const restartNeeded: NodeCheck = {
  code: "restart_needed", title: "the release that runs",
  meaning: "Another release is installed than the one that runs: it takes effect at the next start.",
  remedy: "`minid drain`, then start the node again; one machine after the other, and no request is lost.",
  judge: ({ version }) => (version.running === undefined ? undefined : { severity: version.running === version.installed ? "ok" : "warning", seen: version.running === version.installed ? version.running : `${version.running} runs, ${version.installed} is installed` }),
};

const forgottenCaller: NodeCheck = {
  code: "forgotten_still_trying", title: "machines that were removed and call all the same",
  meaning: "It was removed with `minid forget` and still runs minid: every connection of it is refused.",
  remedy: "Switch minid off there, or let it join again with a new token (it gets a new identity).",
  judge: ({ refused }) => refused.map(({ device, address, count, agoMs }) => ({ severity: "warning" as const, seen: `${device} at ${address} called ${count} times, last ${ago(agoMs)}` })),
};

export const processChecks: readonly NodeCheck[] = [agentDown, agentHung, agentCrashLoop, workerDown, workerHung, workerCrashLoop, unsupervised, restartNeeded, forgottenCaller];
