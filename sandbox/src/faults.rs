//! Faults on demand: what a network, a busy service or a bug does to calls and webhooks.
//!
//! All draws come from one seed, so that a run can be repeated: the same calls in the same order
//! meet the same faults.

use amochats::{Error, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::str::FromStr;

/// The most rules at once.
const RULES_MAX: usize = 100;
/// The longest delay, in milliseconds.
const LATENCY_MAX: u64 = 600_000;

/// The faults and the seed of their draws.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Where the draws begin.
    pub seed: u64,
    /// Each is drawn for each call or webhook; several can strike at once.
    pub rules: Vec<FaultRule>,
}

/// A fault and when it strikes.
///
/// As text: `SIDE:FAULT[=VALUE][@PROBABILITY][/CALL][#TIMES]`, such as `api:status=503@0.3/new_message#2`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What it strikes.
    pub on: Side,
    /// What happens.
    pub fault: FaultName,
    /// Milliseconds, a status or seconds, as the fault says.
    #[serde(default)]
    pub value: Option<u64>,
    /// How likely it is, 0 to 1.
    #[serde(default = "certain")]
    pub probability: f64,
    /// The kind of call or webhook that it strikes, as the journal has it; any if absent.
    #[serde(default)]
    pub only: Option<String>,
    /// How often it strikes; for ever if absent.
    #[serde(default)]
    pub times: Option<u64>,
}

fn certain() -> f64 {
    1.0
}

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A call of the channel.
    Api,
    /// A webhook to the channel.
    Hook,
}

impl Side {
    /// The kinds that a rule can be limited to.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Api => crate::api::KINDS,
            Self::Hook => crate::hooks::KINDS,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// It takes `value` milliseconds longer. Both sides.
    Latency,
    /// API: the connection is closed without an answer, and nothing was done. Hook: it is not sent.
    Drop,
    /// API: it was done, and the connection is closed without an answer.
    Lost,
    /// API: it was done, and the connection is closed in the middle of the answer.
    Cut,
    /// API: the answer is the status `value`, 400 to 599, and nothing was done.
    Status,
    /// API: the answer is 429 with `value` seconds in `Retry-After`, and nothing was done.
    RateLimit,
    /// API: the service's clock is `value` seconds ahead, so that every `Date` looks old.
    Skew,
    /// Hook: it is sent twice.
    Duplicate,
    /// Hook: it is sent after the next one, or after `value` milliseconds (2000) if none comes.
    Reorder,
    /// Hook: it says that it was made `value` seconds ago.
    StaleClock,
    /// Hook: the signature is another one.
    BadSignature,
    /// Hook: the second half of the body is missing; the signature is that of the whole.
    Truncated,
    /// Hook: the body is the same JSON written differently; the signature is that of the first.
    Reserialised,
}

impl FaultName {
    fn name(self) -> String {
        json!(self).as_str().unwrap_or_default().to_owned()
    }

    fn strikes(self, side: Side) -> bool {
        match self {
            Self::Latency | Self::Drop => true,
            Self::Lost | Self::Cut | Self::Status | Self::RateLimit | Self::Skew => side == Side::Api,
            Self::Duplicate
            | Self::Reorder
            | Self::StaleClock
            | Self::BadSignature
            | Self::Truncated
            | Self::Reserialised => side == Side::Hook,
        }
    }
}

impl FaultRule {
    fn validate(&self) -> Result<()> {
        let invalid = |rule: &str| Err(Error::invalid("fault", format!("{}: {rule}", self.fault.name())));
        if !self.fault.strikes(self.on) {
            return invalid("strikes the other side");
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return invalid("the probability must be 0 to 1");
        }
        let kinds = self.on.kinds();
        if let Some(only) = &self.only
            && !kinds.iter().any(|kind| is_kind(only, kind))
        {
            let known: Vec<_> = kinds.iter().map(|kind| kind.replace(' ', "_")).collect();
            return invalid(&format!("never strikes {only}; it can be limited to {}", known.join(", ")));
        }
        match (self.fault, self.value) {
            (FaultName::Latency | FaultName::Reorder, Some(ms)) if ms > LATENCY_MAX => {
                invalid("takes at most 600000 milliseconds")
            }
            (FaultName::Latency, None) => invalid("needs a value in milliseconds, as in latency=200ms"),
            (FaultName::Status, value) if !value.is_some_and(|status| (400..600).contains(&status)) => {
                invalid("needs a status of 400 to 599, as in status=503")
            }
            (FaultName::RateLimit | FaultName::Skew | FaultName::StaleClock, None) => {
                invalid("needs a value in seconds")
            }
            (_, Some(value)) if value > u64::from(u32::MAX) => invalid("the value is too large"),
            _ => Ok(()),
        }
    }

    fn fits(&self, side: Side, kind: &str) -> bool {
        self.on == side && self.only.as_ref().is_none_or(|only| is_kind(only, kind))
    }
}

