/**
 * `minid logs`: the log lines of the whole cluster, of one machine, or of one request. Asks this home's agent, which reads the others';
 * where none runs, this home's own files are read all the same: that is when one wants to see them.
 */
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { homeDirectory } from "../daemon/config/load.js";
import { type LineLevel, type LogLine, levels } from "../daemon/logs/log-line.js";
import { linesMax, tailLogs } from "../daemon/logs/tail.js";
import { homeArgs, jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";
import { NodeClient, nodeArgs } from "./node-client.js";

const linesDefault = 100;

const ownArgs = {
  follow: { type: "boolean", description: "Go on with what is added, until Ctrl-C", default: false, alias: "f" },
  lines: { type: "string", description: `Lines of the past (default ${linesDefault})`, valueHint: "N" },
  node: { type: "string", description: "Only this machine's, by device id (default: all)", valueHint: "DEVICE" },
  level: { type: "string", description: "Least severe line: trace, debug, info, warn or error (default info)", valueHint: "LEVEL" },
  request: { type: "string", description: "Only lines of this request (the x-request-id of its answer)", valueHint: "ID" },
} as const;

export const logsCommand = defineCommand({
  meta: { name: "logs", description: "Show the logs of the cluster" },
  args: { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...homeArgs, ...nodeArgs, ...jsonArgs });
    const question = questionOf(args);
    const stop = new AbortController();
    const onSignal = (): void => { stop.abort(); };
    process.once("SIGINT", onSignal);
    process.once("SIGTERM", onSignal);
    // A reader that has enough (`| head`) ends it.
    process.stdout.on("error", onSignal);
    try {
      for await (const line of lines(args, question, stop.signal)) console.log(args.json ? JSON.stringify(line) : renderLine(line));
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
    return 0;
  },
});

interface Question { readonly lines: number; readonly follow: boolean; readonly level: LineLevel; readonly node?: string; readonly request?: string }

function questionOf(args: Readonly<Record<string, unknown>>): Question {
  const level = stringArg(args, "level") ?? "info";
  const known = levels.find((each) => each === level);
  if (known === undefined) throw new MinidError("usage", `--level ${JSON.stringify(level)}: ${levels.join(", ")} are the levels`);
  const wanted = Number(stringArg(args, "lines") ?? linesDefault);
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > linesMax) throw new MinidError("usage", `--lines must be a whole number up to ${linesMax}`);
  const [node, request] = [stringArg(args, "node"), stringArg(args, "request")];
  return { lines: wanted, follow: args["follow"] === true, level: known, ...(node !== undefined && { node }), ...(request !== undefined && { request }) };
}

async function* lines(args: Readonly<Record<string, unknown>>, question: Question, signal: AbortSignal): AsyncGenerator<LogLine> {
  try {
    const query = new URLSearchParams(Object.fromEntries(Object.entries(question).map(([name, value]) => [name, String(value)])));
    for await (const text of NodeClient.fromArgs(args).lines(`/admin/logs?${query.toString()}`, signal)) yield JSON.parse(text) as LogLine;
    return;
  } catch (error) {
    if (!(error instanceof MinidError) || error.code !== "not_running" || stringArg(args, "url") !== undefined || question.node !== undefined) throw error;
  }
  console.error("minid: no agent runs here: these are this home's own files");
  const home = homeDirectory(stringArg(args, "home"), process.env);
  for await (const batch of tailLogs({ ...question, home, signal })) yield* batch.lines;
}

/** The time of day here, to the millisecond. */
const clockTime = (at: Date): string => `${[at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":")}.${String(at.getMilliseconds()).padStart(3, "0")}`;

/** `12:00:01.123 WARN  mini1 agent  the ring is lost  code=stage_lost` */
export function renderLine({ time, level, process: name, device, message, fields }: LogLine): string {
  const values = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const at = time === "" ? "" : clockTime(new Date(time));
  return [at.padEnd(12), level.toUpperCase().padEnd(5), ...(device === undefined ? [] : [device]), name.padEnd(6), message, ...values].join("  ");
}
