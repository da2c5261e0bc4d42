/** A process that runs out of memory, ended by the kernel's OOM killer. Linux with version 1 of the memory control groups, and root. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const groups = "/sys/fs/cgroup/memory";

export const canLimitMemory = process.platform === "linux" && process.getuid?.() === 0 && existsSync(join(groups, "memory.limit_in_bytes"));

/** From now on the process may take this much more. @returns removes the group, once the process has ended. */
export function limitMemory(pid: number, moreBytes: number): { readonly kills: () => number; readonly remove: () => void } {
  const group = join(groups, `minid-test-${pid}`);
  mkdirSync(group);
  writeFileSync(join(group, "memory.limit_in_bytes"), String(moreBytes));
  writeFileSync(join(group, "cgroup.procs"), String(pid));
  return {
    kills: () => Number(/^oom_kill (\d+)$/mu.exec(readFileSync(join(group, "memory.oom_control"), "utf8"))?.[1] ?? 0),
    remove: () => { rmdirSync(group); },
  };
}
