// What the administrator of an account does with the widget: installs it, connects, looks again, switches it off.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { accessible, amochats, close, launch, open, parts as managerParts, picture, seen } from "./support.js";
import { PLANTED } from "./secrecy.js";
import { shop, USERS } from "./widget/shop.js";

before(launch);
after(close);

/** The page with the window open and the account connected. */
async function connected(shown) {
  await shown.opener.click();
  await shown.fill();
  await shown.install.click();
  await seen(shown.state("connected"));
}

/** A client's message arrives in the account, and the manager's answer is handed out by the server. */
async function talk(t, all) {
  const server = ["--server", all.operator.grpc];
  const scope = `${all.ready.channel_id}_${all.accounts[0]}`;
  await amochats("outbox", "send", ...server, "--scope-id", scope, "--conversation-id", "c-1", "--user-id", "u-1", "--name", "Reader", "--text", `Is my order ready? ${PLANTED.text}`);
  const { crm } = managerParts(await open(t, all.ready.page));
  await crm.chat("Reader").click();
  await seen(crm.message("Is my order ready?"));
  await crm.input.fill(`It is, since noon. ${PLANTED.text}`);
  await crm.send.click();
  assert.equal((await all.front.next(`/webhook/${scope}`)).status, 200);
  const event = JSON.parse(await amochats("listen", ...server, "--subscription", "crm", "--create", "--count", "1"));
  assert.deepEqual([event.conversation_id, event.text], ["c-1", `It is, since noon. ${PLANTED.text}`]);
}

test("from the installation to the first message, off, and on again", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  const toTheCrm = [];
  shown.page.on("request", (request) => { if (request.url().startsWith(all.ready.page)) toTheCrm.push(`${request.url()} ${request.postData() ?? ""}`); });
  await seen(shown.tile("install"));
  await shown.opener.click();
  await seen(shown.widget.getByText("The password of the CRM is not needed"));

  await shown.fill("shop-1", "wrong password");
  await shown.install.click();
  await seen(shown.status("error").getByText("The login or password is wrong"));
  assert.equal((await all.front.next("/oauth/redirect")).status, 200);
  assert.equal((await all.front.next("/widget/connect")).status, 403);
  assert.equal(await shown.password.inputValue(), "", "a wrong password is not shown again");
  assert.equal(await shown.login.inputValue(), "shop-1");
  assert.deepEqual(await all.connections(), []);

  await shown.fill();
  await shown.save.click();
  await seen(shown.state("connected").getByText("Shop chat"));
  const call = await all.front.next("/widget/connect");
  const account = (await all.control("GET", "crm")).accounts.find((one) => one.account_id === all.accounts[0]);
  assert.deepEqual(JSON.parse(call.body), { login: "shop-1", password: USERS["shop-1"], amojo_id: all.accounts[0], account_id: account.id, subdomain: account.subdomain });
  assert.equal((await all.connections())[0].title, "Shop chat");
  await seen(shown.tile("installed"));
  const saved = (await all.control("GET", "widgets")).widgets[0].saved[0].fields;
  assert.deepEqual(JSON.parse(saved.link_state), { state: "connected", title: "Shop chat" });
  await talk(t, all);
  assert.match(all.operator.said(), /amochats::audit.*decision="?denied[^]*amochats::audit.*decision="?allowed/);

  await shown.page.reload();
  await shown.opener.click();
  await seen(shown.state("connected").getByText("Since"));
  assert.equal((await all.front.next("/widget/state")).status, 200);
  assert.equal(await shown.widget.locator("input").count(), 0);

  await shown.uninstall.click();
  await seen(shown.tile("install"));
  const hook = await all.front.next("/disable");
  const given = new URLSearchParams(hook.url.split("?")[1]);
  const signature = createHmac("sha256", all.integration.client_secret).update(`${all.integration.client_id}|${account.id}`).digest("hex");
  assert.deepEqual([hook.status, given.get("signature")], [200, signature]);
  assert.deepEqual(await all.connections(), []);

  await shown.opener.click();
  assert.equal(await shown.password.inputValue(), "");
  await shown.fill();
  await shown.install.click();
  await seen(shown.state("connected"));
  assert.equal((await all.connections()).length, 1);
  assert.ok(toTheCrm.length > 10);
  assert.ok(!toTheCrm.some((request) => request.includes("correct") || request.includes("wrong")), "the CRM never gets a password");
});

