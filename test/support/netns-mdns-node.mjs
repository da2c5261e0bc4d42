// One node's multicast DNS, as a process for a network namespace: prints what it hears and what it opens, one JSON object a line;
// takes `leader`, `follower` and `status` on standard input. Arguments: the announcement and the policy's times as JSON.
import { createInterface } from "node:readline";
import { Mdns } from "../../dist/daemon/discovery/mdns.js";

const print = (object) => { process.stdout.write(`${JSON.stringify(object)}\n`); };
const note = (fields, message) => { print({ log: message, ...fields }); };
const log = { debug() {}, info: note, warn: note, error: note, child: () => log };
const mdns = new Mdns({ self: JSON.parse(process.argv[2]), times: JSON.parse(process.argv[3]), log, onIntroduction: (introduction) => { print({ introduction }); } });
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "leader") mdns.setLeader(true);
  if (line === "follower") mdns.setLeader(false);
  if (line === "status") print({ status: mdns.status() });
}).on("close", () => { void mdns.stop(); });
