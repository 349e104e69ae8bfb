//! The command line: what can be asked of `larder`, and the help that it prints.
//!
//! Knows what the words mean, not how the wishes are granted.
//! Read next: `main.rs`, which does what was asked; `config.rs` for the file that most commands read.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod policy;

pub use policy::{
    Language, PolicyBench, PolicyBuild, PolicyCommand, PolicyDeploy, PolicyInspect, PolicyNew, PolicyPlace,
    PolicyTest,
};

use crate::config::{BadValue, Secret, SecretFileError, Server};

/// Where the token for the admin listener is looked for if no `--token-file` is given.
pub const TOKEN_VARIABLE: &str = "LARDER_ADMIN_TOKEN";

/// A caching reverse proxy that knows when the data behind a response changed.
#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    after_help = "Try it in front of an app on port 3000:
  larder serve --listen 127.0.0.1:8080 --to http://127.0.0.1:3000
  curl -i http://127.0.0.1:8080/

A whole larder.toml:
  listen = [\"0.0.0.0:8080\"]
  [[upstream]]
  servers = [\"http://127.0.0.1:3000\"]"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy until it is told to stop
    #[command(after_help = "Examples:
  larder serve                            run with ./larder.toml
  larder serve -c /etc/larder.toml
  larder serve --listen 127.0.0.1:8080 --to http://127.0.0.1:3000

SIGTERM and Ctrl-C finish the requests that are running, then stop. SIGHUP reads the file again.")]
    Serve(Serve),
    /// Say what is wrong with a configuration file, all at once, without running it
    #[command(after_help = "Examples:
  larder check                            check ./larder.toml
  larder check -c /etc/larder.toml

Exit code 0 if the file is good, 64 if it is not.")]
    Check(ConfigFile),
    /// Stop serving stored responses, by tag, URL, prefix or host, or all of them; returns when it holds
    #[command(after_help = "Examples:
  larder purge --tag user:42              everything that was made from user 42
  larder purge --tag user:42 --tag team:7
  larder purge --url http://shop.example/basket
  larder purge --prefix http://shop.example/catalogue/
  larder purge --host shop.example
  larder purge --all
  larder purge --tag news --soft          stale, not gone")]
    Purge(Purge),
    /// Say why a request is answered as it is: route, policy, key, what would be stored and for how long
    #[command(after_help = "Examples:
  larder explain http://shop.example/users/42
  larder explain -H 'accept-language: de' --status 200 -R 'cache-control: max-age=60' http://shop.example/
  larder explain --response head.txt http://shop.example/    what `curl -sI` printed
  larder explain --running http://shop.example/users/42      with what the running proxy has stored

Without --running nothing but the configuration file is looked at.")]
    Explain(Explain),
    /// Have the running proxy read its configuration file again, and say what changed
    #[command(after_help = "Examples:
  larder reload
  larder reload --admin http://127.0.0.1:9090

A file with faults changes nothing: the proxy goes on with what it has, and the faults are printed.")]
    Reload(Admin),
    /// Say how the running proxy is doing
    #[command(after_help = "Examples:
  larder status
  larder status --admin http://10.0.0.5:9090 --token-file admin.token")]
    Status(Admin),
    /// Write, build, test and measure policies
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Take requests here, without a configuration file
    #[arg(long, value_name = "ADDRESS", requires = "to", conflicts_with = "config")]
    pub listen: Option<SocketAddr>,
    /// Forward what is not stored to this server
    #[arg(long, value_name = "URL", requires = "listen", conflicts_with = "config")]
    pub to: Option<String>,
}

#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "larder.toml")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct Purge {
    #[command(flatten)]
    pub what: PurgeTargets,
    /// Make them stale in place of ending them: they may be served while they are refreshed, and when the upstream fails
    #[arg(long)]
    pub soft: bool,
    #[command(flatten)]
    pub admin: Admin,
}

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Ask the running proxy, which also says what it has stored
    #[arg(long, conflicts_with = "config")]
    pub running: bool,
    #[command(flatten)]
    pub admin: Admin,
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// A field of the request, as in `name: value`; may be given many times
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub fields: Vec<String>,
    /// Content of the request, of a QUERY for instance
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub data: String,
    /// A file with the head of a response, status line and fields
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "response_fields"])]
    pub response: Option<PathBuf>,
    /// The status of a response to judge
    #[arg(long, value_name = "STATUS")]
    pub status: Option<u16>,
    /// A field of the response, as in `name: value`; may be given many times
    #[arg(short = 'R', long = "response-header", value_name = "FIELD")]
    pub response_fields: Vec<String>,
    /// As a client writes it
    pub url: String,
}

