//! `larder policy build`: finds out what a policy is written in, and has its toolchain make a component of it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

use super::{ToolError, file_error, inspect, size};
use crate::cli::{PolicyBuild, PolicyInspect};

const TARGET: &str = "wasm32-wasip2";
const RUST_REMEDY: &str = "install Rust from https://rustup.rs, then `rustup target add wasm32-wasip2`";
const TARGET_REMEDY: &str = "`rustup target add wasm32-wasip2` installs it";
const NODE_REMEDY: &str = "install Node.js 18 or later with npm, for instance `apt install nodejs npm`";
const PYTHON_REMEDY: &str = "install Python 3.10 or later with venv, for instance `apt install python3-venv`";

/// Builds what is in the folder to `NAME.wasm` there, and says what that is. What the toolchain says goes to standard
/// error as it comes.
///
/// # Errors
/// There is no policy in the folder, a tool is missing, it failed, or what it made is no policy.
pub fn build(wanted: &PolicyBuild, out: &mut dyn Write) -> Result<(), ToolError> {
    let folder = &wanted.dir;
    let has = |name: &str| folder.join(name).is_file();
    let file = if has("Cargo.toml") {
        rust(folder, out)?
    } else if has("package.json") {
        javascript(folder, out)?
    } else if has("pyproject.toml") {
        python(folder, out)?
    } else {
        return Err(ToolError::NoProject(folder.clone()));
    };
    let bytes = fs::metadata(&file).map_err(file_error("read", &file))?.len();
    writeln!(out, "\nbuilt {} ({})\n", file.display(), size(usize::try_from(bytes).unwrap_or(usize::MAX)))?;
    inspect(&PolicyInspect { json: false, file }, out)
}

