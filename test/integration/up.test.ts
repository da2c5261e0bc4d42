/** What `minid up` says when it cannot start: one clear line, and an exit code. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compiledPath } from "../support/compiled.js";
import { freePorts } from "../support/ports.js";

let home: string;
let ports: number[];
beforeEach(async () => { home = mkdtempSync(join(tmpdir(), "minid-up-")); ports = await freePorts(3); });
afterEach(() => rmSync(home, { recursive: true, force: true }));

async function up(...flags: string[]): Promise<{ code: number | null; stderr: string }> {
  const own = ["--http-port", String(ports[0]), "--agent-port", String(ports[1]), "--worker-port", String(ports[2]), "--grpc-host", "127.0.0.1", "--mdns", "false"];
  const child = spawn(process.execPath, [compiledPath("cli/main.js"), "up", "--home", home, ...own, ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (bytes: Buffer) => { stderr += bytes.toString(); });
  await once(child, "close");
  return { code: child.exitCode, stderr };
}

const oneLine = /^minid: [^\n]+\n$/u;

describe("minid up", () => {
  it.each(["http-port", "agent-port", "worker-port"])("names a --%s that is taken", async (flag) => {
    const other = createServer();
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const { code, stderr } = await up(`--${flag}`, String(port));
    other.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain(`port ${port}`);
    expect(stderr).toContain(`--${flag}`);
  });

  it("names a model that is not there, and where it looked", async () => {
    const { code, stderr } = await up("--model", "somebody/absent-model");
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain("somebody/absent-model");
    expect(stderr).toContain(join(home, "models"));
  });

  it("names the file of a model that cannot be read", async () => {
    const model = join(home, "broken");
    mkdirSync(model);
    writeFileSync(join(model, "config.json"), "{");
    const { code, stderr } = await up("--model", model);
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain("config.json");
  });

  it.each([
    ["not JSON", "{", "JSON"],
    ["an unknown key", '{"http_prot": 1}', "http_prot"],
    ["a value of the wrong type", '{"queue_max": "many"}', "queue_max"],
    ["a rule between keys that is broken", '{"suspect_after_ms": 600}', "heartbeat_interval_ms"],
  ])("refuses a configuration with %s", async (_, content, named) => {
    const file = join(home, "config.json");
    writeFileSync(file, content);
    const { code, stderr } = await up();
    expect(code).toBe(2);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain(file);
    expect(stderr).toContain(named);
  });

  it("refuses a flag that does not exist", async () => {
    const { code, stderr } = await up("--http-prot", "8100");
    expect(code).toBe(2);
    expect(stderr).toContain("--http-prot");
  });

  it("names a home that cannot be used", async () => {
    const file = join(home, "file");
    writeFileSync(file, "");
    chmodSync(file, 0o600);
    const { code, stderr } = await up("--home", join(file, "sub"));
    expect(code).toBe(1);
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain(join(file, "sub"));
    expect(existsSync(join(home, "run"))).toBe(false);
  });
});
