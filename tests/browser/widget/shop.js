// An operator whose widget is installed in accounts of the sandbox: the server, what stands before it and can get in
// its way, the widget that was built for it, and the CRM's page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as call } from "node:http";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { silent } from "../secrecy.js";
import { atEnd, open, sandbox } from "../support.js";
import { start } from "./amochats.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
export const USERS = { "shop-1": "correct horse", "shop-2": "battery staple" };
const ACCOUNTS = ["11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222"];

/** What a page may complain about where a call is refused, as it should be. */
export const REFUSED = /Failed to load resource|blocked by CORS policy/;

/**
 * A proxy before the operator's server. `way` decides over each request but preflights: `true` lets it through, a
 * promise holds it, `[status, body]` answers it. `cors: false` takes the headers away.
 */
export async function front(t) {
  const seen = [];
  const secrets = new Set();
  const waiting = [];
  const held = { target: null, cors: true, way: () => true };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const path = request.url.split("?")[0];
    const preflight = request.method === "OPTIONS";
    const entry = { method: request.method, path, url: request.url, token: request.headers["x-auth-token"], body: Buffer.concat(parts).toString(), status: 0 };
    const decided = preflight ? true : await held.way(entry);
    if (!preflight) seen.push(entry);
    for (const secret of [entry.token, ...new URL(request.url, "http://front").searchParams.getAll("code")]) if (secret) secrets.add(secret);
    const finish = (status, headers, body) => {
      const kept = Object.entries(headers).filter(([name]) => held.cors || !name.toLowerCase().startsWith("access-control"));
      response.writeHead(status, Object.fromEntries(kept)).end(body);
      entry.status = status;
      for (const look of waiting.splice(0)) look();
    };
    if (Array.isArray(decided)) {
      finish(decided[0], { "Access-Control-Allow-Origin": request.headers.origin ?? "*", "Content-Type": "application/json" }, JSON.stringify(decided[1]));
      return;
    }
    const { hostname, port } = new URL(held.target);
    const onward = call({ hostname, port, path: request.url, method: request.method, headers: request.headers }, async (answer) => {
      const said = [];
      for await (const part of answer) said.push(part);
      finish(answer.statusCode, answer.headers, Buffer.concat(said));
    });
    onward.on("error", () => response.destroy());
    onward.end(entry.body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  const close = async () => {
    server.closeAllConnections();
    server.close();
  };
  atEnd(t, close);
  return Object.assign(held, {
    url: `http://127.0.0.1:${port}`, seen, secrets, close,
    /** Listens again at the same place. */
    reopen: () => once(server.listen(port, "127.0.0.1"), "listening"),
    /** The first answered request to a path that no one took before. */
    async next(path) {
      for (;;) {
        const at = seen.findIndex((entry) => entry.path === path && entry.status > 0);
        if (at >= 0) return seen.splice(at, 1)[0];
        await new Promise((resolve) => waiting.push(resolve));
      }
    },
  });
}

/** Builds the widget for a server; resolves to the folder with `widget.zip` and `unpacked`. */
export async function build(t, server) {
  const folder = await mkdtemp(`${tmpdir()}/amochats-widget-`);
  atEnd(t, () => rm(folder, { recursive: true }));
  const config = (await readFile(`${root}/widget/widget.toml`, "utf8")).replace('server = "https://chat.example.org"', `server = "${server}"`);
  assert.ok(config.includes(server));
  await writeFile(`${folder}/widget.toml`, config);
  await promisify(execFile)("python3", [`${root}/widget/build.py`, "--config", `${folder}/widget.toml`, "--out", folder]);
  return folder;
}

// The browser is faster than any person.
const MANY = "attempts = 1000\nattempts_per_peer = 1000";

/**
 * All of it, for a test. `limits` are lines of the server's `[widget]`. `page(account, options)` opens the CRM's page
 * for the first or the second account; at the account's own address if `own`.
 */
export async function shop(t, { limits = MANY } = {}) {
  const before = await front(t);
  const folder = await build(t, before.url);
  const up = await sandbox(t, { connected: false, args: ["--widget", `${folder}/unpacked`, ...ACCOUNTS.flatMap((id) => ["--account", id])] });
  const [integration] = up.ready.integrations;
  let operator = null;
  // Once it has ended: it may have said something at the last moment.
  atEnd(t, async () => {
    if (!operator) return;
    assert.match(operator.said(), /\S/, "it says something");
    silent("the operator's server", operator.said(), [...before.secrets, integration.client_secret, up.ready.secret, ...Object.values(USERS)]);
  });
  const addresses = (await up.control("GET", "crm")).accounts.map(({ subdomain }) => up.page.replace("127.0.0.1", `${subdomain}.localhost`));
  operator = await start(t, { publicUrl: before.url, crm: up.api, pages: [up.page, ...addresses], channel: up.ready.channels[0], integration, users: USERS, limits });
  before.target = operator.url;
  await up.control("PATCH", `crm/integrations/${integration.client_id}`, {
    redirect_uri: before.url + operator.redirectPath, disable_url: before.url + operator.disablePath,
  });
  await up.control("PATCH", `channels/${up.ready.channel_id}`, { webhook_url: `${before.url}/webhook/:scope_id` });

  async function page(account = 0, { lang = "en", order = "before", own = false, expected = REFUSED, ...options } = {}) {
    const query = new URLSearchParams({ lang, order, ...own ? {} : { account: ACCOUNTS[account] } });
    const opened = await open(t, `${own ? addresses[account] : up.page}/integrations?${query}`, { expected, ...options });
    return { page: opened, ...parts(opened) };
  }
  const connections = async (account = 0) => (await up.control("GET", "state")).accounts.find((one) => one.account_id === ACCOUNTS[account]).connections;
  return { ...up, front: before, operator, integration, folder, page, connections, addresses, accounts: ACCOUNTS };
}

/** The page and the widget in it, by what a person sees. */
export function parts(page) {
  const modal = page.getByRole("dialog");
  const widget = modal.locator("[class^=chat-link-][data-scheme]");
  const inputs = widget.locator("input");
  const button = (name) => modal.locator(`.js-widget-${name}`);
  return {
    modal, widget,
    tile: (status) => page.locator(`[data-testid=tile]${status ? `[data-status=${status}]` : ""}`),
    opener: page.getByRole("button", { name: "Open" }),
    login: inputs.nth(0), password: inputs.nth(1),
    connect: widget.locator("button").first(),
    status: (kind) => widget.locator(`[data-kind=${kind}]`),
    state: (name) => modal.locator(`[data-state=${name}]`),
    install: button("install"), uninstall: button("uninstall"), save: button("save"),
    channel: page.getByTestId("channel"),
    log: (text) => page.getByTestId("log").getByText(text),
    async fill(login = "shop-1", password = USERS[login]) {
      await inputs.nth(0).fill(login);
      await inputs.nth(1).fill(password);
    },
  };
}
