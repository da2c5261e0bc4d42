/**
 * Where models are found. A model is named by a path or by an id, `org/name` or `name`; an id is looked for in `<home>/models`, then
 * in the local Hugging Face cache, then among the models that ship with minid. Nothing is downloaded here.
 * An id is made of plain names, so it cannot lead out of the folder it is looked for in.
 */
import { readFile, readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, isAbsolute, join, resolve } from "node:path";
import { MinidError } from "../core/errors.js";

/** The models of the package: `models/` beside `src/` and `dist/`. */
const packageModels = resolve(import.meta.dirname, "../../models");
export const defaultModelId = "SmolLM2-135M-Instruct-8bit";
/** Entries looked at in one folder. */
const listMax = 10_000;

export interface ModelPlace {
  readonly id: string;
  /** Absolute. */
  readonly directory: string;
}

export interface ListedModel extends ModelPlace {
  readonly source: "home" | "huggingface" | "embedded";
}

type Environment = Readonly<Record<string, string | undefined>>;

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const isName = (text: string): boolean => namePattern.test(text) && !text.includes("..");

/** True for `name` and `org/name` made of plain names. */
export function isModelId(text: string): boolean {
  const parts = text.split("/");
  return parts.length <= 2 && parts.every(isName);
}

const isModel = (directory: string): Promise<boolean> => stat(join(directory, "config.json")).then(entry => entry.isFile(), () => false);

/**
 * @param name a path (absolute, `./…`, `../…`, `~/…`) or an id; what could be both is an id first.
 * @throws MinidError model_not_found that says where it was looked for.
 */
export async function resolveModel(name: string, home: string, environment: Environment = process.env): Promise<ModelPlace> {
  const looked: string[] = [];
  if (isModelId(name)) {
    for (const directory of await candidates(name, home, environment)) {
      if (await isModel(directory)) return { id: name, directory };
      looked.push(directory);
    }
  }
  const path = name.startsWith("~/") ? join(homedir(), name.slice(2)) : resolve(name);
  if (isAbsolute(name) || /^(?:\.{1,2}|~)\//.test(name) || name === "." || isModelId(name)) {
    if (await isModel(path)) return { id: idOfPath(path, home), directory: path };
    looked.push(path);
  }
  if (looked.length === 0) {
    throw new MinidError("model_not_found", `${JSON.stringify(name)} is neither a model id (org/name) nor a path (/…, ./…, ~/…): correct it`, { param: "model" });
  }
  throw new MinidError("model_not_found", `model ${name} was not found: no config.json in ${looked.join(", ")}: fetch it (minid pull org/name), put it there, or name another`, { param: "model" });
}

/** Every model that an id can reach, each id once, in the order in which ids are looked for. */
export async function listModels(home: string, environment: Environment = process.env): Promise<ListedModel[]> {
  const models = new Map<string, ListedModel>();
  const add = async (id: string, directory: string | undefined, source: ListedModel["source"]): Promise<void> => {
    if (directory !== undefined && !models.has(id) && (await hasWeights(directory))) models.set(id, { id, directory, source });
  };
  const own = join(home, "models");
  for (const first of await names(own)) {
    await add(first, join(own, first), "home");
    for (const second of await names(join(own, first))) await add(`${first}/${second}`, join(own, first, second), "home");
  }
  const cache = huggingFaceCache(environment);
  for (const folder of await names(cache)) {
    const id = /^models--(.+)$/.exec(folder)?.[1]?.replaceAll("--", "/");
    if (id !== undefined && isModelId(id)) await add(id, await cachedSnapshot(cache, id), "huggingface");
  }
  for (const name of await names(packageModels)) await add(name, join(packageModels, name), "embedded");
  return [...models.values()];
}

async function candidates(id: string, home: string, environment: Environment): Promise<string[]> {
  const cache = huggingFaceCache(environment);
  const cached = (await cachedSnapshot(cache, id)) ?? join(cache, cacheFolder(id));
  return [join(home, "models", id), cached, ...(id.includes("/") ? [] : [join(packageModels, id)])];
}

/** https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables */
export function huggingFaceCache(environment: Environment): string {
  const { HF_HUB_CACHE: hubCache, HUGGINGFACE_HUB_CACHE: oldHubCache, HF_HOME: hfHome, XDG_CACHE_HOME: xdgCache } = environment;
  const set = (value: string | undefined): string | undefined => (value === "" ? undefined : value);
  return set(hubCache) ?? set(oldHubCache) ?? join(set(hfHome) ?? join(set(xdgCache) ?? join(homedir(), ".cache"), "huggingface"), "hub");
}

const cacheFolder = (id: string): string => `models--${id.replaceAll("/", "--")}`;

/** The snapshot that the branch `main` names, else the only one there is. */
async function cachedSnapshot(cache: string, id: string): Promise<string | undefined> {
  const folder = join(cache, cacheFolder(id));
  const revision = await readFile(join(folder, "refs", "main"), "utf8").then(text => text.trim(), () => undefined);
  if (revision !== undefined && isName(revision)) return join(folder, "snapshots", revision);
  const snapshots = await names(join(folder, "snapshots"));
  return snapshots.length === 1 ? join(folder, "snapshots", snapshots[0]!) : undefined;
}

async function names(directory: string): Promise<string[]> {
  const entries = await readdir(directory).catch(() => []);
  return entries.filter(isName).sort().slice(0, listMax);
}

async function hasWeights(directory: string): Promise<boolean> {
  return (await isModel(directory)) && (await readdir(directory)).some(file => file.endsWith(".safetensors"));
}

/** A model inside `<home>/models` keeps its id; elsewhere its folder's name is the id. */
function idOfPath(path: string, home: string): string {
  const own = join(resolve(home), "models");
  const inside = path.startsWith(`${own}/`) ? path.slice(own.length + 1) : "";
  return isModelId(inside) ? inside : basename(path);
}
