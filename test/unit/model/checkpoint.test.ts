import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../../src/core/errors.js";
import { openCheckpoint } from "../../../src/model/checkpoint.js";

const fixtures = join(import.meta.dirname, "../../fixtures/tiny");
const embedded = join(import.meta.dirname, "../../../models/SmolLM2-135M-Instruct-8bit");
const dense = ["llama-4bit-g32", "llama-8bit-rope3", "qwen2-8bit-bias", "qwen3-4bit-tied", "qwen3-8bit", "qwen3-bf16-tied"];

let scratch: string;
beforeAll(async () => { scratch = await mkdtemp(join(tmpdir(), "minid-checkpoint-")); });
afterAll(() => rm(scratch, { recursive: true, force: true }));

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
type Config = Record<string, unknown>;

interface SafetensorsFile { header: Header; data: Buffer }

async function readParts(file: string): Promise<SafetensorsFile> {
  const bytes = await readFile(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  return { header: JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Header, data: bytes.subarray(8 + headerBytes) };
}

function join8(headerText: string | Buffer, data: Buffer, claimedBytes = BigInt(Buffer.byteLength(headerText))): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedBytes);
  return Buffer.concat([length, Buffer.from(headerText), data]);
}

let made = 0;
async function emptyDirectory(): Promise<string> {
  made += 1;
  const directory = join(scratch, String(made));
  await mkdir(directory);
  return directory;
}

/** A copy of a tiny checkpoint with its header and config edited. */
async function edited(name: string, edit: { header?: (header: Header) => void; config?: (config: Config) => void; file?: (parts: SafetensorsFile) => Buffer }): Promise<string> {
  const directory = await emptyDirectory();
  const config = JSON.parse(await readFile(join(fixtures, name, "config.json"), "utf8")) as Config;
  edit.config?.(config);
  await writeFile(join(directory, "config.json"), JSON.stringify(config));
  const parts = await readParts(join(fixtures, name, "model.safetensors"));
  edit.header?.(parts.header);
  await writeFile(join(directory, "model.safetensors"), edit.file?.(parts) ?? join8(JSON.stringify(parts.header), parts.data));
  return directory;
}

const norm = "model.layers.2.input_layernorm.weight";
const packed = "model.layers.1.mlp.up_proj.weight";
const scales = "model.layers.1.mlp.up_proj.scales";
const tensor = (header: Header, name: string): Header[string] => {
  const found = header[name];
  if (found === undefined) throw new Error(`the fixture has no ${name}`);
  return found;
};

async function refusal(directory: string): Promise<{ code: ErrorCode; message: string }> {
  const error: unknown = await openCheckpoint(directory).then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "MinidError" });
  return error as { code: ErrorCode; message: string };
}

