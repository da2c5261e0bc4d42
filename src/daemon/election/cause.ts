/** Why leadership changed. No change happens without one of these. */
export type LeaderChangeCause =
  /** No leader was there when this node had listened long enough. */
  | "no_leader" | "leader_dead" | "leader_left" | "leader_restarted" | "leader_draining" | "leader_worker_failed"
  /** The leader is alive but claims no term any more: it slept, or left office for a reason of its own. */
  | "leader_resigned"
  /** A worker had already accepted a higher epoch than the leader's. */
  | "fenced"
  /** A leader with a higher epoch was met. */
  | "higher_epoch" | "slept" | "leaving";
