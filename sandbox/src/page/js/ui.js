// Small parts that all views use.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { initials, tone } from "./format.js";
import { Icon } from "./icons.js";
import { closeDialog, notify } from "./store.js";

export const Avatar = ({ id, name, size = "m" }) => html`
  <span class="avatar" data-tone=${tone(id)} data-size=${size} aria-hidden="true">${initials(name)}</span>`;

export const IconButton = ({ icon, label, class: kind = "", ...rest }) => html`
  <button type="button" class=${`icon-button ${kind}`} aria-label=${label} title=${label} ...${rest}><${Icon} name=${icon} /></button>`;

export const Empty = ({ icon, title, children }) => html`
  <div class="empty">
    <span class="empty-mark"><${Icon} name=${icon} /></span>
    <h3>${title}</h3>
    ${children}
  </div>`;

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard where the page is not trusted, for example by an address of the network.
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not allow it");
  }
}

/** Copies a text; says so for a moment. */
export function Copy({ text, label, children, class: kind = "icon-button small" }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await copyText(text);
      setCopied(true);
      notify(`${label ?? "Text"} copied`);
      setTimeout(() => setCopied(false), 1500);
    } catch (error) {
      notify(`Not copied: ${error.message}`, "error");
    }
  };
  return html`
    <button type="button" class=${kind} aria-label=${`Copy ${label}`} title=${`Copy ${label}`} onClick=${copy}>
      <${Icon} name=${copied ? "check" : "copy"} />${children}
    </button>`;
}

/** A value with a name, to be copied. */
export const Fact = ({ name, value, secret = false }) => {
  const [shown, setShown] = useState(!secret);
  return html`
    <div class="fact">
      <dt>${name}</dt>
      <dd>
        <code data-testid=${`fact-${name.toLowerCase().replaceAll(" ", "-")}`}>${shown ? value : "•".repeat(20)}</code>
        ${secret && html`<button type="button" class="link-button" aria-pressed=${String(shown)} onClick=${() => setShown(!shown)}>${shown ? "Hide" : "Show"}<span class="sr"> ${name}</span></button>`}
        <${Copy} text=${value} label=${name} />
      </dd>
    </div>`;
};

/** A command for a terminal. */
export const Command = ({ text, label }) => html`
  <div class="command">
    <pre tabindex="0" role="region" aria-label=${label}><code>${text}</code></pre>
    <${Copy} text=${text} label=${label} />
  </div>`;

/** An on/off switch with its words. */
export const Switch = ({ label, hint, checked, onChange, disabled }) => html`
  <label class="toggle">
    <span class="toggle-words"><span>${label}</span>${hint && html`<small>${hint}</small>`}</span>
    <input type="checkbox" role="switch" checked=${checked} disabled=${disabled} onChange=${(event) => onChange(event.currentTarget.checked)} />
  </label>`;

export const Field = ({ label, hint, children }) => html`
  <label class="field"><span class="field-label">${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>`;

/** A choice of few, shown as one bar. */
export const Segments = ({ label, options, value, onChange }) => html`
  <div class="segments" role="group" aria-label=${label}>
    ${options.map(([key, words, icon]) => html`
      <button key=${key} type="button" aria-pressed=${String(value === key)} aria-label=${icon ? words : undefined} title=${icon ? words : undefined}
        onClick=${() => onChange(key)}>${icon ? html`<${Icon} name=${icon} />` : words}</button>`)}
  </div>`;

/** A button that opens a panel; Escape and a click elsewhere close it. */
export function Popover({ label, icon, panelLabel = label, class: kind = "", align = "start", disabled, children }) {
  const [open, setOpen] = useState(false);
  const box = useRef();
  const close = () => {
    setOpen(false);
    box.current?.firstElementChild.focus();
  };
  useEffect(() => {
    if (!open) return undefined;
    const elsewhere = (event) => { if (!box.current?.contains(event.target)) setOpen(false); };
    document.addEventListener("pointerdown", elsewhere);
    box.current.querySelector(".popover-panel button, .popover-panel input, .popover-panel select")?.focus();
    return () => document.removeEventListener("pointerdown", elsewhere);
  }, [open]);
  const keys = (event) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    close();
  };
  return html`
    <div class=${`popover ${kind}`} ref=${box} onKeyDown=${keys}
      onFocusOut=${(event) => { if (event.relatedTarget && !box.current.contains(event.relatedTarget)) setOpen(false); }}>
      <button type="button" class="icon-button" aria-label=${label} title=${label} aria-expanded=${String(open)} disabled=${disabled}
        onClick=${() => setOpen(!open)}><${Icon} name=${icon} /></button>
      ${open && html`<div class="popover-panel" data-align=${align} role="group" aria-label=${panelLabel}>${children(close)}</div>`}
    </div>`;
}

/** A modal dialog with a form. `onSubmit` may throw; what it says is shown. */
export function FormDialog({ title, lead, submit, onSubmit, children, danger = false }) {
  const dialog = useRef();
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => { dialog.current.showModal(); }, []);
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setFailure("");
    try {
      await onSubmit(Object.fromEntries(new FormData(event.target)));
      closeDialog();
    } catch (error) {
      setFailure(error.message);
      setBusy(false);
    }
  };
  return html`
    <dialog ref=${dialog} class="dialog" aria-labelledby="dialog-title" onClose=${closeDialog}
      onClick=${(event) => { if (event.target === dialog.current) closeDialog(); }}>
      <form onSubmit=${send}>
        <header><h2 id="dialog-title">${title}</h2><${IconButton} icon="close" label="Close" onClick=${closeDialog} /></header>
        ${lead && html`<p class="muted">${lead}</p>`}
        ${children}
        <p class="form-error" role="alert">${failure}</p>
        <footer>
          <button type="button" class="button quiet" onClick=${closeDialog}>Cancel</button>
          <button type="submit" class=${danger ? "button danger" : "button"} disabled=${busy}>${submit}</button>
        </footer>
      </form>
    </dialog>`;
}
