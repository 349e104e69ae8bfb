//! One stored response for each currency that is offered, and a short life for prices.

use std::time::Duration;

use larder_policy::{
    Input, Inputs, LookUp, Pass, Policy, Request, RequestDecision, RequestPolicy, Response, ResponseDecision,
    ResponseInput, ResponsePolicy, Setting, Store,
};

struct PerCurrency {
    currency: Input,
    kind: ResponseInput,
    settings: Settings,
}

/// What stands in the configuration; the host checks it against what is said here.
#[derive(Setting)]
struct Settings {
    /// Currencies; the first for who has none.
    #[setting(default = ["EUR", "USD"])]
    offered: Vec<String>,
    /// Lifetime of responses with `x-kind: price`.
    #[setting(default = 5_000)]
    price_ttl_ms: u64,
}

impl Policy for PerCurrency {
    const NAME: &'static str = "per-currency";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Settings = Settings;

    fn configure(settings: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        if settings.offered.is_empty() {
            return Err("offered: names no currency".to_owned());
        }
        // What is not asked for here is not passed.
        Ok(Self { currency: inputs.cookie("currency"), kind: inputs.response_field("x-kind"), settings })
    }
}

impl RequestPolicy for PerCurrency {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let offered = &self.settings.offered;
        let currency = request.get(self.currency).unwrap_or(&offered[0]);
        // From a closed set: what a client can make up must not fill the cache.
        if !offered.iter().any(|known| known == currency) {
            return Pass::because("a currency of the client's own").into();
        }
        LookUp::new().key_part(currency).into()
    }
}

impl ResponsePolicy for PerCurrency {
    fn on_response(&self, _: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        if response.get(self.kind) == Some("price") {
            return Store::new().ttl(Duration::from_millis(self.settings.price_ttl_ms)).tag("prices").into();
        }
        // Whatever the upstream and the route say.
        Store::new().into()
    }
}

larder_policy::export!(PerCurrency: request, response);

#[cfg(test)]
mod tests {
    use larder_policy::testing::{Given, Tester};

    use super::*;

    /// The files that `larder policy test` puts to the component.
    #[test]
    fn the_cases_are_decided_as_they_say() {
        larder_policy::testing::check_cases::<PerCurrency>("cases");
    }

    #[test]
    fn the_currency_is_part_of_the_key() {
        let policy = Tester::<PerCurrency>::new("{}").unwrap();
        let decision = policy.on_request(&Given::new().cookie("currency", "USD"));
        assert_eq!(decision, LookUp::new().key_part("USD").into());
        assert_eq!(policy.on_request(&Given::new()), LookUp::new().key_part("EUR").into());
    }
}
