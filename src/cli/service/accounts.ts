/** Users of this machine, asked of `id` (so that directory services count too), and the user that a service should run as. */
import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { MinidError } from "../../core/errors.js";
import { type Account, type ServicePlatform, type ServiceSpec, systemUser } from "./spec.js";

/** @returns undefined when there is no such user. */
export function accountOf(name: string): Account | undefined {
  const ask = (flag: string): string => execFileSync("id", [flag, "--", name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return { name, uid: Number(ask("-u")), gid: Number(ask("-g")), home: homeOfUser(name) };
  } catch {
    return undefined;
  }
}

function homeOfUser(name: string): string {
  if (process.platform === "darwin") {
    const text = execFileSync("dscl", [".", "-read", `/Users/${name}`, "NFSHomeDirectory"], { encoding: "utf8" });
    return /NFSHomeDirectory:\s*(.+)/u.exec(text)?.[1]?.trim() ?? `/Users/${name}`;
  }
  return passwdOf(name)?.[5] ?? "/";
}

/** passwd(5), by `getent`, else from the file. */
function passwdOf(name: string): readonly string[] | undefined {
  let text: string;
  try { text = execFileSync("getent", ["passwd", name], { encoding: "utf8" }); } catch { text = readFileSync("/etc/passwd", "utf8"); }
  return text.split("\n").map((line) => line.split(":")).find(([user]) => user === name);
}

/** The system user exists and was made by `minid install`. */
export const isOwnUser = (name: string): boolean => name === systemUser.name && process.platform === "linux" && passwdOf(name)?.[4] === systemUser.comment;

/**
 * What keeps a user from reading `path`: a directory on the way that is closed to others (a root's home with a Node.js of its own).
 * @returns that directory; undefined when nothing does. Group memberships are not looked at: closed means closed to others.
 */
export function closedDirectory(path: string, account: Pick<Account, "uid"> | undefined): string | undefined {
  if (account?.uid === 0) return undefined;
  const closed: string[] = [];
  for (let directory = dirname(realpathSync(path)); ; directory = dirname(directory)) {
    const { mode, uid } = statSync(directory);
    if ((mode & 0o001) === 0 && !(uid === account?.uid && (mode & 0o100) !== 0)) closed.push(directory);
    if (directory === dirname(directory)) return closed.at(-1);
  }
}

/**
 * `--user`, else who called sudo, else on Linux the system user `minid`, made if missing.
 * @throws MinidError usage
 */
export function serviceUser(wanted: string | undefined, platform: ServicePlatform, environment: NodeJS.ProcessEnv): ServiceSpec["user"] {
  if (wanted !== undefined && !/^[a-z_][a-z0-9_.-]{0,31}\$?$/iu.test(wanted)) throw new MinidError("usage", `--user ${JSON.stringify(wanted)} is no user name`);
  const caller = environment["SUDO_USER"] === "root" ? undefined : environment["SUDO_USER"];
  const name = wanted ?? caller ?? (platform === "linux" ? systemUser.name : undefined);
  if (name === undefined) throw new MinidError("usage", "which user shall minid run as? Call it with sudo from that user, or name one with --user");
  const found = accountOf(name);
  if (found) return { name, home: found.home, make: false };
  if (name !== systemUser.name || platform !== "linux") throw new MinidError("usage", `there is no user ${name} on this machine: name another with --user`);
  return { name, home: systemUser.home, make: true };
}
