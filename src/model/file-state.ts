/** Whether a file is still the one that was read: for whoever keeps something that was made from it. */
import { statSync } from "node:fs";

/** A text that changes with every write to the file, and with every change of its times too. @throws the system's error */
export function fileState(file: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}
