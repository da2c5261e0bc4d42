/**
 * What a Hugging Face compatible hub says a repository holds, and which of it minid needs: configuration, tokenizer, safetensors.
 * Pure. Names come from outside: only plain ones in the repository's top folder are taken, so nothing is written elsewhere.
 */
import { z } from "zod";
import { MinidError } from "../../core/errors.js";

/** Hex SHA-256 of the content for large files (LFS); Git's SHA-1 of blob header and content for the others. */
export type Checksum = { readonly algorithm: "sha256" | "git-sha1"; readonly hex: string };

export interface HubFile {
  readonly name: string;
  readonly bytes: number;
  readonly checksum: Checksum;
}

export interface HubListing {
  /** The commit that `revision` named: all files are fetched from it, whatever the branch does meanwhile. */
  readonly commit: string;
  readonly files: readonly HubFile[];
}

const filesMax = 1_000;
const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`, "u"));
const listingSchema = z.object({
  sha: hex(40),
  siblings: z.array(z.object({
    rfilename: z.string(),
    size: z.int().min(0).optional(),
    blobId: hex(40).optional(),
    lfs: z.object({ sha256: hex(64), size: z.int().min(0) }).optional(),
  })).max(100_000),
});

const needed = /^(?:(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json|merges\.txt|chat_template\.jinja|tokenizer\.model|[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors(?:\.index\.json)?|LICENSE[A-Za-z0-9._-]*|README\.md|USE_POLICY\.md|NOTICE(?:\.txt)?)$/u;

/** @throws MinidError download_failed when it is no listing, model_unsupported when there is nothing that minid could serve. */
export function readListing(modelId: string, json: unknown): HubListing {
  const parsed = listingSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new MinidError("download_failed", `the hub's list of ${modelId} is not understood (${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}): is hub_url a Hugging Face compatible hub?`);
  }
  const files = parsed.data.siblings.filter(({ rfilename }) => needed.test(rfilename) && !rfilename.includes("..")).slice(0, filesMax).map((file): HubFile => {
    if (file.lfs) return { name: file.rfilename, bytes: file.lfs.size, checksum: { algorithm: "sha256", hex: file.lfs.sha256 } };
    if (file.size === undefined || file.blobId === undefined) throw new MinidError("download_failed", `the hub gives no size or checksum for ${modelId}/${file.rfilename}: it cannot be fetched safely`);
    return { name: file.rfilename, bytes: file.size, checksum: { algorithm: "git-sha1", hex: file.blobId } };
  });
  const has = (test: (name: string) => boolean) => files.some(({ name }) => test(name));
  if (!has((name) => name === "config.json") || !has((name) => name.endsWith(".safetensors"))) {
    throw new MinidError("model_unsupported", `${modelId} has no config.json with .safetensors beside it: minid serves MLX and Hugging Face checkpoints, not GGUF or PyTorch files`);
  }
  return { commit: parsed.data.sha, files };
}