fn rust(folder: &Path, out: &mut dyn Write) -> Result<PathBuf, ToolError> {
    let mut rustc = Command::new("rustc");
    let libraries = output(rustc.args(["--print", "target-libdir", "--target", TARGET]), folder)
        .map_err(|_| missing("rustc", RUST_REMEDY))?;
    if !Path::new(libraries.trim()).is_dir() {
        let tool = "the Rust standard library for wasm32-wasip2";
        return Err(ToolError::Missing { tool, remedy: TARGET_REMEDY });
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    cargo.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let shown = say(&cargo, out)?;
    let mut running = cargo.spawn().map_err(|source| ToolError::Run { command: shown.clone(), source })?;
    // The last one is the package itself: what it depends on comes before.
    let mut made = None;
    if let Some(messages) = running.stdout.take() {
        for message in BufReader::new(messages).lines() {
            let message: Value = serde_json::from_str(&message?).unwrap_or_default();
            let files = message["filenames"].as_array().into_iter().flatten();
            let component = files.filter_map(Value::as_str).find(|file| file.ends_with(".wasm"));
            if let Some(component) = component {
                made =
                    Some((PathBuf::from(component), message["target"]["name"].as_str().map(str::to_owned)));
            }
        }
    }
    let status = running.wait().map_err(|source| ToolError::Run { command: shown.clone(), source })?;
    if !status.success() {
        return Err(ToolError::Failed { command: shown, status });
    }
    let path = folder.join("Cargo.toml");
    let Some((component, Some(target))) = made else {
        let fault = "made no component: it needs `[lib]` with `crate-type = [\"cdylib\"]`".to_owned();
        return Err(ToolError::Project { path, fault });
    };
    let to = folder.join(format!("{}.wasm", target.replace('_', "-")));
    // Written beside it and renamed: a proxy that watches the file never sees half of it.
    let partial = to.with_extension("wasm.partial");
    fs::copy(&component, &partial).map_err(file_error("write", &partial))?;
    fs::rename(&partial, &to).map_err(file_error("rename to", &to))?;
    Ok(to)
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

fn javascript(folder: &Path, out: &mut dyn Write) -> Result<PathBuf, ToolError> {
    let path = folder.join("package.json");
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    let package: Package = serde_json::from_str(&text)
        .map_err(|error| ToolError::Project { path: path.clone(), fault: error.to_string() })?;
    for tool in ["node", "npm"] {
        output(Command::new(tool).arg("--version"), folder)
            .map_err(|_| missing("Node.js with npm", NODE_REMEDY))?;
    }
    let lock = folder.join("package-lock.json");
    if !is_newer(&folder.join("node_modules/.package-lock.json"), &lock) {
        let mut npm = Command::new("npm");
        npm.args([if lock.is_file() { "ci" } else { "install" }, "--no-audit", "--no-fund"]);
        run(&mut npm, folder, out)?;
    }
    run(Command::new("npm").args(["run", "--silent", "build"]), folder, out)?;
    made(folder, &package.name, path, "the script `build`")
}

#[derive(Deserialize)]
struct PyProject {
    project: Package,
    tool: PyTools,
}

#[derive(Deserialize)]
struct PyTools {
    larder: PyLarder,
}

/// `[tool.larder]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PyLarder {
    /// One of the worlds of the contract.
    world: String,
    #[serde(default = "wit_here")]
    wit: String,
    /// Further folders with modules that the policy imports.
    #[serde(default)]
    modules: Vec<String>,
}

fn wit_here() -> String {
    "wit".to_owned()
}

fn python(folder: &Path, out: &mut dyn Write) -> Result<PathBuf, ToolError> {
    let path = folder.join("pyproject.toml");
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    let PyProject { project, tool: PyTools { larder } } = toml::from_str(&text)
        .map_err(|error| ToolError::Project { path: path.clone(), fault: error.to_string() })?;
    let requirements = folder.join("requirements.txt");
    let installed = folder.join(".venv/installed");
    // Absolute: a relative one would be looked for from here, and it runs in the folder.
    let venv_program = |name: &str| {
        let path = folder.join(".venv/bin").join(name);
        std::path::absolute(&path).map_err(file_error("find", &path))
    };
    if !is_newer(&installed, &requirements) {
        // `ensurepip` is what Debian leaves out.
        output(Command::new("python3").args(["-c", "import ensurepip, venv"]), folder)
            .map_err(|_| missing("python3 with venv", PYTHON_REMEDY))?;
        run(Command::new("python3").args(["-m", "venv", ".venv"]), folder, out)?;
        let mut pip = Command::new(venv_program("python")?);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            "requirements.txt",
        ]);
        run(&mut pip, folder, out)?;
        fs::write(&installed, "").map_err(file_error("write", &installed))?;
    }
    let mut componentize = Command::new(venv_program("componentize-py")?);
    componentize.args(["--quiet", "--wit-path", &larder.wit, "--world", &larder.world, "componentize"]);
    componentize.args(["--python-path", "."]);
    for modules in &larder.modules {
        componentize.args(["--python-path", modules]);
    }
    componentize.arg("--output").arg(format!("{}.wasm", project.name)).arg("policy");
    run(&mut componentize, folder, out)?;
    made(folder, &project.name, path, "componentize-py")
}

/// Where the component is; that a tool ended well does not say that it is there.
fn made(folder: &Path, name: &str, project: PathBuf, by: &str) -> Result<PathBuf, ToolError> {
    let component = folder.join(format!("{name}.wasm"));
    if component.is_file() {
        return Ok(component);
    }
    Err(ToolError::Project { path: project, fault: format!("{by} did not make {name}.wasm") })
}

/// Whether the first is there and not older than the second.
fn is_newer(made: &Path, from: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    match (modified(made), modified(from)) {
        (Ok(made), Ok(from)) => made >= from,
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}

/// Runs a step of the toolchain in the folder. Its output is passed on as it comes.
fn run(command: &mut Command, folder: &Path, out: &mut dyn Write) -> Result<(), ToolError> {
    let shown = say(command, out)?;
    let status = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|source| ToolError::Run { command: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(ToolError::Failed { command: shown, status }) }
}

fn output(command: &mut Command, folder: &Path) -> Result<String, ToolError> {
    let shown = shown(command);
    let output = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolError::Run { command: shown.clone(), source })?;
    if !output.status.success() {
        return Err(ToolError::Failed { command: shown, status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whatever kept a tool from saying who it is.
const fn missing(tool: &'static str, remedy: &'static str) -> ToolError {
    ToolError::Missing { tool, remedy }
}

/// Tells a person which command runs, as it could be typed, and gives it.
fn say(command: &Command, out: &mut dyn Write) -> Result<String, ToolError> {
    let shown = shown(command);
    writeln!(out, "$ {shown}")?;
    out.flush()?;
    Ok(shown)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
