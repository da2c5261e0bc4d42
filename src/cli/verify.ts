/** `minid verify MODEL_DIR`: runs a checkpoint against the `reference.safetensors` beside it. Exit code 0 only within tolerance. */
import { availableParallelism } from "node:os";
import { defineCommand } from "citty";
import { MinidError } from "../core/errors.js";
import { createEngine } from "../worker/engines/create.js";
import { type VerifyReport, verifyModel } from "../worker/verify.js";
import { jsonArgs, refuseUnknownFlags, stringArg } from "./common.js";

const ownArgs = {
  model: { type: "positional", description: "The checkpoint's directory", required: true },
  engine: { type: "string", description: "onnx (default) or mlx", valueHint: "NAME" },
  exact: { type: "boolean", description: "Float32 arithmetic, held to 1e-4", default: false },
  precise: { type: "boolean", description: "The precise mode instead of the fast one", default: false },
  split: { type: "string", description: "Layers at which a new stage begins: 2,3", valueHint: "LAYERS" },
} as const;

export const verifyCommand = defineCommand({
  meta: { name: "verify", description: "Check a checkpoint against the reference outputs beside it" },
  args: { ...ownArgs, ...jsonArgs },
  run: async ({ args }) => {
    refuseUnknownFlags(args, { ...ownArgs, ...jsonArgs });
    const name = stringArg(args, "engine") ?? "onnx";
    if (name !== "onnx" && name !== "mlx") throw new MinidError("usage", `--engine is ${JSON.stringify(name)}: onnx or mlx`);
    if (args.exact && args.precise) throw new MinidError("usage", "--exact and --precise exclude each other");
    const report = await verifyModel({
      directory: args.model,
      engine: await createEngine(name),
      numerics: args.exact ? "exact" : args.precise ? "precise" : "fast",
      split: layersOf(stringArg(args, "split")),
      threads: availableParallelism(),
    });
    console.log(args.json ? JSON.stringify(report) : render(report));
    return report.passed ? 0 : 1;
  },
});

function layersOf(text: string | undefined): number[] {
  if (text === undefined || text === "") return [];
  return text.split(",").map((part) => {
    if (!/^\d+$/u.test(part)) throw new MinidError("usage", `--split is ${JSON.stringify(text)}: write layer numbers separated by commas, like 2,3`);
    return Number(part);
  });
}

function render(report: VerifyReport): string {
  const split = report.split.length > 0 ? `, cut at ${report.split.join(", ")}` : "";
  return [
    `${report.engine}, ${report.numerics}${split}`,
    ...report.layerErrors.map((error, layer) => `layer ${String(layer).padStart(3)}  largest relative error ${error.toExponential(2)}`),
    `last layer through the cut ${report.splitError.toExponential(2)}`,
    `logits     largest relative error ${report.logitsError.toExponential(2)} (tolerance ${report.tolerance.logits})`,
    `top-1      ${report.top1.agreed} of ${report.top1.of}`,
    `greedy     ${report.greedy.agreed} of ${report.greedy.of}${report.greedy.decided > 0 ? `, ${report.greedy.decided} wrong where the margin is wide` : ""}`,
    report.passed ? "passed" : `FAILED: ${report.failures.join("; ")}`,
  ].join("\n");
}
