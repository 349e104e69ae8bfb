//! One stored response for each bucket of an experiment.
//!
//! A client is dealt into a bucket by a hash of a cookie that it keeps, so that it sees the same variant each time and no state
//! is needed anywhere. The application is told the bucket in a field, or each bucket has an upstream of its own.
//!
//! # Settings
//!
//! ```toml
//! [route.policy]
//! component = "policies/ab-bucket.wasm"
//!
//! [route.policy.settings]
//! experiment = "checkout-2"            # another name deals the same clients anew
//! cookie = "visitor"
//! buckets = { control = 9, new = 1 }   # one in ten
//! without_cookie = "control"           # leave it out, and they go past the cache
//! upstreams = { new = "canary" }       # with `upstreams = ["canary"]` in the route
//! ```
//!
//! # Decisions
//!
//! | the request | decision |
//! |---|---|
//! | `cookie: visitor=4711` | key part `checkout-2:control`, `x-bucket: control` |
//! | a visitor of bucket `new` | key part `checkout-2:new`, `x-bucket: new`, from upstream `canary` |
//! | no cookie | as bucket `control` |

use std::collections::BTreeMap;

use larder_policy::{Input, Inputs, LookUp, Pass, Policy, Request, RequestDecision, RequestPolicy, Setting};

pub struct AbBucket {
    cookie: Input,
    settings: Settings,
    /// Of all buckets.
    weight: u64,
}

#[derive(Debug, Setting)]
pub struct Settings {
    /// Its name; another name deals the same clients anew.
    experiment: String,
    /// The cookie whose value stays the same for a client.
    cookie: String,
    /// By name: how large a bucket is beside the others.
    #[setting(maximum = 1_000_000)]
    buckets: BTreeMap<String, u32>,
    /// The bucket of clients without the cookie. Without it they go past the cache.
    without_cookie: Option<String>,
    /// The request header field in which the application is told the bucket.
    #[setting(default = "x-bucket")]
    header: String,
    /// By bucket: the upstream that answers it, one of those that the route lets policies choose from.
    #[setting(default = {})]
    upstreams: BTreeMap<String, String>,
}

impl Policy for AbBucket {
    const NAME: &'static str = "ab-bucket";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] = &[include_str!("../cases/buckets.json")];
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        let weight: u64 = settings.buckets.values().map(|weight| u64::from(*weight)).sum();
        if weight == 0 {
            return Err("buckets: all of them are empty".to_owned());
        }
        let named = settings.upstreams.keys().map(|bucket| ("upstreams", bucket));
        let named = named.chain(settings.without_cookie.iter().map(|bucket| ("without_cookie", bucket)));
        for (setting, bucket) in named {
            if !settings.buckets.contains_key(bucket) {
                return Err(format!("{setting}: there is no bucket {bucket:?}"));
            }
        }
        Ok(Self { cookie: inputs.cookie(&settings.cookie), settings, weight })
    }
}

impl RequestPolicy for AbBucket {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let Settings { experiment, without_cookie, header, upstreams, .. } = &self.settings;
        let bucket = match request.get(self.cookie).filter(|value| !value.is_empty()) {
            Some(visitor) => self.bucket(visitor),
            None => without_cookie.as_deref(),
        };
        let Some(bucket) = bucket else {
            // A client does not choose its bucket.
            return Pass::because("in no bucket").remove_field(header).into();
        };
        let look_up = LookUp::new().key_part(format!("{experiment}:{bucket}")).set_field(header, bucket);
        match upstreams.get(bucket) {
            Some(upstream) => look_up.upstream(upstream).into(),
            None => look_up.into(),
        }
    }
}

impl AbBucket {
    fn bucket(&self, visitor: &str) -> Option<&str> {
        let mut left = hash(&self.settings.experiment, visitor) % self.weight;
        let is_here = |(_, weight): &(&String, &u32)| {
            let weight = u64::from(**weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        };
        self.settings.buckets.iter().find(is_here).map(|(name, _)| name.as_str())
    }
}

/// FNV-1a of both, stirred at the end (the finalizer of MurmurHash3), since its low bits alone are not even enough.
fn hash(experiment: &str, visitor: &str) -> u64 {
    let bytes = experiment.bytes().chain([0]).chain(visitor.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let stirred = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    stirred ^ (stirred >> 33)
}

larder_policy::export!(AbBucket: request);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    const SETTINGS: &str = r#"{ "experiment": "e", "cookie": "v", "buckets": { "a": 9, "b": 1 },
        "without_cookie": "a", "upstreams": { "b": "canary" } }"#;

    fn look_up(bucket: &str) -> LookUp {
        LookUp::new().key_part(format!("e:{bucket}")).set_field("x-bucket", bucket)
    }

    #[test]
    fn clients_are_dealt_by_weight_and_stay_where_they_are() {
        let policy = Tester::<AbBucket>::new(SETTINGS).unwrap();
        let of = |visitor: u32| policy.on_request(&Given::new().cookie("v", &visitor.to_string()));
        let in_b =
            (0..10_000).filter(|visitor| of(*visitor) == look_up("b").upstream("canary").into()).count();
        let in_a = (0..10_000).filter(|visitor| of(*visitor) == look_up("a").into()).count();
        assert_eq!(in_a + in_b, 10_000);
        assert!((900..1_100).contains(&in_b), "{in_b}");
    }

    #[test]
    fn another_experiment_deals_anew() {
        let same = (0..1_000).filter(|visitor: &u32| {
            let visitor = visitor.to_string();
            hash("one", &visitor) % 2 == hash("two", &visitor) % 2
        });
        let same = same.count();
        assert!((400..600).contains(&same), "{same}");
    }

    #[test]
    fn who_has_no_cookie_is_in_the_named_bucket_or_in_none() {
        let policy = Tester::<AbBucket>::new(SETTINGS).unwrap();
        assert_eq!(policy.on_request(&Given::new()), look_up("a").into());
        let settings = r#"{ "experiment": "e", "cookie": "v", "buckets": { "a": 1 } }"#;
        let policy = Tester::<AbBucket>::new(settings).unwrap();
        let passed = Pass::because("in no bucket").remove_field("x-bucket");
        assert_eq!(policy.on_request(&Given::new().cookie("v", "")), passed.into());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for (settings, expected) in [
            (r#"{ "experiment": "e", "cookie": "v", "buckets": { "a": 0 } }"#, "all of them are empty"),
            (
                r#"{ "experiment": "e", "cookie": "v", "buckets": { "a": 1 }, "without_cookie": "b" }"#,
                "no bucket",
            ),
            (
                r#"{ "experiment": "e", "cookie": "v", "buckets": { "a": 1 }, "upstreams": { "b": "x" } }"#,
                "upstreams: there is no bucket",
            ),
        ] {
            let Err(error) = Tester::<AbBucket>::new(settings) else { panic!("took {settings}") };
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<AbBucket>("cases");
    }
}
