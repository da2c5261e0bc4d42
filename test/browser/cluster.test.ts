/**
 * `npm run test:browser`: the dashboard of a real three-node cluster while a worker is killed in the middle of an answer. The picture
 * changes, the time line tells the repair, the answer completes. MINID_SHOTS=DIR keeps pictures of what was seen.
 */
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Browser, hasChromium, seriousViolations } from "../support/browser.js";
import { type Cluster, startCluster } from "../support/cluster.js";
import { until } from "../support/wait.js";

const shots = process.env["MINID_SHOTS"];
const shoot = async (page: Page, name: string): Promise<void> => { if (shots !== undefined) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true }); };
const waitMs = 120_000;

describe.skipIf(!hasChromium)("the dashboard of a real cluster (skipped without /usr/bin/chromium)", () => {
  let cluster: Cluster;
  let browser: Browser;
  beforeAll(async () => {
    [cluster, browser] = await Promise.all([startCluster({ nodes: 3, readyTimeoutMs: 240_000 }), Browser.start()]);
  }, 300_000);
  afterAll(async () => { await browser?.close(); await cluster?.stop(); }, 240_000);

  it("shows a worker's death and its repair while the answer goes on", async () => {
    const leader = await cluster.leader();
    // Through a node that does not lead, so that the answer crosses machines.
    const door = cluster.nodes.find((node) => node !== leader)!;
    const victim = cluster.nodes.find((node) => node !== leader && node !== door)!;
    const { page, wrongs } = await browser.open(door.url);
    await page.getByText("● Serving").waitFor({ timeout: waitMs });
    const part = page.locator(`.ring-part[data-device="${victim.name}"]`);
    await part.waitFor({ timeout: waitMs });
    expect(await part.getAttribute("data-tone")).toBe("good");
    await page.evaluate(`window.tones = []; new MutationObserver(() => { const part = document.querySelector('.ring-part[data-device="${victim.name}"]'); window.tones.push(part?.dataset.tone + " " + document.querySelector("#state").dataset.tone); }).observe(document.querySelector("#ring"), { childList: true })`);

    // Long enough to be interrupted, short enough for a slow machine.
    await page.route("**/v1/chat/completions", (route) => route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON() as object, max_tokens: 140, logit_bias: { 2: -100 } }) }));
    await page.getByLabel("Your question").fill("Write a long story about a lighthouse keeper, a storm and a lost ship.");
    await page.keyboard.press("Enter");
    const text = page.locator(".turn-answer .answer-text");
    await until("the answer is on its way", async () => ((await text.textContent())?.length ?? 0) > 120, waitMs);
    await until("tokens a second are shown", async () => Number(await page.locator(".ring-rate").textContent()) > 0, waitMs);
    await shoot(page, "answering");

    const before = (await text.textContent()) ?? "";
    const killedAt = performance.now();
    await victim.kill("worker");
    await until("the picture shows that the ring is broken", async () => (await page.evaluate<string[]>("window.tones")).some((tones) => !tones.startsWith("good") || !tones.endsWith("good")), waitMs);
    const shownMs = performance.now() - killedAt;
    await shoot(page, "broken");
    await until("the answer goes on", async () => ((await text.textContent())?.length ?? 0) > before.length + 40, waitMs);
    expect((await text.textContent())?.startsWith(before)).toBe(true);
    const outcomeOn = (of: Page) => of.locator(".story", { has: of.locator("h3", { hasText: `The worker of ${victim.name} died` }) }).locator(".story-outcome", { hasText: "moved on after" });
    const outcome = outcomeOn(page);
    await outcome.waitFor({ timeout: waitMs });
    await until("the picture is whole again", async () => (await part.getAttribute("data-tone")) === "good" && (await page.locator("#state").getAttribute("data-tone")) === "good", waitMs);
    await page.locator(".turn-answer[data-state=done]").waitFor({ timeout: 240_000 });
    const tones = await page.evaluate("window.tones") as string[];
    const told = { shownMs: Math.round(shownMs), outcome: await outcome.textContent(), notes: await page.locator(".answer-notes li").allTextContents(), meta: await page.locator(".answer-meta").textContent(), tones: [...new Set(tones)], text: (await text.textContent())?.length };
    console.log(JSON.stringify(told));
    await page.locator(".story summary").first().click();
    await shoot(page, "light");

    // Every node tells the same: another's page has the story too.
    const other = await browser.open(leader.url);
    await outcomeOn(other.page).waitFor({ timeout: waitMs });
    await other.page.close();

    expect(await seriousViolations(page), "light").toEqual([]);
    await page.emulateMedia({ colorScheme: "dark" });
    await shoot(page, "dark");
    expect(await seriousViolations(page), "dark").toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    await shoot(page, "phone");
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    expect(await seriousViolations(page), "phone").toEqual([]);
    expect([...wrongs, ...other.wrongs]).toEqual([]);
  }, 600_000);
});
