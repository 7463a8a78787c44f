//! `tracker bench realms`: how often realms are called unavailable wrongly, and how soon rightly.
//!
//! A simulation: realms in which launches come at random times and fail at a usual rate, and one outage in one of them. The rules
//! that are compared see the very same launches. No cloud, no clock, no store: a year takes seconds, and the same seed gives the
//! same figures.

mod rules;

use std::fmt;
use std::path::PathBuf;

use clap::value_parser;
use serde::Serialize;

use self::rules::Rule;
use super::Format;
use crate::chance::Chance;
use crate::settings::Settings;

#[derive(clap::Args)]
pub struct Args {
    /// The dice: the same number, the same throws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Years without an outage, of three realms each, in which every alarm is false
    #[arg(long, default_value_t = 10.0, value_parser = years)]
    years: f64,
    /// Runs of three days with one outage
    #[arg(long, default_value_t = 80, value_parser = value_parser!(u32).range(1..=10_000))]
    outages: u32,
    /// Launches an hour in each realm
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 20.0, 120.0], value_parser = rate)]
    rates: Vec<f64>,
    /// Launches of a hundred that fail in a realm that works
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 10.0], value_parser = percent)]
    baselines: Vec<f64>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The settings file; `[availability]` is what the last rule goes by
    #[arg(long, short, env = "TRACKER_CONFIG")]
    config: Option<PathBuf>,
}

/// Realms in each world; the first has the outage.
pub(super) const REALMS: usize = 3;
const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 24.0 * HOUR_S;
const YEAR_S: f64 = 365.0 * DAY_S;
/// One run with an outage.
const RUN_S: f64 = 3.0 * DAY_S;
const OUTAGE_S: f64 = 4.0 * HOUR_S;
/// Launches that fail meanwhile, as a share.
const OUTAGE_RATE: f64 = 0.95;
/// How often the rules are asked though nothing happened.
pub(super) const TICK_S: f64 = 30.0;

#[derive(Serialize)]
struct Report {
    seed: u64,
    realm_years: f64,
    outages: u32,
    cells: Vec<Cell>,
}

