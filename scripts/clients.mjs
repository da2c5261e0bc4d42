// `npm run test:clients`: other people's clients against a real node, Python's included. Those are installed from PyPI into .venv-clients, once
// for each change of their versions. Where Python or its venv is missing they are left out, with one line.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const requirements = join("test", "integration", "clients", "requirements.txt");
const venv = resolve(".venv-clients");
const python = join(venv, "bin", "python");
const stamp = join(venv, "requirements.sha256");
const run = (command, args, options = {}) => spawnSync(command, args, { stdio: "inherit", ...options }).status ?? 1;

/** @returns why there is no Python with the clients in it, if there is none. */
function prepare() {
  const wanted = createHash("sha256").update(readFileSync(requirements)).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return undefined;
  if (run("python3", ["-c", "import ensurepip, venv"], { stdio: "ignore" }) !== 0) return "python3 with venv is not there (Debian: apt-get install python3-venv)";
  rmSync(venv, { recursive: true, force: true });
  if (run("python3", ["-m", "venv", venv]) !== 0) return "python3 -m venv failed";
  if (run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]) !== 0) return "pip could not install them";
  writeFileSync(stamp, wanted);
  return undefined;
}

const missing = prepare();
if (missing !== undefined) console.log(`Python's clients are left out: ${missing}`);
const vitest = join("node_modules", "vitest", "vitest.mjs");
if (run(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"]) !== 0) process.exit(1);
process.exitCode = run(process.execPath, [vitest, "run", "test/integration/api", "test/integration/clients"], { env: { ...process.env, ...(missing === undefined && { MINID_CLIENTS_PYTHON: python }) } });
