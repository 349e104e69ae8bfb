//! What makes a change trusted: format, lints, unit tests, guests, end-to-end tests on real Postgres clusters, the walk through
//! the whole system, and faults under load. CI runs this and nothing else.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use crate::{Error, demo, soak, stop};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Leave out what takes minutes at the end: the walk through the whole system, and the soak
    #[arg(long)]
    no_walk: bool,
    /// Five minutes of the soak in place of one
    #[arg(long, conflicts_with = "no_walk")]
    full: bool,
}

/// What was counted so far: single tests, and each stage as one more.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut tally = Tally::default();
    tally.stage("format", || succeeds(cargo().args(["fmt", "--all", "--check"])));
    tally.stage("lints", || {
        succeeds(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
    });
    // Tests need both. Here a failure is told once and by its name.
    tally.stage("guests and policies, built to components", || Ok(rig::policies::build().map(|_| true)?));
    tally.stage("Postgres programs", || Ok(rig::postgres::ensure_programs().map(|_| true)?));
    pooler();
    tests(&mut tally)?;
    if !options.no_walk {
        tally.stage("the walk through the whole system (cargo xtask demo --check)", || {
            Ok(demo::run(&demo::Options::quick_check()?)? == ExitCode::SUCCESS)
        });
        let minutes = if options.full { 5 } else { 1 };
        tally.stage(&format!("faults under load (cargo xtask soak stale --minutes {minutes})"), || {
            Ok(soak::run(&soak::Options::gentle(minutes))? == ExitCode::SUCCESS)
        });
    }
    if !tally.failures.is_empty() {
        println!("\nfailed:");
        for failure in &tally.failures {
            println!("  {failure}");
        }
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    Ok(stop::code(tally.failed == 0))
}

/// PgBouncer is installed if it is missing. Without it the tests that go through it have nothing to go through: no failure of
/// ours, and nothing to keep quiet about.
fn pooler() {
    println!("== PgBouncer");
    match rig::postgres::ensure_pooler() {
        Ok(program) => println!("== PgBouncer: {}", program.display()),
        Err(error) => println!("== PgBouncer: NOT THERE, so that its tests are SKIPPED: {error}"),
    }
}

/// All tests of all crates. Their output is passed on as it comes, and counted.
fn tests(tally: &mut Tally) -> Result<(), Error> {
    println!("== tests");
    let mut running =
        cargo().args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped()).spawn()?;
    let mut counted = 0;
    if let Some(output) = running.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            if let Some((passed, failed)) = result_of(&line) {
                tally.passed += passed;
                tally.failed += failed;
                counted += 1;
            } else if let Some(name) =
                line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
            {
                tally.failures.push(format!("test {name}"));
            }
        }
    }
    let is_good = running.wait()?.success();
    if (!is_good && tally.failed == 0) || counted == 0 {
        // It did not compile, or a test program died.
        tally.failed += 1;
        tally.failures.push("tests: see what cargo says above".to_owned());
    }
    Ok(())
}

/// `(passed, failed)` of a line such as `test result: ok. 5 passed; 0 failed; ...`.
fn result_of(line: &str) -> Option<(usize, usize)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut numbers =
        counts.split("; ").map(|part| part.split(' ').next().and_then(|number| number.parse().ok()));
    Some((numbers.next()??, numbers.next()??))
}

impl Tally {
    #[expect(clippy::disallowed_methods, reason = "a person is told how long it took")]
    fn stage(&mut self, name: &str, run: impl FnOnce() -> Result<bool, Error>) {
        println!("== {name}");
        let began = Instant::now();
        let is_good = run().unwrap_or_else(|error| {
            println!("{}", crate::chain(&*error));
            false
        });
        println!(
            "== {name}: {} ({:.0} s)",
            if is_good { "good" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        if is_good {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(rig::programs::workspace()).stdin(Stdio::null());
    cargo
}

fn succeeds(command: &mut Command) -> Result<bool, Error> {
    Ok(command.status()?.success())
}

#[cfg(test)]
mod tests {
    use super::result_of;

    #[test]
    fn results_are_counted() {
        let line = "test result: FAILED. 67 passed; 9 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.43s";
        assert_eq!(result_of(line), Some((67, 9)));
        assert_eq!(result_of("test result: ok. 1 passed; 0 failed; 0 ignored"), Some((1, 0)));
        assert_eq!(result_of("test a::b ... ok"), None);
    }
}
