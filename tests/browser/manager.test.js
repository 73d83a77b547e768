// Each thing that a manager does in the CRM, over a channel that the test plays.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, launch, open, parts, picture, sandbox, seen } from "./support.js";

before(launch);
after(close);

const message = (hook) => hook.message?.message;
const isMessage = (hook) => Boolean(message(hook));

/** A sandbox, the page in it, and the chat of one client who wrote. */
async function chatting(t, text = "Hello, is it still available?", options = {}) {
  const up = await sandbox(t);
  const first = await up.channel.writes(text);
  const page = await open(t, `${up.page}/#/chats/${first.conversation_id}`, options);
  const { crm } = parts(page);
  await seen(crm.messages.first());
  return { ...up, page, crm, first };
}

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="440" height="300"><rect width="440" height="300" fill="#8fc7ee"/>
  <circle cx="330" cy="90" r="56" fill="#ffd27a"/><path d="M0 300l150-170 90 90 60-60 140 140z" fill="#2e7d5b"/></svg>`;

/** A picture at an address of this machine at which nothing listens, so that nothing is fetched from elsewhere. */
const green = (page) => page.context().route("http://127.0.0.1:9/garden.svg", (route) => route.fulfill({ contentType: "image/svg+xml", body: SVG }));

test("leads come in with unread counts, and are read by opening them", async (t) => {
  const { page: url, channel } = await sandbox(t);
  const page = await open(t, url);
  const { crm } = parts(page);
  await channel.writes("First");
  await channel.writes("Second");
  await channel.writes("From another one", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  await channel.writes("Years ago", { conversation: "chat-old", user: "old", name: "Old Client", silent: true });
  const anna = crm.chat("Anna Petrova");
  await seen(page.locator("[data-chat][data-unread='2']"));
  assert.match(await anna.innerText(), /Second[^]*2[^]*Incoming lead/);
  await seen(crm.chat("Old Client"));
  assert.doesNotMatch(await crm.chat("Old Client").innerText(), /Incoming lead/, "a silent import makes no lead");
  await page.waitForFunction(() => document.title.startsWith("(3)"));
  await anna.click();
  await seen(crm.message("Second", "received"));
  await seen(page.locator("[data-chat][data-unread='0']").filter({ hasText: "Anna" }));
  await page.waitForFunction(() => document.title.startsWith("(1)"));
  // The latest is on top.
  await channel.writes("Bo again", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  await seen(crm.chats.first().filter({ hasText: "Bo again" }));
});

test("the list is searched by name, phone and text", async (t) => {
  const { page: url, channel } = await sandbox(t);
  await channel.writes("Tulips, please");
  await channel.writes("Roses, please", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  const page = await open(t, url);
  const { crm } = parts(page);
  await seen(crm.chats.nth(1));
  await page.keyboard.press("/");
  await page.keyboard.type("larsen");
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=chat-item]").length === 1);
  await seen(crm.chat("Roses"));
  await page.getByLabel("Search chats").fill("tulips");
  await seen(crm.chat("Anna Petrova"));
  await page.getByLabel("Search chats").fill("nobody at all");
  await seen(page.getByText("Nothing found"));
  await page.getByLabel("Search chats").fill("");
  await seen(crm.chats.nth(1));
});

test("all that a client can send is shown", async (t) => {
  const { channel, page: url, control } = await sandbox(t);
  const day = 86_400_000;
  const at = Date.now() - 2 * day;
  const file = (type, name, more = {}) => ({ type, media: `http://127.0.0.1:9/${name}`, file_name: name, file_size: 24_000, ...more });
  await channel.writes("The day before yesterday", { at });
  const first = await channel.writes(file("picture", "garden.svg", { text: "Our garden" }));
  await channel.writes(file("voice", "voice.ogg", { media_duration: 67 }));
  await channel.writes(file("video", "film.mp4"));
  await channel.writes(file("file", "plan.pdf"));
  await channel.writes({ type: "location", location: { lon: 37.61, lat: 55.75 } });
  await channel.writes({ type: "contact", contact: { name: "Bo Larsen", phone: "+15550123" } });
  await channel.writes("What he says", { forwards: { messages: [{ type: "text", text: "I am at home", timestamp: 1, msec_timestamp: 1000, sender: { name: "Bo" } }] } });
  const { chats } = await control("GET", "chats");
  const page = await open(t, `${url}/#/chats/${chats[0].conversation_ref_id}`, { expected: /127\.0\.0\.1:9\// });
  await green(page);
  await page.reload();
  const { crm } = parts(page);
  await seen(crm.message("The day before yesterday", "received"));
  assert.equal(await page.locator(".day").count(), 2, "two days");
  const shown = page.locator(`[data-id="${first.msgid}"] img`);
  await shown.scrollIntoViewIfNeeded();
  await page.waitForFunction((id) => document.querySelector(`[data-id="${id}"] img`)?.naturalWidth === 440, first.msgid);
  assert.equal(await shown.getAttribute("alt"), "Our garden");
  assert.equal(await page.locator("audio").getAttribute("src"), "http://127.0.0.1:9/voice.ogg");
  await seen(page.getByText("Voice message · 1:07"));
  assert.equal(await page.locator("video").getAttribute("src"), "http://127.0.0.1:9/film.mp4");
  assert.match(await page.getByRole("link", { name: /plan\.pdf/ }).innerText(), /23\.4 KB/);
  assert.match(await page.getByTestId("location").innerText(), /55\.75, 37\.61/);
  assert.equal(await page.getByTestId("contact-card").getAttribute("href"), "tel:+15550123");
  assert.match(await crm.message("What he says").innerText(), /Forwarded from Bo[^]*I am at home/);
  await picture(page, "all-kinds-light");
});