test("the server may hear of the installation after the widget's call", async (t) => {
  const all = await shop(t);
  const shown = await all.page(0, { order: "after" });
  await shown.opener.click();
  await shown.page.clock.install();
  await shown.fill();
  await shown.install.click();
  for (let call = 1; call <= 6; call += 1) {
    assert.equal((await all.front.next("/widget/connect")).status, 409);
    if (call < 6) {
      await seen(shown.status("busy"));
      await shown.page.clock.fastForward(2000);
    }
  }
  // The installation is let through, since the server would wait for it for ever.
  await seen(shown.status("error").getByText("has not confirmed the installation yet"));
  await seen(shown.tile("installed"));
  assert.equal((await all.front.next("/oauth/redirect")).status, 200);
  await shown.connect.click();
  await seen(shown.state("connected"));
});

test("a second click, Enter and Save join the call that is under way", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  let release;
  let arrived;
  const hold = new Promise((resolve) => { release = resolve; });
  const there = new Promise((resolve) => { arrived = resolve; });
  all.front.way = ({ path }) => {
    if (path !== "/widget/connect") return true;
    arrived();
    return hold;
  };
  await shown.opener.click();
  await shown.fill();
  await shown.install.click();
  await there;
  await seen(shown.status("busy").getByText("Connecting"));
  assert.equal(await shown.connect.isDisabled(), true);
  // By code as well, where a disabled button would hold back a person.
  await shown.page.evaluate(() => {
    for (const button of document.querySelectorAll("[class^=chat-link-] button")) {
      button.disabled = false;
      button.click();
      button.click();
    }
  });
  release(true);
  await seen(shown.state("connected"));
  await all.front.next("/widget/connect");
  assert.equal(all.front.seen.filter(({ path }) => path === "/widget/connect").length, 0);
});

test("a server that cannot be reached, does not allow the page, or fails is said so, and tried again", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await shown.opener.click();
  await shown.fill();
  await all.front.close();
  await shown.install.click();
  await seen(shown.status("error").getByText(`cannot be reached. Check your network, and whether it lets you reach ${all.front.url}`));
  await all.front.reopen();
  // The code went nowhere while the server was away, and the CRM does not repeat it.
  await all.control("POST", `crm/integrations/${all.integration.client_id}/install`, { account_id: all.accounts[0] });
  await all.front.next("/oauth/redirect");

  all.front.cors = false;
  await shown.connect.click();
  await seen(shown.status("error").getByText("cannot be reached"));
  assert.ok(!all.front.seen.some(({ path }) => path === "/widget/connect"), "the password is not sent where the page is not allowed");
  all.front.cors = true;
  for (const [answer, words] of [
    [[500, "broken"], "reported a failure"], [[200, { state: 5 }], "does not know"],
    [[429, { error: { code: "TOO_MANY_ATTEMPTS", message: "", retry_after: 150 } }], "in 3 min"],
  ]) {
    all.front.way = () => answer;
    await shown.fill();
    await shown.connect.click();
    await seen(shown.status("error").getByText(words));
  }
  all.front.way = () => true;
  await shown.fill();
  await shown.connect.click();
  await seen(shown.state("connected"));
});

test("a slow server is waited for, then given up, and what it did meanwhile is found", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await shown.opener.click();
  await shown.page.clock.install();
  await shown.fill();
  const never = new Promise(() => {});
  let arrived;
  all.front.way = ({ path }) => {
    if (!path.startsWith("/widget/")) return true;
    arrived();
    return never;
  };
  const slow = async (act) => {
    const there = new Promise((resolve) => { arrived = resolve; });
    await act();
    await there;
    await seen(shown.status("busy"));
  };
  await all.control("POST", `crm/integrations/${all.integration.client_id}/install`, { account_id: all.accounts[0] });
  await slow(() => shown.connect.click());
  // The state, which is asked after the time-out, is slow as well.
  await slow(() => shown.page.clock.fastForward(23_000));
  await shown.page.clock.fastForward(23_000);
  await seen(shown.status("error").getByText("did not answer in time"));

  all.front.way = async (entry) => {
    if (entry.path === "/widget/connect") { arrived(); return never; }
    return entry.path === "/widget/state" ? [200, { state: "connected", title: "Late" }] : true;
  };
  await slow(() => shown.connect.click());
  await shown.page.clock.fastForward(23_000);
  await seen(shown.state("connected").getByText("Late"));
});

