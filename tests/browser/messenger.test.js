// The main job as a person does it: write as the client, answer as the manager.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { amochats, close, dev, launch, open, parts, picture, seen } from "./support.js";
import { PLANTED } from "./secrecy.js";

before(launch);
after(close);

async function fromPhone(phone, text) {
  await phone.input.fill(text);
  await phone.send.click();
}

test("a client writes, a manager answers, the ticks become read", async (t) => {
  const { page: url } = await dev(t);
  const page = await open(t, url);
  const { phone, crm, area, journal } = parts(page);
  await seen(phone.input);
  await picture(page, "start");

  await fromPhone(phone, "Hello, do you deliver on Saturdays?");
  await seen(phone.message("Saturdays", "sent"));
  // The chat appears by itself, as an incoming lead.
  await crm.chats.first().click();
  assert.match(await crm.chats.first().innerText(), /Demo client[^]*Incoming lead/);
  await seen(crm.message("Saturdays", "received"));

  await crm.input.fill("Hello! Yes, until six in the evening.");
  await crm.send.click();
  await seen(crm.message("until six", "read"));
  await seen(phone.message("until six", "read"));

  // Both ways again, now that the chat is known.
  await fromPhone(phone, `Great, thank you! ${PLANTED.text}`);
  await seen(crm.message("thank you"));
  await crm.input.fill(`You are welcome ${PLANTED.text} ${PLANTED.email}`);
  await crm.input.press("Enter");
  await seen(crm.message("welcome", "read"));
  assert.equal(await phone.messages.count(), 4);
  assert.equal(await crm.messages.count(), 4);

  // Every request and webhook was genuine, whether it was checked here or by the server.
  await picture(page, "conversation-light");
  await area("Journal").click();
  const verdicts = [["connect", "canonical", 1], ["new_message", "canonical", 2], ["webhook v2", "accepted", 2], ["delivery_status", "canonical", 4]];
  for (const [kind, verdict, count] of verdicts) {
    await seen(journal(kind).nth(count - 1));
    const said = await journal(kind).evaluateAll((items) => items.map((item) => item.dataset.verdict));
    assert.deepEqual(said, Array(count).fill(verdict), kind);
  }
  assert.equal(await journal().locator("[data-ok=false]").count(), 0);
});

test("the client sees the manager type, until the answer is there", async (t) => {
  const { page: url } = await dev(t);
  const page = await open(t, url);
  const { phone, crm } = parts(page);
  await fromPhone(phone, "Anybody there?");
  await crm.chats.first().click();
  assert.equal(await phone.typing.isVisible(), false);
  // Typing is not kept: who does not listen yet never hears of it.
  await seen(phone.online);
  await crm.input.pressSequentially("One moment");
  await phone.typing.waitFor({ state: "visible" });
  await picture(page, "typing");
  const answer = await crm.input.inputValue();
  await crm.input.press("Enter");
  await seen(phone.message(answer));
  await phone.typing.waitFor({ state: "hidden" });
});

test("markup in messages stays text on both sides", async (t) => {
  const { page: url } = await dev(t);
  const page = await open(t, url);
  const { phone, crm } = parts(page);
  const nasty = "<img src=x onerror=\"alert(1)\"><script>alert(2)</script>";
  await fromPhone(phone, `${nasty} from the client`);
  await crm.chats.first().click();
  await seen(crm.message(`${nasty} from the client`));
  await crm.input.fill(`${nasty} from the manager`);
  await crm.send.click();
  await seen(phone.message(`${nasty} from the manager`));
  for (const list of [phone.messages, crm.messages]) {
    assert.equal(await list.locator("img, script").count(), 0);
  }
});

test("everything can be done by keyboard", async (t) => {
  const { page: url } = await dev(t);
  const page = await open(t, url);
  const { phone, crm } = parts(page);
  const tabTo = async (locator, key = "Tab") => {
    for (let i = 0; i < 30; i += 1) {
      if (await locator.evaluate((node) => node === node.ownerDocument.activeElement && node.ownerDocument.hasFocus())) return;
      await page.keyboard.press(key);
    }
    assert.fail("it cannot be reached by Tab");
  };
  await seen(phone.input);
  await tabTo(phone.input);
  await page.keyboard.type("No mouse");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("at all");
  await page.keyboard.press("Enter");
  await seen(crm.chats);
  await tabTo(crm.chats.first());
  await page.keyboard.press("Enter");
  assert.equal(await crm.message("No mouse").locator(".text").innerText(), "No mouse\nat all");
  await tabTo(crm.input);
  await page.keyboard.type("Me neither");
  await page.keyboard.press("Enter");
  await seen(phone.message("Me neither"));
  await seen(crm.message("Me neither", "read"));
});