test("markup in messages stays text", async (t) => {
  const nasty = "<img src=x onerror=\"alert(1)\"><script>alert(2)</script>";
  const { page, crm, channel } = await chatting(t, nasty);
  await channel.writes("Bye", { conversation: "chat-x", user: "x", name: nasty });
  await seen(crm.chat(nasty).first());
  await seen(crm.message(nasty, "received"));
  assert.equal(await page.locator("#app img, #app script").count(), 0);
});

test("an answer goes out and its ticks follow the reports", async (t) => {
  const { crm, hooks, channel } = await chatting(t);
  await crm.input.fill("Yes, it is");
  await crm.send.click();
  const hook = await hooks.next(isMessage);
  assert.equal(message(hook).text, "Yes, it is");
  await seen(crm.message("Yes, it is", "sent"));
  await channel.reports(message(hook).id, { status_code: 1 });
  await seen(crm.message("Yes, it is", "delivered"));
  await channel.reports(message(hook).id, { status_code: 2 });
  await seen(crm.message("Yes, it is", "read"));
  // Shift and Enter is a new line, Enter alone sends.
  await crm.input.fill("Two");
  await crm.input.press("Shift+Enter");
  await crm.input.pressSequentially("lines");
  await crm.input.press("Enter");
  assert.equal(message(await hooks.next(isMessage)).text, "Two\nlines");
});

test("an error of the delivery is said in words", async (t) => {
  const { page, crm, hooks, channel } = await chatting(t);
  await crm.input.fill("Are you there?");
  await crm.input.press("Enter");
  const { id } = message(await hooks.next(isMessage));
  await channel.reports(id, { status_code: -1, error_code: 905, error: "The client has blocked the bot" });
  await seen(crm.message("Are you there?", "error"));
  assert.match(await crm.message("Are you there?").innerText(), /The client has blocked the bot\s+error 905/);
  await picture(page, "delivery-error");
});

test("a quote shows what it answers and leads there", async (t) => {
  const { page, crm, hooks, first, channel } = await chatting(t, "The very first one");
  const bubble = crm.message("The very first one");
  await bubble.hover();
  await bubble.getByRole("button", { name: "Quote" }).click();
  await seen(page.getByTestId("quoting").filter({ hasText: "The very first one" }));
  await crm.input.fill("About this");
  await crm.send.click();
  assert.equal(message(await hooks.next(isMessage)).reply_to.message.id, first.msgid);
  await seen(crm.message("About this").getByTestId("quoted"));
  // More than a page is written meanwhile; the quote leads through all of it.
  const now = Date.now();
  await Promise.all(Array.from({ length: 70 }, (_, i) => channel.writes(`Number ${i}`, { at: now + i })));
  await channel.writes("Do you remember?", { at: now + 1000, reply_to: { message: { id: first.msgid } } });
  await page.reload();
  await crm.message("Do you remember?").getByTestId("quoted").click();
  await seen(page.locator(`[data-id="${first.msgid}"][data-marked=true]`));
  await page.waitForFunction((id) => {
    const box = document.querySelector(`[data-id="${id}"]`).getBoundingClientRect();
    return box.top > 0 && box.bottom < innerHeight;
  }, first.msgid);
});

