//! Go's own answers: every case of the suite is rendered and compared, and the table of the results held
//! against the thresholds. `TEMPLATE_CASES` names another file of the same form to run.

mod suite;

use std::collections::BTreeMap;
use std::process::ExitCode;

use suite::{Case, Suite, Verdict};

/// Percent of the cases of tiers 1, 2 and 3 that must agree with Go.
const THRESHOLDS: [f64; 3] = [100.0, 98.0, 95.0];

#[derive(Default)]
struct Tally {
    passed: usize,
    total: usize,
}

impl Tally {
    fn percent(&self) -> f64 {
        if self.total == 0 { 100.0 } else { self.passed as f64 * 100.0 / self.total as f64 }
    }
}

fn main() -> ExitCode {
    let suite = Suite::load();
    let mut table: BTreeMap<(u8, String), Tally> = BTreeMap::new();
    let mut tiers: BTreeMap<u8, Tally> = BTreeMap::new();
    let mut same_text = Tally::default();
    let mut failures = Vec::new();
    for case in &suite.cases {
        let verdict = suite.run(case);
        let passed = !matches!(verdict, Verdict::Failed(_));
        for tally in
            [table.entry((case.tier, case.cat.clone())).or_default(), tiers.entry(case.tier).or_default()]
        {
            tally.total += 1;
            tally.passed += usize::from(passed);
        }
        match verdict {
            Verdict::Failed(reason) => failures.push((case, reason)),
            Verdict::Error { same } => {
                same_text.total += 1;
                same_text.passed += usize::from(same.is_none());
                if let (Some(text), true) = (same, suite.verbose) {
                    println!(
                        "other text {}: {}\n  ours {text}\n  Go's {}",
                        case.id,
                        case.template,
                        case.message()
                    );
                }
            }
            Verdict::Output => {}
        }
    }
    report(&table, &tiers, &same_text, &failures)
}

fn report(
    table: &BTreeMap<(u8, String), Tally>,
    tiers: &BTreeMap<u8, Tally>,
    same_text: &Tally,
    failures: &[(&Case, String)],
) -> ExitCode {
    println!("tier category              passed  total");
    for ((tier, cat), tally) in table {
        println!("{tier:>4} {cat:<20} {:>7} {:>6}", tally.passed, tally.total);
    }
    for (case, reason) in failures {
        println!("FAILED {} (tier {}): {}\n  {reason}", case.id, case.tier, case.template);
    }
    println!("error texts equal to Go's: {} of {}", same_text.passed, same_text.total);
    let mut ok = !tiers.is_empty();
    for (tier, tally) in tiers {
        let wanted = THRESHOLDS[usize::from(*tier) - 1];
        println!(
            "tier {tier}: {} of {} ({:.2} %, wanted {wanted} %)",
            tally.passed,
            tally.total,
            tally.percent()
        );
        ok &= tally.percent() >= wanted;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
