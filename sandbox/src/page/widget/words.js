// What the CRM itself says around a widget, in the languages of its users.

const WORDS = {
  en: { install: "Install", uninstall: "Disable", save: "Save", close: "Close" },
  ru: { install: "Установить", uninstall: "Отключить", save: "Сохранить", close: "Закрыть" },
  es: { install: "Instalar", uninstall: "Desactivar", save: "Guardar", close: "Cerrar" },
  pt: { install: "Instalar", uninstall: "Desativar", save: "Salvar", close: "Fechar" },
};

export const LANGUAGES = [["en", "English"], ["ru", "Русский"], ["es", "Español"], ["pt", "Português"]];
export const words = (language) => WORDS[language] ?? WORDS.en;
