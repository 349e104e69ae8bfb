//! The walk of `docs/policies.md`, from an empty folder to a policy that serves, with the toolchains that are here; and the
//! policies that ship in languages other than Rust, built and put to their cases.
//!
//! The commands are those of the document. A language whose toolchain cannot be had on this machine is not walked, which is
//! said loudly; whatever fails after its toolchain is there is a failure.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use rig::{
    http::Client,
    process::Process,
    programs::{target_dir, workspace},
};

/// What a walk does in place of what the document says for Rust.
struct Language {
    name: &'static str,
    lang: &'static str,
    source: &'static str,
}

const RUST: Language = Language { name: "Rust", lang: "rust", source: "src/lib.rs" };
const JAVASCRIPT: Language = Language { name: "JavaScript", lang: "js", source: "policy.js" };
const PYTHON: Language = Language { name: "Python", lang: "python", source: "policy.py" };

#[test]
fn the_document_is_walked_in_rust() {
    // What tests are built with is here, and `rig` sees to the target.
    walk(&RUST);
}

#[test]
fn the_document_is_walked_in_javascript() {
    if let Some(why) = npm_missing() {
        return not_walked(&JAVASCRIPT, &why);
    }
    walk(&JAVASCRIPT);
}

#[test]
fn the_document_is_walked_in_python() {
    if let Some(why) = pip_missing() {
        return not_walked(&PYTHON, &why);
    }
    walk(&PYTHON);
}

#[test]
fn the_policy_that_ships_in_javascript_passes_its_cases() {
    if let Some(why) = npm_missing() {
        return not_walked(&JAVASCRIPT, &why);
    }
    build_and_test("redirects");
}

#[test]
fn the_policy_that_ships_in_python_passes_its_cases() {
    if let Some(why) = pip_missing() {
        return not_walked(&PYTHON, &why);
    }
    build_and_test("crawlers");
}

fn not_walked(language: &Language, why: &str) {
    // Past the capture of the test harness: whoever reads the log is to see it.
    let text = format!("\nNOT TESTED: policies in {}: {why}\n\n", language.name);
    io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Why JavaScript cannot be built: a program is not here, or the registry does not answer. Asked once.
fn npm_missing() -> Option<String> {
    static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
        let view = ["view", "componentize-qjs", "version", "--fetch-retries=0", "--fetch-timeout=20000"];
        tool_missing("node", &["--version"]).or_else(|| tool_missing("npm", &view))
    });
    MISSING.clone()
}

/// The same for Python. A virtual environment brings a pip of its own, which the one of the system need not have.
fn pip_missing() -> Option<String> {
    static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
        let folder = target_dir().join("policy-walk/caches");
        let (venv, wheels) = (folder.join("venv"), folder.join("wheels"));
        let requirements = workspace().join("plugins/templates/python/requirements.txt");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", "--timeout", "20"];
        let pip = pip.map(str::to_owned).into_iter();
        let download: Vec<_> = pip
            .chain(["--dest".to_owned(), text(&wheels), "--requirement".to_owned(), text(&requirements)])
            .collect();
        let download: Vec<_> = download.iter().map(String::as_str).collect();
        tool_missing("python3", &["-m", "venv", &text(&venv)])
            .or_else(|| tool_missing(&text(&venv.join("bin/python")), &download))
    });
    MISSING.clone()
}

fn tool_missing(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    match caches(command.args(arguments)).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("`{program} {}`: {}", arguments.join(" "), said(&output))),
        Err(error) => Some(format!("`{program}`: {error}")),
    }
}

/// Nothing outside the target folder is written, and a second run downloads nothing.
fn caches(command: &mut Command) -> &mut Command {
    let caches = target_dir().join("policy-walk/caches");
    command
        .env("npm_config_cache", caches.join("npm"))
        .env("npm_config_update_notifier", "false")
        .env("PIP_CACHE_DIR", caches.join("pip"))
        .env("CARGO_TARGET_DIR", target_dir().join("policy-walk/cargo"))
}

fn said(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// An empty folder in the target folder.
fn empty(name: &str) -> PathBuf {
    let folder = target_dir().join("policy-walk").join(name);
    // It may not be there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn build_and_test(name: &str) {
    // A copy of what the build reads, in its places: nothing is put beside the sources.
    let folder = empty(&format!("ships-{name}"));
    let plugins = workspace().join("plugins");
    copy(&workspace().join("wit"), &folder.join("wit"));
    copy(&plugins.join("templates"), &folder.join("plugins/templates"));
    copy(&plugins.join(name), &folder.join("plugins").join(name));
    let here = folder.join("plugins").join(name);
    for arguments in
        [&["policy", "build"][..], &["policy", "test", &format!("{name}.wasm"), "--cases", "cases"]]
    {
        let mut larder = Command::new(env!("CARGO_BIN_EXE_larder"));
        let output = caches(larder.args(arguments)).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "larder {}:\n{}", arguments.join(" "), said(&output));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if !["node_modules", ".venv"].contains(&name.to_str().unwrap()) {
            copy(&path, &to.join(name));
        }
    }
}

