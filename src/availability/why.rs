//! Verdicts explained: the signals as data, and one sentence made of nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::launches::Trial;
use super::state::{Realms, Record};
use super::{Reachability, Rule, Settings, since};
use crate::model::{Availability, Elsewhere, Figure, Reading, Share, Signal, SignalKind, Why};

/// All that is known of a realm, in a fixed order, the contrary included.
pub(super) fn signals(realms: &Realms, id: &str, record: &Record, now: Timestamp, settings: &Settings) -> Vec<Signal> {
    let blame =
        realms.overall.blame_since.map(|begun| Signal { first_at: Some(begun), ..Signal::of(SignalKind::Blame) });
    [
        launches(realms, id, record, now, settings),
        runs(record, settings),
        profile(record),
        reach(record, realms),
        declared(record),
        blame,
        hold_down(record, now, settings),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn launches(realms: &Realms, id: &str, record: &Record, now: Timestamp, settings: &Settings) -> Option<Signal> {
    let launches = &record.launches;
    let valid = Duration::from_secs(settings.evidence_valid_seconds);
    let begun = launches.episode_at;
    let within = |trial: &&Trial| since(now, trial.at) <= valid && begun.is_none_or(|begun| trial.at >= begun);
    let trials: Vec<&Trial> = launches.trials.iter().filter(within).collect();
    let first_at = trials.first().map(|trial| trial.at);
    let (score, threshold) = match &launches.tripped {
        Some(trip) if !trip.on_probation => (trip.score, trip.threshold),
        _ => (launches.score_at(now, settings), launches.threshold(now, settings)),
    };
    let elsewhere = realms.joint(record, now, settings).map(|joint| joint.others);
    if trials.is_empty() && score <= 0.0 && elsewhere.is_none() {
        return None;
    }
    let failed: Vec<&&Trial> = trials.iter().filter(|trial| trial.failed > 0).collect();
    let mut codes = BTreeMap::new();
    for code in failed.iter().filter_map(|trial| trial.code.as_deref()) {
        *codes.entry(code.to_owned()).or_insert(0) += 1;
    }
    let ids = failed.iter().rev().flat_map(|trial| trial.ids.iter().cloned());
    let others = realms.realms.iter().filter(|(other, _)| *other != id).map(|(_, record)| record);
    let theirs =
        others.flat_map(|other| &other.launches.trials).filter(|trial| first_at.is_some_and(|at| trial.at >= at));
    let siblings = tally(theirs);
    Some(Signal {
        value: Some(Reading::Number(tenths(score))),
        threshold: Some(Figure::from(threshold)),
        count: Some(number(failed.len())),
        of: Some(number(trials.len())),
        window_seconds: first_at.map(|at| since(now, at).as_secs()),
        first_at: failed.first().map(|trial| trial.at),
        last_at: failed.last().map(|trial| trial.at),
        codes,
        ids: ids.take(settings.examples_max).collect(),
        siblings: (siblings.of > 0).then_some(siblings),
        elsewhere,
        ..Signal::of(SignalKind::Launches)
    })
}

fn tally<'a>(trials: impl Iterator<Item = &'a Trial>) -> Share {
    trials.fold(Share::default(), |share, trial| Share {
        failed: share.failed + u32::from(trial.failed > 0),
        of: share.of + 1,
    })
}

fn runs(record: &Record, settings: &Settings) -> Option<Signal> {
    let runs = record.runs.as_ref()?;
    let mut codes = BTreeMap::new();
    for bad in &runs.bad {
        *codes.entry(bad.why.as_str().to_owned()).or_insert(0) += 1;
    }
    Some(Signal {
        value: Some(Reading::Number(Figure::from(runs.share()))),
        threshold: Some(Figure::from(settings.runs_partial)),
        count: Some(runs.bad()),
        of: Some(runs.watched()),
        first_at: runs.bad.iter().map(|bad| bad.since).min(),
        last_at: Some(runs.at),
        codes,
        ids: runs.bad.iter().take(settings.examples_max).map(|bad| bad.id.to_string()).collect(),
        ..Signal::of(SignalKind::Runs)
    })
}

fn profile(record: &Record) -> Option<Signal> {
    let scarce = record.launches.scarce.as_ref()?;
    let mine = || record.launches.trials.iter().filter(|trial| trial.profile.as_ref() == Some(&scarce.profile));
    let Share { failed, of } = tally(mine());
    Some(Signal {
        count: Some(failed),
        of: Some(of),
        first_at: Some(scarce.since),
        last_at: mine().filter(|trial| trial.failed > 0).map(|trial| trial.at).max(),
        profile: Some(scarce.profile.clone()),
        ..Signal::of(SignalKind::Profile)
    })
}

fn reach(record: &Record, realms: &Realms) -> Option<Signal> {
    let reach = record.reached(&realms.overall)?;
    Some(Signal {
        value: Some(Reading::Word(reach.state.as_str().to_owned())),
        first_at: Some(reach.since),
        ..Signal::of(SignalKind::Reachability)
    })
}

fn declared(record: &Record) -> Option<Signal> {
    if let Some(missing) = record.missing() {
        return Some(Signal {
            value: Some(Reading::Word(MISSING.to_owned())),
            count: Some(missing.answers),
            first_at: Some(missing.since),
            last_at: Some(missing.at),
            ..Signal::of(SignalKind::Declared)
        });
    }
    let word = record.declared.as_ref().filter(|word| word.declared != crate::model::Declared::Nothing)?;
    Some(Signal {
        value: Some(Reading::Word(word.native.clone())),
        first_at: Some(word.since),
        last_at: Some(word.at),
        messages: word.messages.clone(),
        ..Signal::of(SignalKind::Declared)
    })
}

fn hold_down(record: &Record, now: Timestamp, settings: &Settings) -> Option<Signal> {
    let until = record.hold_until(settings)?;
    let trips = f64::from(number(record.trips.len()));
    (now < until || !record.trips.is_empty()).then(|| Signal {
        value: Some(Reading::Number(Figure::from(trips))),
        window_seconds: Some(settings.trips_window_seconds),
        last_at: Some(until),
        ..Signal::of(SignalKind::HoldDown)
    })
}

/// What a realm's signals come to, for people. `decided`: the rule that did, and on what; without one, just what is known.
pub(super) fn sentence(decided: Option<(Rule, Availability)>, id: &str, signals: &[Signal], now: Timestamp) -> String {
    let opens = |(rule, state)| opening(rule, state, id, signals);
    let mut parts: Vec<String> = decided.and_then(opens).into_iter().collect();
    let rule = decided.map(|(rule, _)| rule);
    let of = |kind: SignalKind| signals.iter().find(|signal| signal.kind == kind);
    let first = rule.and_then(leading);
    let order = [
        SignalKind::Launches,
        SignalKind::Runs,
        SignalKind::Profile,
        SignalKind::Reachability,
        SignalKind::Declared,
        SignalKind::HoldDown,
    ];
    let order = first.into_iter().chain(order.into_iter().filter(|kind| Some(*kind) != first));
    for signal in order.filter_map(of) {
        parts.extend(said(signal, id, now));
    }
    // The score is the sum of it, and read last.
    parts.extend(of(SignalKind::Launches).and_then(score));
    if rule == Some(Rule::Last) {
        parts.push("it is the last realm that works".to_owned());
    }
    if parts.is_empty() { format!("nothing is known of {id}") } else { parts.join("; ") }
}

/// What the rule says that no signal does.
fn opening(rule: Rule, state: Availability, id: &str, signals: &[Signal]) -> Option<String> {
    let contrary = signals.iter().any(is_contrary);
    match rule {
        Rule::Recover if state == Availability::Degraded => {
            Some(format!("{id} can be used again, with limits, and the hold-down is over"))
        }
        Rule::Recover if contrary => Some(format!("too little speaks against {id}, and the hold-down is over")),
        Rule::Recover => Some(format!("nothing speaks against {id} any more, and the hold-down is over")),
        Rule::Quiet if contrary => Some(format!("too little speaks against {id}")),
        Rule::Quiet => Some(format!("nothing speaks against {id}")),
        Rule::Nothing if !signals.is_empty() => Some(format!("too little is known of {id} now")),
        Rule::Nothing => Some(format!("nothing is known of {id}")),
        Rule::Blame => Some(format!("launches fail in too many realms at once for {id} to be at fault")),
        Rule::Probation => Some(format!("{id} failed again on probation")),
        Rule::Doubt => Some(format!("the provider said once that {id} is down, and will be asked again")),
        _ => None,
    }
}

/// It speaks against the realm, if ever so little. What the provider says is not asked: who is declared down is not called well.
fn is_contrary(signal: &Signal) -> bool {
    let count = signal.count.unwrap_or_default();
    match signal.kind {
        SignalKind::Launches => {
            let scored = matches!(signal.value, Some(Reading::Number(score)) if score > Figure::default());
            scored || count > 0 || signal.elsewhere.is_some_and(|elsewhere| elsewhere.failed > 0)
        }
        SignalKind::Runs | SignalKind::Profile => count > 0,
        SignalKind::Reachability => signal.value != Some(Reading::Word(Reachability::Reachable.as_str().to_owned())),
        SignalKind::Declared => signal.value == Some(Reading::Word(MISSING.to_owned())),
        SignalKind::Blame | SignalKind::HoldDown | SignalKind::Flapping => false,
    }
}

fn leading(rule: Rule) -> Option<SignalKind> {
    match rule {
        Rule::Down | Rule::Degraded | Rule::Doubt | Rule::Withdrawn => Some(SignalKind::Declared),
        Rule::Unreachable | Rule::UnreachableLong | Rule::UnreachableTooLong => Some(SignalKind::Reachability),
        Rule::Cusum | Rule::Probation | Rule::Elsewhere | Rule::Last => Some(SignalKind::Launches),
        Rule::Run => Some(SignalKind::Runs),
        Rule::Profile => Some(SignalKind::Profile),
        Rule::Blame | Rule::Recover | Rule::Flapping | Rule::Quiet | Rule::Nothing | Rule::Isolated => None,
    }
}

fn said(signal: &Signal, id: &str, now: Timestamp) -> Vec<String> {
    let ago = |at: Option<Timestamp>| at.map_or_else(String::new, |at| words(since(now, at)));
    let word = match &signal.value {
        Some(Reading::Word(word)) => word.as_str(),
        _ => "",
    };
    let (count, of) = (signal.count.unwrap_or_default(), signal.of.unwrap_or_default());
    match signal.kind {
        SignalKind::Launches if of > 0 || signal.elsewhere.is_some() => {
            let window = words(Duration::from_secs(signal.window_seconds.unwrap_or_default()));
            let own = format!("launches in {id}: {count} of {of} failed in {window}{}", counted(signal));
            let none = || format!("no launches of this account in {id}");
            let mut parts = vec![if of > 0 { own } else { none() }];
            if let Some(Elsewhere { accounts, failed, of }) = signal.elsewhere {
                parts.push(format!("{accounts} other accounts: {failed} of {of} failed"));
            }
            if let Some(Share { failed, of }) = signal.siblings {
                parts.push(format!("siblings {failed} of {of}"));
            }
            parts
        }
        SignalKind::Runs if count > 0 => {
            vec![format!("instances in {id}: {count} of {of} that ran are bad{}", counted(signal))]
        }
        SignalKind::Runs => vec![format!("instances in {id}: {of} run, none is bad")],
        SignalKind::Profile => {
            let profile = signal.profile.as_deref().unwrap_or_default();
            vec![format!("no room for {profile} in {id}: {count} of {of} failed, while others come up")]
        }
        SignalKind::Reachability if word != Reachability::Reachable.as_str() => {
            vec![format!("the provider has been {word} for {}", ago(signal.first_at))]
        }
        SignalKind::Declared if word == MISSING => {
            vec![format!("missing from {count} complete answers, first {} ago", ago(signal.first_at))]
        }
        SignalKind::Declared => {
            let messages = signal.messages.first().map_or_else(String::new, |message| format!(" ({message})"));
            vec![format!("declared *{word}* {} ago{messages}", ago(signal.last_at))]
        }
        SignalKind::HoldDown => match &signal.value {
            Some(Reading::Number(trips)) if *trips > Figure::from(1.0) => {
                let window = words(Duration::from_secs(signal.window_seconds.unwrap_or_default()));
                vec![format!("unavailable {trips} times in {window}")]
            }
            _ => Vec::new(),
        },
        SignalKind::Launches | SignalKind::Reachability | SignalKind::Blame | SignalKind::Flapping => Vec::new(),
    }
}

fn score(signal: &Signal) -> Option<String> {
    let (Some(Reading::Number(score)), Some(threshold)) = (&signal.value, signal.threshold) else { return None };
    let reaches = if *score >= threshold { "≥" } else { "<" };
    (*score > Figure::default()).then(|| format!("score {score} {reaches} {threshold}"))
}

/// ` (InsufficientInstanceCapacity 3, InternalError 1)`, the most frequent first.
fn counted(signal: &Signal) -> String {
    let mut codes: Vec<_> = signal.codes.iter().collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut text = String::new();
    for (code, count) in codes.into_iter().take(CODES_MAX) {
        let comma = if text.is_empty() { " (" } else { ", " };
        let _ = write!(text, "{comma}{code} {count}");
    }
    if text.is_empty() { text } else { text + ")" }
}

/// Different codes named in a sentence.
const CODES_MAX: usize = 3;
/// Instead of a provider's word.
const MISSING: &str = "missing";

/// `None` of `begun`: it begins now. Otherwise `failing` are those that are left.
pub(super) fn blame(
    realms: &Realms,
    failing: &[String],
    of: usize,
    begun: Option<Timestamp>,
    now: Timestamp,
    settings: &Settings,
) -> Why {
    let signal = Signal {
        threshold: Some(Figure::from(settings.blame_share)),
        count: Some(number(failing.len())),
        of: Some(number(of)),
        window_seconds: begun.is_none().then_some(settings.blame_window_seconds),
        first_at: Some(begun.unwrap_or(now)),
        ids: failing.iter().take(settings.examples_max).cloned().collect(),
        ..Signal::of(SignalKind::Blame)
    };
    let of_each = failing.iter().filter_map(|id| launches(realms, id, realms.realms.get(id)?, now, settings));
    let mut codes = BTreeMap::new();
    for (code, count) in of_each.flat_map(|signal| signal.codes) {
        *codes.entry(code).or_insert(0) += count;
    }
    let signal = Signal { codes, ..signal };
    let text = match begun {
        None => format!(
            "{} of {of} realms in use fail within {}{}: the account, the image or the provider as a whole is to blame, and the \
             realms keep their state",
            failing.len(),
            words(Duration::from_secs(settings.blame_window_seconds)),
            counted(&signal),
        ),
        Some(begun) => format!(
            "{} of {of} realms in use still fail after {}: realms are judged for themselves again",
            failing.len(),
            words(since(now, begun)),
        ),
    };
    Why { rule: Rule::Blame.to_string(), text, signals: vec![signal] }
}

/// `None`: it begins.
pub(super) fn isolated(begun: Option<Timestamp>, now: Timestamp) -> Why {
    let text = match begun {
        Some(begun) if begun < now => format!("providers answer again, after {}", words(since(now, begun))),
        _ => "no provider answers: that is taken for our own fault, and no realm's".to_owned(),
    };
    let signal = Signal {
        value: Some(Reading::Word(Reachability::Isolated.as_str().to_owned())),
        first_at: Some(begun.unwrap_or(now)),
        ..Signal::of(SignalKind::Reachability)
    };
    Why { rule: Rule::Isolated.to_string(), text, signals: vec![signal] }
}

pub(super) fn flapping(
    id: &str,
    share: f64,
    threshold: f64,
    state: Availability,
    begins: bool,
    settings: &Settings,
) -> Why {
    let window = Duration::from_secs(settings.flap_turn_seconds * u64::from(settings.flap_turns));
    let percent = (share * 100.0).round();
    let text = match begins {
        true => format!(
            "{id} changed its state in {percent} % of the half-minutes of the last {}: single changes are no longer called back",
            words(window)
        ),
        false => format!("{id} has settled and is {state}: it changed in {percent} % of the last {}", words(window)),
    };
    let signal = Signal {
        value: Some(Reading::Number(Figure::from(share))),
        threshold: Some(Figure::from(threshold)),
        window_seconds: Some(window.as_secs()),
        ..Signal::of(SignalKind::Flapping)
    };
    Why { rule: Rule::Flapping.to_string(), text, signals: vec![signal] }
}

/// `45 s`, `9 min`, `3 h`, `2 days`: to be read, so never wrong by more than half a unit.
fn words(length: Duration) -> String {
    let seconds = length.as_secs();
    let rounded = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", rounded(60)),
        5_400..129_600 => format!("{} h", rounded(3_600)),
        _ => format!("{} days", rounded(86_400)),
    }
}

fn tenths(score: f64) -> Figure {
    // Cut, not rounded: 9.96 is below 10 and must not read like it.
    Figure::from((score * 10.0).floor() / 10.0)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
