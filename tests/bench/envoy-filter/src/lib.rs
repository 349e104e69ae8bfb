//! The key logic of `plugins/tenant-key` as a proxy-wasm filter: what Envoy does in `cargo xtask bench policy`.
//!
//! It reads the same two fields, and puts the key where Envoy's cache looks for one: at the end of the path, as the policy's
//! key parts stand at the end of Larder's key.

#[path = "../../src/tenant_key.rs"]
mod tenant_key;

use std::rc::Rc;

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root { offered: Rc::new(["en", "de"].map(str::to_owned)) }));
}}

struct Root {
    offered: Rc<[String; 2]>,
}

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { offered: Rc::clone(&self.offered) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    offered: Rc<[String; 2]>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let tenant = self.get_http_request_header("x-tenant");
        let accepted = self.get_http_request_header("accept-language");
        match tenant_key::key_parts(tenant.as_deref(), accepted.as_deref(), &*self.offered) {
            Some((tenant, language)) => {
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.set_http_request_header(":path", Some(&format!("{path}?key={tenant},{language}")));
            }
            // Goes past the cache.
            None => self.set_http_request_header("cache-control", Some("no-store")),
        }
        Action::Continue
    }
}