test("every refusal has its words in every language", async (t) => {
  const all = await shop(t);
  const codes = ["WRONG_CREDENTIALS", "TOKEN_INVALID", "TOO_MANY_ATTEMPTS", "ACCOUNT_MISMATCH", "CRM_UNAVAILABLE", "CHANNEL_REFUSED", "BAD_REQUEST", "ORIGIN_NOT_ALLOWED", "SERVER_UNAVAILABLE", "NEVER_HEARD_OF"];
  for (const lang of ["en", "ru", "es", "pt"]) {
    const shown = await all.page(0, { lang });
    await shown.opener.click();
    const said = new Set();
    for (const code of codes) {
      all.front.way = () => [400, { error: { code, message: "for the log alone" } }];
      await shown.fill();
      await shown.connect.click();
      await all.front.next("/widget/connect");
      await seen(shown.status("error"));
      const words = await shown.status("error").innerText();
      assert.doesNotMatch(words, /error_|for the log|\{|@|undefined/);
      assert.equal(/[а-я]/i.test(words), lang === "ru", words);
      said.add(words);
    }
    assert.equal(said.size, codes.length, "each has its own");
    await shown.page.close();
  }
});

test("a token that the CRM would not give is refused in words", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await connected(shown);
  await shown.page.keyboard.press("Escape");
  for (const [flaw, words] of [["expired", "open for too long"], ["foreign", "not accepted"], ["alg_none", "not accepted"], ["wrong_audience", "not accepted"], ["replayed", "not accepted"]]) {
    await shown.page.getByTestId("flaw").selectOption(flaw);
    await shown.opener.click();
    await seen(shown.status("error").getByText(words));
    await shown.page.keyboard.press("Escape");
    if (flaw === "wrong_audience") {
      // The one before it must be a good one.
      await shown.page.getByTestId("flaw").selectOption("");
      await shown.opener.click();
      await seen(shown.state("connected"));
      await shown.page.keyboard.press("Escape");
    }
  }
});

test("guessing is over soon, for whoever knows the password as well", async (t) => {
  // As it is without a setting: ten attempts of an account.
  const all = await shop(t, { limits: "" });
  const shown = await all.page();
  await shown.opener.click();
  for (let guess = 1; guess <= 10; guess += 1) {
    await shown.fill("shop-1", `guess ${guess}`);
    await (guess === 1 ? shown.install : shown.connect).click();
    assert.equal((await all.front.next("/widget/connect")).status, 403);
    await seen(shown.status("error").getByText("The login or password is wrong"));
  }
  await shown.fill();
  await shown.connect.click();
  await seen(shown.status("error").getByText("Too many attempts. Try again in 1 min"));
  assert.equal((await all.front.next("/widget/connect")).status, 429);
  assert.deepEqual(await all.connections(), []);
  const metrics = await (await fetch(`${all.operator.admin}/metrics`)).text();
  assert.match(metrics, /amochats_widget_attempts_total\{decision="denied"\} 10\n/);
  assert.match(metrics, /amochats_widget_attempts_total\{decision="limited"\} 1\n/);
});

test("two accounts at once are connected each for itself", async (t) => {
  const all = await shop(t);
  const pages = await Promise.all([0, 1].map((account) => all.page(account)));
  await Promise.all(pages.map(async (shown, account) => {
    await shown.opener.click();
    await shown.fill(account === 0 ? "shop-1" : "shop-2");
    await shown.install.click();
    await seen(shown.state("connected"));
  }));
  assert.deepEqual([(await all.connections(0)).length, (await all.connections(1)).length], [1, 1]);
  await pages[0].uninstall.click();
  await seen(pages[0].tile("install"));
  assert.deepEqual([(await all.connections(0)).length, (await all.connections(1)).length], [0, 1]);
});

test("it is disconnected in two steps, and connected again", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await connected(shown);
  await shown.widget.getByRole("button", { name: "Disconnect" }).click();
  await shown.widget.getByRole("button", { name: "Cancel" }).click();
  await seen(shown.state("connected"));
  assert.ok(!all.front.seen.some(({ path }) => path === "/widget/disconnect"));
  await shown.widget.getByRole("button", { name: "Disconnect" }).click();
  await shown.widget.getByRole("button", { name: "Yes, disconnect" }).click();
  await seen(shown.status("done"));
  assert.deepEqual(JSON.parse((await all.front.next("/widget/disconnect")).body), { amojo_id: all.accounts[0] });
  assert.deepEqual(await all.connections(), []);
  await shown.fill();
  await shown.connect.click();
  await seen(shown.state("connected"));
});

