import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const tsx = fileURLToPath(new URL("../../../../../node_modules/tsx/dist/cli.mjs", import.meta.url));
const root = new URL("../../../../../", import.meta.url);
const engine = new URL("src/worker/engines/onnx/engine.ts", root).href;
const verify = new URL("src/worker/verify.ts", root).href;
const model = fileURLToPath(new URL("test/fixtures/tiny/qwen3-8bit", root));

it("keeps the library from reporting: its reporter leaves no log in the temporary directory", () => {
  const temporary = mkdtempSync(join(tmpdir(), "minid-telemetry-"));
  const home = mkdtempSync(join(tmpdir(), "minid-telemetry-"));
  try {
    const script = `const { createOnnxEngine } = await import(${JSON.stringify(engine)}); const { verifyModel } = await import(${JSON.stringify(verify)});
      console.log((await verifyModel({ directory: ${JSON.stringify(model)}, engine: createOnnxEngine(), numerics: "exact", split: [] })).passed);`;
    const { stdout, status } = spawnSync(process.execPath, [tsx, "--input-type=module", "--eval", script], { env: { PATH: process.env["PATH"], HOME: home, TMPDIR: temporary, TSX_DISABLE_CACHE: "1" }, encoding: "utf8" });
    expect(status).toBe(0);
    expect(stdout).toContain("true");
    expect(readdirSync(temporary).filter((name) => name.startsWith("mat-debug"))).toEqual([]);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    rmSync(home, { recursive: true, force: true });
  }
});
