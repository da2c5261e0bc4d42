/** The dashboard in a real browser over the real front door, with a made-up cluster and answer. A real cluster: `npm run test:browser`. */
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as Server from "../../src/api/server.js";
import type * as SnapshotStatus from "../../src/api/snapshot-status.js";
import { silentLog } from "../../src/core/log.js";
import { Browser, hasChromium, seriousViolations } from "../support/browser.js";
import { compiled } from "../support/compiled.js";
import { storySnapshot } from "../support/dashboard-story.js";
import { endOfTurn, encode, saying, ScriptedGenerator, smolModel } from "../unit/api/support.js";

const key = "sk-test-key";

describe.skipIf(!hasChromium)("the dashboard in a browser (skipped without /usr/bin/chromium)", () => {
  let server: FastifyInstance;
  let browser: Browser;
  let url: string;
  beforeAll(async () => {
    const [{ createServer }, { snapshotStatusSource }] = await Promise.all([compiled<typeof Server>("api/server.js"), compiled<typeof SnapshotStatus>("api/snapshot-status.js")]);
    const model = await smolModel({ id: "SmolLM2-135M-Instruct-8bit" });
    server = createServer({
      generator: new ScriptedGenerator(saying([...encode(model, "Because every rank is one."), endOfTurn])), log: silentLog,
      models: { list: () => [model], find: (id) => (id === model.id ? model : undefined) },
      status: snapshotStatusSource(() => storySnapshot(Date.now()), () => Promise.resolve({ contentType: "text/plain", body: "" })),
      keys: { find: (text) => (text === key ? { keyId: "k", name: "test", scopes: ["inference", "read-only"], limits: {} } : undefined) },
    }, { loopbackNeedsKey: true });
    [url, browser] = await Promise.all([server.listen({ host: "127.0.0.1", port: 0 }), Browser.start()]);
  });
  afterAll(async () => { await browser?.close(); await server?.close(); });

  it("asks for the key, shows ring, numbers, machines and time line, and answers, in light, dark and at phone width", async () => {
    // The first request is refused for lack of a key, which the browser itself reports on the console.
    const { page, wrongs } = await browser.open(url, { mayFail: /401/u });
    await page.getByRole("textbox", { name: "API key" }).fill(key);
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByText("● Serving").waitFor();
    expect(await page.locator(".ring-part").count()).toBe(3);
    expect(await page.locator(".ring-part .ring-name").allTextContents()).toEqual(["mini1", "mini2", "studio"]);
    expect(await page.locator(".machine").count()).toBe(5);
    expect(await page.locator(".tile-value").first().textContent()).toBe("87.4");
    await page.getByText("1 answer moved on after").waitFor();

    await page.getByLabel("Your question").fill("Why?");
    await page.keyboard.press("Enter");
    await page.locator('.turn-answer[data-state="done"] .answer-text', { hasText: "Because every rank is one." }).waitFor();
    expect(await page.locator(".turn-answer .chip-name").allTextContents()).toEqual(["mini1", "mini2", "studio"]);

    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      expect(await seriousViolations(page), colorScheme).toEqual([]);
    }
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    expect(await seriousViolations(page), "phone").toEqual([]);
    expect(await page.evaluate("sessionStorage.getItem('minid-api-key')")).toBe(key);
    expect(wrongs).toEqual([]);
  });
});