describe("openCheckpoint", () => {
  it.each(dense)("opens %s", async name => {
    const checkpoint = await openCheckpoint(join(fixtures, name));
    expect(checkpoint.layers).toHaveLength(4);
    expect(checkpoint.head === checkpoint.embedding).toBe(checkpoint.spec.tiedEmbeddings);
    expect(checkpoint.layers[0]?.q.kind).toBe(name.includes("bf16") ? "dense" : "affine");
    expect(checkpoint.layers[3]?.v.bias !== undefined).toBe(name.startsWith("qwen2"));
    expect(checkpoint.layers[3]?.o.bias).toBeUndefined();
    expect(checkpoint.layers[2]?.kNorm !== undefined).toBe(name.startsWith("qwen3"));
    await checkpoint.close();
  });

  it("opens the embedded default model, which is sharded, and reads a tensor of it", async () => {
    const checkpoint = await openCheckpoint(embedded);
    expect(checkpoint.layers).toHaveLength(30);
    const files = new Set(checkpoint.layers.map(layer => layer.down.weight.file));
    expect(files.size).toBeGreaterThan(1);
    const values = await checkpoint.readFloat32(checkpoint.finalNorm);
    expect(values).toHaveLength(576);
    expect(values.every(Number.isFinite)).toBe(true);
    await checkpoint.close();
  });

  it("follows links out of the directory, as in a Hugging Face cache, and names the real files", async () => {
    const snapshot = await emptyDirectory();
    const blobs = await emptyDirectory();
    for (const file of ["config.json", "model.safetensors"]) {
      await copyFile(join(fixtures, "qwen3-8bit", file), join(blobs, `blob-of-${file}`));
      await symlink(join(blobs, `blob-of-${file}`), join(snapshot, file));
    }
    const checkpoint = await openCheckpoint(snapshot);
    expect(checkpoint.finalNorm.file).toContain("blob-of-model.safetensors");
    expect(await checkpoint.readFloat32(checkpoint.finalNorm)).toHaveLength(128);
    await checkpoint.close();
  });

  it("lets tied embeddings win over an lm_head that is there as well", async () => {
    const directory = await edited("qwen3-8bit", { config: config => { config["tie_word_embeddings"] = true; } });
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.head).toBe(checkpoint.embedding);
    await checkpoint.close();
  });

  it("takes a tensor as unquantized where an override says false", async () => {
    const name = "model.layers.1.mlp.up_proj";
    const directory = await edited("qwen3-8bit", {
      config: config => { config["quantization"] = { bits: 8, group_size: 64, [name]: false }; },
      file: ({ header, data }) => {
        const dense = Buffer.alloc(256 * 128 * 2);
        header[`${name}.weight`] = { dtype: "BF16", shape: [256, 128], data_offsets: [data.length, data.length + dense.length] };
        return join8(JSON.stringify(header), Buffer.concat([data, dense]));
      },
    });
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.layers[1]?.up.kind).toBe("dense");
    expect(checkpoint.layers[0]?.up.kind).toBe("affine");
    await checkpoint.close();
  });

  it("takes a tensor without scales as unquantized, and honours an override's own bits and group", async () => {
    const directory = await edited("llama-4bit-g32", {
      config: config => {
        config["quantization"] = { bits: 8, group_size: 64, ...Object.fromEntries([0, 1, 2, 3].flatMap(layer => ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"].map(part => [`model.layers.${layer}.${part}`, { bits: 4, group_size: 32 }]))), "model.embed_tokens": { bits: 4, group_size: 32 } };
      },
      file: ({ header, data }) => {
        const dense = Buffer.alloc(512 * 128 * 4);
        delete header["lm_head.scales"];
        delete header["lm_head.biases"];
        header["lm_head.weight"] = { dtype: "F32", shape: [512, 128], data_offsets: [data.length, data.length + dense.length] };
        return join8(JSON.stringify(header), Buffer.concat([data, dense]));
      },
    });
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.head.kind).toBe("dense");
    expect(checkpoint.embedding).toMatchObject({ kind: "affine", quantization: { bits: 4, groupSize: 32 } });
    await checkpoint.close();
  });
});

