// The page on which an administrator of an account installs and sets up widgets.

import { html, render, useEffect, useReducer, useState } from "../vendor/preact-htm.js";
import * as api from "../js/api.js";
import { Icon, Logo } from "../js/icons.js";
import { setTheme, state, useStore } from "../js/store.js";
import { Empty, Fact, Field, Segments } from "../js/ui.js";
import { makeApp, makeBase, textOf } from "./host.js";
import { get } from "./loader.js";
import { openWindow } from "./window.js";
import { LANGUAGES } from "./words.js";

const { $ } = window;
const THEMES = [["system", "As the system", "system"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]];
const FLAWS = [["", "as the CRM gives it"], ["expired", "expired"], ["foreign", "signed by another"], ["alg_none", "alg: none"], ["wrong_audience", "for another server"], ["replayed", "the last one again"]];
const ORDERS = [["before", "before the widget's call"], ["after", "after the widget's call"]];
const asked = new URLSearchParams(location.search);
/** The account whose own address this is, `http://{subdomain}.localhost:PORT`; none where it serves all of them. */
const own = location.hostname.endsWith(".localhost") ? location.hostname.split(".")[0] : "";

/** All that is shown; `draw` shows it. */
const page = { crm: null, server: null, widgets: [], integration: null, account: null, widget: null, problem: "", log: [], flaw: "", order: asked.get("order") ?? "before", area: "widgetsSettings" };
let draw = () => {};
let lastToken = "";

const language = LANGUAGES.some(([key]) => key === asked.get("lang")) ? asked.get("lang") : "en";

function log(kind, text) {
  page.log = [...page.log.slice(-199), { kind, text }];
  draw();
}

/** Goes to the same page with another account, integration or language: the CRM, too, begins anew. */
function visit(change) {
  const next = new URLSearchParams({ integration: page.integration.client_id, account: page.account.account_id, lang: language, order: page.order, ...change });
  const account = page.crm.accounts.find((one) => one.account_id === next.get("account"));
  location.href = own ? addressOf(account, next) : `?${next}`;
}

/** Where an account has its pages, as in the CRM, so that calls from there are of another origin. */
const addressOf = (account, query) => `${location.protocol}//${account.subdomain.toLowerCase()}.localhost:${location.port}/integrations?${query}`;

const isInstalled = () => page.account.installed.includes(page.integration.client_id);
const savedFields = () => page.widgets.find((one) => one.client_id === page.integration.client_id)?.saved.find((one) => one.account_id === page.account.account_id)?.fields;

async function readAll() {
  const [crm, server, { widgets }] = await Promise.all([api.get("crm"), api.get("state"), api.get("widgets")]);
  const integration = crm.integrations.find((one) => one.client_id === asked.get("integration"))
    ?? crm.integrations.find((one) => widgets.some((widget) => widget.client_id === one.client_id)) ?? crm.integrations[0];
  const named = (one) => (own ? one.subdomain.toLowerCase() === own : one.account_id === asked.get("account"));
  const account = crm.accounts.find(named) ?? crm.accounts[0];
  Object.assign(page, { crm, server, widgets, integration, account });
  draw();
}

/** The token of the next call, with what was chosen to be wrong with it. */
function token() {
  if (page.flaw === "replayed" && lastToken) return $.Deferred().resolve(lastToken).promise();
  const known = FLAWS.some(([key]) => key === page.flaw && key && key !== "replayed");
  const data = { account_id: page.account.account_id, ...known && { flaw: page.flaw } };
  return $.ajax({ url: `/ajax/v2/integrations/${page.integration.client_id}/disposable_token`, data, dataType: "json" }).then((answer) => {
    lastToken = answer.token;
    return answer.token;
  });
}

const json = (path) => fetch(path, { cache: "no-store" }).then((response) => {
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
});

/** Loads the widget and brings it to life: render, then bind_actions and init. */
async function start() {
  if (!page.widgets.some((one) => one.client_id === page.integration.client_id)) return;
  const files = `/widgets/${page.integration.code}`;
  const manifest = await json(`${files}/manifest.json`);
  const spoken = manifest.widget.locale.includes(language) ? language : manifest.widget.locale[0];
  const texts = await json(`${files}/i18n/${spoken}.json`);
  const { users } = page.account;
  const user = users.find((one) => one.is_admin) ?? users[0];
  const shared = { integration: page.integration, account: page.account, users, user, manifest, texts, files, language: spoken, log };
  makeApp({ ...shared, area: () => page.area });
  const installation = { status: () => (!isInstalled() ? "install" : savedFields() ? "installed" : "not_configured"), fields: () => savedFields() ?? {} };
  const Widget = await get(`${files}/script.js`, "", `?v=${encodeURIComponent(manifest.widget.version ?? "")}`);
  // The methods are there before the constructor runs: widgets use them in it.
  Object.setPrototypeOf(Widget.prototype, makeBase({ ...shared, installation, token }));
  page.widget = { ...shared, installation, callbacks: new Widget().callbacks ?? {}, window: null };
  await live();
}

