/** `minid pull MODEL`: fetches a model from the hub into this home. Ctrl-C keeps what is here; the same command goes on from there. */
import { defineCommand } from "citty";
import { pullModel, type Pulled, type PullProgress } from "../model/hub/pull.js";
import { configArgs, homeArgs, jsonArgs, nodeSettings, stringArg } from "./common.js";

const ownArgs = {
  id: { type: "positional", description: "The model's id on the hub: org/name", required: true },
  revision: { type: "string", description: "Branch, tag or commit (default main)", valueHint: "NAME" },
} as const;

export const pullCommand = defineCommand({
  meta: { name: "pull", description: "Fetch a model from the hub; $HF_TOKEN opens gated ones" },
  args: { ...ownArgs, ...homeArgs, ...jsonArgs, "hub-url": configArgs["hub-url"]! },
  run: async ({ args }) => {
    const { home, config } = nodeSettings(args, ownArgs);
    const pulled = await pullWithProgress({ home, modelId: args.id, revision: stringArg(args, "revision") ?? "main", hubUrl: config.hub_url, quiet: args.json });
    if (args.json) console.log(JSON.stringify(pulled));
    else console.log(pulled.fetched ? `${pulled.id}: ${pulled.files} files, ${megabytes(pulled.bytes)} MB, in ${pulled.directory}` : `${pulled.id} is here already: ${pulled.directory}`);
    return 0;
  },
});

export async function pullWithProgress(request: { readonly home: string; readonly modelId: string; readonly revision: string; readonly hubUrl: string; readonly quiet: boolean }): Promise<Pulled> {
  const stop = new AbortController();
  const onSignal = (): void => { stop.abort(new Error("interrupted; the same command goes on from there")); };
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  const meter = new Meter(process.stderr, request.quiet);
  try {
    return await pullModel({ ...request, token: process.env["HF_TOKEN"] || undefined, signal: stop.signal, onProgress: (progress) => { meter.show(progress); } });
  } finally {
    meter.end();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);

/** One line that is rewritten on a terminal; a line for every tenth elsewhere. */
class Meter {
  readonly #out: NodeJS.WriteStream;
  readonly #quiet: boolean;
  #shown = "";

  constructor(out: NodeJS.WriteStream, quiet: boolean) { this.#out = out; this.#quiet = quiet; }

  show({ bytes, bytesTotal, file }: PullProgress): void {
    const percent = bytesTotal === 0 ? 100 : Math.floor(100 * bytes / bytesTotal);
    const step = this.#out.isTTY ? `${percent} ${megabytes(bytes)} ${file}` : String(Math.floor(percent / 10));
    if (this.#quiet || step === this.#shown) return;
    this.#shown = step;
    const line = `${String(percent).padStart(3)} %  ${megabytes(bytes)} of ${megabytes(bytesTotal)} MB  ${file}`;
    this.#out.write(this.#out.isTTY ? `\r\u001B[K${line}` : `${line}\n`);
  }

  end(): void { if (this.#out.isTTY && this.#shown !== "") this.#out.write("\r\u001B[K"); }
}
