//! `larder-origin new endpoint "GET /things/{id}"`: a query file to begin with, made from what the server says of the table.
//!
//! What is written was prepared there first; a plan that `check` would complain of is said. Nothing is changed in the database,
//! and no file is overwritten. Without a server the file is a skeleton, which loads.
//! Read next: `new_endpoint/shape.rs` for what a route asks for, `new_endpoint/draft.rs` for what is written.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Method;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::Exit;
use crate::catalogue::prepare::{self, NotPrepared};
use crate::catalogue::{Bind, Catalogue, Endpoint, Route};
use crate::cli;
use crate::config::Config;
use crate::database::Target;
use crate::error::chain;
use crate::faults::{Faults, Position};
use crate::plan::{self, Sizes, judge};

mod words;
mod table;
mod shape;
mod select;
mod tags;
mod draft;
mod skeleton;

use draft::Draft;
use shape::{Filter, Words};
use table::Table;

/// Where the text of a command stands, for messages.
const COMMAND: &str = "new endpoint";

/// `has_server`: the configuration names one.
pub(crate) async fn run(config: &Config, has_server: bool, wanted: &cli::NewEndpoint) -> Result<(), Exit> {
    let route = route(&wanted.route)?;
    if !shape::is_begun(&route.method) {
        return Err(Exit::failed(format!(
            "files are begun for GET, POST, PATCH and DELETE, not for {}; docs/queries.md shows how one is written",
            route.method
        )));
    }
    let words = Words::of(&route);
    if route.method == Method::POST && words.ends_with_variable {
        let path = route.path.rsplit_once('/').map_or("", |(path, _)| path);
        return Err(Exit::failed(format!(
            "POST makes a row of a list, whose path ends with a word: `POST {path}`"
        )));
    }
    if let Some(file) = config.queries.as_deref().and_then(|directory| Catalogue::file_of(directory, &route))
    {
        return Err(Exit::failed(format!(
            "{} answers `{} {}` already",
            file.display(),
            route.method,
            route.path
        )));
    }
    let place = match (&wanted.output, &config.queries) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(directory)) => Some(directory.join(file_name(&route, &words))),
        (None, None) => None,
    };
    if let Some(file) = place.as_deref().filter(|file| file.exists()) {
        return Err(taken(file));
    }
    let mut notes = Vec::new();
    let client = if has_server { Target::first(&config.database).await } else { Err(Vec::new()) };
    let text = match client {
        Ok(client) => from_tables(&client, &route, &words, wanted.table.as_deref(), &mut notes).await?,
        Err(unreachable) => {
            notes.push(
                "no server was asked, so that columns and types are guesses: look for them in the file"
                    .to_owned(),
            );
            notes.extend(unreachable);
            skeleton::text(&route, &words, wanted.table.as_deref())?
        }
    };
    for note in notes {
        eprintln!("larder-origin: {note}");
    }
    let Some(file) = place else { return crate::print(&text) };
    write(&file, &text)?;
    crate::print(&format!(
        "wrote {}; `larder-origin check` reads its plan, `serve` answers with it\n",
        file.display()
    ))
}

/// In the words of query files.
fn route(text: &str) -> Result<Route, Exit> {
    Route::parse(text.trim(), Position { line: 1, column: 1 }).map_err(|(offset, why)| {
        let mut faults = Faults::default();
        let path = Path::new(COMMAND);
        faults.push(path, Some(Position::of(text.trim(), offset)), why);
        faults.quote(path, text.trim());
        Exit::from(faults)
    })
}

