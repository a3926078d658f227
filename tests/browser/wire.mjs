// wire.mjs: a network between the browser and the site that a test can slow down, cut and mend.
// The browser's own emulation lets what is under way arrive; a cable that is pulled does not.
import { once } from "node:events";
import net from "node:net";

/**
 * Opens a wire to a site.
 * @returns its own `url`, and what can be done to it: `slow(bytesPerSecond)` towards the site,
 *   `cut`, `mend`, `close`
 */
export async function openWire(site) {
  const { hostname, port } = new URL(site);
  const ends = new Set();
  let rate = Infinity;
  const join = (client) => {
    const server = net.connect(Number(port), hostname);
    for (const [from, to] of [[client, server], [server, client]]) {
      ends.add(from);
      from.on("data", (bytes) => {
        to.write(bytes);
        if (from !== client || rate === Infinity) return;
        from.pause();
        setTimeout(() => from.resume(), (bytes.length / rate) * 1000);
      });
      from.on("error", () => to.destroy()); // the other end learns it as it would from a cable
      from.on("close", () => {
        ends.delete(from);
        to.destroy();
      });
    }
  };
  const listener = net.createServer(join);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const own = listener.address().port;
  const cut = async () => {
    const closed = once(listener, "close");
    listener.close();
    for (const end of ends) end.destroy();
    await closed;
  };
  return {
    url: `http://127.0.0.1:${own}`,
    slow: (bytesPerSecond) => { rate = bytesPerSecond; },
    cut,
    mend: async () => {
      listener.listen(own, "127.0.0.1");
      await once(listener, "listening");
    },
    close: cut,
  };
}
