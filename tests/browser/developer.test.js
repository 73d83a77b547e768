// What a developer does on the page: looks into the journal, sets up channels, makes things fail.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { amochats, close, launch, LOST, open, parts, picture, sandbox, seen } from "./support.js";

const run = promisify(execFile);

before(launch);
after(close);

test("an empty sandbox teaches how to begin, with commands that work as they are", async (t) => {
  const up = await sandbox(t, { connected: false });
  const page = await open(t, up.page);
  const { crm } = parts(page);
  await seen(page.getByText("A channel in three steps"));
  await picture(page, "empty-light");
  const command = async (name) => {
    const text = await page.getByRole("region", { name }).innerText();
    assert.ok(text.includes(up.secret) && text.includes(up.channel_id), text);
    // As in a shell: the variable, then the words.
    const [, secret] = text.match(/AMOCHATS_SECRET=(\S+)/);
    const words = text.slice(text.indexOf("\namochats ") + 10).replaceAll("\\\n", " ").match(/'[^']*'|\S+/g).map((word) => word.replaceAll("'", ""));
    await amochats(words[0], "--secret", secret, ...words.slice(1));
  };
  await command("command that connects");
  await seen(page.getByText("Ready for the first message"));
  await command("command that sends");
  await seen(crm.chat("Anna"));
  await crm.chat("Anna").click();
  await seen(crm.message("still available"));
});

test("ids and the secret are copied", async (t) => {
  const up = await sandbox(t);
  const page = await open(t, `${up.page}/#/channels`, { permissions: ["clipboard-read", "clipboard-write"] });
  const secret = page.getByTestId("fact-secret");
  await seen(secret);
  assert.doesNotMatch(await secret.innerText(), new RegExp(up.secret), "hidden until it is asked for");
  await page.getByRole("button", { name: "Copy Secret" }).click();
  await seen(page.getByText("Secret copied"));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), up.secret);
  await page.getByRole("button", { name: "Show Secret" }).click();
  assert.equal(await secret.innerText(), up.secret);
});

