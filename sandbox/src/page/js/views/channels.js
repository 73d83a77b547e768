// Channels and accounts: their ids and secrets, where webhooks go, who is connected to whom.

import { html, useState } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { connectCommand, curlCommand } from "../commands.js";
import { Icon } from "../icons.js";
import { attempt, notify, openDialog, useStore } from "../store.js";
import { Avatar, Command, Empty, Fact, Segments, Switch } from "../ui.js";

function Webhook({ channel }) {
  const [url, setUrl] = useState(null);
  const shown = url ?? channel.webhook_url ?? "";
  const save = (event) => {
    event.preventDefault();
    attempt("Not saved", async () => {
      await api.patch(`channels/${encodeURIComponent(channel.channel_id)}`, { webhook_url: shown.trim() });
      setUrl(null);
      notify("The webhook address is saved");
    });
  };
  return html`
    <form class="webhook" onSubmit=${save}>
      <label class="field"><span class="field-label">Webhook address</span>
        <span class="joined">
          <input type="url" inputmode="url" autocomplete="off" spellcheck="false" required placeholder="http://127.0.0.1:8080/in/:scope_id"
            value=${shown} onInput=${(event) => setUrl(event.currentTarget.value)} />
          <button type="submit" class="button" disabled=${url === null || url === (channel.webhook_url ?? "")}>Save</button>
        </span>
        <small><code>:scope_id</code> in it becomes the scope of the account.</small></label>
    </form>`;
}

/** What was agreed when the channel was registered. */
const FEATURES = [
  ["typing", "Typing", "Webhooks tell that a manager types."], ["quoting", "Quotes and forwards", ""],
  ["reactions", "Reactions", ""], ["write_first", "Write first", "Managers begin chats with a phone number."],
];

function Features({ channel }) {
  const change = (patch) => attempt("Not saved", () => api.patch(`channels/${encodeURIComponent(channel.channel_id)}`, { features: { ...channel.features, ...patch } }));
  return html`
    <details class="how">
      <summary>What the channel can do</summary>
      <div class="rows">
        ${FEATURES.map(([name, label, hint]) => html`<${Switch} key=${name} label=${label} hint=${hint} checked=${channel.features[name]} onChange=${(on) => change({ [name]: on })} />`)}
      </div>
    </details>`;
}

function ChannelCard({ channel, server }) {
  const connected = server.accounts.filter((account) => account.connections.some((one) => one.channel_id === channel.channel_id));
  return html`
    <section class="card big" data-testid="channel" aria-label=${channel.title}>
      <header><span class="card-mark"><${Icon} name="channel" /></span><div><h3>${channel.title}</h3>
        <p class="muted">${connected.length === 0 ? "Not connected" : `Connected to ${connected.map((account) => account.name).join(", ")}`}</p></div></header>
      <dl class="facts">
        <${Fact} name="Channel id" value=${channel.channel_id} />
        <${Fact} name="Secret" value=${channel.secret} secret />
        <${Fact} name="Code" value=${channel.code} />
        <${Fact} name="Bot id" value=${channel.bot_ref_id} />
      </dl>
      <${Webhook} channel=${channel} />
      <${Features} channel=${channel} />
    </section>`;
}

function AccountCard({ account, server }) {
  const [how, setHow] = useState("amochats");
  const open = server.channels.filter((channel) => !account.connections.some((one) => one.channel_id === channel.channel_id));
  return html`
    <section class="card big" data-testid="account" aria-label=${account.name}>
      <header><span class="card-mark"><${Icon} name="database" /></span><div><h3>${account.name}</h3><p class="muted">${account.subdomain}</p></div></header>
      <dl class="facts"><${Fact} name="Account id" value=${account.account_id} /></dl>
      <h4>Connections</h4>
      <ul class="lines">
        ${account.connections.map((one) => html`
          <li key=${one.channel_id} data-testid="connection"><span class="dot on"></span><span>${one.title}<small>webhooks ${one.hook_version}${one.is_time_window_disabled ? ", no time window" : ""}</small></span></li>`)}
        ${account.connections.length === 0 && html`<li><span class="dot"></span><span class="muted">No channel is connected.</span></li>`}
      </ul>
      ${open.map((channel) => html`
        <details class="how" key=${channel.channel_id} open=${account.connections.length === 0 && server.channels.length === 1}>
          <summary>How to connect ${channel.title}</summary>
          <${Segments} label="By" value=${how} options=${[["amochats", "amochats"], ["curl", "curl"]]} onChange=${setHow} />
          <${Command} label=${`command that connects ${channel.title}`} text=${(how === "curl" ? curlCommand : connectCommand)(server, channel, account)} />
        </details>`)}
      <h4>Users</h4>
      <ul class="lines">
        ${account.users.map((user) => html`
          <li key=${user.user_ref_id} data-testid="user"><${Avatar} id=${user.user_ref_id} name=${user.name} size="s" /><span>${user.name}${user.is_admin && html`<span class="badge">admin</span>`}<small><code>${user.user_ref_id}</code></small></span></li>`)}
      </ul>
      <button type="button" class="button quiet small" onClick=${() => openDialog("user", { account })}><${Icon} name="plus" />Add a user</button>
    </section>`;
}

export function Channels() {
  const server = useStore((state) => state.server);
  if (!server) return html`<${Empty} icon="channel" title="Not there yet" />`;
  return html`
    <div class="page-view">
      <header class="view-head">
        <div><h2>Channels and accounts</h2><p class="muted">The API listens at <code>${server.api}</code>, as ${server.personality}.</p></div>
        <div class="view-acts">
          <a class="button quiet" href="/integrations">Integrations</a>
          <button type="button" class="button quiet" onClick=${() => openDialog("channel")}><${Icon} name="plus" />Channel</button>
          <button type="button" class="button quiet" onClick=${() => openDialog("account")}><${Icon} name="plus" />Account</button>
        </div>
      </header>
      <div class="cards">
        <div>${server.channels.map((channel) => html`<${ChannelCard} key=${channel.channel_id} channel=${channel} server=${server} />`)}</div>
        <div>${server.accounts.map((account) => html`<${AccountCard} key=${account.account_id} account=${account} server=${server} />`)}</div>
      </div>
    </div>`;
}
