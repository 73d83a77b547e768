// The operator's page of `amochats serve`, beside a sandbox that plays amoCRM.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { accessible, amochats, atEnd, binary, close, launch, open, picture, sandbox, seen, serve } from "./support.js";
import { LOG, PLANTED, silent } from "./secrecy.js";

before(launch);
after(close);

/** A server of the sandbox's channel, with a console; `hook` keeps a message, `token` is of an administrator. */
async function desk(t) {
  const folder = mkdtempSync(join(tmpdir(), "console-"));
  atEnd(t, async () => rmSync(folder, { recursive: true }));
  const crm = await sandbox(t);
  const tokens = join(folder, "tokens");
  const token = async (name, permissions) => (await amochats("token", "new", "--file", tokens, "--name", name, "--permissions", permissions)).trim();
  const [reader, chief] = [await token("reader", "read"), await token("chief", "read,admin")];
  const config = join(folder, "amochats.toml");
  writeFileSync(config, `
[listener]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[store]
path = ${JSON.stringify(join(folder, "inbox.db"))}
min_free_bytes = 0
[inbox]
max_attempts = 1
[backfill]
on_start = false
[grpc]
address = "127.0.0.1:0"
tokens_file = ${JSON.stringify(tokens)}
[console]
enabled = true
[[channel]]
id = ${JSON.stringify(crm.ready.channel_id)}
secret = ${JSON.stringify(crm.ready.secret)}
base_url = ${JSON.stringify(crm.ready.api)}
`);
  const { ready } = await serve(t, ["serve", "--config", config]);
  const tokenFile = join(folder, "chief");
  writeFileSync(tokenFile, chief);
  const command = (...args) => amochats(...args, "--server", ready.grpc, "--token-file", tokenFile);
  async function hook(id, text) {
    const body = JSON.stringify({ account_id: crm.accountId, message: { receiver: { id: "r", phone: PLANTED.phone, email: PLANTED.email }, conversation: { id: "chat-1" }, message: { id, type: "text", text: `${text} ${PLANTED.text}` } } });
    const signature = createHmac("sha1", crm.ready.secret).update(body).digest("hex");
    const response = await fetch(`${ready.listener}/webhook/${crm.scope}`, { method: "POST", body, headers: { "X-Signature": signature } });
    assert.equal(response.status, 200, await response.text());
  }
  /** A consumer fails with what it takes; resolves to what ends it. */
  async function refuse() {
    const failing = createServer((_, response) => response.writeHead(500).end());
    await once(failing.listen(0, "127.0.0.1"), "listening");
    const forward = `http://127.0.0.1:${failing.address().port}/`;
    const child = spawn(binary, ["listen", "--subscription", "crm", "--forward", forward, "--server", ready.grpc, "--token-file", tokenFile], { stdio: ["ignore", "ignore", "pipe"], env: { RUST_LOG: LOG } });
    let said = "";
    child.stderr.on("data", (data) => { said += data; });
    const ended = once(child, "close");
    const end = async () => {
      child.kill("SIGTERM");
      await ended;
      silent("listen", said);
      failing.closeAllConnections();
      failing.close();
    };
    atEnd(t, end);
    await once(failing, "request");
    return end;
  }
  return { refuse, ready, reader, chief, command, hook, url: `${ready.admin}/console/` };
}

async function login(page, token) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
}

const area = (page, name) => page.getByRole("navigation", { name: "Areas" }).getByRole("link", { name });