test("the journal says which rule a request broke, and shows its bytes", async (t) => {
  const up = await sandbox(t);
  await up.channel.writes("Good");
  const bad = await up.channel.call("POST", `/v2/origin/custom/${up.scope}`, { event_type: "new_message" }, { secret: "wrong" });
  assert.equal(bad.status, 403);
  const page = await open(t, up.page);
  const { area, journal } = parts(page);
  // The last call is always in sight.
  await seen(page.getByTestId("ticker").filter({ hasText: "403" }));
  await area("Journal").click();
  await seen(journal("new_message").nth(1));
  await journal("new_message").first().click();
  const entry = page.getByTestId("entry");
  await seen(entry.getByText(/signature/i).first());
  await entry.getByRole("button", { name: "Back to the journal" }).waitFor({ state: "hidden" });
  await journal("new_message").nth(1).click();
  await seen(entry.getByText("HMAC-SHA1 of method"));
  await seen(entry.getByText("x-signature", { exact: false }).first());
  const body = entry.getByTestId("body");
  const pretty = await body.innerText();
  assert.match(pretty, /^\{\n {2}"event_type"/);
  await entry.getByRole("group", { name: "Body as" }).getByRole("button", { name: "Raw" }).click();
  assert.equal(await body.innerText(), JSON.stringify(JSON.parse(pretty)));
  await picture(page, "journal-light");
});

test("the journal is filtered", async (t) => {
  const up = await sandbox(t);
  const first = await up.channel.writes("A needle");
  await up.channel.writes("Hay");
  await up.control("POST", `chats/${first.conversation_id}/messages`, { text: "Hello" });
  await up.channel.call("POST", `/v2/origin/custom/${up.scope}`, {}, { secret: "wrong" });
  const page = await open(t, `${up.page}/#/journal`);
  const { journal } = parts(page);
  await seen(journal("webhook v2"));
  const only = (count) => page.waitForFunction((n) => document.querySelectorAll("[data-testid=journal-item]").length === n, count);
  await only(5);
  const choose = (group, name) => page.getByRole("group", { name: group, exact: true }).getByRole("button", { name, exact: true }).click();
  await choose("Direction", "Webhooks");
  await only(1);
  await choose("Direction", "Requests");
  await only(4);
  await choose("Verdict", "Bad");
  await only(1);
  await choose("Verdict", "Any");
  await page.getByLabel("Kind").selectOption("connect");
  await only(1);
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Search the journal").fill("needle");
  await only(1);
  // What is new joins only if it fits.
  await up.channel.writes("Another needle");
  await only(2);
  await up.channel.writes("More hay");
  await page.getByLabel("Search the journal").fill("nothing like it");
  await seen(page.getByText("No entry fits the filter."));
});

test("an entry becomes a curl command that sends the same bytes", async (t) => {
  const up = await sandbox(t);
  await up.channel.writes("It's a \"quote\"");
  const page = await open(t, `${up.page}/#/journal`, { permissions: ["clipboard-read", "clipboard-write"] });
  await parts(page).journal("new_message").click();
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await seen(page.getByText("as curl copied"));
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const { stdout } = await run("sh", ["-c", command]);
  // The signature is good; the message is known.
  assert.match(stdout, /400/);
  assert.match(stdout, /msgid/);
});

test("a webhook is replayed", async (t) => {
  const up = await sandbox(t);
  const first = await up.channel.writes("Hello");
  await up.control("POST", `chats/${first.conversation_id}/messages`, { text: "Once more" });
  const isAnswer = (hook) => hook.message?.message.text === "Once more";
  const sent = await up.hooks.next(isAnswer);
  const page = await open(t, `${up.page}/#/journal`);
  await parts(page).journal("webhook v2").click();
  await page.getByRole("button", { name: "Replay" }).click();
  assert.deepEqual(await up.hooks.next(isAnswer), sent, "the same bytes");
  await seen(parts(page).journal("webhook v2").nth(1));
});

test("channels, accounts and users are added, and chats are switched between them", async (t) => {
  const up = await sandbox(t);
  await up.channel.writes("To the first shop");
  const page = await open(t, `${up.page}/#/channels`);
  const { area, crm } = parts(page);
  const fill = async (button, fields, submit) => {
    await page.getByRole("button", { name: button, exact: true }).click();
    const dialog = page.getByRole("dialog");
    for (const [label, value] of Object.entries(fields)) await dialog.getByLabel(label, { exact: true }).fill(value);
    await dialog.getByRole("button", { name: submit }).click();
    await dialog.waitFor({ state: "detached" });
  };
  await fill("Account", { Name: "Book shop" }, "Open");
  await seen(page.getByTestId("account").filter({ hasText: "Book shop" }));
  await fill("Channel", { Name: "Instagram" }, "Register");
  await seen(page.getByTestId("channel").filter({ hasText: "Instagram" }));
  const books = page.getByTestId("account").filter({ hasText: "Book shop" });
  await books.getByRole("button", { name: "Add a user" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("Nora");
  await page.getByRole("dialog").getByLabel("Administrator").check();
  await page.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  await seen(books.getByTestId("user").filter({ hasText: "Nora" }));

  // The new channel has a webhook address of its own.
  const instagram = page.getByTestId("channel").filter({ hasText: "Instagram" });
  await instagram.getByLabel("Webhook address").fill(`${up.hooks.url}?of=instagram`);
  await instagram.getByRole("button", { name: "Save" }).click();
  await seen(page.getByText("The webhook address is saved"));
  const { channels, accounts } = await up.control("GET", "state");
  const added = channels.find((channel) => channel.title === "Instagram");
  assert.equal(added.webhook_url, `${up.hooks.url}?of=instagram`);

  // It connects to the new account, and a client of it writes.
  const shop = accounts.find((account) => account.name === "Book shop");
  const as = ["--base-url", up.api, "--secret", added.secret];
  await amochats("connect", ...as, "--channel-id", added.channel_id, "--account-id", shop.account_id);
  await seen(books.getByTestId("connection"));
  await picture(page, "channels-light");
  await amochats("send", ...as, "--scope-id", `${added.channel_id}_${shop.account_id}`, "--conversation-id", "c-1", "--user-id", "u-1", "--name", "Reader", "--text", "Any news?");
  await area("Chats").click();
  await seen(crm.chats.nth(1));
  await page.getByTestId("account-switch").selectOption({ label: "Book shop" });
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=chat-item]").length === 1);
  await seen(crm.chat("Reader"));
  await page.getByTestId("account-switch").selectOption("");
  await page.getByTestId("channel-switch").selectOption({ label: channels.find((channel) => channel.title !== "Instagram").title });
  await seen(crm.chat("To the first shop"));
  await crm.chat("Reader").waitFor({ state: "detached" });
});

test("what a channel can do is switched", async (t) => {
  const up = await sandbox(t);
  const { conversation_id: chat } = await up.channel.writes("Hello");
  const page = await open(t, `${up.page}/#/channels`, { expected: /400/ });
  await page.getByText("What the channel can do").click();
  await page.getByRole("switch", { name: "Reactions" }).click();
  await page.waitForFunction(async () => (await (await fetch("/api/state")).json()).channels[0].features.reactions === false);
  await page.goto(`${up.page}/#/chats/${chat}`);
  const bubble = parts(page).crm.message("Hello");
  await bubble.hover();
  await bubble.getByRole("button", { name: "React", exact: true }).click();
  await bubble.getByRole("button", { name: "React with 🔥" }).click();
  await seen(page.getByText(/^No reaction: /));
});

test("strictness is switched", async (t) => {
  const up = await sandbox(t);
  const page = await open(t, `${up.page}/#/controls`);
  await page.getByRole("group", { name: "Signatures" }).getByRole("button", { name: "Canonical" }).click();
  await seen(page.getByRole("group", { name: "Signatures" }).locator("[aria-pressed=true]", { hasText: "Canonical" }));
  await page.getByRole("switch", { name: "Check Content-MD5" }).click();
  await page.waitForFunction(async () => (await (await fetch("/api/switches")).json()).check_md5 === false);
  await page.getByRole("switch", { name: "Date window: on" }).click();
  await page.waitForFunction(async () => (await (await fetch("/api/switches")).json()).date_window_s === null);
  const { switches } = await up.control("GET", "state");
  assert.deepEqual([switches.signatures, switches.check_md5, switches.date_window_s], ["canonical", false, null]);
  await picture(page, "controls-light");
});

test("faults are switched on with a probability, strike, and are switched off", async (t) => {
  const up = await sandbox(t);
  const page = await open(t, `${up.page}/#/controls`);
  const calls = page.getByRole("region", { name: "Faults of calls" });
  await calls.getByRole("switch", { name: /^Error/ }).click();
  await seen(calls.getByLabel("Error: status"));
  const rules = async () => (await up.control("GET", "faults")).rules.map(({ on, fault, value, probability }) => [on, fault, value, probability]);
  assert.deepEqual(await rules(), [["api", "status", 503, 1]]);
  const { status } = await up.channel.call("POST", `/v2/origin/custom/${up.scope}`, {});
  assert.equal(status, 503);
  await seen(calls.getByText("struck 1 time"));
  await seen(page.getByText("Faults are on"));
  // Less likely, by the keys of the slider.
  const likely = calls.getByLabel("Error: how likely");
  await likely.focus();
  await page.keyboard.press("Home");
  await seen(calls.getByText("5 %", { exact: true }));
  await page.waitForFunction(async () => (await (await fetch("/api/faults")).json()).rules[0]?.probability === 0.05);
  await calls.getByLabel("Error: status").fill("500");
  await page.keyboard.press("Enter");
  await page.waitForFunction(async () => (await (await fetch("/api/faults")).json()).rules[0]?.value === 500);
  await page.getByRole("region", { name: "Faults of webhooks" }).getByRole("switch", { name: /^Twice/ }).click();
  await page.waitForFunction(async () => (await (await fetch("/api/faults")).json()).rules.length === 2);
  await picture(page, "faults-light");
  await page.getByRole("button", { name: "Switch all faults off" }).click();
  await page.getByText("Faults are on").waitFor({ state: "detached" });
  assert.deepEqual(await rules(), []);
});

test("a snapshot is downloaded, the sandbox emptied, the snapshot restored", async (t) => {
  const up = await sandbox(t);
  await up.channel.writes("Worth keeping");
  const page = await open(t, `${up.page}/#/controls`);
  const { area, crm } = parts(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download a snapshot" }).click()]);
  const snapshot = await readFile(await download.path());
  assert.match(String(snapshot), /Worth keeping/);
  await page.getByRole("button", { name: "Empty the sandbox" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Empty it" }).click();
  await seen(page.getByText("No chats yet"));
  await area("Controls").click();
  await page.getByTestId("restore").setInputFiles({ name: "snapshot.json", mimeType: "application/json", buffer: snapshot });
  await seen(page.getByText("The snapshot is restored"));
  await area("Chats").click();
  await seen(crm.chat("Worth keeping"));
});

test("a connection that is lost is said, and the page goes on by itself", async (t) => {
  const up = await sandbox(t);
  await up.channel.writes("Before");
  const page = await open(t, up.page, { expected: LOST });
  const { crm } = parts(page);
  await seen(crm.chat("Before"));
  const address = (url) => new URL(url).host;
  await up.stop();
  await seen(page.getByTestId("lost"));
  assert.equal(await crm.chats.count(), 1, "what was seen stays");
  await picture(page, "connection-lost");
  const again = await sandbox(t, { page: address(up.page), api: address(up.api) });
  await page.getByTestId("lost").waitFor({ state: "detached", timeout: 20_000 });
  await again.channel.writes("After");
  await seen(crm.chat("After"));
  await crm.chat("Before").waitFor({ state: "detached" });
});
