/**
 * Recorders in place of launchctl, systemctl, pmset, useradd, userdel and node: they write down what they are called with, keep the
 * little state that matters (loaded, enabled, files that must exist), and fail on what the real tool does not have or would refuse.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** launchctl(1) of macOS 14, without what only debugs launchd. */
const launchctlCommands = ["asuser", "attach", "blame", "bootout", "bootstrap", "bsexec", "config", "debug", "disable", "dumpstate", "enable", "error", "examine", "export", "getenv", "getrusage", "help", "hostinfo", "kickstart", "kill", "limit", "list", "load", "managername", "managerpid", "manageruid", "plist", "print", "print-cache", "print-disabled", "procinfo", "reboot", "remove", "resolveport", "runstats", "setenv", "start", "stop", "submit", "unload", "unsetenv", "variant", "version"];
/** systemctl(1) of systemd 252: the commands for units, unit files and the manager. */
const systemctlCommands = ["add-requires", "add-wants", "bind", "cancel", "cat", "clean", "daemon-reexec", "daemon-reload", "default", "disable", "edit", "emergency", "enable", "exit", "freeze", "get-default", "halt", "help", "import-environment", "is-active", "is-enabled", "is-failed", "is-system-running", "isolate", "kexec", "kill", "link", "list-automounts", "list-dependencies", "list-jobs", "list-machines", "list-paths", "list-sockets", "list-timers", "list-unit-files", "list-units", "log-level", "log-target", "mask", "mount-image", "poweroff", "preset", "preset-all", "reboot", "reenable", "reload", "reload-or-restart", "rescue", "reset-failed", "restart", "revert", "service-log-level", "service-log-target", "service-watchdogs", "set-default", "set-environment", "set-property", "show", "show-environment", "start", "status", "stop", "switch-root", "thaw", "try-reload-or-restart", "try-restart", "unmask", "unset-environment"];

const script = (body: string): string => `#!/bin/sh
name=$(basename "$0"); base=$(dirname "$0"); root=$base/../root; state=$base/../state
printf '%s' "$name" >> "$base/../calls"; for word in "$@"; do printf ' %s' "$word" >> "$base/../calls"; done; printf '\\n' >> "$base/../calls"
die() { echo "$name: $1" >&2; exit "\${2:-1}"; }
${body}
`;

const tools: Readonly<Record<string, string>> = {
  launchctl: script(`
case " ${launchctlCommands.join(" ")} " in *" $1 "*) ;; *) die "Unrecognized subcommand: $1" 64;; esac
case "$1" in
  bootstrap) [ "$2" = system ] || die "Unrecognized target specifier: $2" 125; [ -f "$root$3" ] || die "Bootstrap failed: 5: Input/output error" 5
    [ ! -e "$state/loaded" ] || die "Bootstrap failed: 37: Operation already in progress" 37; echo 0 > "$state/loaded";;
  bootout) case "$2" in system/dev.minid) ;; *) die "Unrecognized target specifier: $2" 125;; esac
    [ -e "$state/loaded" ] || die "Boot-out failed: 3: No such process" 3; echo 2 > "$state/leaving";;
  print) [ "$2" = system/dev.minid ] || die "Unrecognized target specifier" 125
    if [ -e "$state/leaving" ]; then left=$(cat "$state/leaving"); if [ "$left" -gt 0 ]; then echo $((left - 1)) > "$state/leaving"; exit 0; fi; rm "$state/leaving" "$state/loaded"; fi
    [ -e "$state/loaded" ] || die "Could not find service \\"dev.minid\\" in domain for system" 113;;
  enable|disable) [ "$2" = system/dev.minid ] || die "Unrecognized target specifier" 125;;
  kickstart) [ "$2" = -k ] && [ "$3" = system/dev.minid ] || die "usage" 64; [ -e "$state/loaded" ] || die "Could not find service" 113;;
  *) die "this test has no $1" 64;;
esac`),
  systemctl: script(`
case " ${systemctlCommands.join(" ")} " in *" $1 "*) ;; *) die "Unknown command verb $1."; esac
unit="$root/etc/systemd/system/minid.service"
case "$1" in
  daemon-reload) [ $# = 1 ] || die "Too many arguments."; if [ -f "$unit" ]; then cp "$unit" "$state/known"; else rm -f "$state/known"; fi;;
  enable|disable) verb=$1; shift; now=; if [ "$1" = --now ]; then now=1; shift; fi
    for each in "$@"; do [ -f "$root/etc/systemd/system/$each" ] || die "Failed to $verb unit: Unit file $each does not exist."; done
    if [ "$verb" = enable ]; then touch "$state/enabled"; else rm -f "$state/enabled"; [ -z "$now" ] || rm -f "$state/loaded"; fi;;
  restart) [ "$2" = minid.service ] || die "Unit $2 not found." 5; [ -f "$state/known" ] || die "Failed to restart minid.service: Unit minid.service not found." 5
    cmp -s "$unit" "$state/known" || echo "Warning: The unit file changed on disk. Run 'systemctl daemon-reload'." >> "$base/../warnings"; touch "$state/loaded";;
  reset-failed) [ -f "$state/known" ] || die "Failed to reset failed state of unit $2: Unit $2 not loaded.";;
  mask|unmask) shift; for target in "$@"; do case "$target" in *.target) ;; *) die "not a target: $target";; esac; done; [ $# -gt 0 ] || die "Too few arguments.";;
  *) die "this test has no $1";;
esac`),
  pmset: script('[ "$1" = -a ] || die "usage" 64; shift; while [ $# -gt 0 ]; do case "$1" in sleep|autorestart|womp) ;; *) die "$1: no such setting" 64;; esac; case "$2" in ""|*[!0-9]*) die "not a number" 64;; esac; shift 2; done'),
  useradd: script('for last in "$@"; do :; done; [ "$last" = minid ] || die "invalid user name" 3; [ ! -e "$state/user" ] || die "user minid already exists" 9; touch "$state/user"'),
  userdel: script('[ -e "$state/user" ] || die "user minid does not exist" 6; rm "$state/user"'),
  node: script('case "$1" in */dist/cli/main.js) [ "$2" = join ] && cat > "$state/token"; exit 0;; */scripts/setup-mlx.mjs) exit 0;; *) die "Cannot find module $1";; esac'),
};

export interface ServiceTools {
  readonly destination: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Full path of the recorder that stands for Node.js. */
  readonly node: string;
  calls(): string[];
  has(state: "loaded" | "enabled" | "user" | "token"): boolean;
  token(): string;
  forgetCalls(): void;
  warnings(): string;
}

export function serviceTools(scratch: string): ServiceTools {
  const [bin, state, destination] = ["bin", "state", "root"].map((name) => join(scratch, name)) as [string, string, string];
  for (const directory of [bin, state, destination]) mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(tools)) {
    writeFileSync(join(bin, name), text);
    chmodSync(join(bin, name), 0o755);
  }
  const read = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");
  return {
    destination, node: join(bin, "node"), environment: { PATH: `${bin}:/usr/bin:/bin` },
    calls: () => read(join(scratch, "calls")).split("\n").filter(Boolean),
    has: (name) => existsSync(join(state, name)),
    token: () => read(join(state, "token")),
    forgetCalls: () => { writeFileSync(join(scratch, "calls"), ""); },
    warnings: () => read(join(scratch, "warnings")),
  };
}