/// Whether this is the kind's name, which a flag writes without a blank.
fn is_kind(name: &str, kind: &str) -> bool {
    name == kind || name == kind.replace(' ', "_")
}

impl Faults {
    pub(crate) fn validate(&self) -> Result<()> {
        if self.rules.len() > RULES_MAX {
            return Err(Error::invalid("rules", format!("must be at most {RULES_MAX}")));
        }
        self.rules.iter().try_for_each(FaultRule::validate)
    }
}

impl FromStr for FaultRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |rule: &str| Error::invalid("fault", rule);
        let form = "must be as api:latency=200ms@0.3/new_message#5";
        let (rest, times) = text.rsplit_once('#').map_or((text, None), |(rest, times)| (rest, Some(times)));
        let (rest, only) = rest.split_once('/').map_or((rest, None), |(rest, only)| (rest, Some(only)));
        let (rest, likely) = rest.split_once('@').map_or((rest, None), |(rest, likely)| (rest, Some(likely)));
        let (rest, value) = rest.split_once('=').map_or((rest, None), |(rest, value)| (rest, Some(value)));
        let (side, name) = rest.split_once(':').ok_or_else(|| invalid(form))?;
        let number = |text: &str| {
            text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic()).parse().map_err(|_| invalid(form))
        };
        let rule = Self {
            on: serde_json::from_value(json!(side)).map_err(|_| invalid("begins with api: or hook:"))?,
            fault: serde_json::from_value(json!(name)).map_err(|error| invalid(&error.to_string()))?,
            value: value.map(number).transpose()?,
            probability: likely.map_or(Ok(1.0), str::parse).map_err(|_| invalid(form))?,
            only: only.map(str::to_owned),
            times: times.map(number).transpose()?,
        };
        rule.validate()?;
        Ok(rule)
    }
}

/// A fault that struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Struck {
    pub(crate) fault: FaultName,
    pub(crate) value: u64,
}

impl Struck {
    /// As the journal has it.
    pub(crate) fn label(&self) -> String {
        if self.value == 0 { self.fault.name() } else { format!("{}={}", self.fault.name(), self.value) }
    }
}

/// Finds the value of a fault that struck.
pub(crate) fn value_of(struck: &[Struck], fault: FaultName) -> Option<u64> {
    struck.iter().find(|struck| struck.fault == fault).map(|struck| struck.value)
}

/// The rules at work.
pub(crate) struct Draws {
    faults: Faults,
    counts: Vec<u64>,
    rng: StdRng,
}

impl Draws {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { counts: vec![0; faults.rules.len()], rng: StdRng::seed_from_u64(faults.seed), faults }
    }

    /// What strikes this call or webhook.
    pub(crate) fn draw(&mut self, side: Side, kind: &str) -> Vec<Struck> {
        let mut struck = Vec::new();
        for (rule, count) in self.faults.rules.iter().zip(&mut self.counts) {
            if rule.fits(side, kind)
                && rule.times.is_none_or(|times| *count < times)
                && self.rng.random::<f64>() < rule.probability
            {
                *count += 1;
                struck.push(Struck { fault: rule.fault, value: rule.value.unwrap_or(0) });
            }
        }
        struck
    }

    /// The rules, with how often each struck.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = json!(self.faults);
        for (i, count) in self.counts.iter().enumerate() {
            shown["rules"][i]["struck"] = json!(count);
        }
        shown
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_from_its_text() {
        let rule: FaultRule = "api:status=503@0.25/new_message#2".parse().expect("whole");
        let expected = FaultRule {
            on: Side::Api,
            fault: FaultName::Status,
            value: Some(503),
            probability: 0.25,
            only: Some("new_message".into()),
            times: Some(2),
        };
        assert_eq!(rule, expected);
        assert_eq!("hook:latency=200ms".parse::<FaultRule>().expect("whole").value, Some(200));
        for wrong in [
            "",
            "latency",
            "api:",
            "api:latency",
            "api:latency=x",
            "api:status=200",
            "hook:status=500",
            "api:duplicate",
            "hook:drop@2",
            "hook:drop#x",
            "net:drop",
            "api:latency=999999999ms",
            "api:lost@1/new_mesage",
            "api:lost/webhook_v2",
            "hook:drop/new_message",
        ] {
            let error = wrong.parse::<FaultRule>().expect_err(wrong);
            assert_eq!(error.field(), Some("fault"), "{wrong}");
        }
    }

    #[test]
    fn a_seed_repeats_a_run_and_a_count_ends_it() {
        let faults = Faults { seed: 5, rules: vec!["hook:drop@0.3#4".parse().expect("whole")] };
        let run = || {
            let mut draws = Draws::new(faults.clone());
            (0..40).map(|_| draws.draw(Side::Hook, "typing").len()).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(run(), first);
        assert_eq!(first.iter().sum::<usize>(), 4);
        assert!(first[..4].contains(&0), "not each of the first: {first:?}");
    }
}
