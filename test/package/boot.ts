/**
 * `npm run test:boot`: install → reboot → serving, with systemd as process 1. A Debian boots in namespaces of its own on a copy-on-write
 * view of this machine's files: `minid install` from the packed package, a reboot, and the service answers with nobody logged in. Its
 * processes, network, host name and cgroups are apart from the machine's; what it writes is thrown away. Linux and root.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "../support/wait.js";
import { installPackage } from "./installed.js";

const run = promisify(execFile);
const waitMs = 300_000;
const cgroupRoots = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].filter((path) => existsSync(join(path, "cgroup.procs")));

/** Run in the new namespaces: puts the file systems of a machine in place, then becomes systemd. $1: the root. $2: an empty table of controllers. */
const becomeMachine = `
set -e
mount -t proc proc "$1/proc"
mount --bind "$1/proc/sys" "$1/proc/sys" && mount -o remount,bind,ro "$1/proc/sys"
mount --bind "$2" "$1/proc/cgroups"
mount -t sysfs -o ro sysfs "$1/sys"
mount -t tmpfs -o mode=755 tmpfs "$1/sys/fs/cgroup"
if [ -d /sys/fs/cgroup/systemd ]; then
  mkdir "$1/sys/fs/cgroup/systemd" "$1/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd cgroup "$1/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup/unified"
else
  mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
fi
for place in run tmp; do mount -t tmpfs -o mode=755 tmpfs "$1/$place"; done
chmod 1777 "$1/tmp"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do set -- "$1" "$2" $device; mknod -m 666 "$1/dev/$3" c "$4" "$5"; done
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t tmpfs tmpfs "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
cd "$1"
pivot_root . run
exec env -i container=minid-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -c 'umount -l /run && exec /lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=0'
`;

class Machine {
  readonly root: string;
  readonly #scratch: string;
  readonly #cgroup = `minid-boot-${process.pid}`;
  #child: ChildProcess | undefined;
  #pid = 0;

  constructor(scratch: string) {
    this.#scratch = scratch;
    this.root = join(scratch, "root");
    const layers = join(scratch, "layers");
    for (const path of [this.root, layers]) mkdirSync(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "tmpfs", layers]);
    for (const path of ["upper", "work"]) mkdirSync(join(layers, path));
    execFileSync("mount", ["-t", "overlay", "-o", `lowerdir=/,upperdir=${join(layers, "upper")},workdir=${join(layers, "work")}`, "overlay", this.root]);
    // A plain Debian: what else this machine would start at boot is none of the test's.
    for (const wants of ["multi-user.target.wants", "timers.target.wants", "getty.target.wants"]) rmSync(join(this.root, "etc/systemd/system", wants), { recursive: true, force: true });
    writeFileSync(join(scratch, "controllers"), "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
  }

