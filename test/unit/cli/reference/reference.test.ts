import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageVersion } from "../../../../src/core/package-info.js";
import { exitCodes } from "../../../../src/cli/exit-codes.js";
import { type CommandEntry, commandTable } from "../../../../src/cli/reference/command-table.js";
import { completionFor, shells } from "../../../../src/cli/reference/completion.js";
import { manPage } from "../../../../src/cli/reference/man-page.js";

const has = (program: string) => spawnSync(program, ["--version"]).error === undefined;
let table: CommandEntry[];
let scratch: string;
beforeAll(async () => { table = await commandTable(); scratch = mkdtempSync(join(tmpdir(), "minid-reference-")); });
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** What bash would offer for the words, the last of which is being typed. */
function bash(...words: string[]): string[] {
  const file = join(scratch, "minid.bash");
  writeFileSync(file, completionFor("bash", table));
  const line = `source ${file}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _minid; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["--norc", "-c", line], { encoding: "utf8" }).split("\n").filter(Boolean);
}

describe("the command table", () => {
  it("has every command that there is a file for, with a description of each command and flag", () => {
    for (const entry of table) {
      expect(entry.description, entry.name).not.toBe("");
      for (const flag of [...entry.flags, ...entry.settings]) expect(flag.description, `${entry.name} --${flag.name}`).not.toBe("");
    }
    expect(table.map(({ name }) => name)).toEqual(expect.arrayContaining(["up", "install", "uninstall", "status", "token", "join", "pull", "models", "verify", "chat", "bench", "drain", "logs"]));
  });

  it("has --json on every command that reads", () => {
    const reads = ["status", "models", "verify", "token", "logs", "bench", "install", "uninstall", "pull"];
    expect(table.filter(({ name, flags }) => reads.includes(name) && !flags.some((flag) => flag.name === "json")).map(({ name }) => name)).toEqual([]);
  });

  it("is what docs/minid.1 was made from", () => {
    expect(readFileSync("docs/minid.1", "utf8")).toBe(manPage(table, packageVersion()));
  });
});

describe("the man page", () => {
  it.runIf(has("groff"))("is one that groff takes without a warning, and shows every command and exit code", () => {
    const { stdout, stderr } = spawnSync("groff", ["-man", "-Tascii", "-P-cbou", "-ww", "docs/minid.1"], { encoding: "utf8" });
    expect(stderr).toBe("");
    // `-c` and `-b` keep bold and underline from being overstruck letters.
    const text = stdout;
    for (const { name } of table) expect(text).toContain(`minid ${name}`);
    for (const meaning of Object.values(exitCodes)) expect(text.replaceAll(/\s+/gu, " ")).toContain(meaning.slice(0, 40));
  });
});

describe("completion", () => {
  it("offers the commands, then the command's own flags", () => {
    expect(bash("minid", "in")).toEqual(["install"]);
    expect(bash("minid", "install", "--pr")).toEqual(expect.arrayContaining(["--print", "--probe-interval-ms"]));
    expect(bash("minid", "chat", "--pri")).toEqual([]);
    expect(bash("minid", "up", "--http-port", "")).toEqual([]);
  });

  it.each(shells.filter(has))("is a script that %s can read", (shell) => {
    const file = join(scratch, `check.${shell}`);
    writeFileSync(file, completionFor(shell, table));
    expect(spawnSync(shell, ["-n", file], { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  });

  it.runIf(has("fish"))("works in fish", () => {
    const file = join(scratch, "minid.fish");
    writeFileSync(file, completionFor("fish", table));
    const offered = spawnSync("fish", ["--no-config", "-c", `source ${file}; complete --do-complete 'minid install --pri'`], { encoding: "utf8", env: { ...process.env, HOME: scratch } }).stdout;
    expect(offered).toContain("--print");
  });

  it("refuses other shells", () => {
    expect(() => completionFor("csh", table)).toThrow(/bash, zsh, fish/u);
  });
});

describe("every command", () => {
  it("has a file of its own", () => {
    const files = new Set(readdirSync("src/cli"));
    expect(table.filter(({ name }) => !files.has(`${name}.ts`)).map(({ name }) => name)).toEqual([]);
  });
});
