/** The checks of a node's home: its files, its trust, its model. Pure; facts in `node-facts.ts`. */
import type { Check, Judgement } from "./check.js";
import type { NodeLook } from "./node-facts.js";
import { ago, gib, mib } from "./units.js";

type NodeCheck = Check<NodeLook>;

const dayMs = 86_400_000;
/** Certificates live 30 days and are renewed when 10 are left, every hour anew: fewer than 7 left means that this fails. */
const renewalLateMs = 7 * dayMs;
/** Below it the next log line may not be written. */
const logFreeBytesMin = 16 << 20;
const openFilesMin = 4_096;
/** Reading weights back from swap this fast is slower than computing with them. */
const swappedPagesMax = 500;

const homeUnusable: NodeCheck = {
  code: "home_unusable", title: "the home directory",
  meaning: "minid keeps its identity, its leadership terms and its logs there: without it nothing starts.",
  remedy: "Give minid's user the directory (chown), or choose another with --home.",
  judge: ({ home }) => {
    switch (home.state) {
      case "ok": return { severity: "ok", seen: home.path };
      case "missing": return { severity: "error", seen: `${home.path} does not exist`, meaning: "No node was ever started from this home.", remedy: "Start it with `minid up` or `minid install`, or give its home with --home." };
      case "not_a_directory": return { severity: "error", seen: `${home.path} is not a directory` };
      case "foreign": return { severity: "error", seen: `${home.path} belongs to another user` };
      case "read_only": return { severity: "error", seen: `${home.path} cannot be written`, remedy: "Mount its file system for writing, free it of a fault, or choose another with --home." };
    }
  },
};

const homePermissions: NodeCheck = {
  code: "home_permissions", title: "who can read the home",
  meaning: "Whoever reads the node's key can act as this machine; whoever reads the authority's key can admit others.",
  remedy: "`minid doctor --fix` takes the rights away; or `chmod -R go= <home>`.",
  judge: ({ home }) => ({ severity: home.open.length > 0 ? "warning" : "ok", seen: home.open.length > 0 ? `others than its owner have rights on ${home.open.join(", ")}` : "only its owner" }),
};

const configInvalid: NodeCheck = {
  code: "config_invalid", title: "the configuration",
  meaning: "The node does not start with it; one that runs goes on with what it read at its start.",
  remedy: "Correct the key that is named; docs/CONFIG.md lists them all.",
  judge: ({ configProblem }) => ({ severity: configProblem === undefined ? "ok" : "error", seen: configProblem ?? "can be read" }),
};

const stateDamaged: NodeCheck = {
  code: "state_damaged", title: "the records of epoch, identity and peers",
  meaning: "A record does not match its checksum: the agent does not start from it, because a forgotten epoch could be used twice.",
  remedy: "Restore the file from a backup. `minid doctor --fix` moves damaged records of epoch and peers aside: they are made anew, above all epochs of before.",
  judge: ({ home }) => ({ severity: home.damaged.length > 0 ? "error" : "ok", seen: home.damaged.length > 0 ? home.damaged.join("; ") : "sound" }),
};

const stateSetAside: NodeCheck = {
  code: "state_set_aside", title: "records that were damaged before",
  meaning: "A record was damaged once, moved aside and made anew. A disk that does this again is failing.",
  remedy: "Look at the disk's health; then delete the file.",
  judge: ({ home }) => (home.setAside.length === 0 ? undefined : { severity: "warning", seen: home.setAside.join(", ") }),
};

const notInCluster: NodeCheck = {
  code: "no_cluster", title: "the cluster of this home",
  meaning: "The home belongs to no cluster yet: nobody else takes this machine for a member.",
  remedy: "Found one with `minid up`, or join one with `minid join TOKEN`.",
  judge: ({ trust, home }) => (home.state !== "ok" ? undefined : { severity: trust.founded ? "ok" : "error", seen: trust.founded ? "a member" : "in no cluster" }),
};

const trustDamaged: NodeCheck = {
  code: "trust_damaged", title: "keys and certificates",
  meaning: "Without them no other machine can be talked to.",
  remedy: "Restore <home>/tls from a backup, or move it away and join again with a new token.",
  judge: ({ trust }) => (trust.founded ? { severity: trust.problem === undefined ? "ok" : "error", seen: trust.problem ?? "belong together" } : undefined),
};

const certificateExpired: NodeCheck = {
  code: "certificate_expired", title: "the certificate's dates",
  meaning: "The other machines refuse every connection of this one.",
  remedy: "`minid doctor --fix` renews it; so does a start of the node. Look at the clock first: it may be the clock that is wrong.",
  judge: ({ trust: { certificate }, nowWallMs }) => {
    if (certificate === undefined) return undefined;
    if (nowWallMs > certificate.toMs) return { severity: "error", seen: `it expired ${ago(nowWallMs - certificate.toMs)}, on ${new Date(certificate.toMs).toISOString()}` };
    if (nowWallMs < certificate.fromMs) return { severity: "error", seen: `it is valid from ${new Date(certificate.fromMs).toISOString()} on only; this machine's clock says ${new Date(nowWallMs).toISOString()}` };
    return { severity: "ok", seen: `valid until ${new Date(certificate.toMs).toISOString()}` };
  },
};