describe("a corrupt checkpoint is refused by name", () => {
  const config = (change: Config) => (fields: Config): void => { Object.assign(fields, change); };
  const cases: [string, () => Promise<string>, ErrorCode, string[]][] = [
    ["a directory that does not exist", async () => join(scratch, "absent"), "model_unreadable", ["absent", "does not exist"]],
    ["no config.json", emptyDirectory, "model_unreadable", ["config.json", "does not exist"]],
    ["a config that is not JSON", async () => { const directory = await edited("qwen3-8bit", {}); await writeFile(join(directory, "config.json"), "{"); return directory; }, "model_corrupt", ["config.json", "not JSON"]],
    ["a config that is no object", async () => { const directory = await edited("qwen3-8bit", {}); await writeFile(join(directory, "config.json"), "[]"); return directory; }, "model_corrupt", ["config.json", "not a JSON object"]],
    ["no weights", async () => { const directory = await edited("qwen3-8bit", {}); await rm(join(directory, "model.safetensors")); return directory; }, "model_unreadable", ["model.safetensors", "neither"]],
    ["a weight file that is a directory", async () => { const directory = await edited("qwen3-8bit", {}); await rm(join(directory, "model.safetensors")); await mkdir(join(directory, "model.safetensors")); return directory; }, "model_unreadable", ["model.safetensors"]],
    ["an empty file", () => edited("qwen3-8bit", { file: () => Buffer.alloc(0) }), "model_corrupt", ["model.safetensors", "0 bytes"]],
    ["a truncated file", async () => { const directory = await edited("qwen3-8bit", {}); await truncate(join(directory, "model.safetensors"), 500_000); return directory; }, "model_corrupt", ["model.safetensors", "truncated", "tensor model."]],
    ["a header longer than the file", () => edited("qwen3-8bit", { file: ({ data }) => join8("{}", data.subarray(0, 100), 5000n) }), "model_corrupt", ["5000 bytes", "truncated"]],
    ["an absurd header length", () => edited("qwen3-8bit", { file: ({ data }) => join8("{}", data, 2n ** 63n) }), "model_corrupt", ["9223372036854775808"]],
    ["a header that is not JSON", () => edited("qwen3-8bit", { file: ({ data }) => join8("<html>404</html>", data) }), "model_corrupt", ["header is not JSON"]],
    ["a header that is not an object", () => edited("qwen3-8bit", { file: ({ data }) => join8("[1]", data) }), "model_corrupt", ["not a JSON object"]],
    ["a name described twice", () => edited("qwen3-8bit", { file: ({ header, data }) => join8(`${JSON.stringify(header).slice(0, -1)},${JSON.stringify(norm)}:${JSON.stringify(header[norm])}}`, data) }), "model_corrupt", [norm, "twice"]],
    ["overlapping tensors", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).data_offsets = tensor(header, "model.layers.1.input_layernorm.weight").data_offsets; } }), "model_corrupt", [norm, "model.layers.1.input_layernorm.weight", "overlap"]],
    ["an offset past the end", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).data_offsets = [10_000_000, 10_000_256]; } }), "model_corrupt", [norm, "10000000"]],
    ["a negative offset", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).data_offsets = [-256, 0]; } }), "model_corrupt", [norm, "-256"]],
    ["an end before the beginning", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).data_offsets = [256, 0]; } }), "model_corrupt", [norm, "before it begins"]],
    ["offsets that do not fit the shape", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).shape = [127]; } }), "model_corrupt", [norm, "254", "256"]],
    ["a shape that is no shape", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).shape = [1.5]; } }), "model_corrupt", [norm, "1.5"]],
    ["a missing tensor", () => edited("qwen3-8bit", { header: header => { delete header[norm]; } }), "model_corrupt", [norm, "missing"]],
    ["missing scales", () => edited("qwen3-8bit", { header: header => { delete header[scales]; } }), "model_corrupt", [scales, "missing"]],
    ["a missing bias", () => edited("qwen2-8bit-bias", { header: header => { delete header["model.layers.0.self_attn.k_proj.bias"]; } }), "model_corrupt", ["model.layers.0.self_attn.k_proj.bias"]],
    ["a wrong shape", () => edited("qwen3-8bit", { header: header => { tensor(header, packed).shape = [128, 64]; } }), "model_corrupt", [packed, "[128, 64]", "[256, 32]"]],
    ["a wrong dtype of a packed weight", () => edited("qwen3-8bit", { header: header => { tensor(header, packed).dtype = "F32"; } }), "model_corrupt", [packed, "F32", "U32"]],
    ["a wrong dtype of a norm", () => edited("qwen3-8bit", { header: header => { tensor(header, norm).dtype = "I16"; } }), "model_corrupt", [norm, "I16"]],
    ["a dtype that minid does not read", () => edited("qwen3-8bit", { header: header => { Object.assign(tensor(header, norm), { dtype: "F8_E4M3", shape: [256] }); } }), "model_unsupported", [norm, "F8_E4M3"]],
    ["quantized weights without a quantization", () => edited("qwen3-8bit", { config: fields => { delete fields["quantization"]; delete fields["quantization_config"]; } }), "model_corrupt", ["config.json", "quantized"]],
    ["an unknown family", () => edited("qwen3-8bit", { config: config({ model_type: "mamba" }) }), "model_unsupported", ["mamba", "llama, mistral, qwen2, qwen3"]],
    ["no family", () => edited("qwen3-8bit", { config: config({ model_type: undefined }) }), "model_corrupt", ["model_type"]],
    ["3 bits", () => edited("qwen3-8bit", { config: config({ quantization: { bits: 3, group_size: 64 } }) }), "model_unsupported", ["quantization.bits", "3"]],
    ["groups of 16", () => edited("qwen3-8bit", { config: config({ quantization: { bits: 8, group_size: 16 } }) }), "model_unsupported", ["quantization.group_size", "16"]],
    ["another mode of quantization", () => edited("qwen3-8bit", { config: config({ quantization: { bits: 4, group_size: 32, mode: "mxfp4" } }) }), "model_unsupported", ["mode", "mxfp4", "affine"]],
    ["another mode in an override", () => edited("qwen3-8bit", { config: config({ quantization: { bits: 8, group_size: 64, "model.embed_tokens": { bits: 6, group_size: 64 } } }) }), "model_unsupported", ["model.embed_tokens.bits", "6"]],
    ["another method of quantization", () => edited("qwen3-bf16-tied", { config: config({ quantization_config: { quant_method: "gptq", bits: 4, group_size: 128 } }) }), "model_unsupported", ["quant_method", "gptq"]],
    ["a config that contradicts the weights", () => edited("qwen3-8bit", { config: config({ intermediate_size: 512 }) }), "model_corrupt", ["mlp.gate_proj", "config.json calls for"]],
    ["more layers than the weights have", () => edited("qwen3-8bit", { config: config({ num_hidden_layers: 5 }) }), "model_corrupt", ["model.layers.4."]],
  ];
  it.each(cases)("%s", async (_, make, code, says) => {
    const error = await refusal(await make());
    expect(error.code).toBe(code);
    for (const text of says) expect(error.message).toContain(text);
    // Every message ends in what to do.
    expect(error.message).toMatch(/fetch|choose|check|correct|use|remove/);
  });

  it("a file that became shorter after it was opened", async () => {
    const directory = await edited("qwen3-8bit", {});
    const checkpoint = await openCheckpoint(directory);
    await truncate(join(directory, "model.safetensors"), 20_000);
    const last = checkpoint.layers.map(layer => layer.down.weight).toSorted((a, b) => b.offset - a.offset)[0];
    if (last === undefined) throw new Error("no layers");
    await expect(checkpoint.read(last)).rejects.toMatchObject({ code: "model_corrupt", message: expect.stringContaining(last.name) as string });
    await checkpoint.close();
  });
});

