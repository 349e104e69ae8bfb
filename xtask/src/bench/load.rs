//! Load from wrk on a core of its own, and what it measured.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use crate::Error;

/// The core of the server, and the one of the load.
pub(super) const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// What one round of wrk measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) requests_per_s: f64,
    pub(super) p99_us: f64,
}

/// One round against `url`; every request carries these fields.
pub(super) fn wrk(
    url: &str,
    fields: &[(&str, &str)],
    connections: u32,
    seconds: u32,
) -> Result<Measured, Error> {
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "wrk", "--latency", "-t1"]);
    for (name, value) in fields {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    command.arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg(url);
    measured(&mut command)
}

/// One round of the requests that a script makes, on no core in particular.
pub(super) fn wrk_script(
    url: &str,
    script: &Path,
    connections: u32,
    seconds: u32,
) -> Result<Measured, Error> {
    let mut command = Command::new("wrk");
    command.args(["--latency", "-t1", "-s"]).arg(script);
    command.arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg(url);
    measured(&mut command)
}

fn measured(command: &mut Command) -> Result<Measured, Error> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?}: {}\n{text}{said}", output.status).into());
    }
    let after = |label: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(label)).map(|value| value.trim().to_owned())
    };
    let rate = after("Requests/sec:").and_then(|value| value.parse().ok());
    let p99 = after("99%").and_then(|value| microseconds(&value));
    match (rate, p99) {
        (Some(requests_per_s), Some(p99_us)) => Ok(Measured { requests_per_s, p99_us }),
        _ => Err(format!("what wrk says is not understood:\n{text}").into()),
    }
}

/// `1.23ms`, `870.00us`, `1.02s`.
fn microseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// The program, installed if it is missing and that is possible.
pub(super) fn ensure(program: &str, package: &str) -> Result<PathBuf, Error> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    let installed = install(package);
    find(program).ok_or_else(|| by_hand(package, &installed).into())
}

/// The same for a file of a package, in one of these folders.
pub(super) fn ensure_file(folders: &[&str], file: &str, package: &str) -> Result<PathBuf, Error> {
    let find = || folders.iter().map(|folder| Path::new(folder).join(file)).find(|path| path.is_file());
    if let Some(found) = find() {
        return Ok(found);
    }
    let installed = install(package);
    find().ok_or_else(|| by_hand(package, &installed).into())
}

fn install(package: &str) -> std::io::Result<ExitStatus> {
    println!("installing {package} with apt-get");
    Command::new("timeout")
        .args(["300", "apt-get", "install", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
}

fn by_hand(package: &str, installed: &std::io::Result<ExitStatus>) -> String {
    match installed {
        Ok(status) => format!("apt-get ended with {status}; install {package} by hand"),
        Err(error) => format!("apt-get: {error}; install {package} by hand"),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers often stand where only root looks.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(microseconds("870.00us"), Some(870.0));
        assert_eq!(microseconds("1.50ms"), Some(1500.0));
        assert_eq!(microseconds("2s"), Some(2e6));
        assert_eq!(microseconds("2"), None);
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
