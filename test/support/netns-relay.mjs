// Inside a network namespace: a UNIX socket, which namespaces do not separate, leads to a TCP port of that namespace's loopback.
import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";

const [path, port] = process.argv.slice(2);
rmSync(path, { force: true });
const server = createServer((client) => {
  const target = connect(Number(port), "127.0.0.1");
  client.pipe(target).pipe(client);
  client.on("error", () => target.destroy());
  target.on("error", () => client.destroy());
  client.on("close", () => target.destroy());
  target.on("close", () => client.destroy());
});
server.listen(path, () => process.stdout.write("ready\n"));
