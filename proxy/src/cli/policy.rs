//! `larder policy ...`: what can be asked about policies, from an empty folder to the running proxy.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Admin;
use crate::config::RouteName;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a project for a new policy: sources, cases, and what builds it
    #[command(after_help = "Examples:
  larder policy new per-currency                    in Rust, in ./per-currency
  larder policy new --lang js per-currency
  larder policy new --lang python --dir /srv/policies/per-currency per-currency

Nothing that is there is overwritten.")]
    New(PolicyNew),
    /// Build the policy in a folder to NAME.wasm there, and say what it is
    #[command(after_help = "Examples:
  larder policy build                               what is in this folder
  larder policy build per-currency

The language is told by what is there: Cargo.toml, package.json or pyproject.toml.")]
    Build(PolicyBuild),
    /// Say what a component is: contract, name, settings, imports and exports
    Inspect(PolicyInspect),
    /// Put recorded requests and responses to a policy, and compare what it decides with what is expected
    #[command(after_help = "Examples:
  larder policy test per-currency.wasm --cases cases
  larder policy test per-currency.wasm --cases cases --bless    write what it decides as expected

Exit code 0 if every case is as expected, 1 if one is not.")]
    Test(PolicyTest),
    /// Measure what a call costs: a fresh instance, a reused one, and a remembered decision
    #[command(after_help = "Examples:
  larder policy bench per-currency.wasm --cases cases    each case is one shape of input
  larder policy bench per-currency.wasm --settings '{\"fallback\": \"EUR\"}'")]
    Bench(PolicyBench),
    /// Put a component in the place of the one that a route has; no request is dropped
    #[command(after_help = "Examples:
  larder policy deploy target/tenant.wasm --route users
  larder policy deploy target/tenant.wasm --route users --name tenant-key      of several

The running proxy compiles it, checks it against the settings that the route has and runs its self-test. Then it writes it
over the file that the configuration names, keeps the old one beside it as FILE.previous, and swaps. Whatever fails, nothing
has changed.")]
    Deploy(PolicyDeploy),
    /// Exchange the component of a route with the one that was there before
    Rollback(PolicyPlace),
    /// Say which policies serve, where, and how they do
    List(Admin),
}

#[derive(Debug, Args)]
pub struct PolicyDeploy {
    /// The component
    #[arg(value_name = "FILE")]
    pub component: PathBuf,
    #[command(flatten)]
    pub place: PolicyPlace,
}

#[derive(Debug, Args)]
pub struct PolicyPlace {
    /// The route that it is for
    #[arg(long, value_name = "NAME")]
    pub route: RouteName,
    /// Which one of several, as it describes itself or as its file is called without `.wasm`
    #[arg(long, value_name = "NAME")]
    pub name: Option<RouteName>,
    #[command(flatten)]
    pub admin: Admin,
}

#[derive(Debug, Args)]
pub struct PolicyNew {
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: Language,
    /// Where to put it, in place of a folder of its name here
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// What the policy is called: small letters, digits and dashes
    pub name: String,
}

/// What a policy is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    #[value(alias = "javascript")]
    Js,
    #[value(alias = "py")]
    Python,
    /// Says why there is none.
    #[value(hide = true)]
    C,
}

#[derive(Debug, Args)]
pub struct PolicyBuild {
    /// The folder of the policy
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct PolicyInspect {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// The component
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PolicyTest {
    /// A folder with case files, or one of them
    #[arg(long, value_name = "FOLDER")]
    pub cases: PathBuf,
    /// Write what is decided into the case files, as what is expected
    #[arg(long)]
    pub bless: bool,
    /// The component
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PolicyBench {
    /// A folder with case files, or one of them; without it inputs are made up
    #[arg(long, value_name = "FOLDER", conflicts_with = "settings")]
    pub cases: Option<PathBuf>,
    /// Settings as JSON, for inputs that are made up
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub settings: String,
    /// Of which the median is taken
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// The component
    pub file: PathBuf,
}
