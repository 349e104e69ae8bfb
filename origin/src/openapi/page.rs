//! The document as a page: no script, nothing from elsewhere, every text escaped.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
details { border-top: 1px solid #8886; padding: .5rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
summary:focus-visible, .scroll:focus-visible { outline: 2px solid; outline-offset: 2px; }
code, .method { font-family: ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
.method { display: inline-block; font-weight: 600; min-width: 4.5rem; }
.what { display: block; opacity: .8; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { border: 1px solid #8886; padding: .25rem .5rem; text-align: left; vertical-align: top; }
th { white-space: nowrap; }
h2 { font-size: 1rem; margin: .75rem 0 0; }
@media (max-width: 40rem) { body { font-size: 15px; } table { width: 100%; } }
";

/// HTML of an OpenAPI document that was made here.
pub(crate) fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Endpoints</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Endpoints</h1>\n\
         <p>The same for programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n"
    );
    for (path, operations) in members(&document["paths"]) {
        for (method, operation) in members(operations) {
            operation_of(&mut html, &method.to_ascii_uppercase(), path, operation);
        }
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn operation_of(html: &mut String, method: &str, path: &str, operation: &Value) {
    let id = escaped(text(&operation["operationId"]));
    let (path, summary) = (escaped(path), escaped(text(&operation["summary"])));
    // A link to what is inside opens it.
    push(
        html,
        format_args!(
            "<details>\n<summary><span class=\"method\">{method}</span> <code>{path}</code>\
             <span class=\"what\">{summary}</span></summary>\n<div id=\"{id}\">\n"
        ),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    table(
        html,
        "Parameters",
        &["Name", "In", "Value"],
        parameters.iter().map(|parameter| {
            let needed = if parameter["required"] == true { ", needed" } else { "" };
            let place = format!("{}{needed}", escaped(text(&parameter["in"])));
            let value =
                format!("{}{}", code(&shown(&parameter["schema"])), what(text(&parameter["description"])));
            vec![code(text(&parameter["name"])), place, value]
        }),
    );
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let is_list = body["type"] == "array";
    let object = if is_list { &body["items"] } else { body };
    let title = if is_list { "Body: a JSON array of objects with" } else { "Body: a JSON object with" };
    let required = object["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    table(
        html,
        title,
        &["Member", "Needed", "Value"],
        members(&object["properties"]).map(|(name, schema)| {
            let needed = if required.iter().any(|one| one == name) { "yes" } else { "no" };
            vec![code(name), needed.to_owned(), code(&shown(schema))]
        }),
    );
    table(
        html,
        "Answers",
        &["Status", "Meaning"],
        members(&operation["responses"]).map(|(status, response)| {
            let fields: Vec<&str> = members(&response["headers"]).map(|(name, _)| name.as_str()).collect();
            let why = format!("{}{}", escaped(text(&response["description"])), what(&fields.join(", ")));
            vec![escaped(status), why]
        }),
    );
    let made = ["200", "201"].iter().find_map(|status| operation["responses"].get(status));
    let schema = made.map_or(&Value::Null, |made| &made["content"]["application/json"]["schema"]);
    let is_page = schema["properties"]["hasNextPage"].is_object();
    let list = if is_page { &schema["properties"]["items"] } else { schema };
    let row = if list["type"] == "array" { &list["items"] } else { list };
    let mut columns = Vec::new();
    flat(&row["properties"], "", &mut columns);
    table(html, "A row", &["Member", "Value"], columns.into_iter());
    let tags = operation["x-larder-tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tags = tags.iter().map(text).collect::<Vec<_>>().join(" ");
    for (name, value) in [
        ("Cache-Control", text(&operation["x-larder-cache-control"])),
        ("Read from", text(&operation["x-larder-read"])),
        ("Tags", tags.as_str()),
    ] {
        if !value.is_empty() {
            push(html, format_args!("<p>{name}: {}</p>\n", code(value)));
        }
    }
    html.push_str("</div>\n</details>\n");
}

/// Cells are HTML. Without rows it is nothing.
fn table(html: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}")).collect();
    // What can be scrolled, keys can scroll.
    push(
        html,
        format_args!("<h2>{title}</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<tr>{heads}</tr>\n"),
    );
    for row in rows {
        push(html, format_args!("<tr><td>{}</tr>\n", row.join("<td>")));
    }
    html.push_str("</table></div>\n");
}

/// Members, those of objects in them as `creator.name`.
fn flat(properties: &Value, before: &str, rows: &mut Vec<Vec<String>>) {
    for (name, schema) in members(properties) {
        let name = format!("{before}{name}");
        match schema.get("properties") {
            Some(inner) => flat(inner, &format!("{name}."), rows),
            None => rows.push(vec![code(&name), code(&shown(schema))]),
        }
    }
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

fn what(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<span class=\"what\">{}</span>", escaped(text)) }
}

/// A schema in a few words.
fn shown(schema: &Value) -> String {
    // `["integer", "null"]` of what can be null.
    let kind = schema["type"].get(0).unwrap_or(&schema["type"]);
    if kind == "array" {
        let bounds = bounds(schema, "minItems", "maxItems");
        return format!("{}[]{bounds}", shown(&schema["items"]));
    }
    let named = schema.get("x-larder-type").or(schema.get("format")).unwrap_or(kind);
    let mut shown = if named.is_null() { "any JSON" } else { text(named) }.to_owned();
    if schema["contentMediaType"] == "application/json" {
        "JSON".clone_into(&mut shown);
    }
    let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    if let Some(values) = schema["enum"].as_array() {
        shown = values.iter().filter(|value| !value.is_null()).map(plain).collect::<Vec<_>>().join(" | ");
    }
    shown.push_str(&bounds(schema, "minimum", "maximum"));
    shown.push_str(&bounds(schema, "minLength", "maxLength"));
    if let Some(default) = schema.get("default") {
        push(&mut shown, format_args!(" = {}", plain(default)));
    }
    shown
}

fn bounds(schema: &Value, low: &str, high: &str) -> String {
    match (&schema[low], &schema[high]) {
        (Value::Null, Value::Null) => String::new(),
        (low, high) => format!(" {low}..{high}"),
    }
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = text.write_fmt(more);
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
