// The command `amochats dev` as a process, and a browser on its page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = process.env.AMOCHATS_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${root}/target`}/debug/amochats`;
const artifacts = `${root}/tests/artifacts/browser`;
mkdirSync(artifacts, { recursive: true });

const ends = new WeakMap();

/** Runs at the end of a test, last first: node's own hooks would stop the server under an open page. */
function atEnd(t, end) {
  if (!ends.has(t)) {
    ends.set(t, []);
    t.after(async () => {
      const failures = [];
      for (const last of ends.get(t).reverse()) await last().catch((failure) => failures.push(failure));
      if (failures.length > 0) throw failures[0];
    });
  }
  ends.get(t).push(end);
}

/** Starts a command of `amochats`; resolves to its output once it ended. */
export async function amochats(...args) {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], env: {} });
  let output = "";
  child.stdout.on("data", (data) => { output += data; });
  child.stderr.on("data", (data) => { output += data; });
  const [code] = await once(child, "close");
  assert.equal(code, 0, output);
  return output;
}

/** Starts `amochats dev` for a test, which ends with it. Resolves to its ready line. */
export async function dev(t) {
  const zero = "127.0.0.1:0";
  const child = spawn(binary, ["dev", "--page", zero, "--grpc", zero], { stdio: ["ignore", "pipe", "pipe"], env: {} });
  let said = "";
  child.stderr.on("data", (data) => { said += data; });
  const ended = once(child, "exit");
  atEnd(t, async () => {
    child.kill("SIGTERM");
    const [code] = await ended;
    assert.equal(code, 0, said);
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([once(lines, "line"), ended.then(() => assert.fail(`it ended: ${said}`))]);
  return JSON.parse(line);
}

let browser;

/** One browser for all tests. */
export async function launch() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    ],
  });
}

export const close = () => browser?.close();

/**
 * Opens the page. Whatever a page complains about in the console, such as a policy that was
 * violated, fails the test at its end; so does any request that leaves the machine.
 */
export async function open(t, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 860 }, locale: "en-GB", ...options });
  context.setDefaultTimeout(10_000);
  const complaints = [];
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  context.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  context.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1") complaints.push(`a request to ${hostname}`);
  });
  const page = await context.newPage();
  atEnd(t, async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  await page.goto(url);
  return page;
}

export const picture = (page, name) => page.screenshot({ path: `${artifacts}/${name}.png` });

/** The parts of the page by what a person calls them. A message is named by its text and state. */
export function parts(page) {
  const frame = page.frameLocator("[data-testid=companion]");
  const named = (within, testId) => (text, status) =>
    within.locator(`[data-testid=${testId}]${status ? `[data-status=${status}]` : ""}`).filter({ hasText: text });
  return {
    phone: {
      input: frame.getByTestId("phone-input"),
      send: frame.getByTestId("phone-send"),
      typing: frame.getByTestId("phone-typing"),
      whose: frame.getByLabel("Whose phone"),
      messages: frame.getByTestId("phone-message"),
      message: named(frame, "phone-message"),
    },
    crm: {
      chats: page.getByTestId("chat-item"),
      input: page.getByTestId("answer-input"),
      send: page.getByTestId("answer-send"),
      messages: page.getByTestId("message"),
      message: named(page, "message"),
    },
    journal: (kind) => page.locator(`[data-testid=journal-item]${kind ? `[data-kind="${kind}"]` : ""}`),
  };
}
