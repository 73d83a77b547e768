// The guide to linking, walked as it is written: its configuration, its commands, its clicks.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { amochats, amochatsWith, atEnd, close, launch, open, sandbox, seen, serve } from "./support.js";
import { build, front, parts, REFUSED } from "./widget/shop.js";

before(launch);
after(close);

const guide = await readFile(fileURLToPath(new URL("../../docs/linking.md", import.meta.url)), "utf8");

/** The first piece of TOML below a heading. */
function toml(heading) {
  const [, below] = guide.split(`\n## ${heading}\n`);
  assert.ok(below, heading);
  return /```toml\n([^]*?)```/.exec(below.split("\n## ")[0])[1];
}

test("a newcomer comes from the guide to a linked account", async (t) => {
  // Where the guide has ports of its own, this machine gives some.
  const proxy = await front(t);
  const widget = await build(t, proxy.url);
  const { ready } = await sandbox(t, { connected: false, args: ["--widget", `${widget}/unpacked`] });
  const [integration] = ready.integrations;
  const folder = await mkdtemp(`${tmpdir()}/amochats-guide-`);
  atEnd(t, () => rm(folder, { recursive: true }));

  await writeFile(`${folder}/widget.key`, await amochats("widget", "key"), { mode: 0o600 });
  await amochatsWith("correct horse\n", "widget", "user", "add", "--file", `${folder}/users`, "anna@example.org");
  await writeFile(`${folder}/channel.secret`, ready.secret, { mode: 0o600 });
  await writeFile(`${folder}/integration.secret`, integration.client_secret, { mode: 0o600 });
  const config = toml("3. The server")
    .replace(/^redirect_uri = .*$/m, () => toml("The whole of it on your machine").trim())
    .replace('region = "ru"', 'base_url = "http://127.0.0.1:8081"')
    .replace("CHANNEL_ID", ready.channel_id)
    .replace("INTEGRATION_ID", integration.client_id)
    .replace(/(_file = )"/g, `$1"${folder}/`)
    .replaceAll("http://127.0.0.1:8080", proxy.url)
    .replaceAll("http://127.0.0.1:8765", ready.page)
    .replaceAll("http://127.0.0.1:8081", ready.api);
  await writeFile(`${folder}/amochats.toml`, `
listener.address = "127.0.0.1:0"
admin.address = "127.0.0.1:0"
grpc.address = "127.0.0.1:0"
store = { path = ${JSON.stringify(`${folder}/amochats.db`)}, min_free_bytes = 0 }
${config}`);
  const server = await serve(t, ["serve", "--config", `${folder}/amochats.toml`]);
  proxy.target = server.ready.listener;

  const page = await open(t, `${ready.page}/integrations`, { expected: REFUSED });
  const addresses = page.getByTestId("addresses");
  await addresses.getByLabel("Redirect URI").fill(`${proxy.url}/oauth/redirect`);
  await addresses.getByLabel("Disable hook").fill(`${proxy.url}/disable`);
  const saved = page.waitForResponse((answer) => answer.request().method() === "PATCH");
  await addresses.getByRole("button").click();
  await saved;
  const shown = parts(page);
  await shown.opener.click();
  await shown.fill("anna@example.org", "correct horse");
  await shown.install.click();
  await seen(shown.state("connected").getByText("Example"));
  const account = JSON.parse(await amochats("accounts", "ls", "--server", server.ready.grpc));
  assert.equal(account.state, "connected");

  await shown.uninstall.click();
  await seen(shown.tile("install"));
  assert.equal((await proxy.next("/disable")).status, 200);
});
