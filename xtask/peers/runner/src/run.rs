//! Runs the cases: warm-up, interleaved rounds, medians, the table and the JSON.

use crate::args::Args;
use crate::bar::{Against, Bar};
use crate::case::{Case, Role};
use crate::json;
use std::process::{Command, ExitCode};

/// Rounds measured for each variant unless the case or the command line says otherwise.
const ROUNDS: usize = 7;
/// The most seconds that one round in a process of its own may take; the slowest needs a tenth of it.
const LIMIT_SECS: u32 = 120;

/// The benches of one area.
pub struct Bench<'a> {
    area: String,
    cases: Vec<Case<'a>>,
}

/// The medians of one case.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) lower_is_better: bool,
    pub(crate) ours: Option<f64>,
    pub(crate) peers: Vec<(String, f64)>,
    pub(crate) floor: Option<f64>,
    pub(crate) bars: Vec<Bar>,
}

impl<'a> Bench<'a> {
    /// Starts the list of cases of `area`.
    pub fn new(area: &str) -> Self {
        Self { area: area.into(), cases: Vec::new() }
    }

    /// Adds a case.
    #[must_use]
    pub fn case(mut self, case: Case<'a>) -> Self {
        self.cases.push(case);
        self
    }

    /// Runs what the command line asks for. Success even when a bar is missed: the table says so,
    /// and `cargo xtask bench` decides what that means.
    pub fn run(self) -> ExitCode {
        match Args::from_env().and_then(|args| self.run_with(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => {
                eprintln!("bench failed: {sentence}");
                ExitCode::from(2)
            }
        }
    }

    fn run_with(mut self, args: &Args) -> Result<(), String> {
        if let Some((case, variant)) = &args.one {
            return self.run_one(case, variant);
        }
        let wanted = |case: &Case<'_>| {
            args.case.as_ref().is_none_or(|part| case.name.contains(part.as_str()))
        };
        if args.list {
            for case in &self.cases {
                println!("{}", case.name);
            }
            return Ok(());
        }
        let mut rows = Vec::new();
        for case in self.cases.iter_mut().filter(|case| wanted(case)) {
            eprintln!("measuring {} …", case.name);
            rows.push(measure(case, args.rounds)?);
        }
        if rows.is_empty() {
            return Err(format!("no case of {} matches", self.area));
        }
        print_table(&self.area, &rows);
        if let Some(path) = &args.out {
            std::fs::write(path, json::render(&rows))
                .map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn run_one(&mut self, case: &str, variant: &str) -> Result<(), String> {
        let case = self.cases.iter_mut().find(|c| c.name == case).ok_or("no such case")?;
        let variant =
            case.variants.iter_mut().find(|v| v.name == variant).ok_or("no such variant")?;
        // SAFETY: it only sets a timer, whose signal ends this process when the round takes too long.
        unsafe { libc::alarm(LIMIT_SECS) };
        println!("{}", (variant.round)());
        Ok(())
    }
}

/// One warm-up round and then `rounds` measured ones, the order rotating from round to round. A peer whose
/// process fails is left out of the case, with a line that says so; ours and the floor must not fail.
fn measure(case: &mut Case<'_>, asked: Option<usize>) -> Result<Measured, String> {
    let rounds = asked.or(case.rounds).unwrap_or(ROUNDS);
    let count = case.variants.len();
    let mut values = vec![Vec::with_capacity(rounds); count];
    let mut failed = vec![false; count];
    for round in 0..=rounds {
        for step in 0..count {
            let index = (round + step) % count;
            let variant = &mut case.variants[index];
            if failed[index] {
                continue;
            }
            let value = if case.isolated {
                match (in_own_process(&case.name, &variant.name), variant.role) {
                    (Ok(value), _) => value,
                    (Err(sentence), Role::Peer) => {
                        eprintln!("left out: {sentence}");
                        failed[index] = true;
                        continue;
                    }
                    (Err(sentence), _) => return Err(sentence),
                }
            } else {
                (variant.round)()
            };
            if round > 0 {
                values[index].push(value);
            }
        }
    }
    let mut measured = Measured {
        name: case.name.clone(),
        unit: case.unit.clone(),
        lower_is_better: case.lower_is_better,
        ours: None,
        peers: Vec::new(),
        floor: None,
        bars: case.bars.clone(),
    };
    let measured_ones = case.variants.iter().zip(values).zip(failed).filter(|(_, failed)| !failed);
    for ((variant, values), _) in measured_ones {
        let value = median(values);
        match variant.role {
            Role::Ours => measured.ours = Some(value),
            Role::Floor => measured.floor = Some(value),
            Role::Peer => measured.peers.push((variant.name.clone(), value)),
        }
    }
    Ok(measured)
}

#[expect(clippy::disallowed_methods, reason = "re-runs this very binary and waits for it")]
fn in_own_process(case: &str, variant: &str) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| format!("find own binary: {error}"))?;
    let output = Command::new(program)
        .args(["--one", case, variant])
        .output()
        .map_err(|error| format!("run {variant} of {case}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{variant} of {case} ended with {}: {stderr}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default().trim();
    last.parse().map_err(|_| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("{variant} of {case} printed no value ({}): {stderr}", output.status)
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl Measured {
    pub(crate) fn best_peer(&self) -> Option<f64> {
        let values = self.peers.iter().map(|(_, value)| *value);
        if self.lower_is_better { values.reduce(f64::min) } else { values.reduce(f64::max) }
    }

    /// `ours / reference`, or `ours` itself for an absolute bar; `None` when either is missing.
    pub(crate) fn ratio(&self, bar: &Bar) -> Option<f64> {
        let ours = self.ours?;
        match &bar.against {
            Against::Absolute => Some(ours),
            Against::Floor => self.floor.map(|floor| ours / floor),
            Against::BestPeer => self.best_peer().map(|peer| ours / peer),
            Against::Peer(name) => {
                self.peers.iter().find(|(peer, _)| peer == name).map(|(_, value)| ours / value)
            }
        }
    }

    pub(crate) fn is_met(&self, bar: &Bar) -> bool {
        self.ratio(bar).is_some_and(|ratio| bar.is_met(ratio))
    }
}

fn print_table(area: &str, rows: &[Measured]) {
    println!("\nbench {area}: medians of interleaved rounds\n");
    for row in rows {
        let better = if row.lower_is_better { "lower is better" } else { "higher is better" };
        println!("{} [{}, {better}]", row.name, row.unit);
        let print = |name: &str, value: f64| {
            let ratio = row.ours.map_or(String::new(), |ours| format!("{:9.3}", ours / value));
            println!("    {name:<42} {value:>14.3}   ours/this {ratio}");
        };
        row.floor.into_iter().for_each(|value| print("floor", value));
        row.ours.into_iter().for_each(|value| print("ours", value));
        row.peers.iter().for_each(|(name, value)| print(name, *value));
        for bar in &row.bars {
            let ratio = row.ratio(bar).map_or("missing".into(), |ratio| format!("{ratio:.3}"));
            let bound = match (bar.max, bar.min) {
                (Some(max), _) => format!("at most {max}"),
                (None, Some(min)) => format!("at least {min}"),
                (None, None) => "no bound".into(),
            };
            let verdict = if row.is_met(bar) { "met" } else { "MISSED" };
            println!("    bar against {}: {ratio}, {bound}: {verdict}", bar.against_name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn rounds_are_interleaved_and_the_first_is_warm_up() {
        let order = RefCell::new(String::new());
        let note = |name: char, value: f64| {
            order.borrow_mut().push(name);
            value
        };
        let calls = RefCell::new(0.0);
        let mut case = Case::lower("order", "ns")
            .floor(|| note('f', 2.0))
            .ours(|| {
                *calls.borrow_mut() += 1.0;
                note('o', *calls.borrow())
            })
            .peer("p", || note('p', 4.0))
            .bar(Bar::floor().max(1.5));
        let row = measure(&mut case, Some(3)).unwrap();
        drop(case);
        assert_eq!(*order.borrow(), "fopopfpfofop");
        assert_eq!(row.ours, Some(3.0), "the median of 2, 3 and 4, without the warm-up's 1");
        assert_eq!(row.ratio(&row.bars[0]), Some(1.5));
        assert!(row.is_met(&row.bars[0]));
    }

    #[test]
    fn a_bar_whose_peer_did_not_run_is_missed() {
        let mut case = Case::higher("x", "ops/s").ours(|| 10.0).bar(Bar::peer("gone").min(0.1));
        let row = measure(&mut case, Some(1)).unwrap();
        assert!(!row.is_met(&row.bars[0]));
    }
}