test("on a narrow screen an answer is read once the phone is looked at", async (t) => {
  const { page: url } = await dev(t);
  const page = await open(t, url, { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  const { phone, crm, area: tab } = parts(page);
  await tab("Client").tap();
  await phone.input.fill("From a small screen");
  await phone.send.tap();
  await seen(phone.message("small screen", "sent"));
  await picture(page, "narrow-phone");
  await tab("Chats").tap();
  await crm.chats.first().tap();
  await crm.input.fill("Arrived, but not seen");
  await crm.send.tap();
  await seen(crm.message("not seen", "delivered"));
  await picture(page, "narrow-crm");
  await tab("Client").tap();
  await seen(phone.message("not seen"));
  await tab("Chats").tap();
  await seen(crm.message("not seen", "read"));
  const fits = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  assert.ok(fits, "nothing is wider than the screen");
});

test("what the CRM refuses is said, and sent once when tried again", async (t) => {
  const up = await dev(t);
  const page = await open(t, up.page);
  const { phone, crm } = parts(page);
  const channel = [
    "--base-url", up.sandbox_api, "--channel-id", up.channel_id, "--account-id", up.account_id, "--secret", up.secret,
  ];
  await amochats("disconnect", ...channel);
  await fromPhone(phone, "Is this on?");
  const failed = phone.message("Is this on?", "failed");
  await seen(failed);
  assert.match(await failed.innerText(), /Not sent: .*not connected/);
  await picture(page, "failed");
  await amochats("connect", ...channel);
  await failed.getByRole("button", { name: "Try again" }).click();
  await seen(phone.message("Is this on?", "sent"));
  await crm.chats.first().click();
  await seen(crm.message("Is this on?"));
  assert.equal(await crm.messages.count(), 1);
  assert.equal(await phone.messages.count(), 1);
});

test("a manager writes first; the client is found and answers", async (t) => {
  const up = await dev(t);
  const page = await open(t, up.page);
  const { phone, crm } = parts(page);
  await page.getByRole("button", { name: "Write first" }).click();
  await page.getByRole("dialog").getByLabel("Phone").fill(PLANTED.phone);
  await page.getByRole("dialog").getByLabel("Message").fill("Your order is ready");
  await page.getByRole("dialog").getByRole("button", { name: "Send" }).click();
  await seen(crm.message("order is ready", "delivered"));
  await phone.whose.selectOption({ label: `${PLANTED.phone} (1)` });
  await seen(phone.message("order is ready"));
  await seen(crm.message("order is ready", "read"));
  await fromPhone(phone, "On my way");
  await seen(crm.message("On my way"));
  assert.equal(await crm.chats.count(), 1, "the answer is in the same chat");
  await crm.input.fill("See you");
  await crm.send.click();
  await seen(phone.message("See you"));
});

test("pictures and files, in the dark", async (t) => {
  const up = await dev(t);
  const page = await open(t, up.page, { colorScheme: "dark" });
  const { phone, crm } = parts(page);
  await fromPhone(phone, "Have you got it in green?");
  await crm.chats.first().click();
  // A picture of its own, so that nothing is fetched from elsewhere.
  const colour = encodeURIComponent("<svg xmlns='http://www.w3.org/2000/svg' width='440' height='300'><rect width='440' height='300' fill='#2e7d5b'/></svg>");
  await page.context().route("http://127.0.0.1:9/green.svg", (route) =>
    route.fulfill({ contentType: "image/svg+xml", body: decodeURIComponent(colour) }));
  const attach = async (address) => {
    await page.getByRole("button", { name: "Attach by address" }).click();
    await page.getByLabel("Address of a picture or file").fill(address);
    await page.getByRole("button", { name: "Attach", exact: true }).click();
  };
  await attach("http://127.0.0.1:9/green.svg");
  await crm.input.fill("This one?");
  await crm.send.click();
  await phone.message("This one?").locator("img").waitFor();
  await attach("http://127.0.0.1:9/price-list.pdf");
  await crm.input.fill("And the prices");
  await crm.send.click();
  const file = phone.message("And the prices").getByRole("link");
  assert.match(await file.innerText(), /price-list\.pdf/);
  assert.equal(await file.getAttribute("href"), "http://127.0.0.1:9/price-list.pdf");
  await seen(crm.message("prices", "read"));
  await picture(page, "conversation-dark");
});
