// What somebody with bad intentions does to the server that links accounts, without a page of the CRM.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { atEnd, close, launch, seen } from "./support.js";
import { shop, USERS } from "./widget/shop.js";

before(launch);
after(close);

/** The server with the first account connected; `call` calls it as a page does, with a fresh token of the CRM. */
async function linked(t) {
  const all = await shop(t);
  const shown = await all.page();
  await shown.opener.click();
  await shown.fill();
  await shown.install.click();
  await seen(shown.state("connected"));
  const form = { login: "shop-1", password: USERS["shop-1"], amojo_id: all.accounts[0] };
  async function token() {
    const query = new URLSearchParams({ account_id: all.accounts[0] });
    const path = `/ajax/v2/integrations/${all.integration.client_id}/disposable_token?${query}`;
    return (await (await fetch(all.ready.page + path, { headers: { "X-Requested-With": "XMLHttpRequest" } })).json()).token;
  }
  async function call(path, body, headers = {}) {
    const answer = await fetch(all.front.url + path, {
      method: "POST", body, headers: { Origin: new URL(all.ready.page).origin, "Content-Type": "application/json", "X-Auth-Token": await token(), ...headers },
    });
    return { status: answer.status, code: (await answer.json()).error?.code ?? null, cors: answer.headers.get("access-control-allow-origin") };
  }
  return { ...all, form, token, call };
}

test("bodies that are too large or no JSON are refused, and the page can read why", async (t) => {
  const all = await linked(t);
  const cors = new URL(all.ready.page).origin;
  const large = JSON.stringify({ ...all.form, login: "x".repeat(64 << 10) });
  assert.deepEqual(await all.call("/widget/connect", large), { status: 413, code: "BAD_REQUEST", cors });
  assert.deepEqual(await all.call("/widget/connect", "{"), { status: 400, code: "BAD_REQUEST", cors });
  assert.deepEqual(await all.call("/widget/connect", JSON.stringify(all.form)), { status: 200, code: null, cors });
});

test("a forged disable hook switches nothing off", async (t) => {
  const all = await linked(t);
  const { client_id: client, client_secret: secret } = all.integration;
  const account = (await all.control("GET", "crm")).accounts.find((one) => one.account_id === all.accounts[0]).id;
  const other = (await all.control("GET", "crm")).accounts.find((one) => one.account_id === all.accounts[1]).id;
  const signed = (key, text) => createHmac("sha256", key).update(text).digest("hex");
  const good = signed(secret, `${client}|${account}`);
  const state = async () => (await (await fetch(`${all.front.url}/widget/state?amojo_id=${all.accounts[0]}`, { headers: { Origin: new URL(all.ready.page).origin, "X-Auth-Token": await all.token() } })).json()).state;
  for (const signature of [null, "", signed("guess", `${client}|${account}`), signed(secret, `${client}${account}`), signed(secret, `${client}|${other}`), good.slice(0, -1), `${good}00`]) {
    const query = new URLSearchParams({ client_uuid: client, account_id: account, ...(signature === null ? {} : { signature }) });
    const { status } = await fetch(`${all.front.url}/disable?${query}`);
    assert.ok([400, 401].includes(status), `${status} for ${signature}`);
  }
  assert.equal(await state(), "connected");
  assert.equal((await fetch(`${all.front.url}/disable?${new URLSearchParams({ client_uuid: client, account_id: account, signature: good })}`)).status, 200);
  assert.equal(await state(), "disconnected");
});

test("neither referer nor iss makes the server call or name another host", async (t) => {
  const all = await linked(t);
  let calls = 0;
  const trap = createServer((_, response) => { calls += 1; response.end(); });
  await once(trap.listen(0, "127.0.0.1"), "listening");
  atEnd(t, async () => { trap.closeAllConnections(); trap.close(); });
  const host = `127.0.0.1:${trap.address().port}`;
  const own = new URL(all.ready.api).host;
  for (const referer of [host, `http://${host}`, `${own}@${host}`, `${host}#${own}`, `${host}/${own}`, "169.254.169.254", "demo.amocrm.ru@" + host, `${own}.evil.example`]) {
    const query = new URLSearchParams({ code: "made-up-code", referer, client_id: all.integration.client_id });
    const answer = await fetch(`${all.front.url}/oauth/redirect?${query}`, { redirect: "manual" });
    assert.deepEqual([answer.status, answer.headers.get("location")], [400, null], referer);
    assert.ok(!(await answer.text()).includes(referer), "nothing is repeated");
  }
  // Signed with the right key even: whose page it is, is not for the token to say.
  const [, body] = (await all.token()).split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const page = new URL(all.ready.page).origin;
  for (const [iss, origin, code] of [[`http://${host}`, `http://${host}`, "ORIGIN_NOT_ALLOWED"], [`http://${host}`, page, "TOKEN_INVALID"], [all.ready.api, page, "TOKEN_INVALID"]]) {
    const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ ...claims, iss, jti: `made-up-${iss}-${origin}` })}`;
    const signature = createHmac("sha256", all.integration.client_secret).update(text).digest("base64url");
    const refused = await all.call("/widget/connect", JSON.stringify(all.form), { Origin: origin, "X-Auth-Token": `${text}.${signature}` });
    assert.equal(refused.code, code, `${iss} ${origin}`);
  }
  // A genuine installation goes through after all of those, so that they had their time.
  await all.control("POST", `crm/integrations/${all.integration.client_id}/install`, { account_id: all.accounts[0] });
  assert.equal((await all.call("/widget/connect", JSON.stringify(all.form))).status, 200);
  assert.equal(calls, 0);
});
