/**
 * How the tensors of an MLX checkpoint are quantized: `quantization` in `config.json` gives the default and, by module name,
 * exceptions, `false` among them. A module without an exception is quantized exactly when the file has scales for it, which is
 * mlx-lm's own rule.
 */
import { MinidError } from "../core/errors.js";
import { unsupported } from "./config.js";
import type { QuantizationSpec } from "./spec.js";

export interface QuantizationTable {
  /** Undefined: the checkpoint is unquantized. */
  readonly byDefault: QuantizationSpec | undefined;
  /** By module name (`model.layers.0.mlp.gate_proj`); false: this one is not quantized. */
  readonly overrides: ReadonlyMap<string, QuantizationSpec | false>;
}

const settings = new Set(["bits", "group_size", "mode", "quant_method"]);

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param config parsed `config.json`. @throws MinidError model_corrupt | model_unsupported that names the field. */
export function quantizationOf(config: unknown, file: string): QuantizationTable {
  const fields = isRecord(config) ? config : {};
  const field = fields["quantization"] !== undefined && fields["quantization"] !== null ? "quantization" : "quantization_config";
  const raw = fields[field];
  if (raw === undefined || raw === null) return { byDefault: undefined, overrides: new Map() };
  if (!isRecord(raw)) throw new MinidError("model_corrupt", `${file}: field ${field} is not an object: correct it or fetch the file again`);
  const method = raw["quant_method"];
  if (method !== undefined && method !== "mlx") throw unsupported(file, `${field}.quant_method ${JSON.stringify(method)} is not supported, only MLX's affine quantization is`);
  const overrides = new Map<string, QuantizationSpec | false>();
  for (const [name, value] of Object.entries(raw)) {
    if (settings.has(name)) continue;
    if (value === false) overrides.set(name, false);
    else if (isRecord(value)) overrides.set(name, parseQuantization({ bits: raw["bits"], group_size: raw["group_size"], mode: raw["mode"], ...value }, `${field}.${name}`, file));
  }
  return { byDefault: parseQuantization(raw, field, file), overrides };
}

function parseQuantization(raw: Record<string, unknown>, field: string, file: string): QuantizationSpec {
  const { bits, group_size: groupSize, mode } = raw;
  if (mode !== undefined && mode !== "affine") throw unsupported(file, `${field}.mode ${JSON.stringify(mode)} is not supported, only affine is`);
  if (bits !== 4 && bits !== 8) throw unsupported(file, `${field}.bits ${JSON.stringify(bits)} is not supported, only 4 and 8 are`);
  if (groupSize !== 32 && groupSize !== 64 && groupSize !== 128) throw unsupported(file, `${field}.group_size ${JSON.stringify(groupSize)} is not supported, only 32, 64 and 128 are`);
  return { bits, groupSize };
}
