/**
 * Headers that tell a browser to take the API's answers for nothing but data. A route that serves a page (the dashboard) sets its own
 * `content-security-policy` over this one. No HSTS: it would lock people out of a machine whose certificate they take away again.
 */
export const securityHeaders: Readonly<Record<string, string>> = Object.freeze({
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  // Prompts and answers stay in no cache.
  "cache-control": "no-store",
});
