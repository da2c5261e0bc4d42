/**
 * The unit and the property list, filled in from their templates (systemd/, launchd/). Values are quoted as each format wants it;
 * what no quoting can carry (line breaks) is refused. What has to be undone at removal is a comment in the file itself, so that
 * nothing else needs to remember it.
 */
import { MinidError } from "../../core/errors.js";
import type { ServiceSeen, ServiceSpec } from "./spec.js";

const undoMark = "minid install changed the power settings; before:";

/** @throws MinidError usage for a value that no quoting can carry. */
export function filledIn(spec: ServiceSpec, template: string): string {
  for (const [name, value] of Object.entries({ home: spec.home, user: spec.user.name, "the package's directory": spec.root, node: spec.node, flag: spec.flags.join(" ") })) {
    if (/\p{Cc}/u.test(value)) throw new MinidError("usage", `${name} ${JSON.stringify(value)} holds a control character: no service manager can be told that`);
  }
  const argv = [spec.node, `${spec.root}/dist/cli/main.js`, "up", "--home", spec.home, ...spec.flags];
  const quote = spec.platform === "linux" ? systemdWord : xmlText;
  const values: Readonly<Record<string, string>> = {
    ARGV: spec.platform === "linux" ? argv.map(commandWord).join(" ") : argv.map((word) => `\t\t<string>${xmlText(word)}</string>`).join("\n").trimStart(),
    // Paths outside of ExecStart are not split into words; only specifiers (%) are expanded in them.
    ROOT: spec.platform === "linux" ? specifiers(spec.root) : xmlText(spec.root),
    DOCUMENTATION: `file://${encodeURI(spec.root).replaceAll("%", "%%")}/README.md`,
    HOME_DIR: quote(spec.home),
    USER: spec.platform === "linux" ? spec.user.name : xmlText(spec.user.name),
    USER_HOME: quote(spec.user.home),
    DRAIN: [spec.node, `${spec.root}/dist/cli/main.js`, "drain", "--home", spec.home].map(commandWord).join(" "),
    ENV_HOME: spec.platform === "linux" ? systemdWord(`MINID_HOME=${spec.home}`) : "",
  };
  return template.replaceAll(/@([A-Z_]+)@/gu, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined) throw new MinidError("internal_error", `the service template has an unknown placeholder ${placeholder}`);
    return value;
  });
}

export function fillTemplate(spec: ServiceSpec, template: string, seen: Pick<ServiceSeen, "definition" | "pmset">): string {
  const filled = filledIn(spec, template);
  // An upgrade must not forget what the first installation changed.
  const undo = powerBefore(seen.definition ?? "") ?? (spec.keepAwake ? seen.pmset ?? {} : undefined);
  if (undo === undefined) return filled;
  const note = `${undoMark} ${JSON.stringify(undo)}`;
  return spec.platform === "linux" ? `${filled.trimEnd()}\n# ${note}\n` : filled.replace(/<\/plist>\s*$/u, `<!-- ${note} -->\n</plist>\n`);
}

/** @returns what a definition says of the power settings before minid changed them: `{}` on Linux; undefined: it did not. */
export function powerBefore(definition: string): Readonly<Record<string, number>> | undefined {
  const found = new RegExp(`${undoMark} (\\{[a-z0-9:,"]*\\})`, "u").exec(definition)?.[1];
  if (found === undefined) return undefined;
  const entries = Object.entries(JSON.parse(found) as Record<string, unknown>);
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => /^(?:sleep|autorestart|womp)$/u.test(entry[0]) && Number.isSafeInteger(entry[1])));
}

/** The home that an installed service uses. */
export function homeOf(definition: string): string | undefined {
  const unit = /^Environment="?MINID_HOME=(.*?)"?$/mu.exec(definition)?.[1];
  if (unit !== undefined) return unit.replaceAll("%%", "%").replaceAll(/\\(["\\])/gu, "$1");
  const plist = /<key>MINID_HOME<\/key>\s*<string>([^<]*)<\/string>/u.exec(definition)?.[1];
  return plist?.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** The user that an installed service runs as. */
export const userOf = (definition: string): string | undefined =>
  /^User=(\S+)$/mu.exec(definition)?.[1] ?? /<key>UserName<\/key>\s*<string>([^<]*)<\/string>/u.exec(definition)?.[1];

const specifiers = (text: string): string => text.replaceAll("%", "%%");

/** In command lines, and only there, a dollar begins a variable. */
const commandWord = (text: string): string => systemdWord(text).replaceAll("$", "$$$$");

/** systemd.syntax(7): quotes and backslashes escaped, specifiers not expanded. */
function systemdWord(text: string): string {
  const escaped = specifiers(text).replaceAll(/["\\]/gu, String.raw`\$&`);
  return /[\s"'\\;]/u.test(text) || text === "" ? `"${escaped}"` : escaped;
}

const xmlText = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
