// The faults as switches: what strikes, how likely, how hard.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { counted } from "../format.js";
import { attempt, set, state, useStore } from "../store.js";
import { IconButton } from "../ui.js";

/** Of each fault its words, and the unit and usual size of its value where it has one. */
const FAULTS = {
  api: ["Calls", [
    ["latency", "Slow", "The answer takes longer.", "ms", 1000],
    ["drop", "Dropped", "The connection closes, nothing was done."],
    ["lost", "Answer lost", "It was done, the connection closes without an answer."],
    ["cut", "Answer cut", "It was done, half of the answer comes."],
    ["status", "Error", "The answer is an error, nothing was done.", "status", 503],
    ["rate_limit", "Too many requests", "429, with Retry-After.", "s", 1],
    ["skew", "Clock ahead", "Every Date looks old.", "s", 3600],
  ]],
  hook: ["Webhooks", [
    ["latency", "Slow", "It is sent later.", "ms", 1000],
    ["drop", "Dropped", "It is not sent, and never again."],
    ["duplicate", "Twice", "It is sent two times."],
    ["reorder", "Out of order", "It is sent after the next one.", "ms", 2000],
    ["stale_clock", "Old", "It says that it was made long ago.", "s", 3600],
    ["bad_signature", "Bad signature", "Made with another secret."],
    ["truncated", "Cut", "Half of the body is missing."],
    ["reserialised", "Written anew", "The same JSON in other bytes; the signature is of the first."],
  ]],
};

const percent = (probability) => Math.round(probability * 100);

/** Rules as they are put: without what the sandbox counts. */
const plain = ({ struck, ...rule }) => rule;

const show = (faults) => set({ server: { ...state.server, faults } });

const put = (faults) => attempt("Not changed", async () => show(await api.put("faults", { seed: faults.seed, rules: faults.rules.map(plain) })));

function Fault({ fault: [name, label, hint, unit, usual], rule, struck, change }) {
  const [likely, setLikely] = useState(null);
  const shown = likely ?? percent(rule?.probability ?? 1);
  return html`
    <div class="fault" data-on=${String(Boolean(rule))} data-fault=${name}>
      <label class="toggle">
        <span class="toggle-words"><span>${label}${struck > 0 && html`<span class="badge struck">struck ${counted(struck, "time")}</span>`}</span><small>${hint}</small></span>
        <input type="checkbox" role="switch" checked=${Boolean(rule)} onChange=${(event) => change(event.currentTarget.checked ? { probability: 1, value: usual ?? null } : null)} />
      </label>
      ${rule && html`
        <div class="fault-size">
          <label class="likely"><span class="sr">${label}: how likely</span>
            <input type="range" min="5" max="100" step="5" value=${shown} onInput=${(event) => setLikely(Number(event.currentTarget.value))}
              onChange=${(event) => { change({ ...plain(rule), probability: Number(event.currentTarget.value) / 100 }); setLikely(null); }} />
            <output>${shown} %</output></label>
          ${unit && html`
            <label class="amount"><span class="sr">${label}: ${unit}</span>
              <input type="number" min="1" value=${rule.value ?? usual} onChange=${(event) => event.currentTarget.value && change({ ...plain(rule), value: Number(event.currentTarget.value) })} /><small>${unit}</small></label>`}
        </div>`}
    </div>`;
}

/** Whether a rule is one of the switches; others were set by the command line or the API. */
const switched = (rule) => !rule.only && rule.times === null;

function Side({ on, faults }) {
  const [title, known] = FAULTS[on];
  const rest = faults.rules.filter((rule) => rule.on === on && !switched(rule));
  const change = (name, old) => (fresh) => {
    const rules = faults.rules.filter((rule) => rule !== old);
    put({ ...faults, rules: fresh ? [...rules, { ...fresh, on, fault: name }] : rules });
  };
  return html`
    <section class="card big" aria-label=${`Faults of ${title.toLowerCase()}`}>
      <h3>Faults of ${title.toLowerCase()}</h3>
      <div class="rows">
        ${known.map((fault) => {
          const rule = faults.rules.find((one) => one.on === on && one.fault === fault[0] && switched(one));
          return html`<${Fault} key=${fault[0]} fault=${fault} rule=${rule} struck=${rule?.struck} change=${change(fault[0], rule)} />`;
        })}
        ${rest.map((rule) => html`
          <div class="fault-rule" key=${JSON.stringify(plain(rule))}>
            <span>${rule.fault.replaceAll("_", " ")}${rule.value !== null && ` ${rule.value}`}<small>${[`${percent(rule.probability)} %`, rule.only && `only ${rule.only}`, rule.times !== null && counted(rule.times, "time"), `struck ${rule.struck}`].filter(Boolean).join(" · ")}</small></span>
            <${IconButton} icon="close" label=${`Remove ${rule.fault}`} class="small" onClick=${() => put({ ...faults, rules: faults.rules.filter((one) => one !== rule) })} />
          </div>`)}
      </div>
    </section>`;
}

export function Faults() {
  const faults = useStore((store) => store.server.faults);
  const last = useStore((store) => store.journal.last?.seq);
  const some = faults.rules.length > 0;
  // How often each struck grows with the journal.
  useEffect(() => {
    if (some) api.get("faults").then(show, () => {});
  }, [last, some]);
  return html`
    <${Side} on="api" faults=${faults} />
    <${Side} on="hook" faults=${faults} />
    <section class="card" aria-label="Seed">
      <label class="toggle"><span class="toggle-words"><span>Seed of the draws</span><small>The same calls meet the same faults again.</small></span>
        <span class="amount"><input type="number" min="0" value=${faults.seed} onChange=${(event) => put({ ...faults, seed: Number(event.currentTarget.value) })} /></span></label>
      ${some && html`<button type="button" class="button quiet small" onClick=${() => put({ ...faults, rules: [] })}>Switch all faults off</button>`}
    </section>`;
}
