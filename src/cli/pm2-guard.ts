/**
 * Preloaded into pm2-runtime: ends it when the process that started it dies, whatever way it dies.
 * pm2-runtime runs in a process group of its own (so that Ctrl-C reaches only `minid up`, which stops things in order);
 * without this, SIGKILL of `minid up` would leave pm2 and both apps behind.
 */
if (process.connected) {
  process.on("disconnect", () => { process.kill(process.pid, "SIGTERM"); });
  // The channel alone must not keep pm2-runtime alive once it means to exit.
  process.channel?.unref();
}
