// What the manager writes: text, files from the disk or by address, a template or buttons, as one of the users.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { bytes, fileName, kindOf, said, webAddress } from "../format.js";
import { Icon } from "../icons.js";
import { send, type, writers } from "../inbox.js";
import { notify, set, state, useStore } from "../store.js";
import { IconButton, Popover } from "../ui.js";

/** The sandbox tells the channel at most every 5 s. It counts, so that none is lost between two clocks. */
const TYPING_EVERY_MS = 1000;

/** What was begun in each chat. */
const drafts = new Map();
const EMPTY = { text: "", attachments: [], buttons: [], template: null };

function Writer() {
  useStore((store) => store.writer);
  const { account, users, user } = writers();
  if (users.length < 2) return user ? html`<span class="writer-name muted">as ${user.name}</span>` : null;
  return html`
    <label class="writer"><span class="muted">as</span>
      <select aria-label="Write as" value=${user?.user_ref_id} data-testid="writer"
        onChange=${(event) => set({ writer: { ...state.writer, [account.account_id]: event.currentTarget.value } })}>
        ${users.map((one) => html`<option key=${one.user_ref_id} value=${one.user_ref_id}>${one.name}</option>`)}
      </select></label>`;
}

function ByAddress({ add, close }) {
  const submit = (event) => {
    event.preventDefault();
    event.stopPropagation();
    const url = event.target.elements.address.value.trim();
    add([{ type: kindOf(url), url, file_name: fileName({ url }, ""), file_size: 0 }]);
    close();
  };
  return html`
    <form class="popover-form" onSubmit=${submit}>
      <label class="field"><span class="field-label">Address of a picture or file</span>
        <input name="address" type="url" inputmode="url" autocomplete="off" required placeholder="https://example.org/offer.pdf" /></label>
      <button type="submit" class="button small">Attach</button>
    </form>`;
}

/** Buttons under the message, one a row: with an address all of them or none. */
function Buttons({ draft, change, close }) {
  const [rows, setRows] = useState(draft.buttons.length > 0 ? draft.buttons : [{ text: "", url: "" }]);
  const put = (index, patch) => setRows(rows.map((row, i) => (i === index ? { ...row, ...patch } : row)));
  const submit = (event) => {
    event.preventDefault();
    event.stopPropagation();
    change({ buttons: rows.filter((row) => row.text.trim()).map((row) => ({ text: row.text.trim(), url: row.url.trim() })), template: null });
    close();
  };
  return html`
    <form class="popover-form wide" onSubmit=${submit}>
      <h3>Buttons</h3>
      ${rows.map((row, index) => html`
        <div class="button-edit" key=${index}>
          <input aria-label=${`Text of button ${index + 1}`} placeholder="Text" value=${row.text} onInput=${(event) => put(index, { text: event.currentTarget.value })} />
          <input aria-label=${`Address of button ${index + 1}, if it opens one`} type="url" placeholder="Address, if any" value=${row.url}
            onInput=${(event) => put(index, { url: event.currentTarget.value })} />
          <${IconButton} icon="close" label=${`Remove button ${index + 1}`} class="small" onClick=${() => setRows(rows.filter((_, i) => i !== index))} />
        </div>`)}
      <div class="form-row">
        <button type="button" class="button quiet small" onClick=${() => setRows([...rows, { text: "", url: "" }])}>Add a button</button>
        <button type="submit" class="button small">Use</button>
      </div>
    </form>`;
}

/** A template's text with its markers filled in. */
const filled = (template, values) => template.params.reduce((text, key) => text.replaceAll(key, values[key] || key), template.content);

function markersOf(content) {
  return [...new Set(content.match(/\{\{[^{}]+\}\}|\[[^[\]]+\]/g) ?? [])];
}

function TemplateForm({ template, use, back }) {
  const [values, setValues] = useState({});
  const submit = (event) => {
    event.preventDefault();
    event.stopPropagation();
    use(template, values);
  };
  return html`
    <form class="popover-form wide" onSubmit=${submit}>
      <h3>${template.name}</h3>
      <p class="template-text">${filled(template, values)}</p>
      ${template.params.map((key) => html`
        <label class="field" key=${key}><span class="field-label">${key}</span>
          <input required value=${values[key] ?? ""} onInput=${(event) => setValues({ ...values, [key]: event.currentTarget.value })} /></label>`)}
      <div class="form-row">
        <button type="button" class="button quiet small" onClick=${back}>Back</button>
        <button type="submit" class="button small">Use</button>
      </div>
    </form>`;
}

