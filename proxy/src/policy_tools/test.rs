//! `larder policy test`: recorded requests and responses in, decisions out, compared with what stands beside them.

use std::{fs, io::Write};

use plugin_host::{
    Instances,
    cases::{Case, Difference},
};

use super::{Loader, ToolError, case_files, engine, file_error, read_component};
use crate::cli::PolicyTest;

/// Prints one line for each case, and below it where a decision is not the expected one. `false`: a case failed.
///
/// # Errors
/// The component or a case file cannot be read, or the policy does not load.
pub fn test(wanted: &PolicyTest, out: &mut dyn Write) -> Result<bool, ToolError> {
    let wasm = read_component(&wanted.file)?;
    let files = case_files::read(&wanted.cases)?;
    let mut loader = Loader::new(engine()?, wanted.file.display().to_string(), wasm);
    let mut instances = Instances::patient();
    let (mut passed, mut failed, mut blessed) = (0, 0, 0);
    for mut file in files {
        let stem = file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_one = file.cases.len() == 1;
        let mut is_changed = false;
        for (number, case) in file.cases.iter_mut().enumerate() {
            let number = if is_one { String::new() } else { format!("[{}]", number + 1) };
            let title = format!("{stem}{number}: {case}");
            let policy = match loader.load(case.settings()) {
                Ok(policy) => policy,
                Err(error) => {
                    failed += 1;
                    writeln!(out, "FAILED  {title}\n        {error}")?;
                    continue;
                }
            };
            match case.decide(&policy, &mut instances) {
                Err(error) => {
                    failed += 1;
                    writeln!(out, "FAILED  {title}\n        {error}")?;
                }
                Ok(decided) => {
                    let differences = case.differences(&decided);
                    if differences.is_empty() {
                        passed += 1;
                        writeln!(out, "ok      {title}")?;
                    } else if wanted.bless {
                        blessed += 1;
                        is_changed = true;
                        *case = case.clone().expecting(&decided);
                        writeln!(out, "written {title}")?;
                    } else {
                        failed += 1;
                        writeln!(out, "FAILED  {title}")?;
                        print(&differences, out)?;
                    }
                }
            }
        }
        if is_changed {
            fs::write(&file.path, Case::write(&file.cases)).map_err(file_error("write", &file.path))?;
        }
    }
    write!(out, "\n{passed} as expected")?;
    if wanted.bless {
        write!(out, ", {blessed} written as expected from now on")?;
    }
    writeln!(out, ", {failed} failed")?;
    Ok(failed == 0)
}

/// The place, then the two values below each other, so that the eye finds where they part.
fn print(differences: &[Difference], out: &mut dyn Write) -> Result<(), ToolError> {
    for difference in differences {
        writeln!(out, "        {}", difference.path)?;
        writeln!(out, "          - expected {}", difference.expected_text())?;
        writeln!(out, "          + got      {}", difference.got_text())?;
    }
    Ok(())
}
