/**
 * The sessions of a stage, created when first needed: for any number of rows of a sequence, for each batch size in use, and one for the
 * head. All share one set of packed weights. Each holds a few layers, because the library's planning grows with the square of a graph:
 * 30 layers of SmolLM2 at once cost 0.66 s of processor time, in parts of eight half of that. Made between steps, 0.1 s each.
 *
 * Weights that were rebuilt for a session's creation are given back once the session has packed its own copy. That it reads only
 * the copy is not assumed but seen: the session computes the same bits before and after, else the source is kept.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { invariant } from "../../../core/invariant.js";
import { processStartTime } from "../../../core/process-identity.js";
import type { LayerRange } from "../../../model/spec.js";
import { type GraphShape, headGraph, layersGraph } from "./graph-layers.js";
import type { ModelBuilder } from "./model-builder.js";
import type { Handle, OrtApi } from "./ort-api.js";
import { OrtSession } from "./session.js";
import type { StageWeights } from "./stage-weights.js";
import type { WeightTable } from "./weight-table.js";

const stubName = "initializers";
const stubFolderPrefix = "minid-onnx-";

/** Runs a session once on some fixed input and gives a copy of what it computed. */
export type Probe = (session: OrtSession) => Uint8Array;

const layersKey = (shape: GraphShape, { first, end }: LayerRange): string => `${shape.kind === "batch" ? `batch.${shape.rows}` : shape.kind} ${first}-${end}`;

export class SessionPool {
  readonly #api: OrtApi;
  readonly #table: WeightTable;
  readonly #weights: StageWeights;
  readonly #threads: number;
  readonly #prepacked: Handle;
  readonly #stubFolder: string;
  readonly #sessions = new Map<string, OrtSession>();

  constructor(api: OrtApi, table: WeightTable, weights: StageWeights, threads: number) {
    this.#api = api;
    this.#table = table;
    this.#weights = weights;
    this.#threads = threads;
    this.#prepacked = api.createPrepackedWeights();
    removeOrphans();
    this.#stubFolder = mkdtempSync(path.join(tmpdir(), `${stubFolderPrefix}${process.pid}-`));
    this.#ensureStub();
  }

  /** @param range of the stage's layers. */
  layers(shape: GraphShape, range: LayerRange, probe: Probe): OrtSession {
    return this.#get(layersKey(shape, range), probe, () => layersGraph(this.#weights.parts, range, this.#table, shape, { location: stubName }));
  }

  has(shape: GraphShape, range: LayerRange): boolean { return this.#sessions.has(layersKey(shape, range)); }

  head(probe: Probe): OrtSession {
    return this.#get("head", probe, () => {
      const { head, parts } = this.#weights;
      invariant(head, "only the stage that owns the text has a head");
      return headGraph(parts.spec, head.norm, head.linear, this.#table, { location: stubName });
    });
  }

  dispose(): void {
    for (const session of this.#sessions.values()) session.dispose();
    this.#sessions.clear();
    this.#api.release("prepackedWeights", this.#prepacked);
    rmSync(this.#stubFolder, { recursive: true, force: true });
  }

  /** Made before it is needed, while there is room; and again when somebody has tidied up: a worker lives longer than temporary files do. */
  #ensureStub(): void {
    const stub = path.join(this.#stubFolder, stubName);
    if (existsSync(stub)) return;
    mkdirSync(this.#stubFolder, { recursive: true, mode: 0o700 });
    writeFileSync(stub, "");
    truncateSync(stub, this.#table.largestBytes);
  }

  #get(key: string, probe: Probe, build: () => ModelBuilder): OrtSession {
    const known = this.#sessions.get(key);
    if (known) return known;
    const graph = build();
    this.#table.fill(graph.declared);
    this.#ensureStub();
    const session = new OrtSession(this.#api, graph, this.#table.handles(graph.declared), { threads: this.#threads, prepacked: this.#prepacked, stubFolder: this.#stubFolder });
    this.#sessions.set(key, session);
    const before = probe(session);
    this.#table.discard(graph.declared);
    // A source that is still read has to stay: filled again, for good.
    if (Buffer.compare(before, probe(session)) !== 0) this.#table.fill(graph.declared);
    this.#api.libc.trim();
    return session;
  }
}

/** A worker that is killed cleans nothing up. One taken for dead by mistake (another machine's, in a shared directory) makes its folder again. */
function removeOrphans(): void {
  try {
    for (const name of readdirSync(tmpdir())) {
      const pid = Number(new RegExp(`^${stubFolderPrefix}(\\d+)-`, "u").exec(name)?.[1] ?? process.pid);
      if (processStartTime(pid) === "") rmSync(path.join(tmpdir(), name), { recursive: true, force: true });
    }
  } catch { /* Another time. */ }
}
