// 10,000 chats with 200,000 messages: the page opens and scrolls as it does with ten.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, launch, open, parts, picture, sandbox, seen } from "./support.js";

before(launch);
after(close);

const CHATS = 10_000;
/** One chat has many, the others share the rest. */
const LONG = 20_018;
const EACH = 18;

const FIRST = ["Anna", "Bo", "Clara", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Irina", "João"];
const LAST = ["Petrova", "Larsen", "Diaz", "Volkov", "Kaya", "Aliyev", "Kim", "Tanaka", "Sokolova", "Silva"];
const SAID = ["Hello! Is the blue one still there?", "Yes, two are left. Shall I put one aside?", "That would be great, thank you", "Done, it waits for you until Friday"];

const id = (kind, n) => `${kind}000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

/** The snapshot of a sandbox, filled with chats of which number 0 is the latest. */
function filled(snapshot, channelId, accountId) {
  const now = Date.now();
  let count = 0;
  snapshot.chats = Array.from({ length: CHATS }, (_, n) => {
    const chat = id("c", n);
    const client = { user_ref_id: id("d", n), user_id: `client-${n}`, name: `${FIRST[n % 10]} ${LAST[Math.floor(n / 10) % 10]} ${n}`, phone: `+1555${String(n).padStart(7, "0")}`, email: null, avatar: null };
    const size = n === 0 ? LONG : EACH;
    const messages = Array.from({ length: size }, (__, i) => ({
      message_ref_id: id("e", count += 1),
      message_id: i % 2 === 0 ? `m-${n}-${i}` : null,
      conversation_ref_id: chat,
      author: i % 2 === 0 ? { party: "client", user_ref_id: client.user_ref_id, name: client.name }
        : { party: "manager", user_ref_id: snapshot.accounts[0].users[0].user_ref_id, name: "Manager" },
      content: { type: "text", text: `${SAID[i % 4]} (${i})` },
      sent_at_msec: now - n * 60_000 - (size - i) * 20_000,
      delivery: { state: i % 2 === 0 ? "sent" : "read" },
      edited: false, reactions: [], hook: null,
    }));
    return {
      chat: {
        conversation_ref_id: chat, conversation_id: `chat-${n}`, account_id: accountId, channel_id: channelId, client, contact_id: null,
        lead: n % 3 === 0 ? { id: n / 3 + 1, created_at_msec: now } : null, source_external_id: null, unread: n % 5 === 0 ? 2 : 0,
        client_wrote_at_msec: null, last_message: null,
      },
      messages,
    };
  });
  return { snapshot, count };
}

test("10,000 chats with 200,000 messages open and scroll", { timeout: 120_000 }, async (t) => {
  const up = await sandbox(t);
  const { snapshot, count } = filled(await up.control("GET", "snapshot"), up.channel_id, up.accountId);
  assert.ok(count >= 200_000);
  await up.control("PUT", "snapshot", snapshot);
  const page = await open(t, up.page);
  const { crm } = parts(page);
  await seen(crm.chats.first());
  await seen(page.getByRole("heading", { name: "Chats 10,000" }));
  const inThePage = () => page.evaluate(() => document.querySelectorAll("*").length);
  assert.ok(await inThePage() < 2000);
  await picture(page, "scale");

  // To the very end of the list: each page that comes makes it longer, until the last chat is there.
  const list = page.getByTestId("chat-list");
  await list.evaluate(async (node) => {
    const rows = node.querySelector("ul");
    await new Promise((resolve) => {
      const observer = new MutationObserver(on);
      function on() {
        node.scrollTop = node.scrollHeight;
        if (!node.querySelector("[data-index='9999']")) return;
        observer.disconnect();
        node.removeEventListener("scroll", on);
        resolve();
      }
      observer.observe(rows, { attributes: true, childList: true, subtree: true });
      node.addEventListener("scroll", on);
      on();
    });
  });
  await seen(crm.chat("Silva 9999"));
  assert.ok(await inThePage() < 2000, "only what is in sight is in the page");

  // A new message goes on top, wherever the list is.
  await up.channel.writes("Straight to the top", { at: Date.now() });
  await list.evaluate((node) => { node.scrollTop = 0; });
  await seen(crm.chats.first().filter({ hasText: "Straight to the top" }));

  // A long conversation opens at its end and goes up.
  await crm.chat("Anna Petrova 0").click();
  await seen(crm.message(`(${LONG - 1})`));
  for (let pages = 2; pages <= 10; pages += 1) {
    await crm.list.evaluate((node) => { node.scrollTop = 0; });
    await page.waitForFunction((n) => document.querySelectorAll("[data-testid=message]").length >= n, pages * 50);
  }
  await page.getByRole("button", { name: "Newest" }).click();
  await crm.input.fill("Quick as ever");
  await crm.send.click();
  await seen(crm.message("Quick as ever"));

  // The search goes through all of them.
  await page.getByLabel("Search chats").fill("Silva 9999");
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=chat-item]").length === 1);
  await seen(crm.chat("Silva 9999"));
});
