/**
 * The sessions of a stage, created when first needed: one for any number of rows of a sequence, one for a lone decoding row, one
 * for each batch size in use, one for the head. All share one set of packed weights.
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { invariant } from "../../../core/invariant.js";
import { type GraphShape, headGraph, layersGraph } from "./graph-layers.js";
import type { ModelBuilder } from "./model-builder.js";
import type { Handle, OrtApi } from "./ort-api.js";
import { OrtSession } from "./session.js";
import type { StageWeights } from "./stage-weights.js";
import type { WeightTable } from "./weight-table.js";

const stubName = "initializers";

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
    this.#stubFolder = mkdtempSync(path.join(tmpdir(), "minid-onnx-"));
    const stub = path.join(this.#stubFolder, stubName);
    writeFileSync(stub, "");
    truncateSync(stub, table.largestBytes);
  }

  layers(shape: GraphShape): OrtSession {
    return this.#get(`${shape.kind}.${shape.rows ?? "any"}`, () => layersGraph(this.#weights.parts, this.#table, shape, { location: stubName }));
  }

  head(): OrtSession {
    return this.#get("head", () => {
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

  #get(key: string, build: () => ModelBuilder): OrtSession {
    let session = this.#sessions.get(key);
    if (session === undefined) {
      const graph = build();
      this.#table.fill(graph.declared);
      session = new OrtSession(this.#api, graph, this.#table.handles(graph.declared), { threads: this.#threads, prepacked: this.#prepacked, stubFolder: this.#stubFolder });
      this.#sessions.set(key, session);
    }
    return session;
  }
}
