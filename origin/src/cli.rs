//! The command line: what can be asked of `larder-origin`, and the help that it prints.
//!
//! Knows what the words mean, not how the wishes are granted. Read next: `main.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::clock::Day;

/// HTTP endpoints from SQL files, answered from Postgres
#[derive(Debug, Parser)]
#[command(
    name = "larder-origin",
    version,
    after_help = "From an empty database to answers:
  export DATABASE_URL=postgres://app@127.0.0.1:5432/app
  larder-origin migrate
  larder-origin seed --resources 10000
  larder-origin serve --listen 127.0.0.1:8081
  curl -i http://127.0.0.1:8081/resources/res-1

Without --config the servers come from the environment: DATABASE_URL, and REPLICA_URLS (separated by commas).
A whole origin.toml:
  listen = \"127.0.0.1:8081\"
  [database]
  primary = \"postgres://app@10.0.0.1/app\"
  replicas = [\"postgres://app@10.0.0.2/app\"]
  [queries]
  directory = \"queries\"        # yours; default: the catalogue that ships
  [schema]
  directory = \"schema\"         # your migrations; default: those of the same catalogue"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer requests until told to stop
    #[command(after_help = "Examples:
  larder-origin serve                              servers from the environment
  larder-origin serve -c origin.toml
  larder-origin serve --listen 127.0.0.1:0         any free port; the log says which

Health and metrics: /-/healthz, /-/readyz, /-/metrics. The endpoints: /openapi.json, /-/docs. SIGTERM and Ctrl-C finish the requests that are running,
then stop; a second one stops at once. SIGHUP reads the folder of query files again: if all of them are good on every server,
they take the place of the old ones without a dropped request. A server that is down is tried again until it is back. RUST_LOG=debug says more.")]
    Serve(Serve),
    /// Prepare and plan every statement on every server, and say everything that is wrong
    #[command(after_help = "Examples:
  larder-origin check
  larder-origin check -c origin.toml
  larder-origin check --json | jq '.faults[] | {file, line, message}'

Plans depend on what is in the tables: check against a database that is filled. Exit code 0 if all is good, 64 if the
configuration or a query file is not, 1 if a server cannot be reached.")]
    Check(Check),
    /// Bring the schema of the primary up to date
    #[command(after_help = "Examples:
  larder-origin migrate
  larder-origin migrate --plan                     only say what would be done

Files NNNN_name.sql run in order, once each, every one in a transaction of its own; one that has the line
`-- transaction: none` at its top runs statement by statement. What was done is in the table larder_migrations.")]
    Migrate(Migrate),
    /// Fill the tables of the catalogue that ships with generated data
    #[command(after_help = "Examples:
  larder-origin seed                               10,000 resources and what belongs to them
  larder-origin seed --resources 1000000
  larder-origin seed --until 2026-01-31            the same rows on any day, to the byte
  larder-origin seed --if-empty                    nothing if there are rows already
  larder-origin seed --force                       deletes all rows of these tables first

The same number and day give the same data, always. Public ids are res-1, usr-1, team-1, ver-1, run-1, chat-1, msg-1 and so
on; res-1, usr-1, team-1 and chat-1 are public, res-1 is of usr-1 in team-1, and usr-1 has unread messages in chat-1, the
longest one.")]
    Seed(Seed),
    /// Print the endpoints as an OpenAPI 3.1 document
    #[command(after_help = "Examples:
  larder-origin openapi > openapi.json             from the query files: no server is asked
  larder-origin openapi --columns                  with the columns of rows, from the first server that answers
  larder-origin openapi -c origin.toml | jq '.paths | keys'

A running worker has the same at /openapi.json, with the columns, and as a page to read at /-/docs.")]
    Openapi(Openapi),
    /// Read the statistics of every server, and say what is slow, unused, missing or running out
    #[command(after_help = "Examples:
  larder-origin doctor
  larder-origin doctor -c origin.toml
  larder-origin doctor --json | jq '.findings[] | {severity, kind, what, sql}'

Changes nothing: what to run is said, with the reason. An ordinary role will do; one with pg_monitor sees more. Exit code 0
if nothing is wrong, 1 if there are warnings, 2 if a server was not examined or not all of it (the others still are), 64 if
the configuration is not good. Every finding is explained in docs/monitoring.md.")]
    Doctor(Doctor),
    /// Begin a file
    #[command(subcommand)]
    New(New),
    /// The change feed, which tells proxies what was changed
    #[command(subcommand)]
    Feed(Feed),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Feed {
    /// Say what the database lacks for the feed, with the SQL for it
    #[command(after_help = "Examples:
  larder-origin feed setup -c origin.toml
  larder-origin feed setup -c origin.toml --apply

Changes nothing without --apply, and with it only replica identities and the publication, in one transaction; what needs a
restart or another role is said, to be done by hand. Exit code 0 if nothing is missing, 1 if something is, 64 if the
configuration is not good. What it all is for: docs/origin.md.")]
    Setup(FeedSetup),
}

#[derive(Debug, Args)]
pub(crate) struct FeedSetup {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Run the SQL that need not be run by hand
    #[arg(long)]
    pub(crate) apply: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum New {
    /// Write a query file for a route, from the columns, keys and indexes of its table
    #[command(after_help = "Examples:
  larder-origin new endpoint \"GET /things/{id}\"             one row, by the key that the variable is called like
  larder-origin new endpoint \"GET /things\"                  pages, in the order of an index
  larder-origin new endpoint \"GET /teams/{team_id}/things\"  the pages of one team
  larder-origin new endpoint \"POST /things\"                 also PATCH and DELETE of /things/{id}
  larder-origin new endpoint \"GET /lines\" --table \"Order Lines\" -o queries/lines.sql

The file is prepared on the first server that answers before it is written, and goes into the folder of `[queries] directory`,
or to standard output if there is none. Nothing is overwritten, and nothing in the database is changed. Without a server it is
a skeleton, which says what was guessed.")]
    Endpoint(NewEndpoint),
}

#[derive(Debug, Args)]
pub(crate) struct NewEndpoint {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Method and path, such as "GET /things/{id}"
    #[arg(value_name = "ROUTE")]
    pub(crate) route: String,
    /// The table, with its schema or without [default: the one that the path means]
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Write this file [default: one of the folder of query files, called like the route]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration [default: the environment]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// One JSON document, in place of tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Openapi {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Ask a server for the columns of `body: columns`
    #[arg(long)]
    pub(crate) columns: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// One JSON document, in place of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// An index is unused when no server used it for so long
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub(crate) unused_days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Take requests here, whatever the configuration says
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Seed {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// How many resources; everything else is in proportion
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=20_000_000))]
    pub(crate) resources: u32,
    /// The day that the data ends with, in UTC: nothing in it was made later [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = str::parse::<Day>)]
    pub(crate) until: Option<Day>,
    /// Delete every row of these tables first
    #[arg(long, conflicts_with = "if_empty")]
    pub(crate) force: bool,
    /// Do nothing, successfully, if the tables have rows
    #[arg(long)]
    pub(crate) if_empty: bool,
}
