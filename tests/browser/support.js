// The commands `amochats dev` and `amochats sandbox` as processes, a channel that uses the sandbox,
// and a browser on its page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { LOG, PLANTED, silent } from "./secrecy.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const binary = process.env.AMOCHATS_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${root}/target`}/debug/amochats`;
const artifacts = `${root}/tests/artifacts/browser`;
mkdirSync(artifacts, { recursive: true });

const ends = new WeakMap();

/** Runs at the end of a test, last first: node's own hooks would stop the server under an open page. */
export function atEnd(t, end) {
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
export const amochats = (...args) => amochatsWith("", ...args);

/** The same, with a text for its standard input. */
export async function amochatsWith(input, ...args) {
  const child = spawn(binary, args, { stdio: ["pipe", "pipe", "pipe"], env: { RUST_LOG: LOG } });
  child.stdin.on("error", () => {}).end(input);
  let output = "";
  let errors = "";
  child.stdout.on("data", (data) => { output += data; });
  child.stderr.on("data", (data) => { output += data; errors += data; });
  const [code] = await once(child, "close");
  assert.equal(code, 0, output);
  silent(args[0], errors);
  return output;
}

/** Starts a server of `amochats` for a test; resolves to its ready line, what it says, and what stops it. */
export async function serve(t, args) {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], env: { RUST_LOG: LOG } });
  let said = "";
  child.stderr.on("data", (data) => { said += data; });
  // Once all of that is here.
  const ended = once(child, "close");
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    child.kill("SIGTERM");
    const [code] = await ended;
    assert.equal(code, 0, said);
    silent(args[0], said);
  };
  atEnd(t, stop);
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([once(lines, "line"), ended.then(() => assert.fail(`it ended: ${said}`))]);
  return { ready: JSON.parse(line), stop, said: () => said };
}

const ZERO = "127.0.0.1:0";

/** Starts `amochats dev` for a test, which ends with it. Resolves to its ready line. */
export const dev = async (t) => (await serve(t, ["dev", "--page", ZERO, "--grpc", ZERO])).ready;