test("a message is forwarded to another chat", async (t) => {
  const { page, crm, hooks, first, channel } = await chatting(t, "Call me after five");
  await channel.writes("Hello", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  const bubble = crm.message("Call me after five");
  await bubble.hover();
  await bubble.getByRole("button", { name: "Forward" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Find a chat").fill("larsen");
  await dialog.getByRole("radio").nth(1).waitFor({ state: "detached" });
  await dialog.getByLabel("Bo Larsen").check();
  await dialog.getByRole("button", { name: "Forward" }).click();
  const hook = await hooks.next(isMessage);
  assert.deepEqual([hook.message.conversation.client_id, message(hook).forwards.messages[0].id], ["chat-bo", first.msgid]);
  await seen(crm.messages.filter({ hasText: "Forwarded" }));
});

test("reactions go both ways", async (t) => {
  const { page, crm, hooks, first, channel } = await chatting(t);
  const bubble = crm.message("still available");
  await bubble.hover();
  await bubble.getByRole("button", { name: "React", exact: true }).click();
  await bubble.getByRole("button", { name: "React with 🔥" }).click();
  const hook = await hooks.next((one) => one.action?.reaction);
  assert.equal(hook.action.reaction.emoji, "🔥");
  const own = bubble.getByRole("button", { name: /^🔥 by/ });
  await seen(own);
  assert.equal(await own.getAttribute("aria-pressed"), "true");
  await channel.reacts({ id: first.msgid, emoji: "👍" });
  await seen(bubble.getByRole("button", { name: "👍 by Anna Petrova" }));
  await picture(page, "reactions");
  await own.click();
  await own.waitFor({ state: "detached" });
  const taken = await hooks.next((one) => one.action?.reaction);
  assert.equal(taken.action.reaction.type, "unreact");
});

test("files come from the disk, by drop and by paste, and pictures are shown before they go", async (t) => {
  const { page, crm, hooks } = await chatting(t);
  await page.getByTestId("file-picker").setInputFiles({ name: "price list.txt", mimeType: "text/plain", buffer: Buffer.from("tulips 3, roses 5") });
  await seen(page.getByRole("button", { name: "Remove price list.txt" }));
  await crm.input.fill("Our prices");
  await crm.send.click();
  const sent = message(await hooks.next(isMessage));
  assert.deepEqual([sent.type, sent.file_name, sent.file_size, sent.text], ["file", "price list.txt", 17, "Our prices"]);
  assert.equal(await (await fetch(sent.media)).text(), "tulips 3, roses 5", "the channel can fetch it");

  // One pixel, as a camera makes it.
  const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  const carry = (event, selector) => page.evaluate(([data, type, where]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], `${type}.png`, { type: "image/png" }));
    const node = document.querySelector(where);
    if (type === "paste") node.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
    else for (const step of ["dragover", "drop"]) node.dispatchEvent(new DragEvent(step, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, [png, event, selector]);
  await carry("paste", "[data-testid=answer-input]");
  await seen(page.getByRole("button", { name: "Remove paste.png" }));
  await carry("drop", "[data-testid=messages]");
  await seen(page.getByRole("button", { name: "Remove drop.png" }));
  await page.waitForFunction(() => [...document.querySelectorAll(".attached img")].filter((img) => img.naturalWidth === 1).length === 2);
  await crm.send.click();
  // Of each attachment a message and a webhook.
  const names = [await hooks.next(isMessage), await hooks.next(isMessage)].map((hook) => [message(hook).type, message(hook).file_name]);
  assert.deepEqual(names.sort(), [["picture", "drop.png"], ["picture", "paste.png"]]);
  await page.waitForFunction(() => [...document.querySelectorAll("[data-testid=message] img")].filter((img) => img.naturalWidth === 1).length === 2);
});

test("a picture goes by its address", async (t) => {
  const { page, crm, hooks } = await chatting(t);
  await green(page);
  await page.getByRole("button", { name: "Attach by address" }).click();
  await page.getByLabel("Address of a picture or file").fill("http://127.0.0.1:9/garden.svg");
  await page.getByRole("button", { name: "Attach", exact: true }).click();
  await crm.input.fill("This one?");
  await crm.send.click();
  const sent = message(await hooks.next(isMessage));
  assert.deepEqual([sent.type, sent.media], ["picture", "http://127.0.0.1:9/garden.svg"]);
  await page.waitForFunction(() => document.querySelector("[data-testid=message] img")?.naturalWidth === 440);
});

test("buttons stand under a message", async (t) => {
  const { page, crm, hooks } = await chatting(t);
  await page.getByRole("button", { name: "Template or buttons" }).click();
  await page.getByRole("button", { name: /Buttons of your own/ }).click();
  await page.getByLabel("Text of button 1").fill("Take it");
  await page.getByRole("button", { name: "Add a button" }).click();
  await page.getByLabel("Text of button 2").fill("Show more");
  await page.getByRole("button", { name: "Use", exact: true }).click();
  await crm.input.fill("The blue one is left");
  await crm.send.click();
  const { markup } = message(await hooks.next(isMessage));
  assert.deepEqual(markup.buttons, [[{ text: "Take it" }], [{ text: "Show more" }]]);
  await seen(crm.message("The blue one is left").getByRole("group", { name: "Buttons of the message" }).getByText("Show more"));
  await picture(page, "buttons");
});

test("a template of the integration is filled in and brings its buttons", async (t) => {
  const { page, crm, hooks, control, accountId, api } = await chatting(t);
  const { integrations } = await control("GET", "crm");
  const { token } = await control("POST", `crm/integrations/${integrations[0].client_id}/token`, { account_id: accountId });
  const added = await fetch(`${api}/api/v4/chats/templates`, {
    method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify([{ name: "Ready", content: "{{contact.name}}, your order is ready", external_id: "t-1", buttons: [{ type: "inline", text: "On my way" }] }]),
  });
  assert.equal(added.status, 200, await added.text());
  await page.getByRole("button", { name: "Template or buttons" }).click();
  await page.getByRole("button", { name: /^Ready/ }).click();
  await page.getByLabel("{{contact.name}}").fill("Anna");
  await page.getByRole("button", { name: "Use", exact: true }).click();
  assert.equal(await crm.input.inputValue(), "Anna, your order is ready");
  await picture(page, "template");
  await crm.send.click();
  const { text, template, markup } = message(await hooks.next(isMessage));
  assert.equal(text, "Anna, your order is ready");
  assert.deepEqual([template.external_id, template.content, template.params], ["t-1", "{{contact.name}}, your order is ready", [{ key: "{{contact.name}}", value: "Anna" }]]);
  assert.deepEqual(markup.buttons, [[{ text: "On my way" }]]);
  await seen(crm.message("your order is ready").filter({ hasText: "template" }));
});

test("typing goes both ways", async (t) => {
  const { page, crm, hooks, channel } = await chatting(t);
  await crm.input.pressSequentially("One moment");
  const hook = await hooks.next((one) => one.action?.typing);
  assert.equal(hook.action.typing.conversation.client_id, "chat-anna");
  await channel.types();
  await seen(page.getByTestId("typing").filter({ hasText: "Anna Petrova is typing" }));
  await seen(crm.chats.first().filter({ hasText: "typing…" }));
  await channel.writes("Here I am");
  await page.getByTestId("typing").filter({ hasText: "typing" }).waitFor({ state: "detached" });
});

test("a manager writes first", async (t) => {
  const { page: url, hooks } = await sandbox(t);
  const page = await open(t, url);
  const { crm } = parts(page);
  await page.getByRole("button", { name: "Write first" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Phone").fill("+15550123");
  await dialog.getByLabel("Message").fill("Your order is ready");
  await dialog.getByRole("button", { name: "Send" }).click();
  const hook = await hooks.next(isMessage);
  assert.equal(hook.message.receiver.phone, "+15550123");
  assert.equal(hook.message.conversation.client_id, undefined);
  await seen(crm.message("Your order is ready", "sent"));
  await dialog.waitFor({ state: "detached" });
  await seen(crm.chat("+15550123"));
});

test("what is refused is said in the dialog and nothing is lost", async (t) => {
  const { page: url } = await sandbox(t);
  const page = await open(t, url, { expected: /400/ });
  await seen(page.getByRole("button", { name: "Write first" }));
  await page.keyboard.press("n");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Phone").fill(" ");
  await dialog.getByLabel("Message").fill("Your order is ready");
  await dialog.getByRole("button", { name: "Send" }).click();
  await seen(dialog.getByRole("alert").filter({ hasText: "phone" }));
  assert.equal(await dialog.getByLabel("Message").inputValue(), "Your order is ready");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
});

test("one of several users answers", async (t) => {
  const up = await chatting(t);
  const user = await up.control("POST", `accounts/${up.accountId}/users`, { name: "Maria" });
  await up.page.getByTestId("writer").selectOption({ label: "Maria" });
  await up.crm.input.fill("Maria here");
  await up.crm.send.click();
  const hook = await up.hooks.next(isMessage);
  assert.equal(hook.message.sender.id, user.user_ref_id ?? user.user?.user_ref_id);
  await seen(up.crm.message("Maria here").filter({ hasText: /^Maria/ }));
});

test("comments stand under their post, and one thread is shown alone", async (t) => {
  const post = { id: "p-1", url: "http://127.0.0.1:9/p-1", username: "flower.shop", caption: "Twelve new bouquets" };
  const { page, crm, hooks, channel } = await chatting(t);
  await channel.writes({ type: "text", text: "Is the red one the same price?", post });
  const comment = crm.message("the same price");
  await seen(page.getByTestId("thread").filter({ hasText: "Twelve new bouquets" }));
  await comment.hover();
  await comment.getByRole("button", { name: "Quote" }).click();
  await crm.input.fill("It is");
  await crm.send.click();
  const sent = message(await hooks.next(isMessage));
  assert.equal(sent.post.id, "p-1");
  await seen(crm.message("It is", "sent"));
  await picture(page, "comments");
  await page.getByRole("button", { name: "Only this thread" }).first().click();
  await crm.message("still available").waitFor({ state: "detached" });
  assert.equal(await crm.messages.count(), 2);
  await page.getByRole("button", { name: "Show the whole chat" }).first().click();
  await seen(crm.message("still available"));
});

test("an edited message says so", async (t) => {
  const { crm, first, channel } = await chatting(t, "Hallo");
  await channel.edits({ id: first.msgid, msgid: "own-1", timestamp: 1, msec_timestamp: 1000, message: { type: "text", text: "Hello, corrected" } });
  await seen(crm.message("Hello, corrected").filter({ hasText: "edited" }));
});

test("older messages come by scrolling up, and what is read stays in its place", async (t) => {
  const { page, crm, channel } = await chatting(t, "Number 0");
  await Promise.all(Array.from({ length: 169 }, (_, i) => channel.writes(`Number ${i + 1}`)));
  await page.reload();
  await seen(crm.message("Number 169"));
  const loaded = () => crm.messages.count();
  assert.ok(await loaded() < 170, "only the end is read at first");
  // Where a message stands in the window must not change by what is put above it.
  const moved = await crm.list.evaluate(async (list) => {
    const count = list.querySelectorAll("[data-testid=message]").length;
    list.scrollTop = 300;
    const mark = [...list.querySelectorAll("[data-testid=message]")].find((node) => node.getBoundingClientRect().top > list.getBoundingClientRect().top);
    const before = mark.getBoundingClientRect().top;
    await new Promise((resolve) => {
      new MutationObserver((_, observer) => {
        if (list.querySelectorAll("[data-testid=message]").length === count) return;
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(resolve));
      }).observe(list, { childList: true, subtree: true });
    });
    return Math.abs(mark.getBoundingClientRect().top - before);
  });
  assert.ok(moved < 2, `it moved by ${moved} px`);
  while (await crm.list.getAttribute("data-more") === "true") {
    const count = await loaded();
    await crm.list.evaluate((list) => { list.scrollTop = 0; });
    await page.waitForFunction((n) => document.querySelectorAll("[data-testid=message]").length > n, count);
  }
  assert.equal(await loaded(), 170);
  // Who reads far up is told of what is new, and goes there by one click.
  await crm.list.evaluate((list) => { list.scrollTop = 0; });
  await channel.writes("The newest of all");
  await page.getByRole("button", { name: "1 new message", exact: true }).click();
  await page.waitForFunction(() => {
    const list = document.querySelector("[data-testid=messages]");
    return list.scrollHeight - list.scrollTop - list.clientHeight < 5;
  });
});

test("a draft waits in its chat", async (t) => {
  const { page, crm, channel } = await chatting(t);
  await channel.writes("Me too", { conversation: "chat-bo", user: "bo", name: "Bo Larsen" });
  await crm.input.fill("Half an answ");
  await crm.chat("Bo Larsen").click();
  await seen(crm.message("Me too"));
  assert.equal(await crm.input.inputValue(), "");
  await crm.chat("Anna Petrova").click();
  await seen(crm.message("still available"));
  assert.equal(await crm.input.inputValue(), "Half an answ");
  await page.keyboard.press("Escape");
});

test("an answer that cannot be sent stays in the box", async (t) => {
  const up = await chatting(t, "Hello", { expected: /400|404|500|503|ERR_/ });
  await up.page.route("**/api/chats/*/messages", (route) => (route.request().method() === "POST" ? route.fulfill({ status: 503, json: { error: "the sandbox is stopping" } }) : route.fallback()));
  await up.crm.input.fill("Important words");
  await up.crm.send.click();
  await seen(up.page.getByTestId("composer-error").filter({ hasText: "Not sent: the sandbox is stopping" }));
  assert.equal(await up.crm.input.inputValue(), "Important words");
});
