/** `nft -j list ruleset`, read for one question: do packets to these TCP ports come in? Pure. Only what is plain is answered. */
import { z } from "zod";
import type { FirewallFact } from "./machine-facts.js";

const chainSchema = z.looseObject({ family: z.string(), table: z.string(), name: z.string(), hook: z.string().optional(), policy: z.string().optional() });
const ruleSchema = z.looseObject({ family: z.string(), table: z.string(), chain: z.string(), expr: z.array(z.unknown()) });
const rulesetSchema = z.object({ nftables: z.array(z.union([z.looseObject({ chain: chainSchema }), z.looseObject({ rule: ruleSchema }), z.looseObject({})])) });

/** @returns undefined where the text is not nft's, or nothing filters what comes in. */
export function parseNftables(text: string, ports: readonly number[]): FirewallFact | undefined {
  let json: unknown;
  try { json = JSON.parse(text); } catch { return undefined; }
  const parsed = rulesetSchema.safeParse(json);
  if (!parsed.success) return undefined;
  const chains = parsed.data.nftables.flatMap((item) => ("chain" in item ? [chainSchema.parse(item.chain)] : [])).filter((chain) => chain.hook === "input");
  const rulesOf = (chain: z.infer<typeof chainSchema>) => parsed.data.nftables.flatMap((item) => ("rule" in item ? [ruleSchema.parse(item.rule)] : []))
    .filter((rule) => rule.family === chain.family && rule.table === chain.table && rule.chain === chain.name).map((rule) => rule.expr);
  const filtering = chains.map((chain) => ({ drops: chain.policy === "drop", rules: rulesOf(chain) })).filter(({ drops, rules }) => drops || rules.some((rule) => refuses(rule)));
  if (filtering.length === 0) return undefined;
  const verdicts = filtering.map(({ drops, rules }) => ports.map((port) => comesIn(rules, drops, port)));
  const flat = verdicts.flat();
  return { name: "nftables", active: true, letsIn: flat.includes(false) ? false : flat.includes(undefined) ? undefined : true };
}

/** The first rule that surely decides about a new connection to `port`; undefined as soon as one cannot be judged from here. */
function comesIn(rules: readonly (readonly unknown[])[], drops: boolean, port: number): boolean | undefined {
  for (const rule of rules) {
    const verdict = rule.find((expression) => has(expression, "accept") || has(expression, "drop") || has(expression, "reject") || has(expression, "jump") || has(expression, "goto"));
    if (verdict === undefined) continue;
    const conditions = rule.filter((expression) => has(expression, "match"));
    const portMatch = conditions.map(portsOf).find((found) => found !== undefined);
    const concerns = portMatch === undefined ? conditions.length === 0 ? true : undefined : portMatch.some(([first, last]) => first <= port && port <= last) ? conditions.length === 1 ? true : undefined : false;
    if (concerns === false) continue;
    // A rule with other conditions (established connections, one interface) says nothing for sure; an accepting one may be passed over.
    if (concerns === undefined && has(verdict, "accept") && portMatch === undefined) continue;
    if (concerns === undefined || has(verdict, "jump") || has(verdict, "goto")) return undefined;
    return has(verdict, "accept");
  }
  return !drops;
}

const refuses = (rule: readonly unknown[]): boolean => rule.some((expression) => has(expression, "drop") || has(expression, "reject"));

const has = (value: unknown, key: string): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && Object.hasOwn(value, key);

const portMatchSchema = z.object({ match: z.object({ op: z.literal("=="), left: z.object({ payload: z.object({ protocol: z.literal("tcp"), field: z.literal("dport") }) }), right: z.unknown() }) });
const rangeSchema = z.union([z.number().transform((port) => [port, port] as const), z.object({ range: z.tuple([z.number(), z.number()]) }).transform(({ range }) => range)]);
const rightSchema = z.union([rangeSchema.transform((range) => [range]), z.object({ set: z.array(rangeSchema) }).transform(({ set }) => set)]);

function portsOf(expression: unknown): readonly (readonly [number, number])[] | undefined {
  const match = portMatchSchema.safeParse(expression);
  return match.success ? rightSchema.safeParse(match.data.match.right).data : undefined;
}
