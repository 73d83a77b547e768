// Draws the pictures of widget/src/images, each at the exact size that the vendor asks for. Needs Chromium and
// the modules of tests/browser:
//
//   npm ci --prefix tests/browser && node widget/art/draw.mjs [COLOUR [FOLDER]]
//
// Nothing but shapes and words of this file; the fonts are the system's.

import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { chromium } = createRequire(new URL("../../tests/browser/package.json", import.meta.url))("playwright-core");

const accent = process.argv[2] ?? "#2a62dc";
const folder = process.argv[3] ?? fileURLToPath(new URL("../src/images", import.meta.url));
mkdirSync(folder, { recursive: true });

const FONT = "'Liberation Sans', Arial, 'Helvetica Neue', 'DejaVu Sans', sans-serif";
const INK = "#1c2433";
const QUIET = "#5a6577";

/** Two bubbles that overlap: the client's and the answer. Drawn on a grid of 64. */
const mark = (x, y, size) => `<g transform="translate(${x} ${y}) scale(${size / 64})">
  <path d="M30 24h22a6 6 0 016 6v14a6 6 0 01-6 6h-1v8l-9-8H30a6 6 0 01-6-6V30a6 6 0 016-6z" fill="#9db9f5"/>
  <path d="M12 8h28a7 7 0 017 7v15a7 7 0 01-7 7H24L13 46v-9h-1a7 7 0 01-7-7V15a7 7 0 017-7z" fill="${accent}" stroke="#fff" stroke-width="3"/>
  <g fill="#fff"><circle cx="17" cy="22.500" r="3.200"/><circle cx="26" cy="22.500" r="3.200"/><circle cx="35" cy="22.500" r="3.200"/></g>
</g>`;