  async boot(): Promise<void> {
    const groups = cgroupRoots.map((path) => join(path, this.#cgroup));
    for (const group of groups) mkdirSync(group, { recursive: true });
    const enter = `${groups.map((group) => `echo $$ > ${group}/cgroup.procs`).join(" && ")} && exec "$@"`;
    const child = spawn("sh", ["-c", enter, "sh", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup", "--propagation", "private", "sh", "-c", becomeMachine, "sh", this.root, join(this.#scratch, "controllers")], { stdio: ["ignore", "inherit", "inherit"] });
    this.#child = child;
    const inside = await until("process 1 is there", () => {
      if (child.exitCode !== null) throw new Error(`the machine did not come up: exit code ${child.exitCode}`);
      const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ")[0]);
      return pid > 0 && readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "systemd" ? pid : undefined;
    }, waitMs);
    this.#pid = inside;
    await until("systemd has started", async () => ["running", "degraded"].includes((await this.run("systemctl", "is-system-running").catch((error: { stdout: string }) => error.stdout)).trim()), waitMs);
  }

  /** A command in the machine. @returns what it printed. */
  async run(...command: string[]): Promise<string> {
    const { stdout } = await run("nsenter", ["--target", String(this.#pid), "--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd=/", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", ...command], { maxBuffer: 16 << 20 });
    return stdout;
  }

  /** @param how `reboot` or `poweroff`; resolves when every process of it has ended. */
  async down(how: "reboot" | "poweroff"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    await this.run("systemctl", how, "--no-block").catch(() => undefined);
    await Promise.race([ended, new Promise((resolve) => { setTimeout(resolve, waitMs).unref(); })]);
    if (child.exitCode === null && child.signalCode === null) { child.kill("SIGKILL"); await ended; throw new Error(`the machine did not ${how}`); }
  }

  async remove(): Promise<void> {
    await this.down("poweroff").catch((error: unknown) => { console.error(error); });
    for (const path of [this.root, join(this.#scratch, "layers")]) execFileSync("umount", ["-l", path]);
    for (const root of cgroupRoots) removeGroups(join(root, this.#cgroup));
  }
}

function removeGroups(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeGroups(join(path, entry.name));
  rmdirSync(path);
}

const url = "http://127.0.0.1:8100";
const minid = "/opt/minid/bin/minid";

async function serving(machine: Machine): Promise<void> {
  await until("it serves", async () => (await machine.run("curl", "-sf", "-m", "5", `${url}/health`)) !== "", waitMs);
  const answer = await machine.run("curl", "-s", "-m", "120", "-H", "content-type: application/json", "-d", JSON.stringify({ model: "SmolLM2-135M-Instruct-8bit", temperature: 0, max_tokens: 8, messages: [{ role: "user", content: "What is the capital of France? One word." }] }), `${url}/v1/chat/completions`);
  if (!/paris/iu.test(answer)) throw new Error(`that is not the answer: ${answer}`);
}

async function main(): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0 || !existsSync("/lib/systemd/systemd")) { console.log("boot: skipped: it needs Linux, root and systemd"); return; }
  const installed = await installPackage();
  const machine = new Machine(installed.scratch);
  const startedAt = performance.now();
  const say = (text: string): void => { console.log(`${((performance.now() - startedAt) / 1_000).toFixed(1)} s: ${text}`); };
  try {
    cpSync(installed.prefix, join(machine.root, "opt/minid"), { recursive: true, verbatimSymlinks: true });
    cpSync(join(process.cwd(), "models", "SmolLM2-135M-Instruct-8bit"), join(machine.root, "opt/models/SmolLM2-135M-Instruct-8bit"), { recursive: true, dereference: true });
    await machine.boot();
    say(`systemd is process 1: ${(await machine.run("systemctl", "--version")).split("\n")[0] ?? ""}`);
    say((await machine.run(minid, "install", "--force", "--model", "/opt/models/SmolLM2-135M-Instruct-8bit")).trim());
    await serving(machine);
    const active = await machine.run("systemctl", "show", "minid", "--property", "ActiveState,SubState,UnitFileState,User,NRestarts");
    say(`answered after the install: ${active.trim().split("\n").join(" ")}`);
    for (const wanted of ["ActiveState=active", "UnitFileState=enabled", "User=minid"]) if (!active.includes(wanted)) throw new Error(`${wanted} is not so: ${active}`);
    const users = (await machine.run("ps", "-eo", "user,args")).split("\n").filter((line) => line.includes("/opt/minid/"));
    if (users.length < 3 || users.some((line) => !line.startsWith("minid "))) throw new Error(`whose processes are these?\n${users.join("\n")}`);

    await machine.down("reboot");
    await machine.boot();
    say("rebooted");
    await serving(machine);
    say("answers, with nobody logged in");

    const before = (await machine.run("systemctl", "show", "minid", "--property", "MainPID", "--value")).trim();
    await machine.run("kill", "-9", before);
    await until("systemd starts it again", async () => { const pid = (await machine.run("systemctl", "show", "minid", "--property", "MainPID", "--value")).trim(); return pid !== "0" && pid !== before; }, waitMs);
    await serving(machine);
    say("answers again after a kill -9 of the service's first process");

    say((await machine.run(minid, "uninstall", "--purge")).trim());
    const left = await machine.run("sh", "-c", "ls /etc/systemd/system | grep minid; ps -eo args | grep '[/]opt/minid/'; ls -d /var/lib/minid 2>/dev/null; true");
    if (left.trim() !== "") throw new Error(`left behind: ${left}`);
    console.log("boot: installed, rebooted, served, killed, served, uninstalled");
  } catch (error) {
    console.error(await machine.run("journalctl", "--no-pager", "-n", "60").catch(() => "(no journal)"));
    throw error;
  } finally {
    await machine.remove();
    await installed.remove();
  }
}

await main();