/// One rate of launches and one baseline.
#[derive(Serialize)]
struct Cell {
    launches_per_hour: f64,
    baseline_percent: f64,
    rules: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    rule: &'static str,
    false_per_realm_year: f64,
    found: u32,
    /// From the beginning of the outage to the alarm; of those found.
    failures_median: f64,
    minutes_median: f64,
    /// In three days with one outage, all realms together. 2 is ideal: down and up.
    flips: f64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(args.config.as_deref(), std::env::vars())?;
    let format = args.format;
    let report = tokio::task::spawn_blocking(move || simulate(&args, &settings)).await?;
    match format {
        Format::Text => println!("{report}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}

fn simulate(args: &Args, settings: &Settings) -> Report {
    let mut cells = Vec::new();
    for &launches_per_hour in &args.rates {
        for &baseline_percent in &args.baselines {
            // Each cell has dice of its own, so that one can be looked at alone.
            let chance = Chance::seeded(args.seed);
            let world = World { per_second: launches_per_hour / HOUR_S, baseline: baseline_percent / 100.0 };
            let rules = cell(&world, args, settings, &chance);
            cells.push(Cell { launches_per_hour, baseline_percent, rules });
        }
    }
    let realm_years = args.years * rules::count(REALMS);
    Report { seed: args.seed, realm_years, outages: args.outages, cells }
}

struct World {
    /// Launches in each realm.
    per_second: f64,
    baseline: f64,
}

/// What one rule made of one stretch of time.
#[derive(Default)]
struct Seen {
    alarms: u32,
    flips: u32,
    down: [bool; REALMS],
    /// Of the outage: failures and seconds until the alarm.
    found: Option<(u32, f64)>,
}

fn cell(world: &World, args: &Args, settings: &Settings, chance: &Chance) -> Vec<Row> {
    let calm = world.live(args.years * YEAR_S, None, settings, chance);
    let runs: Vec<Vec<Seen>> = (0..args.outages)
        .map(|_| {
            let begin_s = DAY_S + chance.roll() * DAY_S;
            world.live(RUN_S, Some(begin_s), settings, chance)
        })
        .collect();
    let realm_years = args.years * rules::count(REALMS);
    let row = |(number, calm): (usize, &Seen)| {
        let of_rule = || runs.iter().map(move |run| &run[number]);
        let found: Vec<(u32, f64)> = of_rule().filter_map(|seen| seen.found).collect();
        Row {
            rule: rules::NAMES[number],
            false_per_realm_year: f64::from(calm.alarms) / realm_years,
            found: u32::try_from(found.len()).expect("no more than outages"),
            failures_median: median(found.iter().map(|(failures, _)| f64::from(*failures)).collect()),
            minutes_median: median(found.iter().map(|(_, seconds)| seconds / 60.0).collect()),
            flips: of_rule().map(|seen| f64::from(seen.flips)).sum::<f64>() / f64::from(args.outages),
        }
    };
    calm.iter().enumerate().map(row).collect()
}

impl World {
    /// All rules side by side for so long, with an outage of the first realm from `outage_s` on, if there is one.
    fn live(&self, length_s: f64, outage_s: Option<f64>, settings: &Settings, chance: &Chance) -> Vec<Seen> {
        let mut rules = rules::all(self.baseline, &settings.availability);
        let mut seen: Vec<Seen> = rules.iter().map(|_| Seen::default()).collect();
        let is_out = |at_s: f64| outage_s.is_some_and(|begin_s| (begin_s..begin_s + OUTAGE_S).contains(&at_s));
        let mut failures = 0;
        let mut tick_s = TICK_S;
        let mut at_s = 0.0;
        loop {
            // Launches of all realms together, and then whose it is.
            at_s -= (1.0 - chance.roll()).ln() / (self.per_second * rules::count(REALMS));
            while tick_s < at_s.min(length_s) {
                for (rule, seen) in rules.iter_mut().zip(&mut seen) {
                    rule.tick(tick_s);
                    seen.look(rule.as_ref(), outage_s.filter(|_| is_out(tick_s)), tick_s, failures);
                }
                tick_s += TICK_S;
            }
            if at_s >= length_s {
                return seen;
            }
            let realm = (0..REALMS - 1).find(|_| chance.roll() < 1.0 / rules::count(REALMS));
            let realm = realm.map_or(REALMS - 1, |realm| realm);
            let out = realm == 0 && is_out(at_s);
            let failed = chance.roll() < if out { OUTAGE_RATE } else { self.baseline };
            failures += u32::from(out && failed);
            for (rule, seen) in rules.iter_mut().zip(&mut seen) {
                rule.launch(realm, at_s, failed);
                seen.look(rule.as_ref(), outage_s.filter(|_| is_out(at_s)), at_s, failures);
            }
        }
    }
}

impl Seen {
    fn look(&mut self, rule: &dyn Rule, outage_s: Option<f64>, at_s: f64, failures: u32) {
        for realm in 0..REALMS {
            let down = rule.is_down(realm);
            if down == self.down[realm] {
                continue;
            }
            self.down[realm] = down;
            self.flips += 1;
            self.alarms += u32::from(down);
        }
        if let Some(begin_s) = outage_s.filter(|_| self.down[0] && self.found.is_none()) {
            self.found = Some((failures, at_s - begin_s));
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn years(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1_000.0)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.01, 10_000.0)
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0)
}

fn number(text: &str, from: f64, to: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (from..=to).contains(&number) { Ok(number) } else { Err(format!("{number} is not between {from} and {to}")) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, realm_years, outages, cells } = self;
        writeln!(
            f,
            "{REALMS} realms, launches at random times; {realm_years} realm-years without an outage; {outages} runs of"
        )?;
        writeln!(f, "3 days with one of 4 h in one realm, in which 95 of 100 launches fail; seed {seed}\n")?;
        writeln!(
            f,
            "| launches/h, baseline | rule | false per realm-year | median detection | found | flips in 3 days |"
        )?;
        write!(f, "|---|---|---|---|---|---|")?;
        for Cell { launches_per_hour, baseline_percent, rules } in cells {
            for (number, row) in rules.iter().enumerate() {
                let cell = format!("{launches_per_hour}, {baseline_percent} %");
                let cell = if number == 0 { &cell } else { "" };
                let Row { rule, false_per_realm_year, found, failures_median, minutes_median, flips } = row;
                write!(f, "\n| {cell} | {rule} | {false_per_realm_year:.1} | ")?;
                write!(
                    f,
                    "{failures_median:.0} failures, {minutes_median:.0} min | {found} of {outages} | {flips:.1} |"
                )?;
            }
        }
        Ok(())
    }
}