describe("shards", () => {
  /** The tiny checkpoint in two shards. */
  async function sharded(change: (index: { weight_map: Record<string, string> }, shards: Record<string, Header>) => void = () => undefined): Promise<string> {
    const directory = await emptyDirectory();
    await copyFile(join(fixtures, "qwen3-8bit", "config.json"), join(directory, "config.json"));
    const { header, data } = await readParts(join(fixtures, "qwen3-8bit", "model.safetensors"));
    const shards: Record<string, Header> = { "a.safetensors": {}, "b.safetensors": {} };
    const index: { weight_map: Record<string, string> } = { weight_map: {} };
    for (const [position, [name, entry]] of Object.entries(header).filter(([key]) => key !== "__metadata__").entries()) {
      const shard = position % 2 === 0 ? "a.safetensors" : "b.safetensors";
      index.weight_map[name] = shard;
      Object.assign(shards[shard] ?? {}, { [name]: entry });
    }
    change(index, shards);
    await writeFile(join(directory, "model.safetensors.index.json"), JSON.stringify(index));
    for (const [shard, entries] of Object.entries(shards)) await writeFile(join(directory, shard), join8(JSON.stringify(entries), data));
    return directory;
  }

  it("are read as one", async () => {
    const checkpoint = await openCheckpoint(await sharded());
    expect(new Set(checkpoint.layers.flatMap(layer => [layer.inputNorm.file, layer.q.weight.file, layer.down.weight.file])).size).toBe(2);
    await checkpoint.close();
  });

  const firstOf = (shard: Header | undefined): [string, Header[string]] => {
    const [entry] = Object.entries(shard ?? {});
    if (entry === undefined) throw new Error("an empty shard");
    return entry;
  };
  const cases: [string, Parameters<typeof sharded>[0], string[]][] = [
    ["an absent shard", (_, shards) => { delete shards["b.safetensors"]; }, ["b.safetensors", "absent"]],
    ["a tensor that is not in its shard", (_, shards) => { delete shards["a.safetensors"]?.[norm]; delete shards["b.safetensors"]?.[norm]; }, [norm, ".safetensors"]],
    ["a tensor in two shards", (_, shards) => { Object.assign(shards["b.safetensors"] ?? {}, { [firstOf(shards["a.safetensors"])[0]]: firstOf(shards["a.safetensors"])[1] }); }, ["in both a.safetensors and b.safetensors"]],
    ["a shard outside the directory", index => { index.weight_map[norm] = "../a.safetensors"; }, ["../a.safetensors"]],
    ["an index of another form", index => { Object.assign(index, { weight_map: [1] }); }, ["weight_map"]],
  ];
  it.each(cases)("are refused with %s", async (_, change, says) => {
    const error = await refusal(await sharded(change));
    expect(error.code).toBe("model_corrupt");
    for (const text of says) expect(error.message).toContain(text);
  });
});