const certificateExpiring: NodeCheck = {
  code: "certificate_expiring", title: "the certificate's renewal",
  meaning: "It should have been renewed days ago: renewal fails, and soon the other machines refuse this one.",
  remedy: "`minid doctor --fix` renews it and says what keeps it from doing so; logs/agent.log has the reason too.",
  judge: ({ trust: { certificate }, nowWallMs }) => {
    if (certificate === undefined || nowWallMs > certificate.toMs || nowWallMs < certificate.fromMs) return undefined;
    const leftMs = certificate.toMs - nowWallMs;
    return { severity: leftMs < renewalLateMs ? "warning" : "ok", seen: `${(leftMs / dayMs).toFixed(1)} days left` };
  },
};

const logDiskFull: NodeCheck = {
  code: "log_disk_full", title: "free space where the logs are",
  meaning: "Serving goes on, but nothing that happens from now on can be read afterwards.",
  remedy: "Free some space there.",
  judge: ({ logDisk }) => (logDisk === undefined ? undefined : { severity: logDisk.freeBytes < logFreeBytesMin ? "warning" : "ok", seen: `${mib(logDisk.freeBytes)} of ${mib(logDisk.totalBytes)} free at ${logDisk.path}` }),
};

const openFilesLow: NodeCheck = {
  code: "open_files_low", title: "how many files may be open",
  meaning: "Every client and every peer takes one: at the limit new connections are dropped.",
  remedy: "Raise it: LimitNOFILE in the systemd unit, NumberOfFiles in the launchd plist, `ulimit -n` in a shell; `minid install` sets it.",
  judge: ({ openFilesMax }) => (openFilesMax === undefined ? undefined : { severity: openFilesMax < openFilesMin ? "warning" : "ok", seen: `${openFilesMax} files, at least ${openFilesMin} are advised` }),
};

const modelMissing: NodeCheck = {
  code: "model_missing", title: "the model's files on this machine",
  meaning: "This machine cannot hold a stage of it; as rank 0 it could not serve at all.",
  remedy: "Fetch it with `minid pull`, copy its directory to <home>/models, or correct `model`.",
  judge: ({ model }) => modelJudgement(model, "model_missing"),
};

const modelCorrupt: NodeCheck = {
  code: "model_corrupt", title: "the soundness of the model's files",
  meaning: "The stage that needs the damaged part cannot be loaded here, or computes nonsense.",
  remedy: "Fetch the file that is named again.",
  judge: ({ model }) => modelJudgement(model, "model_corrupt"),
};

function modelJudgement(model: NodeLook["model"], code: "model_missing" | "model_corrupt"): Judgement | undefined {
  if (model === undefined) return undefined;
  return { severity: model.problem?.code === code ? "error" : "ok", seen: model.problem?.code === code ? model.problem.text : model.id };
}

const memoryShort: NodeCheck = {
  code: "memory_short", title: "memory against this machine's stage",
  meaning: "Other programs have taken what the plan counted on: when the cache fills, the machine swaps or the worker is killed.",
  remedy: "End other programs, or lower memory_bytes_max so that this machine gets fewer layers.",
  judge: ({ stage }) => {
    if (stage === undefined) return undefined;
    const haveBytes = stage.availableBytes + stage.workerRssBytes;
    return { severity: stage.bytesMax > haveBytes ? "warning" : "ok", seen: `rank ${stage.rank} (layers ${stage.layers[0]}-${stage.layers[1] - 1}) may take ${gib(stage.bytesMax)}, ${gib(haveBytes)} are to be had` };
  },
};

const swapping: NodeCheck = {
  code: "swapping", title: "swapping just now",
  meaning: "Memory is short: steps wait for the disk, and this machine holds up the whole ring.",
  remedy: "End other programs, lower memory_bytes_max, or configure a smaller model.",
  judge: ({ pace: { swappedPagesPerSecond: pages } }) => (pages === undefined ? undefined : { severity: pages > swappedPagesMax ? "warning" : "ok", seen: `${Math.round(pages)} pages a second` }),
};

const throttled: NodeCheck = {
  code: "thermal_throttling", title: "slowing down for heat",
  meaning: "The processor runs slower than it can, and the ring is as fast as its slowest machine.",
  remedy: "Give the machine air: a stack in a closed cupboard needs a fan or an open door.",
  judge: ({ pace }) => ({ severity: pace.throttled === undefined ? "ok" : "warning", seen: pace.throttled ?? "no sign of it" }),
};

export const homeChecks: readonly NodeCheck[] = [
  homeUnusable, homePermissions, configInvalid, stateDamaged, stateSetAside, notInCluster, trustDamaged, certificateExpired, certificateExpiring,
  logDiskFull, openFilesLow, modelMissing, modelCorrupt, memoryShort, swapping, throttled,
];
