//! Folders of case files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use plugin_host::cases::Case;

use super::{ToolError, file_error};

/// A file and the cases in it, in their order.
pub(super) struct CaseFile {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Case>,
}

/// Reads one file, or all `*.json` of a folder in the order of their names.
///
/// # Errors
/// One cannot be read, or says something that a case cannot say; or there is none.
pub(super) fn read(from: &Path) -> Result<Vec<CaseFile>, ToolError> {
    let mut paths = Vec::new();
    if from.is_dir() {
        for entry in fs::read_dir(from).map_err(file_error("list", from))? {
            let path = entry.map_err(file_error("list", from))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort_unstable();
    } else {
        paths.push(from.to_owned());
    }
    let files: Vec<_> = paths.into_iter().map(read_file).collect::<Result<_, _>>()?;
    if files.iter().all(|file| file.cases.is_empty()) {
        return Err(ToolError::NoCases(from.to_owned()));
    }
    Ok(files)
}

fn read_file(path: PathBuf) -> Result<CaseFile, ToolError> {
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    match Case::read(&text) {
        Ok(cases) => Ok(CaseFile { path, cases }),
        Err(fault) => Err(ToolError::Cases { path, fault }),
    }
}