async function live() {
  const rendered = await called("render");
  if (rendered !== true) return;
  await called("bind_actions");
  await called("init");
}

/** Calls back; what it throws or rejects with is said, and counts as `undefined`. */
async function called(name, ...args) {
  const callback = page.widget.callbacks[name];
  const shown = args.filter((arg) => !arg?.jquery).map((arg) => JSON.stringify(arg)).join(", ");
  if (typeof callback !== "function") {
    log("callback", `${name}(${shown}) is missing`);
    return undefined;
  }
  try {
    const result = await callback(...args);
    log("callback", `${name}(${shown}) → ${JSON.stringify(result)}`);
    return result;
  } catch (error) {
    log("failure", `${name}(${shown}) failed: ${error?.message ?? error?.statusText ?? "rejected"}`);
    return undefined;
  }
}

const act = (name, body = {}) => api.post(`widgets/${page.integration.client_id}/accounts/${page.account.account_id}/${name}`, body);

async function open(context) {
  page.widget.window?.close();
  page.area = "widgetsSettings";
  const opened = openWindow({
    ...page.widget, saved: savedFields() ?? {}, installed: isInstalled(),
    on: { install: save, save, uninstall: disable, closed: () => { page.widget.window = null; } },
  });
  page.widget.window = opened;
  await called("settings", opened.$body, ...context ? [context] : []);
}

let saving = false;

/** Install and Save: the widget decides; `true` is kept, anything else keeps the window as it is. */
async function save() {
  if (saving) return;
  saving = true;
  const { window: opened } = page.widget;
  opened.busy(true);
  try {
    const fresh = !isInstalled();
    const install = async () => {
      await act("install");
      log("crm", "the code goes to the redirect URI");
      await readAll();
    };
    if (fresh && page.order === "before") await install();
    const result = await called("onSave", { active: "Y", fields: opened.fields() });
    if (result === true) {
      if (fresh && page.order === "after") await install();
      await act("settings", { fields: opened.fields() });
      await readAll();
      log("crm", "saved");
    } else {
      log("crm", "not saved");
    }
  } catch (error) {
    log("failure", error.message);
  } finally {
    saving = false;
    opened.show(isInstalled());
    opened.busy(false);
  }
}

async function disable() {
  const { window: opened } = page.widget;
  await called("onSave", { active: "N" });
  await called("destroy");
  await act("disable");
  log("crm", "disabled; the hook goes out");
  await readAll();
  opened.close();
  await live();
}

/** Adds the widget to the pipeline, as the window of lead sources does. */
async function addAsSource() {
  page.area = "leads-pipeline";
  await called("onAddAsSource", page.account.pipeline_id);
  await open();
}

async function upload(event) {
  const [file] = event.currentTarget.files;
  event.currentTarget.value = "";
  if (!file) return;
  try {
    await api.load(`widgets/${encodeURIComponent(page.integration.client_id)}`, file);
    location.reload();
  } catch (error) {
    page.problem = error.message;
    draw();
  }
}

const Choice = ({ label, hint, options, value, onChange, testId }) => html`
  <${Field} label=${label} hint=${hint}>
    <select data-testid=${testId} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([key, words]) => html`<option key=${key} value=${key}>${words}</option>`)}
    </select></${Field}>`;

function Tile() {
  const { widget } = page;
  if (!widget) {
    return html`<${Empty} icon="upload" title="No widget yet"><p class="muted">Upload a <code>widget.zip</code>, or start the sandbox with <code>--widget FOLDER</code>.</p></${Empty}>`;
  }
  const status = widget.installation.status();
  const connection = page.server.accounts.find((one) => one.account_id === page.account.account_id)?.connections.find((one) => one.channel_id === page.integration.channel_id);
  return html`
    <div class="tile" data-testid="tile" data-status=${status}>
      <img src=${`${widget.files}/images/logo_small.png`} alt="" width="54" height="54" />
      <div><h3>${textOf(widget.texts, widget.manifest.widget.name)}</h3><p class="muted">${textOf(widget.texts, widget.manifest.widget.short_description)}</p>
        <p class="badges"><span class="badge">${{ install: "Not installed", not_configured: "Not configured", installed: "Installed" }[status]}</span>
          <span class="badge" data-testid="channel" data-on=${String(Boolean(connection))}>${connection ? `Channel connected: ${connection.title}` : "No channel connected"}</span></p></div>
      <button type="button" class="button" onClick=${() => open()}>Open</button>
    </div>`;
}

function Sources() {
  const sources = isInstalled() ? page.account.sources.filter((source) => source.client_id === page.integration.client_id) : [];
  return html`
    <ul class="lines">
      ${sources.map((source) => html`<li key=${source.id}><span class="dot on"></span><button type="button" class="link-button" data-testid="source"
        onClick=${() => open({ source_id: source.id, external_id: source.external_id })}>${source.name}</button></li>`)}
      ${sources.length === 0 && html`<li><span class="dot"></span><span class="muted">None of this integration.</span></li>`}
    </ul>
    ${page.widget?.manifest.locations.includes("lead_sources")
      ? html`<button type="button" class="button quiet small" onClick=${addAsSource}><${Icon} name="plus" />Add as a source</button>`
      : page.widget && html`<p class="muted">The manifest has no location lead_sources.</p>`}`;
}