const svg = (width, height, inner) => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
  <rect width="${width}" height="${height}" fill="#fff"/>${inner}</svg>`;

/** The mark in the middle, with this much room around it. */
const logo = (width, height, room) => {
  const size = Math.min(width, height) - 2 * room;
  return svg(width, height, mark((width - size) / 2, (height - size) / 2, size));
};

/** The mark and beside it lines that read as a conversation, where there is no room for words. */
const wide = (width, height, room) => {
  const size = height - 2 * room;
  const left = (width - size * 2.1) / 2;
  const bar = (y, length, colour) => `<rect x="${left + size * 1.15}" y="${room + size * y}" width="${size * length}" height="${size * 0.13}" rx="${size * 0.065}" fill="${colour}"/>`;
  return svg(width, height, mark(left, room, size) + bar(0.2, 0.95, accent) + bar(0.44, 0.7, "#9db9f5") + bar(0.68, 0.84, "#d5e0fa"));
};

const words = (x, y, text, { size = 26, colour = INK, weight = 400, anchor = "start" } = {}) =>
  `<text x="${x}" y="${y}" font-family="${FONT}" font-size="${size}" font-weight="${weight}" fill="${colour}" text-anchor="${anchor}">${text}</text>`;
const bubble = (x, y, width, colour, text, ink) =>
  `<rect x="${x}" y="${y}" width="${width}" height="58" rx="16" fill="${colour}"/>${words(x + 22, y + 37, text, { size: 21, colour: ink })}`;
const field = (x, y, width, label, value) =>
  words(x, y, label, { size: 19, colour: QUIET }) +
  `<rect x="${x}" y="${y + 12}" width="${width}" height="52" rx="7" fill="#fff" stroke="#c8d0dc" stroke-width="2"/>${words(x + 16, y + 46, value, { size: 21 })}`;

const TOUR = {
  en: { client: "Your client's messenger", crm: "Your CRM", question: "Is my order ready?", answer: "Yes, today after 3 pm", one: "Clients write as they always do,", two: "you answer in the CRM", title: "Connect your account", whose: "Login and password of the service, not of the CRM", login: "Login", password: "Password", connect: "Connect", done: "Connected", arrives: "Chats arrive in this account", steps: ["Install the widget", "Sign in to your service", "Answer the first chat"] },
  ru: { client: "Мессенджер клиента", crm: "Ваша CRM", question: "Мой заказ готов?", answer: "Да, сегодня после 15:00", one: "Клиенты пишут как привыкли,", two: "вы отвечаете в CRM", title: "Подключите аккаунт", whose: "Логин и пароль от сервиса, а не от CRM", login: "Логин", password: "Пароль", connect: "Подключить", done: "Подключено", arrives: "Чаты приходят в этот аккаунт", steps: ["Установите виджет", "Войдите в свой сервис", "Ответьте на первый чат"] },
  es: { client: "Mensajería del cliente", crm: "Su CRM", question: "¿Está listo mi pedido?", answer: "Sí, hoy desde las 15:00", one: "Sus clientes escriben como siempre,", two: "usted responde en el CRM", title: "Conecte su cuenta", whose: "Usuario y contraseña del servicio, no del CRM", login: "Usuario", password: "Contraseña", connect: "Conectar", done: "Conectado", arrives: "Los chats llegan a esta cuenta", steps: ["Instale el widget", "Inicie sesión en su servicio", "Responda al primer chat"] },
  pt: { client: "Mensageiro do cliente", crm: "Seu CRM", question: "Meu pedido está pronto?", answer: "Sim, hoje depois das 15h", one: "Seus clientes escrevem como sempre,", two: "você responde no CRM", title: "Conecte sua conta", whose: "Usuário e senha do serviço, não do CRM", login: "Usuário", password: "Senha", connect: "Conectar", done: "Conectado", arrives: "As conversas chegam a esta conta", steps: ["Instale o widget", "Entre no seu serviço", "Responda à primeira conversa"] },
};

const WIDTH = 1188;
const HEIGHT = 616;

const chat = (said) => svg(WIDTH, HEIGHT, `
  <rect width="${WIDTH}" height="${HEIGHT}" fill="#f2f5fa"/>
  ${words(WIDTH / 2, 84, said.one, { size: 38, weight: 700, anchor: "middle" })}
  ${words(WIDTH / 2, 134, said.two, { size: 38, weight: 700, anchor: "middle", colour: accent })}
  <rect x="80" y="186" width="430" height="372" rx="30" fill="#fff" stroke="#d6dde8" stroke-width="2"/>
  ${words(112, 236, said.client, { size: 21, colour: QUIET })}
  ${bubble(160, 268, 318, accent, said.question, "#fff")}
  ${bubble(112, 350, 318, "#e8edf6", said.answer, INK)}
  <path d="M544 372h100m-26-24l26 24-26 24" fill="none" stroke="${accent}" stroke-width="7" stroke-linecap="round" stroke-linejoin="round"/>
  <rect x="678" y="186" width="430" height="372" rx="14" fill="#fff" stroke="#d6dde8" stroke-width="2"/>
  <rect x="678" y="186" width="74" height="372" rx="14" fill="#26344d"/><rect x="738" y="186" width="14" height="372" fill="#26344d"/>
  <g fill="#6b7c99"><circle cx="715" cy="236" r="11"/><circle cx="715" cy="286" r="11"/><circle cx="715" cy="336" r="11"/></g>
  ${words(780, 236, said.crm, { size: 21, colour: QUIET })}
  ${bubble(780, 268, 296, "#e8edf6", said.question, INK)}
  ${bubble(780, 350, 296, accent, said.answer, "#fff")}
  <rect x="780" y="480" width="296" height="50" rx="10" fill="none" stroke="#c8d0dc" stroke-width="2"/><path d="M800 505h120" stroke="#c8d0dc" stroke-width="6" stroke-linecap="round"/>`);

const form = (said) => svg(WIDTH, HEIGHT, `
  <rect width="${WIDTH}" height="${HEIGHT}" fill="#f2f5fa"/>
  ${said.steps.map((step, at) => `<circle cx="112" cy="${208 + at * 104}" r="30" fill="${accent}"/>${words(112, 218 + at * 104, at + 1, { size: 28, weight: 700, colour: "#fff", anchor: "middle" })}${words(164, 218 + at * 104, step, { size: 28, weight: 600 })}`).join("")}
  <rect x="600" y="52" width="520" height="512" rx="14" fill="#fff" stroke="#d6dde8" stroke-width="2"/>
  ${words(640, 112, said.title, { size: 32, weight: 700 })}
  ${words(640, 150, said.whose, { size: 19, colour: QUIET })}
  ${field(640, 196, 440, said.login, "shop-1")}
  ${field(640, 296, 440, said.password, "••••••••••")}
  <rect x="640" y="394" width="200" height="56" rx="8" fill="${accent}"/>${words(740, 430, said.connect, { size: 22, weight: 700, colour: "#fff", anchor: "middle" })}
  <rect x="640" y="476" width="440" height="60" rx="8" fill="#e2f5ea"/><path d="M662 506l10 10 18-20" fill="none" stroke="#0c7043" stroke-width="5" stroke-linecap="round" stroke-linejoin="round"/>
  ${words(704, 501, said.done, { size: 20, weight: 700, colour: "#0c7043" })}${words(704, 525, said.arrives, { size: 17, colour: QUIET })}`);

const pictures = {
  "logo.png": [130, 100, logo(130, 100, 12)],
  "logo_main.png": [400, 272, logo(400, 272, 40)],
  "logo_small.png": [108, 108, logo(108, 108, 10)],
  "logo_medium.png": [240, 84, wide(240, 84, 10)],
  "logo_min.png": [84, 84, logo(84, 84, 8)],
  "logo_dp.png": [174, 109, wide(174, 109, 24)],
};
for (const [language, said] of Object.entries(TOUR)) {
  pictures[`tour_1_${language}.png`] = [WIDTH, HEIGHT, chat(said)];
  pictures[`tour_2_${language}.png`] = [WIDTH, HEIGHT, form(said)];
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--disable-gpu", "--force-color-profile=srgb"] });
const page = await browser.newPage({ deviceScaleFactor: 1 });
for (const [name, [width, height, drawn]] of Object.entries(pictures)) {
  await page.setViewportSize({ width, height });
  await page.setContent(`<body style="margin:0;line-height:0">${drawn}</body>`);
  await page.screenshot({ path: `${folder}/${name}` });
}
await browser.close();