test("an operator logs in, sees the backlog grow, and opens an event's life", async (t) => {
  const { url, chief, reader, command, hook } = await desk(t);
  await command("subscriptions", "create", "crm");
  const page = await open(t, url, { expected: /401|403/ });
  await login(page, "amochats_wrong");
  await seen(page.getByRole("alert"));
  await accessible(page, "login");
  await login(page, reader);
  const row = page.getByTestId("subscriptions").getByRole("row").filter({ hasText: "crm" });
  await seen(row.filter({ hasText: /crm\s*0/ }));
  await hook("m-1", "words that stay private");
  await hook("m-2", "more words");
  await seen(row.filter({ hasText: /crm\s*2/ }));
  await accessible(page, "overview");

  await area(page, "Events").click();
  await page.getByLabel("Message (message_ref_id)").fill("m-1");
  await page.getByRole("button", { name: "Search" }).click();
  const rows = page.getByTestId("events").locator("tbody tr");
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=events] tbody tr").length === 1);
  await accessible(page, "events");
  await rows.getByRole("link").click();
  await seen(page.getByTestId("life").getByText("waiting"));
  await accessible(page, "life");
  assert.equal(await page.getByRole("button", { name: "Open the message" }).count(), 0, "a reader may not");

  await page.getByRole("button", { name: "Log out" }).click();
  await login(page, chief);
  assert.equal((await page.content()).includes("stay private"), false);
  await page.getByRole("button", { name: "Open the message" }).click();
  await seen(page.getByText("words that stay private"));
});

test("an event's life has its times", async (t) => {
  const { url, reader, command, hook } = await desk(t);
  await command("subscriptions", "create", "crm");
  await hook("m-1", "taken");
  await command("listen", "--subscription", "crm", "--count", "1");
  const page = await open(t, url);
  await login(page, reader);
  await area(page, "Events").click();
  await page.getByTestId("events").locator("tbody").getByRole("link").click();
  await seen(page.getByTestId("life").getByText(/^handed out once, at .*\d/));
  await seen(page.getByTestId("life").getByText(/^settled at .*\d/));
  await picture(page, "console-life");
});

test("a dead letter is requeued after a question", async (t) => {
  const { url, chief, command, hook, refuse } = await desk(t);
  await command("subscriptions", "create", "crm");
  await hook("m-1", "refused");
  const end = await refuse();
  const page = await open(t, url);
  await login(page, chief);
  // The one attempt that the server makes has failed.
  await seen(page.getByTestId("subscriptions").getByRole("row").filter({ hasText: /crm\s*0\s*0\s*–\s*1/ }));
  await end();
  await area(page, "Dead letters").click();
  const dead = page.getByTestId("dead").locator("tbody tr");
  await seen(dead);
  await dead.getByRole("button", { name: "Requeue" }).click();
  await accessible(page, "confirmation");
  await page.getByRole("button", { name: "Requeue it" }).click();
  await seen(page.getByText("There are none."));
  await area(page, "Overview").click();
  await seen(page.getByTestId("subscriptions").getByRole("row").filter({ hasText: /crm\s*1/ }));
});

test("the colours are the system's until others are chosen, and stay chosen", async (t) => {
  const { url, reader } = await desk(t);
  const page = await open(t, url, { colorScheme: "light" });
  await login(page, reader);
  const colours = page.getByLabel("Colours");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [light, dark] = ["rgb(238, 241, 246)", "rgb(12, 17, 24)"];
  assert.equal(await ground(), light);
  await colours.selectOption("dark");
  assert.equal(await ground(), dark);
  await page.reload();
  assert.equal(await colours.inputValue(), "dark");
  assert.equal(await ground(), dark);
  await accessible(page, "dark by choice");
  await page.emulateMedia({ colorScheme: "dark" });
  await colours.selectOption("light");
  assert.equal(await ground(), light);
  await colours.selectOption("system");
  assert.equal(await ground(), dark);
  await page.reload();
  assert.equal(await ground(), dark);
});

test("it looks well in both colours and on a phone", async (t) => {
  const { url, chief, command, hook } = await desk(t);
  await command("subscriptions", "create", "crm");
  await hook("m-1", "hello");
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of [["desktop", { width: 1440, height: 860 }], ["phone", { width: 390, height: 780 }]]) {
      const page = await open(t, url, { colorScheme, viewport });
      await login(page, chief);
      await seen(page.getByTestId("subscriptions").getByText("crm"));
      // A flat line has no height, so it is not "visible".
      await page.locator("figure path[d*=L]").first().waitFor({ state: "attached" });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${size} ${colorScheme}`);
      await accessible(page, `${size} ${colorScheme}`);
      await picture(page, `console-${size}-${colorScheme}`);
    }
  }
});
