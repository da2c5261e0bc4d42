/** The engines by name. Loaded when asked for: a machine needs only the native library of the engine it uses. */
import type { Engine, EngineName } from "./engine.js";

/** @throws MinidError engine_unavailable when the engine's native library does not load here. */
export async function createEngine(name: EngineName): Promise<Engine> {
  switch (name) {
    case "onnx": return (await import("./onnx/engine.js")).createOnnxEngine();
    case "mlx": return (await import("./mlx/engine.js")).createMlxEngine();
  }
}
