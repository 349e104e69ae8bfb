use std::path::Path;

use super::*;

/// Goes with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("larder-policy-new-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over in a temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write(lang: Language, folder: &Folder, name: &str) -> Result<PathBuf, ToolError> {
    let dir = folder.0.join(name);
    new(&PolicyNew { lang, dir: Some(dir.clone()), name: name.to_owned() }, &mut Vec::new())?;
    Ok(dir)
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(everything_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_name_is_written_in_three_ways() {
    let three = names("a-b2-c").unwrap();
    assert_eq!(three, ["a-b2-c", "a_b2_c", "AB2C"]);
    for wrong in ["", "a_b", "A", "1a", "-a", "a-", "a--b", "\u{e4}", &"a".repeat(65)] {
        assert!(matches!(names(wrong), Err(ToolError::Name(_))), "{wrong}");
    }
}

#[test]
fn the_name_of_the_template_is_nowhere_in_a_project() {
    let folder = Folder::new("names");
    for lang in [Language::Rust, Language::Js, Language::Python] {
        let project = write(lang, &folder, &format!("mine-{}", language(lang).to_lowercase())).unwrap();
        for path in everything_below(&project) {
            let relative = path.strip_prefix(&project).unwrap();
            // The SDK's own documentation has an example of that name.
            if relative.starts_with("larder/sdk/src") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for name in TEMPLATE_NAMES {
                assert!(
                    !text.contains(name) && !relative.to_str().unwrap().contains(name),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn what_is_there_is_not_overwritten() {
    let folder = Folder::new("there");
    let project = write(Language::Js, &folder, "a").unwrap();
    fs::write(project.join("policy.js"), "mine").unwrap();
    assert!(matches!(write(Language::Python, &folder, "a"), Err(ToolError::IsThere(_))));
    assert_eq!(fs::read_to_string(project.join("policy.js")).unwrap(), "mine");
    assert!(!project.join("policy.py").exists());
    fs::create_dir(folder.0.join("empty")).unwrap();
    assert!(write(Language::Js, &folder, "empty").is_ok());
    assert!(matches!(write(Language::C, &folder, "c"), Err(ToolError::NoTemplateForC)));
}

#[test]
fn all_of_the_sdk_is_in_the_template() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sdk/src");
    let mut there: Vec<_> = everything_below(&sources)
        .iter()
        .map(|path| format!("larder/sdk/src/{}", path.strip_prefix(&sources).unwrap().display()))
        .collect();
    there.sort_unstable();
    assert_eq!(there, SDK.iter().map(|(to, _)| *to).collect::<Vec<_>>());
}

#[test]
fn all_of_the_macro_is_in_the_template() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sdk/derive/src");
    assert_eq!(everything_below(&sources), [sources.join("lib.rs")]);
}

/// What the SDK and its macro depend on here, they depend on there, in the same versions.
#[test]
fn the_sdk_of_the_template_has_the_dependencies_of_the_sdk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap().parse::<toml::Table>().unwrap();
    let workspace = read("Cargo.toml");
    let said = &workspace["workspace"]["dependencies"];
    for part in ["sdk", "sdk/derive"] {
        let sdk = dependencies(&read(&format!("plugins/{part}/Cargo.toml")));
        let template = dependencies(&read(&format!("plugins/templates/rust/larder/{part}/Cargo.toml")));
        let names = |dependencies: &[(String, toml::Value)]| {
            dependencies.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&sdk), names(&template));
        for (name, value) in &template {
            let version = |value: &toml::Value| {
                value.get("version").unwrap_or(value).as_str().map(str::to_owned).unwrap_or_default()
            };
            let (here, there) = (version(&said[name.as_str()]), version(value));
            // The macro has no version: it is a part of the project.
            let is_same = here.starts_with(&there) && here.is_empty() == there.is_empty();
            assert!(is_same, "{name}: {here} here, {there:?} in the template");
        }
    }
}

/// By name.
fn dependencies(manifest: &toml::Table) -> Vec<(String, toml::Value)> {
    let all = manifest["dependencies"].as_table().unwrap();
    let mut all: Vec<_> = all.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    all.sort_by(|(one, _), (two, _)| one.cmp(two));
    all
}
