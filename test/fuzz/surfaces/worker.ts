/** What a worker is sent: by its agent, by a scheduler, by the rank before it. */
import { fromWire } from "../../../src/worker/activations.js";
import { admitLoad } from "../../../src/worker/fence.js";
import { nodeId } from "../../../src/core/ids.js";
import { parseLoadRequest } from "../../../src/worker/load-request.js";
import { samplingParams } from "../../../src/worker/sampling-params.js";
import { checkHidden, checkStep, computedBy } from "../../../src/worker/step-check.js";
import { type CacheOp, type LoadRequest, type Sampling, type StepSpan, greedySampling } from "../../../src/core/worker-protocol.js";
import type { Random } from "../../chaos/random.js";
import { below, bytes, mutatedJson, number, strangeValue } from "../mutate.js";
import { Fault, type Surface, refusalOrResult } from "../surface.js";

const limits = { slots: 4, contextMax: 64, hiddenSize: 8, vocabSize: 32, ownsText: true };

const near = (random: Random, sound: number): number => (random.chance(0.75) ? sound : random.chance(0.5) ? sound + below(random, 5) - 2 : number(random));

function op(random: Random): CacheOp {
  const slot = () => near(random, below(random, limits.slots));
  switch (below(random, 3)) {
    case 0: {
      const history = Array.from({ length: near(random, 5) > 0 ? below(random, 70) : 0 }, () => near(random, below(random, limits.vocabSize)));
      return { op: "open", open: { slot: slot(), sampling: random.chance(0.9) ? greedySampling : null, history, promptLength: near(random, history.length) } };
    }
    case 1: return { op: "copy", copy: { from: slot(), to: slot(), length: near(random, below(random, 64)) } };
    default: return { op: "drop", drop: { slot: slot() } };
  }
}

function span(random: Random): StepSpan {
  const rows = near(random, 1 + below(random, 8));
  return { slot: near(random, below(random, limits.slots)), position: near(random, below(random, 8)), rows, tokens: random.chance(0.5) ? [] : Array.from({ length: Math.min(80, Math.max(0, near(random, rows))) || 0 }, () => near(random, below(random, limits.vocabSize))), sample: random.chance(0.5), ...(random.chance(0.3) && { lacking: Array.from({ length: below(random, 3) }, () => near(random, below(random, 3))) }) };
}

const stepCheck: Surface = {
  name: "step", about: "steps and frames before they reach native code: slots, positions, rows, tokens, activations", cases: 320_000, slice: 400,
  open: () => ({
    run: (random) => {
      const held = [0, 3, 40, 64];
      const ops = Array.from({ length: below(random, 4) }, () => op(random));
      const spans = Array.from({ length: below(random, 5) }, () => span(random));
      const stage = { ...limits, ownsText: random.chance(0.7) };
      const rank = stage.ownsText ? 0 : 1;
      const holdings = { rank, length: (slot: number) => held[slot] ?? 0, history: (slot: number) => (slot < 2 ? held[slot] : undefined), handedOn: (slot: number) => (slot % 2 === 0 ? held[slot] ?? 0 : 0) };
      const rows = refusalOrResult(() => checkStep(stage, holdings, ops, spans));
      if (rows === undefined) return;
      // What passes can be carried out on a stage of these limits.
      const inside = (slot: number) => Number.isInteger(slot) && slot >= 0 && slot < limits.slots;
      const bad = spans.find(({ slot, position, rows: count, tokens }) => !inside(slot) || !Number.isInteger(position) || position < 0 || !Number.isInteger(count) || count < 1 || position + count > limits.contextMax || (stage.ownsText && tokens.some((token) => !Number.isInteger(token) || token < 0 || token >= limits.vocabSize)));
      if (bad) throw new Fault(`a span was let through: ${JSON.stringify(bad)}`);
      if (rows !== spans.reduce((sum, { rows: count, lacking }) => sum + (computedBy(lacking, rank) ? count : 0), 0)) throw new Fault(`${rows} rows are counted`);
      const hidden = refusalOrResult(() => fromWire(bytes(random, below(random, 5) === 0 ? below(random, 300) : rows * limits.hiddenSize * 4)));
      if (hidden) refusalOrResult(() => checkHidden(hidden, rows, limits.hiddenSize));
    },
  }),
};

const sound: LoadRequest = {
  epoch: { counter: 3, nodeId: nodeId("aa") }, planVersion: 1, modelId: "m", modelDir: "/models/m", rank: 1, worldSize: 2, layerFirst: 3, layerEnd: 6, engine: "onnx", numerics: "fast",
  threads: 1, slots: 4, contextMax: 64, batchMax: 2, nextAddress: "127.0.0.1:5", nextName: "x.minid",
};

/** Of values that have no text, too. */
const strangeText = (random: Random): string => { const value = strangeValue(random); return typeof value === "string" ? value : JSON.stringify(value) ?? ""; };

const loadRequest: Surface = {
  name: "load", about: "Load requests, epochs and sampling parameters", cases: 80_000, slice: 200,
  open: () => ({
    run: (random) => {
      // What protobuf can make of bytes: the fields are there, with values of their type.
      const field = random.pick(Object.keys(sound) as (keyof LoadRequest)[]);
      const value = typeof sound[field] === "number" ? Math.trunc(Math.abs(number(random))) : typeof sound[field] === "string" ? strangeText(random) : random.chance(0.3) ? null : { counter: Math.abs(number(random)), nodeId: strangeText(random) };
      const load = refusalOrResult(() => parseLoadRequest({ ...sound, [field]: value }));
      if (load) {
        if (!Number.isSafeInteger(load.term.epoch.counter) || load.options.layerEnd <= load.options.layerFirst || load.rank >= load.worldSize) throw new Fault(`a Load was taken: ${JSON.stringify(load)}`);
        refusalOrResult(() => admitLoad({ counter: below(random, 6), nodeId: nodeId("aa") }, load.term, load.term));
      }
      const wild = mutatedJson(random, { ...greedySampling, logitBias: { 3: 1 }, topLogprobs: 5 });
      if (typeof wild !== "object" || wild === null) return;
      const wire = { ...greedySampling, ...wild };
      const numbers = Object.entries(greedySampling).every(([name, usual]) => typeof (wire as Record<string, unknown>)[name] === typeof usual);
      if (!numbers || typeof wire.logitBias !== "object" || wire.logitBias === null || !Object.values(wire.logitBias).every((bias) => typeof bias === "number")) return;
      const params = refusalOrResult(() => samplingParams(wire as Sampling, 32));
      if (params && !(params.temperature >= 0 && params.topP >= 0 && params.topP <= 1 && Number.isSafeInteger(params.seed))) throw new Fault(`sampling was taken: ${JSON.stringify(params)}`);
    },
  }),
};

export const workerSurfaces: readonly Surface[] = [stepCheck, loadRequest];
