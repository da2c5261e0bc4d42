/** Every command of `minid`, by name. */
import type { SubCommandsDef } from "citty";
import { forgetCommand } from "./forget.js";
import { joinCommand } from "./join.js";
import { modelsCommand } from "./models.js";
import { statusCommand } from "./status.js";
import { tokenCommand } from "./token.js";
import { upCommand } from "./up.js";
import { verifyCommand } from "./verify.js";

export const commands = {
  up: upCommand,
  status: statusCommand,
  models: modelsCommand,
  verify: verifyCommand,
  token: tokenCommand,
  join: joinCommand,
  forget: forgetCommand,
} satisfies SubCommandsDef;
