//! The whole system from nothing, on this machine, for as long as somebody looks at it.
//!
//! Read next: `demo/system.rs` for what is started and how, `demo/walk.rs` for `--check`, `demo/document.rs` for
//! `--policies`.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use rig::{
    policies,
    programs::{Profile, Programs},
};

use crate::{
    Error,
    stop::{self, AtEnd},
};

mod system;
mod walk;
mod document;

use system::{Ports, System};

/// How often is looked whether everything still runs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Walk through what it can do, print what was seen, stop, and exit 0 if all of it was right
    #[arg(long)]
    check: bool,
    /// With --check: also walk docs/policies.md in Rust, JavaScript and Python, which takes two minutes
    #[arg(long, requires = "check")]
    policies: bool,
    /// How many resources to generate
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=10_000_000))]
    resources: u64,
    /// Proxy on N, origin worker on N+1, admin on N+2, in place of 8080, 8081 and 9090
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65_533))]
    port_base: Option<u16>,
    /// Build the programs with optimizations: slower to build, faster to run
    #[arg(long)]
    release: bool,
}

impl Options {
    /// The whole walk with few resources on ports that are free at this moment.
    pub(crate) fn quick_check() -> std::io::Result<Options> {
        Ok(Options {
            check: true,
            policies: true,
            resources: 2_000,
            port_base: Some(Ports::free_base()?),
            release: false,
        })
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let ports = options.port_base.map_or_else(Ports::default, Ports::from_base);
    // Before anything is built: nobody wants to wait for minutes to be told.
    ports.check_free()?;
    stop::on_signals()?;
    let _stopped_at_end = AtEnd;
    let profile = if options.release { Profile::Release } else { Profile::Dev };

    let step = Step::begin("programs", "building larder and larder-origin; the first time takes minutes");
    let programs = Programs::build(profile)?;
    step.done(&programs.larder.display().to_string());
    let step = Step::begin("policies", "building the policies to WebAssembly components");
    let components = policies::build()?;
    step.done(&components.display().to_string());

    let system = System::start(&programs, &components, ports, options.resources)?;
    if options.check {
        println!();
        return Ok(stop::code(walk::walk(&system, options.policies)?));
    }
    system.print_what_to_try();
    wait_for_an_end(&system)
}

/// Until a signal ends this process, or one of the programs ends by itself.
fn wait_for_an_end(system: &System) -> Result<ExitCode, Error> {
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        for process in &mut stop::running().processes {
            if process.has_ended() {
                return Err(format!("{} ended by itself:\n{}", process.name(), process.log()).into());
            }
        }
        system.keep_alive();
    }
}

/// One line of progress: what is being done, then what came of it and how long it took.
pub(crate) struct Step {
    name: &'static str,
    began: Instant,
}

impl Step {
    #[expect(clippy::disallowed_methods, reason = "a person is told how long it took")]
    pub(crate) fn begin(name: &'static str, doing: &str) -> Step {
        if std::io::stdout().is_terminal() {
            print!("{name:10} {doing} ...\r");
            // What is not shown now is shown with the next line.
            let _ = std::io::stdout().flush();
        } else {
            println!("{name:10} {doing} ...");
        }
        Step { name, began: Instant::now() }
    }

    pub(crate) fn done(self, result: &str) {
        let clear = if std::io::stdout().is_terminal() { "\x1b[2K" } else { "" };
        println!("{clear}{:10} {result}  ({:.1} s)", self.name, self.began.elapsed().as_secs_f64());
    }
}