test("switching off never connects, whatever the form has", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await shown.opener.click();
  await shown.install.click();
  await seen(shown.status("error").getByText("Enter both"));
  await shown.fill();
  await shown.uninstall.click();
  await seen(shown.log('onSave({"active":"N"}) → true'));
  await seen(shown.tile("install"));
  assert.equal((await all.front.next("/disable")).status, 200);
  assert.ok(!all.front.seen.some(({ path }) => path === "/widget/connect"));
});

test("it is added as a lead source and opened from there; without a form, it lets itself be installed", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await shown.page.getByRole("button", { name: "Add as a source" }).click();
  await seen(shown.log(/onAddAsSource\(\d+\) → true/));
  await shown.install.click();
  await seen(shown.status("error").getByText("Enter both the login and the password"));
  assert.ok(!all.front.seen.some(({ path }) => path === "/widget/connect"));
  await shown.fill();
  await shown.save.click();
  await seen(shown.state("connected"));
  await shown.page.keyboard.press("Escape");
  await shown.page.getByTestId("source").click();
  await seen(shown.log(/settings\(\{"source_id":\d+,"external_id":"sandbox_widget"\}\) → true/));
  await seen(shown.state("connected"));
  assert.equal(await shown.page.evaluate(() => document.querySelectorAll("link[data-owner]").length), 1, "the style is added once");
});

test("an archive is uploaded on the page, and a bad one is refused with the reason", async (t) => {
  const all = await shop(t);
  const shown = await all.page();
  await seen(shown.tile());
  const upload = shown.page.getByTestId("upload");
  await upload.setInputFiles({ name: "widget.zip", mimeType: "application/zip", buffer: Buffer.from("PK no archive") });
  await seen(shown.page.getByTestId("problem").getByText("cannot be read"));
  await upload.setInputFiles(`${all.folder}/widget.zip`);
  await shown.page.waitForEvent("load");
  await seen(shown.tile("install"));
  await seen(shown.log("init() → true"));
});

test("it reads well in each language, light and dark", async (t) => {
  const all = await shop(t);
  for (const lang of ["en", "ru", "es", "pt"]) {
    for (const colorScheme of ["light", "dark"]) {
      const shown = await all.page(0, { lang, colorScheme });
      await shown.opener.click();
      assert.equal(await shown.widget.getAttribute("data-scheme"), colorScheme);
      await shown.page.waitForFunction(() => [...document.styleSheets].some((sheet) => sheet.href?.includes("style.css")));
      await picture(shown.page, `widget-${lang}-${colorScheme}-form`);
      await shown.fill("shop-1", "wrong");
      await shown.install.click();
      await seen(shown.status("error"));
      await picture(shown.page, `widget-${lang}-${colorScheme}-error`);
      await accessible(shown.page, `${lang}, ${colorScheme}, form`);
      await shown.fill();
      await shown.connect.click();
      await seen(shown.state("connected"));
      await picture(shown.page, `widget-${lang}-${colorScheme}-connected`);
      await accessible(shown.page, `${lang}, ${colorScheme}, connected`);
      await shown.save.click();
      await shown.uninstall.click();
      await seen(shown.tile("install"));
      if (lang === "en") await picture(shown.page, `integrations-${colorScheme}`);
      await shown.page.close();
    }
  }
});

test("where the CRM calls the server is set on the page", async (t) => {
  const all = await shop(t);
  const shown = await all.page(0);
  const form = shown.page.getByTestId("addresses");
  await form.getByLabel("Redirect URI").fill("http://127.0.0.1:9/oauth");
  await form.getByLabel("Disable hook").fill("http://127.0.0.1:9/off");
  const saved = shown.page.waitForResponse((answer) => answer.request().method() === "PATCH");
  await form.getByRole("button").click();
  await saved;
  await shown.page.reload();
  assert.equal(await form.getByLabel("Redirect URI").inputValue(), "http://127.0.0.1:9/oauth");
  const [integration] = (await all.control("GET", "crm")).integrations;
  assert.equal(integration.disable_url, "http://127.0.0.1:9/off");
});

test("the manager's page leads to the integrations and back", async (t) => {
  const all = await shop(t);
  const shown = await all.page(0, { expected: /^$/ });
  await shown.page.getByRole("link", { name: "Manager's page" }).click();
  await shown.page.getByRole("link", { name: "Integrations" }).click();
  await seen(shown.tile("install"));
});
