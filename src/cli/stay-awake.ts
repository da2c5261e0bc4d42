/**
 * While minid runs, a Mac does not fall asleep for want of a user: `caffeinate` holds the power assertion for as long as this process
 * lives. Somebody's own wish (the menu, a lid, the power button) is not overruled, and nothing of the machine's settings is changed.
 * On Linux nothing sleeps without a desktop or a lid, and `minid install` hands the ranks over there before it does (systemd/).
 */
import { type ChildProcess, spawn } from "node:child_process";

/** @returns ends the assertion. */
export function stayAwake(platform: NodeJS.Platform, onProblem: (message: string) => void, command = "/usr/bin/caffeinate"): () => void {
  if (platform !== "darwin") return () => undefined;
  // -i: no idle sleep; -s: no sleep on mains power; -w: for as long as that process lives.
  const child: ChildProcess = spawn(command, ["-i", "-s", "-w", String(process.pid)], { stdio: "ignore" });
  child.on("error", (error) => { onProblem(`this Mac may fall asleep: ${error.message}`); });
  child.unref();
  return () => { child.kill(); };
}
