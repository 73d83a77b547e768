// The settings window of a widget: the elements that widgets look for, under the classes that they look for.

import { textOf } from "./host.js";
import { words } from "./words.js";

const { $ } = window;

function field(code, key, { type, name }, { texts, users, saved }) {
  const value = saved[key] ?? "";
  if (type === "custom") {
    return [$("<input>").attr({ type: "hidden", name: key, id: `${code}_custom` }).val(typeof value === "string" ? value : JSON.stringify(value)), $("<div>").attr("id", `${code}_custom_content`)];
  }
  const input = (at, kind, label) => $("<input>").attr({ name: at, type: kind, class: "widget_settings_block__controls__ text-input", "aria-label": label, autocomplete: "off" });
  const label = textOf(texts, name) ?? key;
  if (type === "users" || type === "users_lp") {
    return users.flatMap((user) => (type === "users" ? ["value"] : ["login", "password"])
      .map((part) => input(`${key}[${user.id}][${part}]`, part === "password" ? "password" : "text", `${label}: ${user.name}`).attr("placeholder", user.name)));
  }
  return [input(key, type === "pass" ? "password" : "text", label).val(value)];
}

/** Opens the window. `on` has `install`, `save`, `uninstall` and `closed`. */
export function openWindow({ integration, manifest, texts, files, language, users, saved, installed, on }) {
  const code = integration.code;
  const said = words(language);
  const $modal = $("<div>").addClass(`widget-settings__modal modal ${code}`).attr({ role: "dialog", "aria-modal": "true", "aria-label": textOf(texts, manifest.widget.name), lang: language });
  const $plate = $("<div>").addClass("widget-settings__command-plate");
  const $fields = $("<div>").addClass("widget_settings_block__fields").attr("id", "widget_settings__fields_wrapper");
  for (const [key, setting] of Object.entries(manifest.settings ?? {})) {
    const $item = $("<div>").addClass("widget_settings_block__item_field");
    if (setting.type !== "custom") $item.append($("<div>").addClass("widget_settings_block__title_field").text(textOf(texts, setting.name) ?? key));
    $item.append($("<div>").addClass("widget_settings_block__input_field").append(field(code, key, setting, { texts, users, saved })));
    $fields.append($item);
  }
  const $save = $("<button>").attr({ type: "button", id: `save_${code}`, "data-onsave-destroy-modal": "true" }).addClass("button button-input js-widget-save").text(said.save);
  $fields.append($save);
  const $close = $("<button>").attr({ type: "button", "aria-label": said.close }).addClass("modal-body__close icon-button").text("×");
  const $description = $("<div>").addClass("widget_settings_block__descr").html(textOf(texts, manifest.widget.description) ?? "");
  const $block = $("<div>").addClass("widget_settings_block").append($description, $fields);
  const $head = $("<div>").addClass("widget-settings__base-space").append(
    $("<img>").attr({ src: `${files}/images/logo_main.png`, alt: "" }), $("<h2>").text(textOf(texts, manifest.widget.name) ?? code), $plate, $close);
  $modal.append($("<div>").addClass("modal-body").append($("<div>").addClass("widget-settings").append($head, $("<div>").addClass("widget-settings__desc-space").append($block))));

  const show = (isInstalled) => {
    const kind = isInstalled ? "uninstall" : "install";
    const $button = $("<button>").attr("type", "button").addClass(`button button-input ${isInstalled ? "quiet " : ""}js-widget-${kind}`).text(said[kind]);
    $plate.empty().append($button.on("click", () => on[kind]()));
  };
  show(installed);
  $save.prop("disabled", true).on("click", () => on.save());
  // The CRM enables its button by a change of a field.
  $fields.on("change input", "input[name]", () => $save.prop("disabled", false));
  const close = () => {
    $(document).off("keydown.window");
    $modal.remove();
    on.closed();
  };
  $close.on("click", close);
  $(document).on("keydown.window", (event) => { if (event.which === 27) close(); });
  $modal.appendTo("body");

  return {
    $body: $modal.find(".widget-settings__desc-space .widget_settings_block"),
    show, close,
    busy: (is) => $plate.add($save).find("button").addBack("button").prop("disabled", is),
    fields: () => Object.fromEntries($fields.find("input[name]").toArray().map((input) => [input.name, input.value])),
  };
}
