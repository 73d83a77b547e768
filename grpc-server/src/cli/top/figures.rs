//! What the view shows, from two looks at a server.

use amochats_proto::v1;
use std::collections::BTreeMap;
use std::time::Instant;

/// One look at a server.
#[derive(Default)]
pub(super) struct Look {
    pub(super) at: Option<Instant>,
    pub(super) subscriptions: Vec<v1::Subscription>,
    pub(super) accounts: Vec<v1::Account>,
    /// `None` where health and metrics are not to be had.
    pub(super) metrics: Option<Metrics>,
    /// What went wrong.
    pub(super) trouble: Option<String>,
}

/// Metrics as `/metrics` has them: each with its labels as written, and its value.
pub(super) struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    pub(super) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name.to_owned(), labels.trim_end_matches('}').to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// The sum of a metric over all labels that have this in them.
    fn sum(&self, name: &str, label: &str) -> f64 {
        let of = |(known, labels, _): &&(String, String, f64)| known == name && labels.contains(label);
        self.0.iter().filter(of).map(|(.., value)| value).sum()
    }

    /// The values of a metric by the value of its one label.
    fn by_label(&self, name: &str) -> Vec<(String, f64)> {
        let all = self.0.iter().filter(|(known, ..)| known == name);
        all.map(|(_, labels, value)| (labels.split('"').nth(1).unwrap_or_default().to_owned(), *value))
            .collect()
    }
}

/// Answers to webhooks, of which status.
const ANSWERS: &str = "amochats_webhook_answers_total";
const SECONDS: &str = "amochats_webhook_answer_seconds_bucket";

/// What was measured between two looks.
#[derive(Default)]
pub(super) struct Rates {
    /// Webhooks that were kept, a second.
    pub(super) kept: Option<f64>,
    /// Webhooks that were answered otherwise, a second.
    pub(super) refused: Option<f64>,
    /// How long answers took at most, for half of them and for 99 of 100, in seconds; of all since
    /// the start where none came in between.
    pub(super) median: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Rates {
    pub(super) fn between(before: &Look, now: &Look) -> Self {
        let (Some(new), Some(old)) = (&now.metrics, &before.metrics) else { return Self::default() };
        let took = now.at.zip(before.at).map(|(now, before)| now.duration_since(before).as_secs_f64());
        // A server that was started anew counts from nothing.
        let rate = |label| {
            let more = (new.sum(ANSWERS, label) - old.sum(ANSWERS, label)).max(0.0);
            took.filter(|took| *took > 0.0).map(|took| more / took)
        };
        let (kept, all) = (rate("\"200\""), rate(""));
        let earlier: BTreeMap<String, f64> = old.by_label(SECONDS).into_iter().collect();
        let total = new.by_label(SECONDS);
        let newly: Vec<_> = total
            .iter()
            .map(|(bound, count)| (bound.clone(), count - earlier.get(bound).copied().unwrap_or(0.0)))
            .collect();
        let some = newly.last().is_some_and(|(_, count)| *count > 0.0);
        let buckets = if some { newly } else { total };
        Self {
            kept,
            refused: all.zip(kept).map(|(all, kept)| all - kept),
            median: quantile(&buckets, 0.5),
            p99: quantile(&buckets, 0.99),
        }
    }
}

/// The upper bound of the bucket that holds this part of all; the buckets count up.
fn quantile(buckets: &[(String, f64)], part: f64) -> Option<f64> {
    let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let (bound, _) = buckets.iter().find(|(_, count)| *count >= part * all)?;
    Some(if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? })
}

impl Look {
    /// Items of the outbox that have not ended, by state.
    pub(super) fn outbox(&self) -> Vec<(String, f64)> {
        self.metrics.as_ref().map(|metrics| metrics.by_label("amochats_outbox_items")).unwrap_or_default()
    }

    /// How many accounts there are in each state.
    pub(super) fn account_states(&self) -> BTreeMap<String, usize> {
        let mut states = BTreeMap::new();
        for account in &self.accounts {
            let name =
                account.state().as_str_name().trim_start_matches("ACCOUNT_STATE_").to_ascii_lowercase();
            *states.entry(name).or_default() += 1;
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn look(at: Instant, text: &str) -> Look {
        Look { at: Some(at), metrics: Some(Metrics::read(text)), ..Look::default() }
    }

    fn text(kept: u32, refused: u32, buckets: [u32; 3]) -> String {
        let [first, second, all] = buckets;
        format!(
            "# HELP amochats_webhook_answers Webhooks answered.\n\
             amochats_webhook_answers_total{{status=\"200\"}} {kept}\n\
             amochats_webhook_answers_total{{status=\"401\"}} {refused}\n\
             amochats_webhook_answer_seconds_bucket{{le=\"0.001\"}} {first}\n\
             amochats_webhook_answer_seconds_bucket{{le=\"0.01\"}} {second}\n\
             amochats_webhook_answer_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             amochats_outbox_items{{state=\"queued\"}} 3\n# EOF\n"
        )
    }

    #[test]
    fn rates_and_times_are_of_what_came_in_between() {
        let start = Instant::now();
        let before = look(start, &text(100, 2, [90, 100, 102]));
        let now = look(start + Duration::from_secs(2), &text(120, 6, [95, 124, 126]));
        let rates = Rates::between(&before, &now);
        assert_eq!((rates.kept, rates.refused), (Some(10.0), Some(2.0)));
        assert_eq!((rates.median, rates.p99), (Some(0.01), Some(0.01)), "5 of 24 were faster");
        let rates = Rates::between(&before, &before);
        assert_eq!((rates.kept, rates.median), (None, Some(0.001)), "of all, where none came");
        let anew = Rates::between(&now, &look(start + Duration::from_secs(3), &text(1, 0, [1, 1, 1])));
        assert_eq!((anew.kept, anew.refused), (Some(0.0), Some(0.0)));
        assert_eq!(now.outbox(), [("queued".to_owned(), 3.0)]);
        assert_eq!(Rates::between(&Look::default(), &now).kept, None);
    }
}
