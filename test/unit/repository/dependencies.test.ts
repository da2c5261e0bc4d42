/** docs/DEPENDENCIES.md against package.json and the lock file. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const textOf = (file: string): string => readFileSync(join(root, file), "utf8");

interface Locked { readonly version: string; readonly license?: string; readonly hasInstallScript?: boolean; readonly integrity?: string; readonly resolved?: string }
const { dependencies, devDependencies, optionalDependencies } = JSON.parse(textOf("package.json")) as Record<"dependencies" | "devDependencies" | "optionalDependencies", Record<string, string>>;
const direct = { ...dependencies, ...devDependencies, ...optionalDependencies };
const { packages } = JSON.parse(textOf("package-lock.json")) as { packages: Record<string, Locked> };
const page = textOf("docs/DEPENDENCIES.md");
const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gmu)].map(([, name = "", version = "", licence = "", , why = ""]) => ({ name, version: version.trim(), licence: licence.trim(), why: why.trim() }));

describe("docs/DEPENDENCIES.md", () => {
  it("has a row for every direct dependency, with its version and a reason, and no other", () => {
    expect(rows.map(({ name, version }) => `${name}@${version}`).toSorted()).toEqual(Object.entries(direct).map(([name, version]) => `${name}@${version}`).toSorted());
    expect(rows.filter(({ why }) => why.length < 4)).toEqual([]);
  });

  it("names the licence that the package names", () => {
    const wrong = rows.filter(({ name, licence }) => packages[`node_modules/${name}`]?.license !== licence);
    expect(wrong).toEqual([]);
  });

  it("names every package with an install script", () => {
    const scripted = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path.replace(/^.*node_modules\//u, ""));
    expect(scripted.filter((name) => !page.includes(`\`${name}\` (`))).toEqual([]);
  });
});

describe("the supply chain", () => {
  it("runs no install script and takes exact versions from the registry only, each with its hash", () => {
    expect(textOf(".npmrc")).toMatch(/^ignore-scripts=true$/mu);
    expect(Object.entries(direct).filter(([, version]) => !/^\d+\.\d+\.\d+$/u.test(version))).toEqual([]);
    const fetched = Object.entries(packages).filter(([path]) => path !== "");
    expect(fetched.filter(([, { integrity, resolved }]) => integrity === undefined || (resolved !== undefined && !resolved.startsWith("https://registry.npmjs.org/"))).map(([path]) => path)).toEqual([]);
  });

  it("imports nothing of pm2, whose licence is the AGPL", () => {
    const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
    expect(sources.filter((file) => /(?:from|import|require)\s*\(?\s*["']pm2(?:["'/])/u.test(textOf(join("src", file))))).toEqual([]);
  });
});
