use std::{collections::BTreeMap, time::Duration};

use crate::{Json, ReadSettings, Setting, Ttl};

/// Comments of the struct are for those who read the source.
#[derive(Debug, PartialEq, Setting)]
struct Shop {
    /// Of whom it is,
    /// with a "quote".
    owner: String,
    #[setting(default = ["EUR", "USD"])]
    currencies: Vec<String>,
    #[setting(minimum = 200, maximum = 599, default = [])]
    status: Vec<u16>,
    #[setting(default = {})]
    shares: BTreeMap<String, Share>,
    #[setting(default = "keep-all")]
    mode: Mode,
    #[setting(default = -5, minimum = -10)]
    offset: i32,
    #[setting(default = "1m")]
    ttl: Ttl,
    #[setting(maximum = 1)]
    weight: Option<f64>,
    #[setting(name = "type", default = { "a": [1, true] })]
    kind: Json,
}

#[derive(Debug, PartialEq, Setting)]
struct Share {
    parts: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Setting)]
enum Mode {
    KeepAll,
    Drop,
}

fn read(text: &str) -> Shop {
    <Shop as ReadSettings>::read(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    assert_eq!(<Shop as ReadSettings>::read(text), Err(expected.to_owned()), "{text}");
}

#[test]
fn a_struct_says_its_schema() {
    let schema = <Shop as ReadSettings>::schema();
    let expected = [
        r#"{"type":"object","additionalProperties":false,"properties":{"#,
        r#""owner":{"type":"string","description":"Of whom it is, with a \"quote\"."},"#,
        r#""currencies":{"type":"array","items":{"type":"string"},"default":["EUR","USD"]},"#,
        r#""status":{"type":"array","items":{"type":"integer","minimum":200,"maximum":599},"default":[]},"#,
        r#""shares":{"type":"object","additionalProperties":{"type":"object","additionalProperties":false,"#,
        r#""properties":{"parts":{"type":"integer","minimum":0,"maximum":255}},"required":["parts"]},"default":{}},"#,
        r#""mode":{"enum":["keep-all","drop"],"default":"keep-all"},"#,
        r#""offset":{"type":"integer","minimum":-10,"maximum":2147483647,"default":-5},"#,
        r#""ttl":{"type":["integer","string"],"minimum":0,"maximum":4294967295,"default":"1m"},"#,
        r#""weight":{"type":"number","maximum":1},"#,
        r#""type":{"$comment":"of any kind","default":{"a":[1,true]}}"#,
        r#"},"required":["owner"]}"#,
    ];
    assert_eq!(schema, expected.concat());
    assert!(Json::read(&schema).is_ok());
}

#[test]
fn what_is_left_out_has_its_default() {
    let expected = Shop {
        owner: "o".to_owned(),
        currencies: vec!["EUR".to_owned(), "USD".to_owned()],
        status: Vec::new(),
        shares: BTreeMap::new(),
        mode: Mode::KeepAll,
        offset: -5,
        ttl: Ttl(Duration::from_secs(60)),
        weight: None,
        kind: Json::read(r#"{ "a": [1, true] }"#).unwrap(),
    };
    assert_eq!(read(r#"{ "owner": "o" }"#), expected);
    let said = read(
        r#"{ "owner": "o", "currencies": [], "status": [200, 599], "shares": { "a": { "parts": 255 } }, "mode": "drop",
             "offset": -10, "ttl": 5, "weight": 0.5, "type": null }"#,
    );
    assert_eq!(
        (said.status, said.mode, said.offset, said.weight),
        (vec![200, 599], Mode::Drop, -10, Some(0.5))
    );
    assert_eq!((said.ttl, said.kind, said.currencies), (Ttl(Duration::from_secs(5)), Json::Null, Vec::new()));
    assert_eq!(said.shares["a"], Share { parts: 255 });
}

#[test]
fn faults_say_where_and_what() {
    refuse("[]", "wanted object, found []");
    refuse("{", "not JSON: no \" where a text should begin at line 1, column 2");
    refuse("{}", "owner: missing");
    let with = |member: &str| format!(r#"{{ "owner": "o", {member} }}"#);
    refuse(
        &with(r#""ownr": 1"#),
        "ownr: unknown; there are: owner, currencies, status, shares, mode, offset, ttl, weight, type",
    );
    refuse(&with(r#""currencies": ["a", 1]"#), "currencies[1]: wanted string, found 1");
    refuse(&with(r#""status": [600]"#), "status[0]: 600 is above 599");
    refuse(&with(r#""status": ["a"]"#), "status[0]: wanted integer, found \"a\"");
    refuse(&with(r#""shares": { "a": { "parts": 256 } }"#), "shares.a.parts: 256 is above 255");
    refuse(&with(r#""shares": { "a": {} }"#), "shares.a.parts: missing");
    refuse(&with(r#""mode": "keep""#), "mode: wanted one of \"keep-all\", \"drop\", found \"keep\"");
    refuse(&with(r#""offset": -11"#), "offset: -11 is below -10");
    refuse(&with(r#""offset": 1.5"#), "offset: wanted integer, found 1.5");
    refuse(&with(r#""ttl": "5x""#), "ttl: \"5x\" is not a time such as \"5s\"");
    refuse(&with(r#""ttl": -1"#), "ttl: -1 is below 0");
    refuse(&with(r#""weight": 1.001"#), "weight: 1.001 is above the maximum");
}
