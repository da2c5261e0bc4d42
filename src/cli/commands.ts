/** Every command of `minid`, by name. Loaded when it is run: a command starts as fast as what it needs. */
import type { SubCommandsDef } from "citty";

export const commands: SubCommandsDef = {
  up: async () => (await import("./up.js")).upCommand,
  install: async () => (await import("./install.js")).installCommand,
  uninstall: async () => (await import("./uninstall.js")).uninstallCommand,
  status: async () => (await import("./status.js")).statusCommand,
  doctor: async () => (await import("./doctor.js")).doctorCommand,
  logs: async () => (await import("./logs.js")).logsCommand,
  chat: async () => (await import("./chat.js")).chatCommand,
  bench: async () => (await import("./bench.js")).benchCommand,
  drain: async () => (await import("./drain.js")).drainCommand,
  pull: async () => (await import("./pull.js")).pullCommand,
  models: async () => (await import("./models.js")).modelsCommand,
  verify: async () => (await import("./verify.js")).verifyCommand,
  key: async () => (await import("./key.js")).keyCommand,
  token: async () => (await import("./token.js")).tokenCommand,
  join: async () => (await import("./join.js")).joinCommand,
  completion: async () => (await import("./completion.js")).completionCommand,
  forget: async () => (await import("./forget.js")).forgetCommand,
};
