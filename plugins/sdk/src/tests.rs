use std::time::Duration;

use crate::{
    Answer, DoNotStore, Input, Inputs, LookUp, NoSettings, Pass, Policy, Request, RequestDecision,
    RequestPolicy, Response, ResponseDecision, ResponseInput, ResponsePolicy, Store,
    bindings::{request, response, setup},
    glue::Slot,
    testing::{Given, Tester},
};

/// Reads one of every kind, declared out of order and two of them twice, and tells what it read.
struct ReadsAll {
    request: [Input; 8],
    response: [ResponseInput; 2],
}

impl Policy for ReadsAll {
    const NAME: &'static str = "reads-all";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, inputs: &mut Inputs) -> Result<Self, String> {
        Ok(Self {
            request: [
                inputs.time(),
                inputs.path(),
                inputs.capture("id"),
                inputs.field("X-Tenant"),
                inputs.cookie("plan"),
                inputs.method(),
                inputs.query_parameter("page"),
                inputs.field("x-tenant"),
            ],
            response: [inputs.response_field("X-Kind"), inputs.response_field("x-kind")],
        })
    }
}

impl RequestPolicy for ReadsAll {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        let parts = self.request.iter().map(|input| request.get(*input).unwrap_or("-").to_owned());
        LookUp { key_parts: parts.collect(), ..LookUp::default() }.into()
    }
}

impl ResponsePolicy for ReadsAll {
    fn on_response(&self, request: &Request<'_>, response: &Response<'_>) -> ResponseDecision {
        let read = self.response.map(|input| response.get(input).unwrap_or("-"));
        let tenant = request.get(self.request[3]).unwrap_or("-");
        DoNotStore::because(format!("{} {tenant} {}", response.status(), read.join(" "))).into()
    }
}

fn key_parts(parts: &[&str]) -> RequestDecision {
    parts.iter().fold(LookUp::new(), |look_up, part| look_up.key_part(*part)).into()
}

fn values(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|&value| Some(value.to_owned())).collect()
}

#[test]
fn each_handle_reads_its_own_value() {
    let given = Given::new()
        .field("X-TENANT", "acme")
        .query_parameter("page", "2")
        .cookie("plan", "gold")
        .capture("id", "7")
        .method("GET")
        .path("/a")
        .time(12)
        .response_field("X-Kind", "list");
    let tester = Tester::<ReadsAll>::new("{}").unwrap();
    let expected = key_parts(&["12", "/a", "7", "acme", "gold", "GET", "2", "acme"]);
    assert_eq!(tester.on_request(&given), expected);
    let expected = DoNotStore::because("404 acme list list").into();
    assert_eq!(tester.on_response(404, &given), expected);
}

#[test]
fn what_is_not_there_is_none() {
    let tester = Tester::<ReadsAll>::new("{}").unwrap();
    // A cookie is no field, and names of cookies are told apart by case.
    let given = Given::new().cookie("x-tenant", "acme").cookie("Plan", "gold");
    assert_eq!(tester.on_request(&given), key_parts(&["-"; 8]));
}

#[test]
fn values_come_in_the_order_of_the_contract() {
    static SLOT: Slot<ReadsAll> = Slot::new();
    let declared = setup::Inputs::from(SLOT.configure("{}").unwrap());
    assert_eq!(declared.request_fields, ["x-tenant"]);
    assert_eq!(declared.query_parameters, ["page"]);
    assert_eq!(declared.cookies, ["plan"]);
    assert_eq!(declared.captures, ["id"]);
    assert_eq!(declared.response_fields, ["x-kind"]);
    assert!(declared.method && declared.path && declared.time);
    let passed = values(&["field", "query", "cookie", "capture", "method", "path", "time"]);
    let expected = ["time", "path", "capture", "field", "cookie", "method", "query", "field"];
    assert_eq!(SLOT.on_request(&passed), key_parts(&expected));
    let decision = SLOT.on_response(200, &passed, &values(&["kind"]));
    assert_eq!(decision, DoNotStore::because("200 field kind kind").into());
}

#[test]
fn an_instance_is_configured_once() {
    static SLOT: Slot<ReadsAll> = Slot::new();
    assert!(SLOT.configure("{").is_err());
    assert!(SLOT.configure(r#"{ "some": 1 }"#).unwrap_err().contains("some: unknown; there are: none"));
    assert!(SLOT.configure("{}").is_ok());
    assert_eq!(SLOT.configure("{}"), Err("configured twice".to_owned()));
}

#[test]
fn decisions_keep_their_parts_on_the_way_out() {
    let looked_up = LookUp::new().key_part("a").key_part("").tag("t").into();
    let request::RequestDecision::LookUp(passed) = RequestDecision::into(looked_up) else { panic!() };
    assert_eq!((passed.key_parts, passed.tags), (vec!["a".to_owned(), String::new()], vec!["t".to_owned()]));

    let answered = RequestDecision::from(Answer::new(301).field("location", "/b").body("moved"));
    let request::RequestDecision::Answer(passed) = answered.into() else { panic!() };
    let fields = vec![("location".to_owned(), "/b".to_owned())];
    assert_eq!((passed.status, passed.fields, passed.body), (301, fields, b"moved".to_vec()));

    let forwarded =
        Pass::because("b").upstream("canary").only_parameters(["page"]).set_field("x", "1").remove_field("y");
    let request::RequestDecision::Pass(passed) = RequestDecision::from(forwarded).into() else { panic!() };
    assert_eq!((passed.reason.as_str(), passed.forward.upstream.as_deref()), ("b", Some("canary")));
    assert_eq!(passed.forward.fields.remove, ["y"]);
    assert_eq!(passed.forward.fields.set, [("x".to_owned(), "1".to_owned())]);

    let store = Store::new()
        .ttl(Duration::MAX)
        .stale_while_revalidate(Duration::from_micros(1_500))
        .remove_field("server");
    let response::ResponseDecision::Store(passed) = ResponseDecision::from(store).into() else { panic!() };
    assert_eq!(passed.ttl_ms, Some(u64::MAX));
    assert_eq!((passed.stale_while_revalidate_ms, passed.stale_if_error_ms), (Some(1), None));
    assert_eq!(passed.fields.remove, ["server"]);
}
