/**
 * Headless Chromium (Debian's, driven by playwright-core) for tests of the dashboard. Keeps what a page must not do: errors on its
 * console, requests to anybody but its node. A fresh profile each time; `close()` leaves no process and no file.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, type Page, chromium } from "playwright-core";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
export const hasChromium = existsSync(executablePath);

export interface BrowserPage { readonly page: Page; readonly wrongs: string[] }

export class Browser {
  readonly #context: BrowserContext;
  readonly #profile: string;

  private constructor(context: BrowserContext, profile: string) {
    this.#context = context;
    this.#profile = profile;
  }

  static async start(): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), "minid-browser-"));
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    return new Browser(await chromium.launchPersistentContext(profile, { executablePath, headless: true, args, viewport: { width: 1_360, height: 900 } }), profile);
  }

  /** A page of `url`. `wrongs` fills with whatever it does that it must not. */
  async open(url: string, options: { readonly mayFail?: RegExp } = {}): Promise<BrowserPage> {
    const page = await this.#context.newPage();
    const wrongs: string[] = [];
    page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && !options.mayFail?.test(message.text())) wrongs.push(`console ${message.type()}: ${message.text()}`); });
    page.on("pageerror", (error) => { wrongs.push(`page error: ${error.message}`); });
    page.on("request", (request) => { if (!request.url().startsWith(url)) wrongs.push(`request to ${request.url()}`); });
    await page.goto(url);
    return { page, wrongs };
  }

  async close(): Promise<void> {
    await this.#context.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface AxeResults { readonly violations: readonly { readonly id: string; readonly impact: string | null; readonly help: string; readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[] }[] }

/** axe-core's serious and critical findings, in words. The page's own policy admits no foreign script: it goes in beside the page. */
export async function seriousViolations(page: Page): Promise<string[]> {
  const results = await page.evaluate(`${axeSource}; axe.run(document)`) as AxeResults;
  return results.violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary ?? ""}`).join("\n")}`);
}