/** Where the CRM calls the widget's server. */
function Addresses() {
  const [failure, setFailure] = useState("");
  const save = async (event) => {
    event.preventDefault();
    const { redirect_uri: redirect, disable_url: disable } = Object.fromEntries(new FormData(event.currentTarget));
    try {
      await api.patch(`crm/integrations/${page.integration.client_id}`, { redirect_uri: redirect, ...disable && { disable_url: disable } });
      setFailure("");
    } catch (error) {
      setFailure(error.message);
    }
  };
  // Set once for each integration: the page draws itself anew while somebody types.
  return html`
    <form key=${page.integration.client_id} class="addresses" onSubmit=${save} data-testid="addresses">
      <${Field} label="Redirect URI"><input name="redirect_uri" type="url" required defaultValue=${page.integration.redirect_uri} /></${Field}>
      <${Field} label="Disable hook"><input name="disable_url" type="url" defaultValue=${page.integration.disable_url ?? ""} /></${Field}>
      <button type="submit" class="button quiet small">Save addresses</button>
      <p class="form-error" role="alert">${failure}</p>
    </form>`;
}

function App() {
  const [, again] = useReducer((n) => n + 1, 0);
  const theme = useStore((store) => store.theme);
  useEffect(() => { draw = again; again(); }, []);
  return html`
    <header class="bar">
      <h1 class="brand"><${Logo} />amochats <span>sandbox</span></h1>
      <a class="back-link" href="/#/channels">Manager's page</a>
      <${Segments} label="Colours" value=${theme} options=${THEMES} onChange=${setTheme} />
    </header>
    <main class="integrations"><div class="view">${page.crm && html`
      <div class="page-view">
        <header class="view-head"><div><h2>Integrations</h2><p class="muted">Install and set up a widget as the administrator of an account.</p></div></header>
        <div class="cards">
          <div>
            <section class="card big" aria-label="Widget"><h4>Widget</h4><${Tile} />
              ${page.problem && html`<p class="form-error" role="alert" data-testid="problem">${page.problem}</p>`}</section>
            <section class="card big" aria-label="Lead sources"><h4>Lead sources of the pipeline</h4><${Sources} /></section>
            <section class="card big" aria-label="What happened"><h4>What happened</h4>
              <ol class="host-log" data-testid="log">${page.log.map((line, at) => html`<li key=${at} data-kind=${line.kind}><b>${line.kind}</b> <code>${line.text}</code></li>`)}</ol></section>
          </div>
          <div>
            <section class="card big" aria-label="Where"><h4>Where</h4>
              <${Choice} label="Account" testId="account" value=${page.account.account_id} options=${page.crm.accounts.map((one) => [one.account_id, `${one.subdomain} (${one.id})`])} onChange=${(account) => visit({ account })} />
              <${Choice} label="Integration" testId="integration" value=${page.integration.client_id} options=${page.crm.integrations.map((one) => [one.client_id, one.name])} onChange=${(integration) => visit({ integration })} />
              <${Choice} label="Language of the user" testId="language" value=${language} options=${LANGUAGES} onChange=${(lang) => visit({ lang })} />
              <${Field} label="Widget archive" hint="Replaces the widget of this integration."><input type="file" accept=".zip" data-testid="upload" onChange=${upload} /></${Field}></section>
            <section class="card big" aria-label="What the CRM does"><h4>What the CRM does</h4>
              <${Choice} label="One-time token" testId="flaw" value=${page.flaw} options=${FLAWS} onChange=${(flaw) => { page.flaw = flaw; draw(); }} />
              <${Choice} label="It tells the server of an installation" hint="The order is not documented." testId="order" value=${page.order} options=${ORDERS} onChange=${(order) => { page.order = order; draw(); }} /></section>
            <section class="card big" aria-label="Addresses"><h4>Addresses</h4>
              <dl class="facts">
                <${Fact} name="Client id" value=${page.integration.client_id} />
                <${Fact} name="Client secret" value=${page.integration.client_secret} secret />
                <${Fact} name="Widget code" value=${page.integration.code} />
                <${Fact} name="Account's address" value=${location.origin} />
              </dl>
              ${!own && html`<p><a class="link-button" data-testid="own-address" href=${addressOf(page.account, new URLSearchParams({ lang: language, order: page.order }))}>Open at an address of its own</a></p>`}
              <${Addresses} /></section>
          </div>
        </div>
      </div>`}</div></main>`;
}

setTheme(state.theme);
document.documentElement.lang = "en";
render(html`<${App} />`, document.getElementById("app"));
const quietly = (promise) => promise.catch((error) => { page.problem = error.message; draw(); });
await quietly(readAll().then(start));
draw();
api.follow({ live() {}, lost() {}, reload: () => quietly(readAll()), change: ({ type }) => { if (["settings", "account", "reset"].includes(type)) quietly(readAll()); } });
