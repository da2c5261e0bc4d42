// docs/OPERATIONS.md: the run book is written by hand; every code's entry begins with what src/checks says of it, and goes on, below
// `<!-- more -->`, with what a person wrote. This makes the first part anew and keeps the second.

const entriesBegin = "## Every code";
const more = "<!-- more -->";

/** @param catalogue code → {title, meaning, remedy}. @param before the page as it is. @returns the page as it should be. */
export function operationsDoc(catalogue, before) {
  const at = before.indexOf(`\n${entriesBegin}`);
  const book = (at < 0 ? before : before.slice(0, at)).trimEnd();
  const written = writtenEntries(before.slice(Math.max(at, 0)));
  const entries = [...catalogue.values()].map(({ code, title, meaning, remedy }) => [
    `### \`${code}\``,
    `*${title[0].toUpperCase()}${title.slice(1)}.* ${meaning}${remedy === "" ? "" : `\n\n**What to do:** ${remedy}`}`,
    more,
    written.get(code) ?? "",
  ].join("\n\n").trimEnd());
  return `${book}\n\n${entriesBegin}\n\nIn the order in which they are looked at. The first lines of each are made from \`src/checks\` by \`npm run docs\`; what follows them was written by hand.\n\n${entries.join("\n\n")}\n`;
}

/** What was written by hand, by code. */
export function writtenEntries(text) {
  return new Map(text.split(/^### /mu).slice(1).map((entry) => [/^`([a-z0-9_]+)`/u.exec(entry)?.[1] ?? "", entry.includes(more) ? entry.slice(entry.indexOf(more) + more.length).trim() : ""]));
}
