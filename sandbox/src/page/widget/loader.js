// Loads AMD modules as the CRM does: the host's own by their names, a widget's by relative paths.

const modules = new Map();
let defined = null;

window.define = (...args) => { defined = args; };
window.define.amd = {};

/** Makes a module of the host's known. */
export const provide = (id, value) => modules.set(id, Promise.resolve(value));

function load(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("error", () => reject(new Error(`${url} cannot be loaded`)));
    script.addEventListener("load", () => {
      const args = defined;
      defined = null;
      if (args) resolve(args);
      else reject(new Error(`${url} calls no define, or has a syntax error: see the browser's console`));
    });
    document.head.append(script);
  });
}

/** The value of a module; `folder` is where relative paths begin, `query` what keeps old copies away. */
export function get(id, folder = "", query = "") {
  const known = modules.get(id);
  if (known) return known;
  if (!id.startsWith("./") && !id.startsWith("/widgets/")) {
    return Promise.reject(new Error(`the sandbox has no module "${id}": only ${[...modules.keys()].filter((name) => !name.startsWith("/")).join(", ")}`));
  }
  const url = id.startsWith("./") ? folder + id.slice(2) : id;
  if (!modules.has(url)) {
    modules.set(url, load(url + query).then(async (args) => {
      const factory = args.at(-1);
      const names = args.find(Array.isArray) ?? [];
      const base = url.slice(0, url.lastIndexOf("/") + 1);
      const values = await Promise.all(names.map((name) => get(name, base, query)));
      return typeof factory === "function" ? factory(...values) : factory;
    }));
  }
  return modules.get(url);
}

window.require = (names, done, failed) => Promise.all(names.map((name) => get(name))).then((values) => done?.(...values), failed);
