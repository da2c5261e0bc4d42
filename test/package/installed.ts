/**
 * The package as a stranger gets it: packed, installed globally into an empty prefix far from the checkout, with a model hub on the
 * loopback in place of the world's. `npm run test:package`; `boot.ts` puts the same prefix into a Debian that boots.
 * MINID_PREFIX=DIR: an earlier installation, of the same package, instead of a new one.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { hubDefaultModelId } from "../../src/cli/default-model.js";
import { freePorts } from "../support/ports.js";
import { Hub } from "../support/hub.js";
import { until } from "../support/wait.js";

const run = promisify(execFile);
const readyTimeoutMs = 240_000;

export interface Installed {
  readonly scratch: string;
  readonly prefix: string;
  /** Empty, and where every command runs. */
  readonly directory: string;
  readonly hub: Hub;
  readonly minid: (...args: string[]) => Promise<string>;
  remove(): Promise<void>;
}

export async function installPackage(): Promise<Installed> {
  const scratch = mkdtempSync(join(tmpdir(), "minid-package-"));
  // Open to every user, as a global prefix is: the service's own user has to read it.
  chmodSync(scratch, 0o755);
  const given = process.env["MINID_PREFIX"];
  const [prefix, directory] = [given ?? join(scratch, "prefix"), join(scratch, "empty")];
  mkdirSync(directory);
  if (given === undefined) install(scratch, prefix, directory);
  const hub = await Hub.start(hubDefaultModelId, join(process.cwd(), "models", "SmolLM2-135M-Instruct-8bit"));
  return {
    scratch, prefix, directory, hub,
    minid: async (...args) => {
      const running = run(join(prefix, "bin", "minid"), args, { cwd: directory, env: bare(prefix, scratch), maxBuffer: 16 << 20 });
      // `minid chat` reads what is piped into it to the end.
      running.child.stdin?.end();
      return (await running).stdout;
    },
    remove: async () => { await hub.stop(); rmSync(scratch, { recursive: true, force: true }); },
  };
}

function install(scratch: string, prefix: string, directory: string): void {
  mkdirSync(prefix);
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch], { encoding: "utf8", maxBuffer: 64 << 20 })) as [{ filename: string; size: number; files: { path: string }[] }];
  const names = packed.files.map((file) => file.path);
  const unwanted = names.filter((name) => /^(?:test|src|models|bench)\/|\.map$|\.test\.(?:js|ts)$/u.test(name));
  if (unwanted.length > 0) throw new Error(`the package holds what it should not: ${unwanted.slice(0, 5).join(", ")}`);
  console.log(`packed ${names.length} files, ${(packed.size / 1e6).toFixed(2)} MB`);
  // Install scripts would fetch node-mlx's and CUDA's binaries from elsewhere; nothing of it is needed on Linux.
  execFileSync("npm", ["install", "--global", "--prefix", prefix, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", join(scratch, packed.filename)], { cwd: directory, stdio: "inherit" });
}

/** Nothing of this checkout's environment: no npm settings, no other home. */
const bare = (prefix: string, home: string): NodeJS.ProcessEnv => ({ PATH: `${join(prefix, "bin")}:${dirname(process.execPath)}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: home });

async function main(): Promise<void> {
  const installed = await installPackage();
  const { scratch, prefix, hub, minid } = installed;
  let node: ChildProcess | undefined;
  try {
    for (const path of ["share/man/man1/minid.1", "lib/node_modules/minid/proto/agent.proto", "lib/node_modules/minid/ecosystem.config.cjs"]) {
      if (!existsSync(join(prefix, path))) throw new Error(`${path} is missing`);
    }
    const home = join(scratch, "home");
    const [http, agent, worker] = await freePorts(3);
    const flags = ["--home", home, "--http-port", String(http), "--agent-port", String(agent), "--worker-port", String(worker), "--grpc-host", "127.0.0.1", "--http-host", "127.0.0.1", "--mdns", "false", "--hub-url", hub.url];
    if (!(await minid("install", "--print", ...flags)).includes(`pull ${hubDefaultModelId}`)) throw new Error("install --print does not fetch the model");
    node = spawn(join(prefix, "bin", "minid"), ["up", ...flags], { cwd: installed.directory, env: bare(prefix, scratch), stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    node.stdout?.on("data", (bytes: Buffer) => { output += bytes.toString(); });
    await until("minid up answers", () => { if (node?.exitCode !== null) throw new Error(`minid up ended: ${output}`); return output.includes("answers at"); }, readyTimeoutMs);
    const answer = await minid("chat", "--home", home, "--temperature", "0", "What is the capital of France? One word.");
    console.log(`answer: ${answer.trim()}`);
    if (!/paris/iu.test(answer)) throw new Error("that is not the answer");
    const status = JSON.parse(await minid("status", "--home", home, "--json")) as { ready: boolean; model: { id: string } };
    if (!status.ready || status.model.id !== hubDefaultModelId) throw new Error(`status: ${JSON.stringify(status)}`);
    if (!(await minid("logs", "--home", home)).includes("answered")) throw new Error("the logs have no answer");
    if (!(await minid("models", "--home", home)).includes(hubDefaultModelId)) throw new Error("minid models does not list what was pulled");
    node.kill("SIGTERM");
    await once(node, "exit");
    if (node.exitCode !== 0) throw new Error(`minid up ended with ${node.exitCode}`);
    const left = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" }).split("\n").filter((line) => line.includes(prefix));
    if (left.length > 0) throw new Error(`still running: ${left.join("; ")}`);
    const removed = await minid("uninstall");
    if (!removed.includes("nothing is installed")) throw new Error(`uninstall said: ${removed}`);
    if (/Paris|capital of France/u.test(readFileSync(join(home, "logs", "agent.log"), "utf8"))) throw new Error("the log has the text of a request");
    console.log("package: installed, up, answered, down, nothing left");
  } finally {
    if (node?.exitCode === null) { node.kill("SIGTERM"); await once(node, "exit"); }
    await installed.remove();
  }
}

if (process.argv[1]?.endsWith("installed.ts") === true) await main();
