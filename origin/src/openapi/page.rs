//! The document as a page: no script, nothing from elsewhere, every text escaped.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
details { border-top: 1px solid #8886; padding: .5rem 0; }
summary { cursor: pointer; }
code, .method { font-family: ui-monospace, monospace; }
.method { display: inline-block; font-weight: 600; min-width: 4.5rem; }
.what { display: block; opacity: .75; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { border: 1px solid #8886; padding: .25rem .5rem; text-align: left; vertical-align: top; }
h2 { font-size: 1rem; margin: .75rem 0 0; }
";

/// HTML of an OpenAPI document that was made here.
pub(crate) fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Endpoints</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Endpoints</h1>\n\
         <p>The same for programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n"
    );
    for (path, operations) in members(&document["paths"]) {
        for (method, operation) in members(operations) {
            operation_of(&mut html, &method.to_ascii_uppercase(), path, operation);
        }
    }
    html.push_str("</body>\n</html>\n");
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
    push(
        html,
        format_args!(
            "<details id=\"{id}\">\n<summary><span class=\"method\">{method}</span> <code>{path}</code>\
             <span class=\"what\">{summary}</span></summary>\n"
        ),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str(
            "<h2>Parameters</h2>\n<div class=\"scroll\"><table>\n<tr><th>Name<th>In<th>Needed<th>Value<th></tr>\n",
        );
        for parameter in parameters {
            let needed = if parameter["required"] == true { "yes" } else { "no" };
            let (name, place) = (escaped(text(&parameter["name"])), escaped(text(&parameter["in"])));
            let (value, why) =
                (escaped(&shown(&parameter["schema"])), escaped(text(&parameter["description"])));
            push(
                html,
                format_args!(
                    "<tr><td><code>{name}</code><td>{place}<td>{needed}<td><code>{value}</code><td>{why}</tr>\n"
                ),
            );
        }
        html.push_str("</table></div>\n");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let is_list = body["type"] == "array";
        let object = if is_list { &body["items"] } else { body };
        let what = if is_list { "Body: a JSON array of objects with" } else { "Body: a JSON object with" };
        push(
            html,
            format_args!(
                "<h2>{what}</h2>\n<div class=\"scroll\"><table>\n<tr><th>Member<th>Needed<th>Value</tr>\n"
            ),
        );
        let required = object["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (name, schema) in members(&object["properties"]) {
            let needed = if required.iter().any(|one| one == name) { "yes" } else { "no" };
            let (name, value) = (escaped(name), escaped(&shown(schema)));
            push(
                html,
                format_args!("<tr><td><code>{name}</code><td>{needed}<td><code>{value}</code></tr>\n"),
            );
        }
        html.push_str("</table></div>\n");
    }
    html.push_str("<h2>Answers</h2>\n<div class=\"scroll\"><table>\n<tr><th>Status<th></tr>\n");
    for (status, response) in members(&operation["responses"]) {
        let why = escaped(text(&response["description"]));
        push(html, format_args!("<tr><td>{status}<td>{why}</tr>\n"));
    }
    html.push_str("</table></div>\n");
    let extensions = [
        ("Cache-Control", text(&operation["x-larder-cache-control"]).to_owned()),
        ("Read from", text(&operation["x-larder-read"]).to_owned()),
        (
            "Tags",
            operation["x-larder-tags"]
                .as_array()
                .map(|tags| tags.iter().map(text).collect::<Vec<_>>().join(" "))
                .unwrap_or_default(),
        ),
    ];
    for (name, value) in extensions.iter().filter(|(_, value)| !value.is_empty()) {
        push(html, format_args!("<p>{name}: <code>{}</code></p>\n", escaped(value)));
    }
    html.push_str("</details>\n");
}

/// A schema in a few words.
fn shown(schema: &Value) -> String {
    if schema["type"] == "array" {
        let bounds = bounds(schema, "minItems", "maxItems");
        return format!("{}[]{bounds}", shown(&schema["items"]));
    }
    let kind = schema.get("x-larder-type").or(schema.get("format")).or(schema.get("type"));
    let mut shown = kind.map_or("any JSON", text).to_owned();
    if schema["contentMediaType"] == "application/json" {
        "JSON".clone_into(&mut shown);
    }
    if let Some(values) = schema["enum"].as_array() {
        shown = values.iter().map(text).collect::<Vec<_>>().join(" | ");
    }
    shown.push_str(&bounds(schema, "minimum", "maximum"));
    shown.push_str(&bounds(schema, "minLength", "maxLength"));
    if let Some(default) = schema.get("default") {
        push(&mut shown, format_args!(" = {}", default.as_str().map_or(default.to_string(), str::to_owned)));
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
