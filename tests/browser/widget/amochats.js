// The operator's server: `amochats serve` with `[widget]`, as a process of its own.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { amochats, amochatsWith, atEnd, serve } from "../support.js";

const REDIRECT = "/oauth/redirect";
const DISABLE = "/disable";

/**
 * Starts it for a test. `publicUrl` is where browser and CRM reach it, `crm` the address of the CRM's API, `pages`
 * those of its pages, `channel` and `integration` their registrations, `users` the logins with their passwords,
 * `limits` further lines of `[widget]`. Resolves to the address behind `publicUrl`, to the paths of the OAuth redirect
 * and the disable hook, to the addresses of gRPC and administration, and to all that it has said.
 */
export async function start(t, { publicUrl, crm, pages, channel, integration, users, limits }) {
  const folder = await mkdtemp(`${tmpdir()}/amochats-operator-`);
  atEnd(t, () => rm(folder, { recursive: true }));
  for (const [login, password] of Object.entries(users)) {
    await amochatsWith(`${password}\n`, "widget", "user", "add", "--file", `${folder}/users`, login);
  }
  await writeFile(`${folder}/widget.key`, await amochats("widget", "key"), { mode: 0o600 });
  const text = JSON.stringify;
  await writeFile(`${folder}/amochats.toml`, `
listener = { address = "127.0.0.1:0", disable_path = "${DISABLE}" }
admin.address = "127.0.0.1:0"
grpc.address = "127.0.0.1:0"
store = { path = ${text(`${folder}/amochats.db`)}, min_free_bytes = 0 }
backfill.on_start = false
log.level = "debug"

[widget]
redirect_uri = ${text(publicUrl + REDIRECT)}
origins = ${text([...pages, crm].map((address) => new URL(address).origin))}
title = "Shop chat"
key_file = ${text(`${folder}/widget.key`)}
users_file = ${text(`${folder}/users`)}
${limits}

[[channel]]
id = ${text(channel.channel_id)}
secret = ${text(channel.secret)}
base_url = ${text(crm)}
client_id = ${text(integration.client_id)}
client_secret = ${text(integration.client_secret)}
`);
  const { ready, said } = await serve(t, ["serve", "--config", `${folder}/amochats.toml`]);
  return { url: ready.listener, redirectPath: REDIRECT, disablePath: DISABLE, grpc: ready.grpc, admin: ready.admin, said };
}
