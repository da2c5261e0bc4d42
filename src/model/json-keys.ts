/**
 * Finds a key that a JSON object has twice. `JSON.parse` keeps the last one silently, which for a table of tensors
 * means reading one tensor's bytes under another's description.
 */

/** @param json text that `JSON.parse` accepts as an object. @returns a repeated key of the outermost object, or undefined. */
export function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  let keyNext = false;
  for (let i = 0; i < json.length; i += 1) {
    switch (json[i]) {
      case "{": case "[":
        depth += 1;
        keyNext = depth === 1;
        break;
      case "}": case "]":
        depth -= 1;
        break;
      case ",":
        keyNext = depth === 1;
        break;
      case "\"": {
        const end = stringEnd(json, i);
        if (keyNext) {
          const key = JSON.parse(json.slice(i, end + 1)) as string;
          if (seen.has(key)) return key;
          seen.add(key);
          keyNext = false;
        }
        i = end;
        break;
      }
      default:
    }
  }
  return undefined;
}

/** Index of the quote that closes the string opened at `start`. */
function stringEnd(json: string, start: number): number {
  let i = start + 1;
  while (json[i] !== "\"") i += json[i] === "\\" ? 2 : 1;
  return i;
}
