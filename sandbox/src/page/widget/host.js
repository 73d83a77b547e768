// What a widget finds in the CRM: APP, and the methods that its object inherits. Where the vendor's pages are
// silent, the widget reference says what was seen.

import { provide } from "./loader.js";

const { $ } = window;

/** The text of a key such as `widget.name`. */
export const textOf = (tree, key) => String(key ?? "").split(".").reduce((node, part) => node?.[part], tree);

/** The dialogs of the host, as far as widgets open them. */
class Modal {
  constructor({ class_name: name = "", init, destroy }) {
    this.$box = $("<div>").addClass(`modal ${name}`).append($("<div>").addClass("modal-body modal-body-relative"));
    this.ending = destroy;
    this.$box.on("click", ".js-modal-accept, .modal-body__close", () => this.destroy()).appendTo("body");
    init?.(this.$box.find(".modal-body"));
  }

  destroy() {
    if (this.ending?.() !== false) this.$box.remove();
  }
}

provide("jquery", $);
provide("lib/components/base/modal", Modal);

/** Sets up `window.APP` for an account, a user and a language. */
export function makeApp({ account, users, user, language, area, log }) {
  const shown = (id) => ({ id: users.find((known) => known.id === id)?.id, name: users.find((known) => known.id === id)?.name });
  const constants = {
    account: { id: account.id, amojo_id: account.account_id, subdomain: account.subdomain, name: account.subdomain, country: "RU", currency: "RUB", is_paid: account.is_paid },
    user: { id: user.id, login: user.login, name: user.name, amojo_id: user.user_ref_id },
    user_rights: { is_admin: user.is_admin },
    managers: Object.fromEntries(users.map((one) => [one.id, { ...shown(one.id), title: one.name, login: one.login, is_admin: one.is_admin ? "Y" : "N", active: true }])),
    groups: {}, task_types: {},
  };
  const say = (kind) => (message) => log("notification", `${kind}: ${message?.header ?? ""} ${message?.text ?? ""}`);
  window.APP = {
    // A copy each time: widgets must not write to the CRM's constants.
    constant: (key) => structuredClone(constants[key]),
    isCard: () => false,
    getBaseEntity: () => "",
    getWidgetsArea: () => area(),
    lang_id: language,
    data: { current_card: false },
    notifications: { show_message: say("message"), show_message_error: say("error"), add_error: say("error") },
  };
  window.AMOCRM = window.APP;
}

/**
 * What a widget's object inherits. `integration` is its registration, `files` its folder, `installation` what the
 * account knows of it, `token` where a one-time token comes from.
 */
export function makeBase({ integration, account, user, users, manifest, texts, files, installation, token, log, language }) {
  let langs = texts;
  const params = {
    id: 1, widget_code: integration.code, path: files, images_path: `${files}/images`, version: manifest.widget?.version ?? "",
    status: "installed", active: "Y", widget_active: "Y", oauth_client_uuid: integration.client_id, cdn_path: files,
  };
  const missing = (name) => () => {
    log("host", `${name} is not played by the sandbox`);
    throw new Error(`the sandbox does not play ${name}`);
  };
  return {
    params,
    get langs() { return langs; },
    set_lang: (tree) => { langs = tree; },
    i18n: (key) => textOf(langs, key) ?? key,
    get_settings: () => ({ ...params, status: installation.status(), active: installation.status() === "installed" ? "Y" : "N", ...installation.fields() }),
    set_settings: (fields) => Object.assign(params, fields),
    set_status: (status) => log("host", `set_status ${status}`),
    get_install_status: () => installation.status(),
    get_version: () => params.version,
    system: () => ({ area: window.APP.getWidgetsArea(), amouser_id: user.id, amouser: user.login, amohash: "", subdomain: account.subdomain, domain: location.host, server: location.host }),
    get_accounts_current: () => $.Deferred().resolve(window.APP.constant("account")).promise(),
    get_pipeline_id: () => (installation.status() === "install" ? $.Deferred().reject().promise() : $.Deferred().resolve(account.pipeline_id).promise()),
    list_selected: () => ({ selected: [] }),
    get_current_card_contacts_data: () => $.Deferred().resolve([]).promise(),
    widgetsOverlay() {},
    add_action() {},
    add_source() {},
    listenSocketChannel() {},
    users, language,
    render: missing("render (Twig)"),
    render_template: missing("render_template"),
    crm_post(url, data, done, type, failed) {
      const path = `/api/widgets/${integration.client_id}/accounts/${account.account_id}/proxy`;
      $.ajax({ url: path, method: "POST", contentType: "application/json", data: JSON.stringify({ url, data }) })
        .then(({ body }) => done?.(type === "json" ? JSON.parse(body) : body), failed);
    },
    /** A one-time token, then a direct call to another origin: the server must allow this one. */
    $authorizedAjax(options) {
      log("call", `$authorizedAjax ${options.method ?? options.type ?? "GET"} ${options.url}`);
      return token().then((text) => $.ajax({ ...options, headers: { ...options.headers, "X-Auth-Token": text } }));
    },
  };
}