/// The commands of the document, in their order: the lines of its blocks in `sh`, a here-document with its command.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(workspace().join("docs/policies.md")).unwrap();
    let mut commands = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let mut lines = block.split("```").next().unwrap().lines();
        while let Some(line) = lines.next() {
            let mut command = line.to_owned();
            if line.ends_with("<<'END'") {
                for line in lines.by_ref() {
                    command.push_str(&format!("\n{line}"));
                    if line == "END" {
                        break;
                    }
                }
            }
            commands.push(command);
        }
    }
    commands
}

fn walk(language: &Language) {
    let folder = empty(&format!("walk-{}", language.lang));
    let proxy = Proxy::start(&folder);
    let mut here = folder.clone();
    let (mut larder_commands, mut requests) = (0, 0);
    for command in commands() {
        let command = command
            .replace("--lang rust", &format!("--lang {}", language.lang))
            .replace("src/lib.rs", language.source);
        if let Some(folder) = command.strip_prefix("cd ") {
            here = here.join(folder);
        } else if command.starts_with("curl ") {
            requests += 1;
            proxy.request(&command);
        } else {
            larder_commands += usize::from(command.starts_with("larder "));
            proxy.run(&command, &here);
        }
    }
    // A document in which nothing is found anymore would pass, too.
    assert!(larder_commands >= 8 && requests >= 5, "{larder_commands} commands, {requests} requests");
}

struct Proxy {
    _process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    /// With the program `larder` in it.
    programs: PathBuf,
}

impl Proxy {
    /// With the route that the demo has, and a policy in it to be replaced.
    fn start(folder: &Path) -> Proxy {
        let policies = folder.join("served/policies");
        fs::create_dir_all(&policies).unwrap();
        fs::copy(rig::policies::build().unwrap().join("tenant-key.wasm"), policies.join("mine.wasm"))
            .unwrap();
        let upstream = upstream();
        let file = folder.join("served/larder.toml");
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"origin\"\nservers = [\"http://{upstream}\"]\n\
             [[route]]\nname = \"teams\"\nmatch = {{ path = \"/users/{{id}}/teams\" }}\nupstream = \"origin\"\n\
             policy = {{ component = \"policies/mine.wasm\" }}\n"
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        let mut process = Process::start("larder", command.args(["serve", "-c"]).arg(&file)).unwrap();
        let address = process.wait_for_address("serving").unwrap();
        let admin = process.wait_for_address("admin").unwrap();
        let programs = folder.join("programs");
        fs::create_dir_all(&programs).unwrap();
        // Under its name, whatever cargo called it.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), programs.join("larder")).unwrap();
        Proxy { _process: process, address, admin, programs }
    }

    /// As it stands in the document, but for the admin listener, which has another port here.
    fn run(&self, command: &str, here: &Path) {
        let speaks_to_proxy = ["deploy", "rollback", "list"]
            .iter()
            .any(|name| command.starts_with(&format!("larder policy {name}")));
        let admin = if speaks_to_proxy { format!(" --admin http://{}", self.admin) } else { String::new() };
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-ec", &format!("{command}{admin}")]).current_dir(here).stdin(Stdio::null());
        let output =
            caches(&mut shell).env("PATH", format!("{}:{path}", self.programs.display())).output().unwrap();
        assert!(output.status.success(), "{command}:\n{}", said(&output));
    }

    /// `curl -i [-H 'name: value'] URL   # cache-status: what is expected`
    fn request(&self, command: &str) {
        let (command, expected) = command.split_once("# cache-status: ").expect(command);
        let field = command.split('\'').nth(1).and_then(|field| field.split_once(": "));
        let (_, target) = command.trim().split_once("http://127.0.0.1:8080").expect(command);
        let response = Client::connect(self.address).unwrap().get(target, field.as_slice()).unwrap();
        let status = response.field("cache-status").unwrap_or_default();
        assert_eq!(response.status, 200, "{command}");
        assert!(status.contains(expected), "{command}: {status}");
    }
}

/// Answers everything, and lets it be stored.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 2\r\n\r\nok")?;
        }
        line.clear();
    }
    Ok(())
}
