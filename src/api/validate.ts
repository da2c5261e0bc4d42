/**
 * A request body against its schema, and the first thing wrong with it in OpenAI's words: the message names field, value and
 * what is accepted; `param` is the field's path, `messages[0].role`. Long values are not repeated: a message may be logged.
 */
import type { z } from "zod";
import { isErrorCode, MinidError } from "../core/errors.js";

type Issue = z.core.$ZodIssue;

/** Longest value that an error message repeats. */
const shownCharsMax = 64;

/**
 * @param body the parsed JSON
 * A refinement may name another code of the catalogue in its `params.code`.
 * @returns the schema's output
 * @throws MinidError missing_required_parameter | unknown_parameter | invalid_value, with `param`
 */
export function validate<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  throw issueError(deepest(result.error.issues[0]!));
}

/** `["messages", 0, "role"]` → `messages[0].role` */
export function paramPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`, "");
}

/** Of a union's alternatives, the one that the value was meant for: one that did not fail at once on the value's type, and of those the one that took most of a list. */
function deepest(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  const progress = (errors: readonly Issue[]): number => {
    const path = errors[0]?.path ?? [];
    return path.length === 0 ? Infinity : typeof path[0] === "number" ? path[0] : -1;
  };
  const [meant] = issue.errors.filter((errors) => errors[0] !== undefined && !(errors[0].code === "invalid_type" && errors[0].path.length === 0)).sort((a, b) => progress(b) - progress(a));
  return meant === undefined ? issue : deepest({ ...meant[0]!, path: [...issue.path, ...meant[0]!.path] });
}

function issueError(issue: Issue): MinidError {
  const param = paramPath(issue.path);
  const named = param === "" ? "the request body" : `'${param}'`;
  const details = param === "" ? {} : { param };
  const invalid = (message: string) => new MinidError("invalid_value", message, details);
  switch (issue.code) {
    case "unrecognized_keys": {
      const key = paramPath([...issue.path, issue.keys[0]!]);
      return new MinidError("unknown_parameter", `Unknown parameter: '${key}'.`, { param: key });
    }
    case "invalid_type":
      if (issue.input === undefined) return missing(param);
      if (issue.expected === "int" && typeof issue.input === "number") return invalid(`Invalid type for ${named}: expected an integer, but got ${shown(issue.input)} instead.`);
      return invalid(`Invalid type for ${named}: expected ${withArticle(issue.expected)}, but got ${typeName(issue.input)} instead.`);
    case "invalid_union": {
      if ("discriminator" in issue && issue.discriminator !== undefined) {
        const given = (issue.input as Record<string, unknown> | undefined)?.[issue.discriminator];
        return given === undefined ? missing(param) : invalid(`Invalid value for ${named}: ${shown(given)}. Supported values are: ${list("options" in issue && Array.isArray(issue.options) ? issue.options : [])}.`);
      }
      if (issue.input === undefined) return missing(param);
      const expected = new Set(issue.errors.flatMap((errors) => errors[0]?.code === "invalid_type" ? [withArticle(errors[0].expected)] : []));
      return invalid(`Invalid type for ${named}: expected ${[...expected].join(" or ")}, but got ${typeName(issue.input)} instead.`);
    }
    case "invalid_value":
      if (issue.input === undefined) return missing(param);
      return invalid(`Invalid value for ${named}: ${shown(issue.input)}. Supported values are: ${list(issue.values)}.`);
    case "too_small":
      return invalid(`Invalid value for ${named}: ${measure(issue)}, and at least ${issue.minimum} is needed.`);
    case "too_big":
      return invalid(`Invalid value for ${named}: ${measure(issue)}, and at most ${issue.maximum} is accepted.`);
    case "invalid_key":
      return invalid(`Invalid key in '${paramPath(issue.path.slice(0, -1))}': ${shown(issue.path.at(-1))}. ${issue.issues[0]?.message ?? ""}`);
    case "custom": {
      const code: unknown = issue.params?.["code"];
      const message = `Invalid value for ${named}: ${issue.message}`;
      return typeof code === "string" && isErrorCode(code) ? new MinidError(code, message, details) : invalid(message);
    }
    default:
      return invalid(`Invalid value for ${named}: ${issue.message}`);
  }
}

function missing(param: string): MinidError {
  return param === ""
    ? new MinidError("invalid_json", "The request has no body. Send a JSON object with Content-Type: application/json.")
    : new MinidError("missing_required_parameter", `Missing required parameter: '${param}'.`, { param });
}

/** What was measured and found too small or too big. */
function measure(issue: { readonly origin: string; readonly input?: unknown }): string {
  if (Array.isArray(issue.input)) return `it has ${issue.input.length} elements`;
  if (typeof issue.input === "string") return `it has ${issue.input.length} characters`;
  return `it is ${shown(issue.input)}`;
}

function shown(value: unknown): string {
  const text = typeof value === "string" ? `'${value}'` : typeof value === "number" || typeof value === "boolean" ? String(value) : typeName(value);
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}…` : text;
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  return withArticle(Array.isArray(value) ? "array" : typeof value);
}

const withArticle = (type: string): string => type === "int" ? "an integer" : type === "record" ? "an object" : `${/^[aeiou]/u.test(type) ? "an" : "a"} ${type}`;
const list = (values: readonly unknown[]): string => values.map((value) => `'${String(value)}'`).join(", ");
