// What the linking of accounts does beyond one page: it goes on by itself, and tells accounts apart by their addresses.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { amochats, close, launch, seen } from "./support.js";
import { shop } from "./widget/shop.js";

before(launch);
after(close);

test("what the chat service holds up is done by the server, and the page tells of it", async (t) => {
  const all = await shop(t);
  await all.control("PUT", "faults", { seed: 1, rules: [{ on: "api", fault: "status", value: 502, probability: 1, only: "connect" }] });
  const shown = await all.page();
  await shown.opener.click();
  await shown.fill();
  await shown.install.click();
  await seen(shown.status("error").getByText("The server goes on trying for a day"));
  // Where the page was quicker than the installation, it has asked again.
  let status;
  do ({ status } = await all.front.next("/widget/connect")); while (status === 409);
  assert.equal(status, 503);
  await shown.page.keyboard.press("Escape");
  await shown.opener.click();
  await seen(shown.status("error").getByText("The server goes on trying for a day"));
  const account = JSON.parse(await amochats("accounts", "ls", "--server", all.operator.grpc));
  assert.deepEqual([account.state, account.problem], ["discovered", "UNAVAILABLE"]);
  await shown.page.keyboard.press("Escape");

  await all.control("PUT", "faults", { seed: 1, rules: [] });
  // Without another call of the page; the next attempt is some seconds away.
  await shown.page.locator("[data-testid=channel][data-on=true]").waitFor({ timeout: 60_000 });
  assert.equal(all.front.seen.filter(({ path }) => path === "/widget/connect").length, 0);
  await shown.opener.click();
  await seen(shown.state("connected").getByText("Shop chat"));
  assert.match(all.operator.said(), /the chat service did not do it/);
});

test("two accounts at addresses of their own are told apart by the browser and the server", async (t) => {
  const all = await shop(t);
  const pages = await Promise.all([0, 1].map((account) => all.page(account, { own: true })));
  await Promise.all(pages.map(async (shown, account) => {
    await shown.opener.click();
    await shown.fill(`shop-${account + 1}`);
    await shown.install.click();
    await seen(shown.state("connected"));
  }));
  assert.deepEqual([(await all.connections(0)).length, (await all.connections(1)).length], [1, 1]);

  // Each origin is allowed by its name, and a token is good for the address that it was given at.
  const [first, second] = all.addresses;
  const preflight = (origin) => fetch(`${all.front.url}/widget/state`, {
    method: "OPTIONS", headers: { Origin: origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-auth-token" },
  });
  for (const [origin, allowed] of [[first, first], [second, second], [first.replace("//", "//other-"), null]]) {
    assert.equal((await preflight(origin)).headers.get("access-control-allow-origin"), allowed, origin);
  }
  const token = await pages[0].page.evaluate(async ([client, account]) => {
    const path = `/ajax/v2/integrations/${client}/disposable_token?account_id=${account}`;
    return (await (await fetch(path, { headers: { "X-Requested-With": "XMLHttpRequest" } })).json()).token;
  }, [all.integration.client_id, all.accounts[0]]);
  const state = async (origin) => {
    const answer = await fetch(`${all.front.url}/widget/state?amojo_id=${all.accounts[0]}`, { headers: { Origin: origin, "X-Auth-Token": token } });
    return (await answer.json()).error?.code ?? "good";
  };
  assert.equal(await state(second), "TOKEN_INVALID");
  assert.equal(await state(first), "good");

  // The page of one account leads to that of another one.
  await pages[0].page.keyboard.press("Escape");
  await pages[0].page.getByTestId("account").selectOption(all.accounts[1]);
  await pages[0].page.waitForURL((url) => url.origin === second);
  await seen(pages[0].tile("installed"));
});

test("the page leads to the address of an account", async (t) => {
  const all = await shop(t);
  const shown = await all.page(1);
  await shown.page.getByTestId("own-address").click();
  await shown.page.waitForURL((url) => url.origin === all.addresses[1]);
  await seen(shown.tile("install"));
  await seen(shown.page.getByText(all.addresses[1]));
});
