/** The man page, minid(1), from the command table. Pure. */
import { exitCodes } from "../exit-codes.js";
import type { CommandEntry, FlagEntry } from "./command-table.js";

const roff = (text: string): string => text.replaceAll("\\", String.raw`\e`).replaceAll("-", String.raw`\-`).replaceAll(/^([.'])/gmu, String.raw`\&$1`);

/** @param version minid's release. */
export function manPage(commands: readonly CommandEntry[], version: string): string {
  const settings = commands.find((command) => command.settings.length > 1)?.settings ?? [];
  return [
    `.\\" Generated from the command table by npm run docs.`,
    `.TH MINID 1 "" "minid ${roff(version)}" "User Commands"`,
    ".SH NAME", roff("minid - one self-healing inference service out of the machines on your network"),
    ".SH SYNOPSIS", ".B minid", String.raw`.I command`, "[argument ...]",
    ".SH DESCRIPTION",
    roff("minid turns the machines on one network into one inference service that heals itself. It is installed once per machine; the machines find each other, agree who leads, share out a model's layers and answer OpenAI-compatible requests."),
    ".SH COMMANDS", ...commands.flatMap(commandSection),
    ".SH SETTINGS",
    roff("Every setting is a key of <home>/config.json, an environment variable (MINID_ and the key in capitals) and a flag of the commands that say so; flags win over the environment, the environment over the file."),
    ...settings.flatMap(flagItem),
    ".SH EXIT STATUS", ...Object.entries(exitCodes).flatMap(([code, meaning]) => [".TP", `.B ${code}`, roff(meaning)]),
    ".SH FILES",
    ...[["~/.minid, /var/lib/minid", "The home: identity, keys, models, logs. Owner only."], ["<home>/config.json", "Settings."], ["<home>/logs", "One JSON object a line, rotated."], ["/Library/LaunchDaemons/dev.minid.plist, /etc/systemd/system/minid.service", "What minid install writes."]].flatMap(([path = "", text = ""]) => [".TP", `.B ${roff(path)}`, roff(text)]),
    ".SH ENVIRONMENT",
    ...[["MINID_HOME", "The home, where --home is not given."], ["MINID_API_KEY", "The key that minid chat and minid bench send."], ["HF_TOKEN", "Opens gated models to minid pull."], ["DISTRIBUTED_CONFIG", "The configuration file, where --config is not given."]].flatMap(([name = "", text = ""]) => [".TP", `.B ${roff(name)}`, roff(text)]),
    "",
  ].join("\n");
}

function commandSection(command: CommandEntry): string[] {
  const words = command.positionals.map(({ name, required }) => (required ? name : `[${name}]`)).join(" ");
  return [
    `.SS ${roff(`minid ${command.name}${words === "" ? "" : ` ${words}`}`)}`, roff(`${command.description}.`),
    ...command.positionals.flatMap(({ name, description }) => [".TP", `.I ${roff(name)}`, roff(description)]),
    ...command.flags.flatMap(flagItem),
    ...(command.settings.length > 1 ? [".P", "Takes every flag of SETTINGS."] : command.settings.flatMap(flagItem)),
  ];
}

const flagItem = ({ name, description, valueHint }: FlagEntry): string[] => [".TP", `.BR ${roff(`--${name}`)}${valueHint === undefined ? "" : ` " " ${roff(valueHint)}`}`, roff(description)];
