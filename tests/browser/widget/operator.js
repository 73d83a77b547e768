// A small server of an operator: what `amochats serve` does for the widget, without its store, limits and retries.
// Another server takes its place by WIDGET_OPERATOR, a module that exports `start` with the same contract.

import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { atEnd } from "../support.js";

const hmac = (secret, text, form) => createHmac("sha256", secret).update(text).digest(form);

/** The claims of a one-time token, or null: HS256 alone, for this address and integration, in time. */
function claimsOf(token, { integration, publicUrl }) {
  const [head, body, signature] = String(token).split(".");
  if (!signature || hmac(integration.client_secret, `${head}.${body}`, "base64url") !== signature) return null;
  const [{ alg }, claims] = [head, body].map((part) => JSON.parse(Buffer.from(part, "base64url")));
  if (alg !== "HS256" || claims.aud !== publicUrl || claims.client_uuid !== integration.client_id) return null;
  return claims;
}

/**
 * Starts it for a test. `publicUrl` is where browser and CRM reach it, `crm` the address of the CRM's API, `pages`
 * that of its pages, `channel` and `integration` their registrations, `users` the logins with their passwords.
 * Resolves to its own address and to the paths of the OAuth redirect and the disable hook.
 */
export async function start(t, { publicUrl, crm, pages, channel, integration, users }) {
  const accounts = new Map();
  const used = new Set();

  async function signed(method, path, body) {
    const text = JSON.stringify(body);
    const headers = { Date: new Date().toUTCString().replace("GMT", "+0000"), "Content-Type": "application/json", "Content-MD5": createHash("md5").update(text).digest("hex") };
    const canonical = [method, headers["Content-MD5"], headers["Content-Type"], headers.Date, path].join("\n");
    headers["X-Signature"] = createHmac("sha1", channel.secret).update(canonical).digest("hex");
    return (await fetch(crm + path, { method, body: text, headers })).ok;
  }

  async function installed(code) {
    const answer = await fetch(`${crm}/oauth2/access_token`, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ client_id: integration.client_id, client_secret: integration.client_secret, grant_type: "authorization_code", code, redirect_uri: `${publicUrl}/widget/oauth` }),
    });
    if (!answer.ok) return;
    const { access_token: token } = await answer.json();
    const account = await (await fetch(`${crm}/api/v4/account?with=amojo_id`, { headers: { Authorization: `Bearer ${token}` } })).json();
    accounts.set(account.id, { amojoId: account.amojo_id, state: "disconnected" });
  }

  async function answer({ method, path, query, body, token }) {
    const error = (status, code) => [status, { error: { code, message: code } }];
    if (path === "/widget/oauth") {
      await installed(query.get("code"));
      return [200, {}];
    }
    if (path === "/widget/disabled") {
      const id = query.get("account_id");
      if (query.get("signature") !== hmac(integration.client_secret, `${integration.client_id}|${id}`, "hex")) return error(403, "BAD_REQUEST");
      accounts.delete(Number(id));
      return [200, {}];
    }
    const claims = claimsOf(token, { integration, publicUrl });
    if (!claims) return error(401, "TOKEN_INVALID");
    if (claims.exp <= Date.now() / 1000) return error(401, "TOKEN_EXPIRED");
    if (used.has(claims.jti)) return error(401, "TOKEN_INVALID");
    used.add(claims.jti);
    const account = accounts.get(claims.account_id);
    if (!account) return error(409, "NOT_INSTALLED");
    if ((body?.amojo_id ?? query.get("amojo_id")) !== account.amojoId) return error(403, "ACCOUNT_MISMATCH");
    const title = "Shop chat";
    if (method === "GET" && path === "/widget/state") return [200, { state: account.state, title, since: account.since }];
    if (path === "/widget/connect") {
      if (users[body.login] !== body.password) return error(403, "WRONG_CREDENTIALS");
      const done = await signed("POST", `/v2/origin/custom/${channel.channel_id}/connect`, { account_id: account.amojoId, title, hook_api_version: "v2" });
      if (!done) return error(502, "CHANNEL_REFUSED");
      Object.assign(account, { state: "connected", since: new Date().toISOString() });
      return [200, { state: "connected", scope_id: `${channel.channel_id}_${account.amojoId}`, title }];
    }
    if (path === "/widget/disconnect") {
      const done = await signed("DELETE", `/v2/origin/custom/${channel.channel_id}/disconnect`, { account_id: account.amojoId });
      if (!done) return error(502, "CHANNEL_REFUSED");
      account.state = "disconnected";
      return [200, { state: "disconnected" }];
    }
    return error(404, "BAD_REQUEST");
  }

  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const url = new URL(request.url, publicUrl);
    const own = request.headers.origin === new URL(pages).origin;
    if (own) response.setHeader("Access-Control-Allow-Origin", request.headers.origin).setHeader("Vary", "Origin");
    if (request.method === "OPTIONS") {
      response.writeHead(204, { "Access-Control-Allow-Methods": "GET, POST, OPTIONS", "Access-Control-Allow-Headers": "content-type, x-auth-token", "Access-Control-Max-Age": "60" }).end();
      return;
    }
    const text = Buffer.concat(parts).toString();
    const [status, body] = await answer({ method: request.method, path: url.pathname, query: url.searchParams, body: text ? JSON.parse(text) : null, token: request.headers["x-auth-token"] });
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  atEnd(t, async () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, redirectPath: "/widget/oauth", disablePath: "/widget/disabled" };
}