/// From what the server says of the tables. Adds what a person should know.
async fn from_tables(
    client: &Client,
    route: &Route,
    words: &Words<'_>,
    name: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<String, Exit> {
    let relations = table::all(client).await?;
    let relation = match (name, words.table) {
        (Some(name), _) => table::named(&relations, name)?,
        (None, Some(word)) => (table::meant(&relations, word, words.before)?)
            .ok_or_else(|| table::none_meant(&relations, word))?,
        (None, None) => return Err(Exit::failed("the path has no word for a table; --table names it")),
    };
    let table = table::read(client, relation).await?;
    let mut parents = Vec::new();
    for capture in &words.captures {
        let parent = match capture.of {
            Some(word) => table::meant(&relations, word, None)?,
            None => None,
        };
        parents.push(match parent {
            Some(parent) => Some(table::read(client, parent).await?),
            None => None,
        });
    }
    let mut filters = Vec::new();
    for (capture, parent) in words.captures.iter().zip(&parents) {
        // `/things/{id}/details` of things: the variable is its own.
        let is_own = parent.as_ref().is_some_and(|parent| parent.oid == table.oid);
        let capture = shape::Capture { of: capture.of.filter(|_| !is_own), ..*capture };
        let is_only_one = words.captures.len() == 1;
        filters.push(shape::filter(&table, capture, parent.as_ref().filter(|_| !is_own), is_only_one)?);
    }
    let mut draft = draft(route, words, &table, &filters)?;
    for (name, kind) in &declared(client, &draft.text()).await? {
        if kind.name().contains(char::is_whitespace) {
            let message = format!(
                "`:{name}` is of the type \"{kind}\", whose name a header cannot have: write the file by hand"
            );
            return Err(Exit::failed(message));
        }
        draft.declare(name, kind);
    }
    let text = draft.text();
    match prepare::prepare(client, &*loaded(&text)?).await {
        Ok(_) => (),
        Err(NotPrepared::Faults(faults)) => return Err(not_good(&faults, &text)),
        Err(NotPrepared::Connection(e)) => return Err(Exit::failed(chain(&e))),
        Err(NotPrepared::NoSuch) => (),
    }
    let planned = async {
        let sizes = Sizes::read(client).await?;
        name_indexes(client, &mut draft, &sizes).await?;
        match loaded(&draft.text()) {
            Ok(endpoint) => judge(client, &endpoint, &sizes).await.map(|judged| judged.faults),
            Err(_) => Ok(Faults::default()),
        }
    };
    match planned.await {
        Ok(faults) if !faults.is_empty() => notes.push(format!("what `check` will say of it:\n{faults}")),
        Ok(_) => (),
        Err(e) => notes.push(format!("its plan could not be read: {}", chain(&e))),
    }
    Ok(draft.text())
}

/// Where plans use another index of the same table, that is the one to be named.
async fn name_indexes(
    client: &Client,
    draft: &mut Draft,
    sizes: &Sizes,
) -> Result<(), tokio_postgres::Error> {
    let Ok(endpoint) = loaded(&draft.text()) else { return Ok(()) };
    let mut used = Vec::new();
    for variant in &endpoint.variants {
        used.extend(plan::read(client, variant).await?.indexes);
    }
    for (index, _) in &endpoint.indexes {
        let is_of_same = |other: &&String| sizes.table_of(other) == sizes.table_of(index);
        if !used.contains(index)
            && let Some(other) = used.iter().find(is_of_same)
        {
            draft.rename_index(index, other);
        }
    }
    Ok(())
}

/// What the method asks of the table.
fn draft(route: &Route, words: &Words<'_>, table: &Table, filters: &[Filter<'_>]) -> Result<Draft, Exit> {
    if route.method != Method::GET && !table.is_table {
        return Err(Exit::failed(format!(
            "`{}` is not a table of its own: files are begun for reading it",
            table.name
        )));
    }
    if route.method == Method::POST {
        return Ok(draft::insert(route, table, filters));
    }
    match (shape::key(table, filters), &route.method) {
        (Some((index, _)), &Method::GET) => Ok(draft::one(route, table, filters, index)),
        (Some(_), &Method::PATCH) => draft::update(route, table, filters)
            .ok_or_else(|| Exit::failed(format!("`{}` has no column that a PATCH could change", table.name))),
        (Some(_), _) => Ok(draft::delete(route, table, filters)),
        (None, &Method::GET) if !words.ends_with_variable => {
            Ok(draft::page(route, table, filters, &shape::order(table, filters)?))
        }
        (None, _) => Err(shape::no_key(table, filters, route)),
    }
}

/// The types that Postgres takes the parameters for.
async fn declared(client: &Client, text: &str) -> Result<Vec<(String, Type)>, Exit> {
    let endpoint = loaded(text)?;
    let mut types = Vec::new();
    for variant in &endpoint.variants {
        let statement = client.prepare(&variant.sql).await.map_err(|e| {
            match prepare::refused(&endpoint, variant, &e) {
                Some(faults) => not_good(&faults, text),
                None => Exit::failed(chain(&e)),
            }
        })?;
        for (bind, kind) in variant.binds.iter().zip(statement.params()) {
            let Bind::Param(index) = *bind else { continue };
            let Some(param) = endpoint.params.get(index) else { continue };
            types.push((param.name.clone(), kind.clone()));
        }
    }
    Ok(types)
}

/// As the catalogue has it.
fn loaded(text: &str) -> Result<Arc<Endpoint>, Exit> {
    let file = vec![(PathBuf::from(COMMAND), text.to_owned())];
    let catalogue = Catalogue::parse(file).map_err(|faults| not_good(&faults, text))?;
    catalogue.endpoints.into_iter().next().ok_or_else(|| Exit::failed("no file could be made"))
}

/// Something in the table that this program did not think of. The text is a beginning still.
fn not_good(faults: &Faults, text: &str) -> Exit {
    Exit::failed(format!("no good file could be made; this one has faults:\n{faults}\n\n{text}"))
}

/// As the shipped ones are called: `thing.sql`, `things_page.sql`, `team_things.sql`, `thing_create.sql`.
fn file_name(route: &Route, words: &Words<'_>) -> String {
    let word = words.table.unwrap_or("endpoint");
    let parents = words.captures.iter().filter_map(|capture| capture.of);
    let mut parts: Vec<String> = parents.map(shape::one).collect();
    let is_list = route.method == Method::GET && !words.ends_with_variable;
    let is_page = is_list && parts.is_empty();
    parts.push(if is_list { words::slug(word) } else { shape::one(word) });
    let end = match route.method {
        Method::POST => "_create",
        Method::PATCH => "_update",
        Method::DELETE => "_delete",
        _ if is_page => "_page",
        _ => "",
    };
    format!("{}{end}.sql", parts.join("_"))
}

fn taken(file: &Path) -> Exit {
    Exit::failed(format!("{} is there already, and stays as it is; -o names another file", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), Exit> {
    let written = File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| {
        if e.kind() == ErrorKind::AlreadyExists {
            return taken(file);
        }
        Exit::failed(format!("cannot write {}: {e}", file.display()))
    })
}
