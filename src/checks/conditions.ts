/**
 * What the cluster says of itself (`daemon/cluster/conditions.ts`, `daemon/discovery/introducer.ts`), as entries of the one catalogue:
 * `minid status`, `/health`, the dashboard and `minid doctor` show the same codes. What was seen, and how bad it is, the condition
 * says itself; what it means and what to do stand here.
 */
interface ConditionEntry {
  readonly title: string;
  readonly meaning: string;
  /** Empty when it heals by itself. A condition may know a better one. */
  readonly remedy: string;
}

export const conditionEntries = {
  no_leader: {
    title: "no rank 0",
    meaning: "Nobody plans or schedules, so no request is served. An election takes a few seconds.",
    remedy: "Wait ten seconds. If it stays: the machines do not hear each other, or this one has just been started; `minid logs` shows why no election ends.",
  },
  no_model: {
    title: "no model",
    meaning: "Rank 0 has no model to share out, so no request is served.",
    remedy: "Configure a model that is on every machine, or start with --model.",
  },
  model_does_not_fit: {
    title: "the model against the memory of the machines that are there",
    meaning: "Together the healthy machines have too little memory for the model: requests wait, then fail.",
    remedy: "Bring a machine back, add one, raise memory_bytes_max, or configure a smaller model.",
  },
  stage_not_loaded: {
    title: "a stage that is not loaded",
    meaning: "A rank of the plan does not hold its layers yet, so the ring cannot compute. After a change of plan this lasts as long as loading does.",
    remedy: "",
  },
  no_peers: {
    title: "other machines",
    meaning: "This machine serves alone; nothing takes over when it fails.",
    remedy: "Start minid on another machine and join it with the token that `minid token` prints.",
  },
  member_dead: {
    title: "a machine that is gone",
    meaning: "Its layers were given to the others. It is taken back by itself as soon as it answers.",
    remedy: "Start it again, or remove it with `minid forget`.",
  },
  member_suspect: {
    title: "a machine that has fallen silent",
    meaning: "It has not been heard for a moment; in seconds it is alive again or planned around.",
    remedy: "",
  },
  protocol_mismatch: {
    title: "releases that do not understand each other",
    meaning: "The machine is alive but cannot share a ring with this one.",
    remedy: "Install the same release of minid on both.",
  },
  link_broken: {
    title: "a machine that only others can reach",
    meaning: "It is alive, but its messages do not come here, or ours do not go there: the ring avoids this link.",
    remedy: "Check cable, switch port, Wi-Fi and firewall between the two machines.",
  },
  worker_crash_loop: {
    title: "a worker that cannot live",
    meaning: "It died so often in a row that the plan goes round it. It is tried again ever more seldom.",
    remedy: "Read logs/worker.log on that machine: the last lines before each start say why.",
  },
  worker_unhealthy: {
    title: "a worker that is not well",
    meaning: "It does not answer, makes no progress, or could not load. Its agent kills what hangs and loads again by itself.",
    remedy: "",
  },
  left_out: {
    title: "a machine without a stage",
    meaning: "It is well, but the plan is better without it or cannot reach it.",
    remedy: "",
  },
  two_clusters_one_name: {
    title: "another cluster of the same name",
    meaning: "Its machines trust another certificate authority: the two never become one by themselves.",
    remedy: "Join the other cluster's machines with this cluster's token, or give one of the two another name.",
  },
  clock_skew: {
    title: "clocks that disagree",
    meaning: "Certificates and tokens seem expired or not yet valid, and logs cannot be compared.",
    remedy: "Let the network set both clocks. Linux: `timedatectl set-ntp true`. macOS: `sudo systemsetup -setusingnetworktime on`.",
  },
  self_doubt: {
    title: "this machine running late",
    meaning: "Its own processes get too little processor time, so it trusts its judgement of others less and waits longer.",
    remedy: "Look for what keeps the processor busy.",
  },
  draining: {
    title: "this machine leaving",
    meaning: "It takes no new work and hands its layers over.",
    remedy: "`minid drain --off` takes it in again.",
  },
  home_not_written: {
    title: "state that reaches the disk",
    meaning: "This machine's leadership terms cannot be written, and what hangs on them is not said before they are: it takes part in no election. What runs goes on.",
    remedy: "Free space where the home is, or make it writable again: it is tried every second.",
  },
  mixed_engines: {
    title: "one kind of engine and processor",
    meaning: "An answer resumed after a fault goes on from exactly the tokens already sent, but not bit for bit as it would have.",
    remedy: "",
  },
  mdns_deaf: {
    title: "hearing one's own multicast",
    meaning: "What this machine announces does not even come back to itself: other machines may not find it, nor it them.",
    remedy: "Let UDP port 5353 through the firewall; on a Mac run minid as installed by `minid install` (Local Network privacy silences other programs), or name the machines in `devices`.",
  },
  mdns_no_interface: {
    title: "an interface for multicast DNS",
    meaning: "There is no network to announce this machine on: others cannot find it by themselves.",
    remedy: "Connect the machine to the network, correct mdns_interface, or name the machines in `devices`.",
  },
  multicast_blocked: {
    title: "hearing the others' multicast",
    meaning: "Machines that are alive are never heard by multicast DNS: the switch or access point does not carry it. Those that know each other stay together; a new or moved one is not found.",
    remedy: "Switch off IGMP snooping or client isolation, or name the machines in `devices`.",
  },
} as const satisfies Record<string, ConditionEntry>;

export type ConditionCode = keyof typeof conditionEntries;