function Templates({ accountId, draft, change, close }) {
  const [templates, setTemplates] = useState(null);
  const [chosen, setChosen] = useState(null);
  const [buttons, setButtons] = useState(false);
  useEffect(() => {
    api.get("crm").then(({ accounts }) => {
      const found = accounts.find(({ account_id: id }) => id === accountId)?.templates ?? [];
      setTemplates(found.map(({ id, fields }) => ({ ...fields, id, params: markersOf(fields.content ?? "") })));
    }).catch(() => setTemplates([]));
  }, []);
  const use = (template, values = {}) => {
    change({
      text: filled(template, values),
      buttons: (template.buttons ?? []).map(({ text, url }) => ({ text, url: url ?? "" })),
      template: {
        id: template.id, external_id: template.external_id, content: template.content,
        params: template.params.map((key) => ({ key, value: values[key] ?? "" })),
      },
    });
    close();
  };
  if (buttons) return html`<${Buttons} draft=${draft} change=${change} close=${close} />`;
  if (chosen) return html`<${TemplateForm} template=${chosen} use=${use} back=${() => setChosen(null)} />`;
  return html`
    <div class="menu wide">
      <button type="button" class="menu-item" onClick=${() => setButtons(true)}><${Icon} name="plus" /><span>Buttons of your own<small>Answers to choose from, or links</small></span></button>
      ${templates === null && html`<p class="muted menu-note">Reading the templates…</p>`}
      ${templates?.length === 0 && html`<p class="muted menu-note">No templates yet: the integration adds them by <code>POST /api/v4/chats/templates</code>.</p>`}
      ${templates?.map((template) => html`
        <button type="button" class="menu-item" key=${template.id} onClick=${() => (template.params.length > 0 ? setChosen(template) : use(template))}>
          <${Icon} name="template" /><span>${template.name}<small>${template.content}</small></span></button>`)}
    </div>`;
}

function Attached({ file, remove }) {
  const picture = file.type === "picture" && webAddress(file.url);
  return html`
    <li class="attached" data-busy=${String(Boolean(file.busy))}>
      ${picture ? html`<img src=${picture} alt="" />` : html`<span class="file-mark"><${Icon} name=${file.type === "picture" ? "smile" : "file"} /></span>`}
      <span><span class="file-name">${file.file_name || file.url}</span><span class="muted">${file.busy ? "Uploading…" : file.file_size ? bytes(file.file_size) : "By address"}</span></span>
      <${IconButton} icon="close" label=${`Remove ${file.file_name || "the attachment"}`} class="small" onClick=${remove} />
    </li>`;
}

