// 10,000 chats with 200,000 messages: the page opens and scrolls as with ten.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { close, launch, open, parts, picture, sandbox, seen } from "./support.js";

before(launch);
after(close);

const CHATS = 10_000;
const EACH = 20;
