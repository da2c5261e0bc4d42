/**
 * Carries out the steps of `plan.ts`, one after the other, and stops at the first that fails: the plan is made anew from what is
 * there then, so running the command again goes on from where it stopped. A step kind without an executor does not compile.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lchownSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { sleep } from "../../core/clock.js";
import { MinidError } from "../../core/errors.js";
import type { Account } from "./spec.js";
import type { Step } from "./step.js";

const goneTimeoutMs = 120_000;
const answersTimeoutMs = 120_000;
const pollMs = 250;

export interface ExecuteOptions {
  readonly onStep: (step: Step) => void;
  /** Looked up when a step needs it: an earlier one may have made it. */
  readonly account: (name: string) => Account | undefined;
  readonly joinToken: string | undefined;
  /** Put before every path that is written or removed: for tests and for building images. */
  readonly destination?: string;
  readonly environment?: NodeJS.ProcessEnv;
}

type Executors = { readonly [K in Step["kind"]]: (step: Extract<Step, { kind: K }>, options: ExecuteOptions) => void | Promise<void> };

const executors: Executors = {
  directory: ({ path, mode, owner }, options) => {
    const { uid, gid } = accountOf(owner, options);
    const place = at(path, options);
    mkdirSync(dirname(place), { recursive: true, mode: 0o755 });
    if (!existsSync(place)) mkdirSync(place, { mode });
    chmodSync(place, mode);
    lchownSync(place, uid, gid);
  },
  own: ({ path, owner }, options) => {
    const { uid, gid } = accountOf(owner, options);
    const place = at(path, options);
    if (!existsSync(place)) return;
    // Links are changed themselves, never followed: a link in the home must not hand over what it points at.
    for (const entry of ["", ...readdirSync(place, { recursive: true, encoding: "utf8" })]) lchownSync(join(place, entry), uid, gid);
  },
  file: ({ path, mode, content }, options) => {
    const place = at(path, options);
    mkdirSync(dirname(place), { recursive: true, mode: 0o755 });
    writeFileSync(`${place}.new`, content, { mode });
    chmodSync(`${place}.new`, mode);
    renameSync(`${place}.new`, place);
  },
  remove: ({ path }, options) => { rmSync(at(path, options), { recursive: true, force: true }); },
  command: async (step, options) => {
    const { argv, as, mayFail, secret } = step;
    const { code, output } = await run(argv, options, as === undefined ? undefined : accountOf(as, options), secret === undefined ? undefined : options.joinToken);
    if (code !== 0 && mayFail !== true) throw new MinidError("step_failed", `\`${argv.join(" ")}\` failed with exit code ${code}${output === "" ? "" : `: ${output}`}; correct that and run the same command again`);
  },
  untilFails: async ({ argv, why }, options) => {
    await until(goneTimeoutMs, `\`${argv.join(" ")}\` still succeeds (${why})`, async () => (await run(argv, options)).code !== 0);
  },
  untilAnswers: async ({ url }) => {
    await until(answersTimeoutMs, `nothing answers at ${url} yet: see minid logs`, async () => (await fetch(`${url}/health/live`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined))?.ok ?? false);
  },
};

/** @throws MinidError step_failed, at the first step that does; the steps before it have happened. */
export async function execute(steps: readonly Step[], options: ExecuteOptions): Promise<void> {
  for (const step of steps) {
    options.onStep(step);
    await one(step, options);
  }
}

async function one<K extends Step["kind"]>(step: Extract<Step, { kind: K }>, options: ExecuteOptions): Promise<void> {
  const executor: Executors[K] = executors[step.kind];
  try {
    await executor(step, options);
  } catch (error) {
    if (error instanceof MinidError) throw error;
    throw new MinidError("step_failed", `${step.kind} ${"path" in step ? step.path : ""}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

const at = (path: string, { destination }: ExecuteOptions): string => (destination === undefined ? path : join(destination, path));

function accountOf(name: string, options: ExecuteOptions): Account {
  const found = options.account(name);
  if (!found) throw new MinidError("step_failed", `there is no user ${name} on this machine: name another with --user`);
  return found;
}

const outputCharactersMax = 2_000;

async function run(argv: readonly string[], { environment = process.env }: ExecuteOptions, as?: Account, input?: string): Promise<{ readonly code: number; readonly output: string }> {
  const [command = "", ...args] = argv;
  const own = as && as.uid !== process.getuid?.() ? { uid: as.uid, gid: as.gid } : {};
  // Another user's command must not look into root's home, nor take root's settings for its own.
  const env = as ? { PATH: environment["PATH"], HOME: as.home, USER: as.name, LOGNAME: as.name } : environment;
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env, ...own, ...(as && { cwd: "/" }) });
  let output = "";
  const keep = (bytes: Buffer): void => { output = (output + bytes.toString()).slice(-outputCharactersMax); };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.stdin.on("error", () => undefined);
  child.stdin.end(input ?? "");
  try {
    await once(child, "close");
  } catch (error) {
    return { code: 127, output: error instanceof Error ? error.message : String(error) };
  }
  return { code: child.exitCode ?? 128, output: output.trim() };
}

async function until(timeoutMs: number, otherwise: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await condition()) {
    if (performance.now() > deadline) throw new MinidError("step_failed", otherwise);
    await sleep(pollMs);
  }
}
