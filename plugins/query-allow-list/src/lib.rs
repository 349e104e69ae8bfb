//! Only the named query parameters count: all others are dropped, from the key and from what the application gets alike.
//!
//! A parameter that the application does not know cannot split the cache (`?utm_source=`, `?cb=4711`), and one that it does
//! know and the key does not cannot poison it.
//!
//! # Settings
//!
//! ```toml
//! policy = { component = "policies/query-allow-list.wasm", settings = { keep = ["page", "sort", "filter_*"] } }
//! ```
//!
//! # Decisions
//!
//! | the request | looked up and forwarded |
//! |---|---|
//! | `/list?utm_source=x&page=2` | `/list?page=2` |
//! | `/list?cb=4711` | `/list` |
//! | `/list?filter_size=m&b` | `/list?filter_size=m` |
//!
//! It reads nothing, so it is asked once by each worker.

use larder_policy::{Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy, Setting};

pub struct QueryAllowList {
    keep: Vec<String>,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// Query parameters that count, as they are written in the query; one that ends in * stands for all that begin so.
    keep: Vec<String>,
}

impl Policy for QueryAllowList {
    const NAME: &'static str = "query-allow-list";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/keep.json")];
    type Settings = Settings;

    fn configure(Settings { keep }: Settings, _: &mut Inputs) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte))
        };
        match keep.iter().find(|name| !is_name(name)) {
            Some(odd) => {
                Err(format!("keep: {odd:?} cannot stand in a query; write it as it is written there"))
            }
            None => Ok(Self { keep }),
        }
    }
}

impl RequestPolicy for QueryAllowList {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        LookUp::new().only_parameters(self.keep.iter().map(String::as_str)).into()
    }
}

larder_policy::export!(QueryAllowList: request);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    #[test]
    fn what_is_named_is_kept() {
        let policy = Tester::<QueryAllowList>::new(r#"{ "keep": ["page", "filter_*"] }"#).unwrap();
        let expected = LookUp::new().only_parameters(["page", "filter_*"]);
        assert_eq!(policy.on_request(&Given::new().query_parameter("x", "1")), expected.into());
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_query_is_refused() {
        for odd in ["", "a b", "a=b", "a&b"] {
            let settings = format!(r#"{{ "keep": ["{odd}"] }}"#);
            assert!(Tester::<QueryAllowList>::new(&settings).is_err(), "{odd}");
        }
        assert!(Tester::<QueryAllowList>::new("{}").is_err());
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<QueryAllowList>("cases");
    }
}
