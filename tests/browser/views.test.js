// How the page looks and who can use it: pictures in both colours and widths, axe, the keyboard.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, close, dev, launch, open, parts, picture, sandbox, seen } from "./support.js";

before(launch);
after(close);

const PHONE = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };
const DESK = {};

/** A shop in the middle of its day. */
async function shop(t) {
  const up = await sandbox(t);
  const { channel, hooks, control } = up;
  await channel.writes("Have you got peonies?", { conversation: "chat-clara", user: "clara", name: "Clara Diaz" });
  await channel.writes("Thank you, they are lovely!", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  const { conversation_id: chat } = await channel.writes("Hello! Do you deliver on Saturdays?");
  const answer = async (body) => {
    await control("POST", `chats/${chat}/messages`, body);
    return (await hooks.next((hook) => hook.message)).message.message;
  };
  const yes = await answer({ text: "Hello Anna! Yes, until six in the evening." });
  await channel.reports(yes.id, { status_code: 2 });
  await channel.reacts({ id: yes.id, emoji: "👍" });
  await channel.writes({ type: "location", location: { lon: 37.61, lat: 55.75 } }, { at: Date.now() });
  await channel.writes("Here, by noon?", { at: Date.now(), reply_to: { message: { id: yes.id } } });
  const offer = await answer({ text: "We can. Which one shall it be?", buttons: [[{ text: "Peonies" }], [{ text: "Tulips" }]] });
  await channel.reports(offer.id, { status_code: 1 });
  const bill = await answer({ text: "The bill", attachments: [{ type: "file", url: "http://127.0.0.1:9/bill.pdf", file_name: "bill.pdf", file_size: 48_200 }] });
  await channel.reports(bill.id, { status_code: -1, error_code: 905, error: "The messenger does not take files" });
  await channel.call("POST", `/v2/origin/custom/${up.scope}`, { event_type: "new_message" }, { secret: "wrong" });
  return { ...up, chat };
}

for (const [width, size] of [["desk", DESK], ["phone", PHONE]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`every view can be used by everybody: ${width}, ${colorScheme}`, async (t) => {
      const { page: url, chat } = await shop(t);
      const page = await open(t, url, { ...size, colorScheme });
      const { crm, journal } = parts(page);
      const look = async (view, address, there) => {
        await page.goto(`${url}/#/${address}`);
        await seen(there);
        await accessible(page, view);
        await picture(page, `${view}-${width}-${colorScheme}`);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} is not wider than the screen`);
      };
      await look("chats", "chats", crm.chats.nth(2));
      await look("chat", `chats/${chat}`, crm.message("The bill", "error"));
      await look("journal", "journal", journal().first());
      await journal("webhook v2").first().click();
      await seen(page.getByTestId("entry"));
      await accessible(page, "entry");
      await picture(page, `entry-${width}-${colorScheme}`);
      await look("channels", "channels", page.getByTestId("channel"));
      await look("controls", "controls", page.getByRole("button", { name: "Download a snapshot" }));
      await page.keyboard.press("n");
      await seen(page.getByRole("dialog"));
      await accessible(page, "dialog");
      await picture(page, `dialog-${width}-${colorScheme}`);
    });
  }
}

test("an empty sandbox can be used by everybody", async (t) => {
  const { page: url } = await sandbox(t, { connected: false });
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(t, url, { colorScheme });
    await seen(page.getByText("A channel in three steps"));
    await accessible(page, "welcome");
    await picture(page, `welcome-desk-${colorScheme}`);
  }
});

test("colours follow the system until they are chosen, and the choice is kept", async (t) => {
  const { page: url } = await sandbox(t);
  const page = await open(t, url, { colorScheme: "dark" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole("button", { name: "Light" }).click();
  const light = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  await seen(page.getByRole("button", { name: "Light", pressed: true }));
  assert.equal(await ground(), light);
  await page.getByRole("button", { name: "As the system" }).click();
  assert.equal(await ground(), dark);
});

test("everything can be done by keyboard", async (t) => {
  const { page: url } = await shop(t);
  const page = await open(t, url);
  const { crm } = parts(page);
  await seen(crm.chats.nth(2));
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText);
  const tabTo = async (pattern) => {
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press("Tab");
      if (pattern.test(await focused())) {
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(outline, "none", `the focus on ${pattern} can be seen`);
        return;
      }
    }
    assert.fail(`${pattern} cannot be reached by Tab`);
  };
  // The list is one stop; arrows move in it.
  await tabTo(/Anna Petrova/);
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction(() => document.activeElement.innerText.includes("Bo Larsen"));
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await seen(crm.message("The bill"));
  // The box is ready at once.
  await page.waitForFunction(() => document.activeElement.dataset.testid === "answer-input");
  await page.keyboard.type("By keyboard");
  await page.keyboard.press("Enter");
  await seen(crm.message("By keyboard"));
  // Quote and react.
  await page.keyboard.press("Shift+Tab");
  await page.evaluate(() => document.querySelector("[data-testid=message] [data-testid=quote]").focus());
  await page.keyboard.press("Enter");
  await seen(page.getByTestId("quoting"));
  await page.keyboard.press("Escape");
  await page.getByTestId("quoting").waitFor({ state: "detached" });
  await page.evaluate(() => document.querySelector("[data-testid=message] [aria-label=React]").focus());
  await page.keyboard.press("Enter");
  // The panel takes the focus when it is drawn, and gives it back when it is gone.
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label")?.startsWith("React with"));
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "React");
  // Areas by number, help by a question mark, the journal by arrows.
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("?");
  await seen(page.getByRole("dialog", { name: "Keys" }));
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // The page listens for its keys again once it is drawn without the dialog.
  await page.waitForFunction(() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn))).then(() => true));
  await page.keyboard.press("2");
  await seen(page.getByRole("heading", { name: "Journal" }));
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement.id === "chat-search");
});

test("the demo messenger can be used by everybody", async (t) => {
  const up = await dev(t);
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(t, up.messenger, { colorScheme, ...PHONE });
    await page.getByTestId("phone-input").fill("Hello");
    await page.getByTestId("phone-send").click();
    await seen(page.getByTestId("phone-message").first());
    await accessible(page, "messenger");
    await picture(page, `messenger-${colorScheme}`);
  }
});
