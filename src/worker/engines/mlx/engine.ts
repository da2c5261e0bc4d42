/**
 * The mlx engine: the default on Apple silicon. On other machines it runs on MLX's CPU backend, slowly, to prove that both engines agree.
 *
 * Numerics: `exact` multiplies with float32 matrices dequantized at load (four times the memory at 8 bits); `fast` and `precise` multiply with the
 * packed weights. The CPU backend computes in float32 throughout (its half-precision matmul aborts the process), so there `precise` is `fast`;
 * on Metal `fast` computes in the checkpoint's own half precision and `precise` in float32.
 *
 * Metal is written from the documentation and has not run (docs/ARCHITECTURE.md says what is proven where).
 */
import { MinidError } from "../../../core/errors.js";
import type { Engine, Numerics, StageOptions } from "../engine.js";
import { loadMlx, mlxVersion } from "./binding.js";
import type { MxCore, MxDtype } from "./binding.js";
import { MlxStage } from "./stage.js";
import type { StageArithmetic } from "./stage.js";

export { mlxAvailability } from "./binding.js";

/** @throws MinidError engine_unavailable */
export function createMlxEngine(): Engine {
  const mx = loadMlx();
  const metal = mx.metal.isAvailable();
  return {
    name: "mlx",
    replay: metal ? "decode" : "prefill",
    description: `mlx ${mlxVersion} ${metal ? "metal" : "cpu"}`,
    load: options => load(mx, options, arithmeticOf(mx, metal, options)),
  };
}

async function load(mx: MxCore, options: StageOptions, arithmetic: StageArithmetic): Promise<MlxStage> {
  try {
    return new MlxStage(mx, options, arithmetic);
  } catch (thrown) {
    if (thrown instanceof MinidError) throw thrown;
    throw new MinidError("engine_failed", `MLX cannot load layers ${options.layers.first} to ${options.layers.end} of ${options.checkpoint.directory}: ${thrown instanceof Error ? thrown.message : String(thrown)}: use engine onnx`, { cause: thrown });
  }
}

function arithmeticOf(mx: MxCore, metal: boolean, { numerics, checkpoint }: StageOptions): StageArithmetic {
  return {
    compute: metal && numerics === "fast" ? halfOf(mx, checkpoint.finalNorm.dtype) : mx.float32,
    dequantized: isExact(numerics),
    rowByRow: !metal,
  };
}

const isExact = (numerics: Numerics): boolean => numerics === "exact";

/** bfloat16 and float16 do not convert into each other without loss, so the checkpoint's own. */
const halfOf = (mx: MxCore, dtype: string): MxDtype => (dtype === "BF16" ? mx.bfloat16 : dtype === "F16" ? mx.float16 : mx.float32);
