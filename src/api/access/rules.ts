/**
 * What each address of the HTTP API needs, in one table that a person can audit. Pure.
 * An address that stands in no line needs the admin scope: a new route is closed until somebody decides.
 */
import type { KeyScope } from "../../core/trust/records.js";

/** `open`: nothing. `any-key`: whatever scope. */
export type Need = "open" | "any-key" | KeyScope;

interface Rule {
  /** Of the route as it is declared (`/v1/models/*`). */
  readonly matches: RegExp;
  readonly need: Need;
}

const rules: readonly Rule[] = [
  // Load balancers and supervisors ask without a key; what is wrong is told only to who may know (routes/health.ts).
  { matches: /^\/health(?:\/live)?$/u, need: "open" },
  { matches: /^\/openapi\.json$/u, need: "open" },
  // The dashboard's page and its parts are public files; what they show comes from addresses below.
  { matches: /^\/(?:dashboard(?:\/.*)?|favicon\.ico)?$/u, need: "open" },
  // Every client lists the models first, whatever it is there for.
  { matches: /^\/v1\/models(?:\/.*)?$/u, need: "any-key" },
  { matches: /^\/v1\/.*$/u, need: "inference" },
  { matches: /^\/(?:de)?tokenize$/u, need: "inference" },
  { matches: /^\/distributed\/(?:gpu-info|status|plan|events|metrics-targets)$/u, need: "read-only" },
  { matches: /^\/metrics$/u, need: "read-only" },
];

/** @param route the matched route as declared; undefined where there is none. */
export function needOf(route: string | undefined): Need {
  // Nobody without a key learns which addresses there are; who has one gets the 404 it deserves.
  if (route === undefined) return "any-key";
  return rules.find(({ matches }) => matches.test(route))?.need ?? "admin";
}

export function allows(scopes: readonly KeyScope[], need: Need): boolean {
  return need === "open" || need === "any-key" || scopes.includes("admin") || scopes.includes(need);
}
