// What the charts show, from what `/metrics` counted at two moments.

/** The values of metrics: `[name, labels, value]`. */
export function read(text) {
  return text.split("\n").flatMap((line) => {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    return found ? [[found[1], found[2] ?? "", Number(found[3])]] : [];
  });
}

const sum = (all, name, label = "") => all
  .filter(([known, labels]) => known === name && labels.includes(label))
  .reduce((total, [,, value]) => total + value, 0);

const buckets = (all) => all
  .filter(([name]) => name === "amochats_webhook_answer_seconds_bucket")
  .map(([, labels, value]) => [Number(labels.split('"')[1].replace("+Inf", "Infinity")), value]);

/** The upper bound of the bucket that holds this part of all; the buckets count up. */
export function quantile(counts, part) {
  const all = counts.at(-1)?.[1] ?? 0;
  return all > 0 ? counts.find(([, count]) => count >= part * all)[0] : null;
}

/** Rates a second and latencies in seconds between two looks, `{ at, all }` with `at` in milliseconds. */
export function between(before, now) {
  const took = (now.at - before.at) / 1000;
  // A server that was started anew counts from nothing.
  const rate = (label) => Math.max(0, sum(now.all, "amochats_webhook_answers_total", label) - sum(before.all, "amochats_webhook_answers_total", label)) / took;
  const earlier = new Map(buckets(before.all));
  const newly = buckets(now.all).map(([bound, count]) => [bound, Math.max(0, count - (earlier.get(bound) ?? 0))]);
  const kept = rate('"200"');
  return { at: now.at, kept, refused: rate("") - kept, median: quantile(newly, 0.5), p99: quantile(newly, 0.99) };
}
