import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { environmentName, settingKeys } from "../../../src/daemon/config/table.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts")).map((file) => join("src", file));
const textOf = (file: string): string => readFileSync(join(root, file), "utf8");
const importsOf = (file: string): string[] =>
  [...textOf(file).matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/gu)].map((match) => normalize(join(dirname(file), match[1]!)).replace(/\.js$/u, ".ts"));

/** Imports point one way: each layer may use only those listed. */
const mayUse: Record<string, readonly string[]> = {
  core: ["core"],
  model: ["core", "model"],
  worker: ["core", "model", "worker"],
  checks: ["core", "model", "checks"],
  daemon: ["core", "model", "checks", "daemon"],
  api: ["core", "model", "checks", "daemon", "api"],
  cli: ["core", "model", "checks", "worker", "daemon", "api", "cli"],
};
/** Composition roots create what the layers above them offer. */
const compositionRoots = new Set(["src/daemon/main.ts", "src/daemon/agent.ts"]);
/** Programs: started by npm, pm2 or a thread, imported by nobody. */
const entryPoints = (file: string): boolean => /(?:main|-thread|-guard)\.ts$/u.test(file);

describe("the source tree", () => {
  it("imports in one direction only", () => {
    const wrong = sources.filter((file) => !compositionRoots.has(file)).flatMap((file) => {
      const layer = file.split("/")[1]!;
      return importsOf(file).filter((target) => !mayUse[layer]?.includes(target.split("/")[1]!)).map((target) => `${file} -> ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it("has no file that nothing uses", () => {
    const used = new Set(sources.flatMap(importsOf));
    expect(sources.filter((file) => !used.has(file) && !entryPoints(file))).toEqual([]);
  });

  it("opens every file with what it is for", () => {
    expect(sources.filter((file) => !/^(?:#!.*\n)?\/\*\*/u.test(textOf(file)))).toEqual([]);
  });

  it("keeps every file to one idea's length", () => {
    const long = sources.map((file) => ({ file, lines: textOf(file).split("\n").length })).filter(({ lines }) => lines > 400);
    expect(long).toEqual([]);
  });

  it("documents every setting in docs/CONFIG.md", () => {
    const documented = textOf("docs/CONFIG.md");
    expect(settingKeys.filter((key) => !documented.includes(`\`${key}\``) || !documented.includes(environmentName(key)))).toEqual([]);
  });

  it("documents every metric in docs/METRICS.md", () => {
    const tellers = sources.filter((file) => file === "src/daemon/metrics.ts" || file.startsWith("src/daemon/telemetry/"));
    const names = tellers.flatMap((file) => [...textOf(file).matchAll(/"(minid_[a-z_]+)"/gu)]).map((match) => match[1]!).filter((name) => !name.endsWith("_"));
    const documented = textOf("docs/METRICS.md");
    expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
  });

  it("names no path outside the checkout", () => {
    const outside = new RegExp(["", "work", "(?:main|shared)"].join("/"), "u");
    expect(sources.filter((file) => outside.test(textOf(file))).map((file) => relative(root, file))).toEqual([]);
  });
});