/// At least one of them.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub struct PurgeTargets {
    /// Responses that carry this tag; may be given many times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Responses of this URL as clients write it, all variants of it; may be given many times
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// Responses of all URLs that begin with this one, as in http://host/folder/; may be given many times
    #[arg(long = "prefix", value_name = "URL")]
    pub prefixes: Vec<String>,
    /// Responses of a host, with its port if that is not 80; may be given many times
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// All that is stored
    #[arg(long)]
    pub all: bool,
}

/// How to speak to a running proxy.
#[derive(Debug, Args)]
pub struct Admin {
    /// The admin listener of the running proxy
    #[arg(long = "admin", value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub server: Server,
    /// File with the token of the admin listener; without it, the variable LARDER_ADMIN_TOKEN is used if it is set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why there is no token although one was named.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("the variable {TOKEN_VARIABLE}")]
    Variable(#[source] BadValue),
}

impl Admin {
    /// The token to send: from the file, else from the environment, else none.
    ///
    /// # Errors
    /// The one that was named cannot be read, or holds no token.
    pub fn token(&self) -> Result<Option<Secret>, TokenError> {
        if let Some(file) = &self.token_file {
            return Ok(Some(Secret::load(file)?));
        }
        match std::env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty()) {
            Some(value) => value.to_string_lossy().parse().map(Some).map_err(TokenError::Variable),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|e| e.to_string())
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_a_file_or_two_addresses() {
        let Ok(Command::Serve(serve)) = parse("larder serve") else { panic!() };
        assert_eq!((serve.file.config, serve.to), (PathBuf::from("larder.toml"), None));
        let Ok(Command::Serve(serve)) = parse("larder serve -c x.toml") else { panic!() };
        assert_eq!(serve.file.config, PathBuf::from("x.toml"));
        let line = "larder serve --listen 127.0.0.1:0 --to http://127.0.0.1:3000";
        let Ok(Command::Serve(serve)) = parse(line) else { panic!() };
        assert!(serve.listen.is_some() && serve.to.is_some());
        for wrong in [
            "larder serve --listen 127.0.0.1:0",
            "larder serve --to http://127.0.0.1:3000",
            "larder serve -c x.toml --listen 127.0.0.1:0 --to http://127.0.0.1:3000",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_url_says_how_to_write_it() {
        let message = parse("larder status --admin localhost:9090").unwrap_err();
        assert!(message.contains("--admin <URL>") && message.contains("http://localhost:9090"), "{message}");
    }

    #[test]
    fn purge_needs_a_target() {
        assert!(parse("larder purge").is_err());
        let line = "larder purge --tag a --tag b --url http://x/y --admin http://127.0.0.1:1234";
        let Ok(Command::Purge(purge)) = parse(line) else { panic!() };
        assert_eq!(purge.what.tags, ["a", "b"]);
        assert_eq!(purge.what.urls, ["http://x/y"]);
        assert_eq!(purge.admin.server.port, 1234);
        let line = "larder purge --prefix http://x/y/ --host z --all --soft";
        let Ok(Command::Purge(purge)) = parse(line) else { panic!() };
        assert!(purge.soft && parse("larder purge --soft").is_err());
        assert!(purge.what.all && purge.what.prefixes == ["http://x/y/"] && purge.what.hosts == ["z"]);
    }

    #[test]
    fn policies_have_commands_of_their_own() {
        let Ok(Command::Policy { command: PolicyCommand::New(new) }) =
            parse("larder policy new --lang javascript a")
        else {
            panic!()
        };
        assert_eq!((new.lang, new.name.as_str()), (Language::Js, "a"));
        let Ok(Command::Policy { command: PolicyCommand::Test(test) }) =
            parse("larder policy test a.wasm --cases cases --bless")
        else {
            panic!()
        };
        assert!(test.bless && test.cases.ends_with("cases"));
        assert!(parse("larder policy bench a.wasm --cases c --settings {}").is_err());
        assert!(parse("larder policy new").is_err() && parse("larder policy").is_err());
    }

    #[test]
    fn a_policy_is_deployed_to_a_route() {
        let line = "larder policy deploy a.wasm --route users --name tenant-key";
        let Ok(Command::Policy { command: PolicyCommand::Deploy(deploy) }) = parse(line) else { panic!() };
        assert_eq!((deploy.component, deploy.place.route.as_str()), (PathBuf::from("a.wasm"), "users"));
        assert!(parse("larder policy deploy a.wasm").is_err(), "to which route?");
        assert!(parse("larder policy rollback --route a&b").unwrap_err().contains("is not a name"));
        let Ok(Command::Policy { command: PolicyCommand::List(_) }) = parse("larder policy list") else {
            panic!()
        };
    }

    #[test]
    fn an_unreadable_token_file_is_named() {
        let Ok(Command::Status(admin)) = parse("larder status --token-file no/such.token") else { panic!() };
        let message = admin.token().unwrap_err().to_string();
        assert!(message.contains("no/such.token"), "{message}");
    }
}
