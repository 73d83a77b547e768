// What the product must not say of itself: planted.json has what the tests write, and what they look for in all that
// its processes have said.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const PLANTED = JSON.parse(readFileSync(new URL("../planted.json", import.meta.url)));
/** What the processes say: whatever this project's own code may say, of others as usual. */
export const LOG = "info,amochats=debug";

// The hex of a SHA-1 or of more; a JSON web token.
const SECRET = /(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{40,}(?![0-9A-Za-z])|eyJ[0-9A-Za-z]{8})/;

/** Fails where a process has said what is private; `also` is further text of that kind. */
export function silent(who, said, also = []) {
  const unsaid = [...Object.values(PLANTED), ...also];
  const leaks = said.split("\n").filter((line) => SECRET.test(line) || unsaid.some((text) => line.includes(text)));
  assert.deepEqual(leaks, [], `${who} says what is private`);
}