/** Where webhooks arrive: each is answered with 200 and kept, and `next` waits for one of a kind. */
async function receiver(t) {
  const hooks = [];
  const waiting = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      hooks.push(JSON.parse(Buffer.concat(parts)));
      response.end();
      for (const look of waiting.splice(0)) look();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  atEnd(t, async () => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/in/:scope_id`,
    hooks,
    /** The first webhook that fits and that no one took before. */
    async next(fits) {
      for (;;) {
        const at = hooks.findIndex(fits);
        if (at >= 0) return hooks.splice(at, 1)[0];
        await new Promise((resolve) => waiting.push(resolve));
      }
    },
  };
}

/**
 * Starts `amochats sandbox` for a test, with a channel that is connected to its account unless
 * `connected` is false. The channel signs by itself, so that it can send what no client would.
 */
export async function sandbox(t, { connected = true, args = [], page = ZERO, api = ZERO } = {}) {
  const hooks = await receiver(t);
  const { ready, stop } = await serve(t, ["sandbox", "--page", page, "--api", api, "--webhook-url", hooks.url, ...args]);
  const accountId = ready.accounts[0].account_id ?? ready.accounts[0];
  const scope = `${ready.channel_id}_${accountId}`;

  async function call(method, path, body, { secret = ready.secret } = {}) {
    const text = body === undefined ? "" : JSON.stringify(body);
    const date = new Date().toUTCString().replace("GMT", "+0000");
    const md5 = createHash("md5").update(text).digest("hex");
    const signature = createHmac("sha1", secret).update([method, md5, "application/json", date, path].join("\n")).digest("hex");
    const response = await fetch(ready.api + path, {
      method, body: text || undefined,
      headers: { Date: date, "Content-Type": "application/json", "Content-MD5": md5, "X-Signature": signature },
    });
    const answer = await response.text();
    return { status: response.status, answer: answer ? JSON.parse(answer) : null };
  }
  async function done(...request) {
    const { status, answer } = await call(...request);
    assert.ok(status === 200 || status === 204, `${status} ${JSON.stringify(answer)}`);
    return answer;
  }
  const connect = () => done("POST", `/v2/origin/custom/${ready.channel_id}/connect`, { account_id: accountId, title: "Shop chat", hook_api_version: "v2" });
  if (connected) await connect();

  let clock = Date.now() - 3_600_000;
  const channel = {
    connect,
    call,
    /** A client writes; `message` is the vendor's. Resolves to the ids of the answer. */
    async writes(message, { conversation = "chat-anna", user = "anna", name = "Anna Petrova", at = clock += 1000, ...more } = {}) {
      const answer = await done("POST", `/v2/origin/custom/${scope}`, {
        event_type: "new_message",
        payload: {
          timestamp: Math.floor(at / 1000), msec_timestamp: at, msgid: randomUUID(), conversation_id: conversation, silent: false,
          sender: { id: user, name, profile: { phone: PLANTED.phone, email: PLANTED.email } },
          message: typeof message === "string" ? { type: "text", text: message } : message, ...more,
        },
      });
      return answer.new_message;
    },
    /** `state` is the vendor's: `{ status_code }`, with `error_code` and `error` where it is -1. */
    reports: (messageId, state) => done("POST", `/v2/origin/custom/${scope}/${messageId}/delivery_status`, state),
    types: (conversation = "chat-anna", user = "anna") => done("POST", `/v2/origin/custom/${scope}/typing`, { conversation_id: conversation, sender: { id: user } }),
    reacts: (body) => done("POST", `/v2/origin/custom/${scope}/react`, { conversation_id: "chat-anna", user: { id: "anna" }, type: "react", ...body }),
    edits: (body) => done("POST", `/v2/origin/custom/${scope}`, { event_type: "edit_message", payload: { conversation_id: "chat-anna", ...body } }),
  };

  /** The control API. */
  async function control(method, path, body) {
    const response = await fetch(`${ready.page}/api/${path}`, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
    const answer = await response.json();
    assert.ok(response.ok, `${path}: ${JSON.stringify(answer)}`);
    return answer;
  }
  return { ...ready, ready, stop, hooks, channel, control, scope, accountId };
}

let browser;

/** One browser for all tests of a file. */
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

/** What a page may complain about when its server is taken away. */
export const LOST = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/;

/**
 * Opens the page. Whatever a page complains about in the console, such as a policy that was
 * violated, fails the test at its end, unless it is `expected`; so does any request that leaves the machine.
 */
export async function open(t, url, { expected = /^$/, ...options } = {}) {
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
    if (protocol.startsWith("http") && hostname !== "127.0.0.1" && !hostname.endsWith(".localhost")) complaints.push(`a request to ${hostname}`);
  });
  const page = await context.newPage();
  atEnd(t, async () => {
    await context.close();
    assert.deepEqual(complaints.filter((complaint) => !expected.test(complaint)), []);
  });
  await page.goto(url);
  return page;
}

export const picture = (page, name) => page.screenshot({ path: `${artifacts}/${name}.png` });

/** Waits until it is there. */
export const seen = (locator) => locator.waitFor();

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Nothing in the view is a serious or critical obstacle for anybody. Frames are pages of their own. */
export async function accessible(page, view) {
  // Evaluated by the debugger: the page's policy would not let it load a script of somebody else.
  const violations = await page.evaluate(`(async () => {
    ${axe};
    const { violations } = await axe.run(document, { iframes: false });
    return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => id + ": " + nodes.map(({ html, any }) => html + " " + any.map(({ message }) => message).join("; ")).join("\\n  "));
  })()`);
  assert.deepEqual(violations, [], view);
}

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
      online: frame.getByRole("status").filter({ hasText: /^online$/ }),
      whose: frame.getByLabel("Whose phone"),
      messages: frame.getByTestId("phone-message"),
      message: named(frame, "phone-message"),
    },
    crm: {
      chats: page.getByTestId("chat-item"),
      chat: named(page, "chat-item"),
      input: page.getByTestId("answer-input"),
      send: page.getByTestId("answer-send"),
      messages: page.getByTestId("message"),
      message: named(page, "message"),
      list: page.getByTestId("messages"),
    },
    area: (name) => page.getByRole("navigation", { name: "Areas" }).getByRole("link", { name }),
    journal: (kind) => page.locator(`[data-testid=journal-item]${kind ? `[data-kind="${kind}"]` : ""}`),
  };
}
