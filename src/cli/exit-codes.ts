/** What the exit codes of `minid` mean: one table for the program, the man page and the documents. */
export const exitCodes = {
  0: "Done; a check found nothing that stops the service.",
  1: "A check, a request or a step failed; the line on standard error says which and what to do.",
  2: "The command line or the configuration is not valid; nothing was done.",
  3: "The node, or what was asked for, cannot be reached.",
} as const;
