//! pgbench, which comes with the server's programs, and the rate that it says.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use rig::postgres::find_programs;

use super::load::ensure;
use crate::Error;

pub(super) fn program() -> Result<PathBuf, Error> {
    let beside = find_programs().map(|folder| folder.join("pgbench")).filter(|program| program.is_file());
    match beside {
        Some(program) => Ok(program),
        None => ensure("pgbench", "postgresql-contrib"),
    }
}

/// Runs to its end. Transactions in a second.
pub(super) fn transactions_per_s(command: &mut Command) -> Result<f64, Error> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    match rate {
        Some(rate) if output.status.success() => Ok(rate),
        _ => {
            Err(format!("pgbench: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr))
                .into())
        }
    }
}