export function Composer({ id, chat, quoted, unquote, sent, handle }) {
  const [draft, setDraft] = useState(() => drafts.get(id) ?? EMPTY);
  const [failure, setFailure] = useState("");
  const box = useRef();
  const picker = useRef();
  const typedAt = useRef(0);
  const latest = useRef(draft);
  const change = (patch) => {
    latest.current = { ...latest.current, ...patch };
    drafts.set(id, latest.current);
    setDraft(latest.current);
  };
  const { text, attachments, buttons, template } = draft;

  useLayoutEffect(() => {
    box.current.style.height = "auto";
    box.current.style.height = `${box.current.scrollHeight + 2}px`;
  }, [text]);
  useEffect(() => { if (matchMedia("(hover: hover)").matches) box.current.focus({ preventScroll: true }); }, []);

  const add = (files) => change({ attachments: [...latest.current.attachments, ...files] });
  const put = (old, fresh) => change({ attachments: latest.current.attachments.flatMap((file) => (file === old ? fresh : [file])) });

  async function attach(files) {
    await Promise.all(files.map(async (file) => {
      const placeholder = { type: kindOf(file.name, file.type), file_name: file.name, file_size: file.size, busy: true };
      add([placeholder]);
      try {
        put(placeholder, [{ type: placeholder.type, ...await api.upload(file) }]);
      } catch (error) {
        put(placeholder, []);
        notify(`${file.name} was not uploaded: ${error.message}`, "error");
      }
    }));
    box.current?.focus();
  }
  handle.current = { focus: () => box.current?.focus(), attach };

  const busy = attachments.some((file) => file.busy);
  const ready = !busy && (text.trim() || attachments.length > 0 || buttons.length > 0);

  async function submit(event) {
    event?.preventDefault();
    if (!ready) return;
    const written = latest.current;
    const message = { text: written.text.trim(), user_ref_id: writers().user?.user_ref_id };
    if (written.attachments.length > 0) message.attachments = written.attachments;
    if (quoted) message.reply_to = quoted.message_ref_id;
    if (written.template) message.template = written.template;
    if (written.buttons.length > 0) message.buttons = written.buttons.map(({ text: words, url }) => [url ? { text: words, url } : { text: words }]);
    change(EMPTY);
    setFailure("");
    unquote();
    typedAt.current = 0;
    try {
      const answered = send(id, message);
      sent();
      await answered;
    } catch (error) {
      if (!latest.current.text) change(written);
      setFailure(`Not sent: ${error.message}`);
    }
  }

  const input = (event) => {
    change({ text: event.currentTarget.value });
    if (!latest.current.text.trim() || Date.now() - typedAt.current < TYPING_EVERY_MS) return;
    typedAt.current = Date.now();
    type(id, quoted?.content.details?.post?.id).catch(() => {});
  };
  const keys = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    else if (event.key === "Escape" && quoted) unquote();
  };
  const paste = (event) => {
    const files = [...event.clipboardData.files];
    if (files.length === 0) return;
    event.preventDefault();
    attach(files);
  };

  return html`
    <form class="composer" onSubmit=${submit} aria-label="Answer">
      ${quoted && html`
        <div class="quoting" data-testid="quoting">
          <${Icon} name="reply" />
          <blockquote dir="auto"><b>${quoted.author.name}</b> ${said(quoted)}</blockquote>
          <${IconButton} icon="close" label="Do not quote" class="small" onClick=${() => { unquote(); box.current.focus(); }} />
        </div>`}
      ${(attachments.length > 0 || buttons.length > 0 || template) && html`
        <ul class="attachments" aria-label="What is attached">
          ${attachments.map((file) => html`<${Attached} key=${file.url ?? file.file_name} file=${file} remove=${() => put(file, [])} />`)}
          ${(buttons.length > 0 || template) && html`
            <li class="attached"><span class="file-mark"><${Icon} name="template" /></span>
              <span><span class="file-name">${template ? "Template" : "Buttons"}</span><span class="muted">${buttons.map((button) => button.text).join(" · ")}</span></span>
              <${IconButton} icon="close" label=${template ? "Remove the template" : "Remove the buttons"} class="small" onClick=${() => change({ buttons: [], template: null })} /></li>`}
        </ul>`}
      <textarea ref=${box} data-testid="answer-input" rows="1" aria-label="Answer as a manager" placeholder="Write an answer…" enterkeyhint="send"
        value=${text} onInput=${input} onKeyDown=${keys} onPaste=${paste}></textarea>
      <div class="composer-tools">
        <input ref=${picker} class="sr" type="file" multiple tabindex="-1" aria-hidden="true" data-testid="file-picker"
          onChange=${(event) => { attach([...event.currentTarget.files]); event.currentTarget.value = ""; }} />
        <${IconButton} icon="clip" label="Attach files" onClick=${() => picker.current.click()} />
        <${Popover} icon="link" label="Attach by address">${(close) => html`<${ByAddress} add=${add} close=${close} />`}</${Popover}>
        <${Popover} icon="template" label="Template or buttons">${(close) => html`<${Templates} accountId=${chat?.account_id} draft=${draft} change=${change} close=${close} />`}</${Popover}>
        <${Writer} />
        <button type="submit" class="button send" data-testid="answer-send" disabled=${!ready}><${Icon} name="send" /><span>Send</span></button>
      </div>
      <p class="form-error" role="alert" data-testid="composer-error">${failure}</p>
    </form>`;
}
