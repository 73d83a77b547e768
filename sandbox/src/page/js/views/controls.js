// Faults, strictness and the sandbox's data.

import { html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { Icon } from "../icons.js";
import { refresh } from "../inbox.js";
import { loadJournal } from "../log.js";
import { attempt, notify, openDialog, set, state, useStore } from "../store.js";
import { Segments, Switch } from "../ui.js";
import { Faults } from "./faults.js";

/** The switches by what they are about; of each choice the words, of each number its unit. */
const STRICTNESS = [
  ["Requests", [
    ["signatures", "Signatures", "Live clients still sign the body alone, as in the first generation.", { any: "Any", any_on_old_methods: "Old methods", canonical: "Canonical" }],
    ["date_window_s", "Date window", "How far a request's Date may be from now. Off takes recorded requests.", { unit: "s", usual: 900 }],
    ["check_md5", "Check Content-MD5", "It must be that of the body."],
    ["check_content_type", "Check Content-Type", "It must be application/json."],
    ["strict_types", "Strict types", "A number in place of a text is an error, as documented."],
    ["unknown_fields", "Unknown fields", "Most are misspelt: the journal names them.", { note: "Note", refuse: "Refuse" }],
    ["required_fields", "Required fields", "Some that the pages require are left out by live clients.", { live: "As live", documented: "Documented" }],
    ["requests_per_second", "Requests a second", "More of a scope get 429 with Retry-After.", { unit: "a second", usual: 7 }],
    ["crm_requests_per_second", "The CRM's requests a second", "More of an account get 429, who goes on 403.", { unit: "a second", usual: 7 }],
  ]],
  ["Answers", [
    ["duplicates", "The same msgid again", "Documented is only that it is not accepted.", { reject: "400", replay: "First answer" }],
    ["not_connected", "Channel not connected", "Not known of the real service.", { forbidden: "403", not_found: "404" }],
    ["unknown_channel", "Channel does not exist", "Documented for connect: 404.", { forbidden: "403", not_found: "404" }],
    ["answers", "Answers to new messages", "Which year's form.", [["current", "Current"], ["2021", "2021"], ["2020", "2020"]]],
    ["old_delivery_status", "Old delivery status", "Its form of before 2025 is taken, too."],
    ["transitions", "Delivery states", "What was read stays read, or the last report counts.", { forward: "Forward", any: "Any" }],
  ]],
  ["Webhooks", [
    ["hook_timeout_ms", "Time to answer", "Documented: 5 s, one try.", { unit: "ms", usual: 5000, always: true }],
    ["slow_lane_ms", "Slow lane", "Who answers late three times waits this long each time.", { unit: "ms", usual: 1000 }],
    ["hook_newline", "Line feed after the body", "Sent, but not signed, as in captured webhooks."],
    ["hook_contacts", "Unknown phone and e-mail", "", { absent: "Absent", empty: "Empty" }],
    ["hook_escaping", "< > & in webhooks", "", { plain: "As they are", go: "\\u003c" }],
  ]],
];

function Strictness({ name, label, hint, form, value, change }) {
  if (typeof value === "boolean") return html`<${Switch} label=${label} hint=${hint} checked=${value} onChange=${change} />`;
  const words = html`<span class="toggle-words"><span>${label}</span>${hint && html`<small>${hint}</small>`}</span>`;
  if (form?.unit) {
    return html`
      <div class="toggle">${words}
        <span class="amount">
          ${value !== null && html`
            <input type="number" min="1" aria-label=${label} value=${value} onChange=${(event) => event.currentTarget.value && change(Number(event.currentTarget.value))} /><small>${form.unit}</small>`}
          ${!form.always && html`<input type="checkbox" role="switch" aria-label=${`${label}: on`} checked=${value !== null} onChange=${(event) => change(event.currentTarget.checked ? form.usual : null)} />`}
        </span>
      </div>`;
  }
  return html`<div class="toggle">${words}<${Segments} label=${label} value=${String(value)} options=${Array.isArray(form) ? form : Object.entries(form ?? { [value]: value })} onChange=${change} /></div>`;
}

function Switches({ switches }) {
  const change = (name) => (value) => attempt("Not changed", async () => {
    const fresh = await api.patch("switches", { [name]: value });
    set({ server: { ...state.server, switches: fresh } });
  });
  return STRICTNESS.map(([title, rows]) => html`
    <section class="card big" key=${title} aria-label=${title}>
      <h3>${title}</h3>
      <div class="rows">
        ${rows.filter(([name]) => name in switches).map(([name, label, hint, form]) => html`
          <${Strictness} key=${name} name=${name} label=${label} hint=${hint} form=${form} value=${switches[name]} change=${change(name)} />`)}
      </div>
    </section>`);
}

function Data() {
  const download = () => attempt("No snapshot", async () => {
    const text = JSON.stringify(await api.get("snapshot"), null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "amochats-sandbox.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  const restore = (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = "";
    if (!file) return;
    attempt("Not restored", async () => {
      await api.restore(file);
      set({ open: null });
      await Promise.all([api.get("state").then((server) => set({ server })), refresh({ all: true }), loadJournal()]);
      notify("The snapshot is restored");
    });
  };
  return html`
    <section class="card big" aria-label="Data">
      <h3>Data</h3>
      <p class="muted">A snapshot holds channels with their secrets, accounts, chats and messages; not the journal.</p>
      <div class="data-acts">
        <button type="button" class="button quiet" onClick=${download}><${Icon} name="download" />Download a snapshot</button>
        <label class="button quiet" tabindex="0" onKeyDown=${(event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.currentTarget.querySelector("input").click(); } }}>
          <${Icon} name="upload" />Restore a snapshot<input class="sr" type="file" accept="application/json" tabindex="-1" data-testid="restore" onChange=${restore} /></label>
        <button type="button" class="button quiet bad" onClick=${() => openDialog("reset")}><${Icon} name="trash" />Empty the sandbox</button>
      </div>
    </section>`;
}

export function Controls() {
  const server = useStore((store) => store.server);
  if (!server) return null;
  return html`
    <div class="page-view">
      <header class="view-head"><div><h2>Controls</h2><p class="muted">Make it fail, make it strict, start anew. All of it can be done by the control API as well.</p></div></header>
      <div class="cards">
        <div><${Faults} /><${Data} /></div>
        <div><${Switches} switches=${server.switches} /></div>
      </div>
    </div>`;
}
