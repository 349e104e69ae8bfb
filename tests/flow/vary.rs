//! Which of several stored responses answers.

use flow_tests::{Origin, Proxy};

use crate::{HIT, STORED, assert_status};

fn in_the_clients_language() -> Origin {
    Origin::start(|seen, answering| {
        let language = seen.field("accept-language").unwrap_or("none").to_owned();
        answering.reply(200, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")], &language)
    })
}

#[test]
fn each_variant_is_stored_and_found_again() {
    let origin = in_the_clients_language();
    let proxy = Proxy::in_front_of(&origin, "");
    assert_status(&proxy.get_with("/a", &[("accept-language", "de")]), STORED);
    let other = proxy.get_with("/a", &[("accept-language", "fr")]);
    assert_status(&other, "larder; fwd=vary-miss; fwd-status=200; stored");
    assert_eq!(other.text(), "fr");
    assert_eq!(proxy.get("/a").text(), "none");
    for (language, expected) in [("de", "de"), ("fr", "fr")] {
        let hit = proxy.get_with("/a", &[("accept-language", language)]);
        assert_status(&hit, HIT);
        assert_eq!(hit.text(), expected);
    }
    assert_status(&proxy.get("/a"), HIT);
    assert_eq!(origin.count(), 3);
}

#[test]
fn variants_of_one_key_are_bounded() {
    let origin = in_the_clients_language();
    let proxy = Proxy::in_front_of(&origin, "");
    for number in 0..larder::memory::MAX_VARIANTS + 1 {
        proxy.get_with("/a", &[("accept-language", &number.to_string())]);
    }
    assert_status(
        &proxy.get_with("/a", &[("accept-language", "0")]),
        "larder; fwd=vary-miss; fwd-status=200; stored",
    );
    assert_status(&proxy.get_with("/a", &[("accept-language", "32")]), HIT);
}

#[test]
fn a_field_that_the_upstream_does_not_see_selects_nothing() {
    let origin = in_the_clients_language();
    let proxy = Proxy::in_front_of(&origin, "");
    // `Connection` takes the field away before anybody looks at it.
    let hidden = proxy.get_with("/a", &[("accept-language", "fr"), ("connection", "accept-language")]);
    assert_eq!(hidden.text(), "none");
    let french = proxy.get_with("/a", &[("accept-language", "fr")]);
    assert_eq!(french.text(), "fr");
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4
//= type=test
//# When more than one suitable response is stored, a cache MUST use the
//# most recent one (as determined by the Date header field).
#[test]
fn of_two_that_match_the_one_that_was_made_last_answers() {
    let origin = Origin::start(|seen, answering| {
        let old = [("cache-control", "max-age=3600"), ("vary", "x-b"), ("age", "500")];
        let new = [("cache-control", "max-age=3600"), ("vary", "x-a")];
        if seen.field("x-a") == Some("2") {
            answering.reply(200, &old, "old")
        } else {
            answering.reply(200, &new, "new")
        }
    });
    let proxy = Proxy::in_front_of(&origin, "");
    assert_eq!(proxy.get_with("/a", &[("x-a", "1"), ("x-b", "1")]).text(), "new");
    assert_eq!(proxy.get_with("/a", &[("x-a", "2"), ("x-b", "1")]).text(), "old");
    let hit = proxy.get_with("/a", &[("x-a", "1"), ("x-b", "1")]);
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "new");
}
