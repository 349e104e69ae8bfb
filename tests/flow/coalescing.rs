//! Many requests for one key, one fetch: who shares it, who does not, and that nobody waits for ever.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use flow_tests::{Client, Gate, Origin, Proxy, Response, wait};

use crate::{HIT, STORED, assert_status};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// Sends a request without waiting for its answer.
fn asked(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> Client {
    let mut client = proxy.client();
    let head = rig::http::head("GET", target, "h", fields, b"");
    client.send(&head).expect("the proxy takes requests");
    client
}

fn answer_of(mut client: Client) -> Response {
    client.response("GET").expect("everybody gets an answer")
}

/// An upstream that holds every answer back until the gate is open.
fn held(gate: &Gate, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let gate = gate.clone();
    Origin::start(move |_, answering| {
        gate.wait()?;
        answering.reply(200, fields, "one")
    })
}

/// A first request that has reached the upstream, and so many that wait for its answer.
fn crowd(proxy: &Proxy, origin: &Origin, followers: usize) -> (Client, Vec<Client>) {
    let leader = asked(proxy, "/a", &[]);
    origin.wait_for(1);
    let followers: Vec<_> = (0..followers).map(|_| asked(proxy, "/a", &[])).collect();
    wait::until("the followers to wait", || proxy.shared.fills.waiting() == followers.len());
    (leader, followers)
}

#[test]
fn a_crowd_for_one_cold_key_reaches_the_upstream_once() {
    let gate = Gate::default();
    let origin = held(&gate, FRESH);
    let proxy = Proxy::in_front_of(&origin, "");
    let (leader, followers) = crowd(&proxy, &origin, 50);
    gate.open();
    assert_status(&answer_of(leader), STORED);
    for follower in followers {
        let answer = answer_of(follower);
        assert_status(&answer, "larder; fwd=uri-miss; collapsed");
        assert_eq!(answer.text(), "one");
    }
    assert_eq!(origin.count(), 1);
    assert_status(&proxy.get_with("/a", &[("host", "h")]), HIT);
}

#[test]
fn followers_are_fed_while_the_body_arrives() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        answering.head(200, &[("cache-control", "max-age=60"), ("transfer-encoding", "chunked")])?;
        answering.chunk("first")?;
        held.wait()?;
        answering.chunk("second")?;
        answering.last_chunk()
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut leader = asked(&proxy, "/a", &[]);
    leader.head().unwrap();
    assert_eq!(leader.chunk().unwrap().as_deref(), Some(b"first".as_slice()));
    // Comes in the middle of the body, and gets all of it.
    let mut follower = asked(&proxy, "/a", &[]);
    let head = follower.head().unwrap();
    assert_status(&head, "larder; fwd=uri-miss; collapsed");
    assert_eq!(follower.chunk().unwrap().as_deref(), Some(b"first".as_slice()));
    gate.open();
    for client in [&mut leader, &mut follower] {
        assert_eq!(client.chunk().unwrap().as_deref(), Some(b"second".as_slice()));
        assert_eq!(client.chunk().unwrap(), None);
    }
    assert_eq!(origin.count(), 1);
    let hit = proxy.get_with("/a", &[("host", "h")]);
    assert_status(&hit, HIT);
    assert_eq!(hit.text(), "firstsecond");
}

#[test]
fn nothing_of_an_answer_for_one_client_reaches_another() {
    const PRIVATE: [&[(&str, &str)]; 3] = [
        &[("cache-control", "private, max-age=60")],
        &[("cache-control", "max-age=60"), ("set-cookie", "session=secret")],
        &[("cache-control", "no-store")],
    ];
    for fields in PRIVATE {
        let (gate, answers) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let held = gate.clone();
        let origin = Origin::start(move |_, answering| {
            held.wait()?;
            answering.reply(200, fields, &format!("for {}", answers.fetch_add(1, Ordering::SeqCst)))
        });
        let proxy = Proxy::in_front_of(&origin, "");
        let (leader, followers) = crowd(&proxy, &origin, 5);
        gate.open();
        let mut bodies: Vec<_> =
            followers.into_iter().chain([leader]).map(|client| answer_of(client).text()).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 6, "{fields:?}: {bodies:?}");
        assert_eq!(origin.count(), 6);
    }
}

/// Answers what nobody may store; a request with `x-held` waits at the gate.
fn nothing_to_share() -> (Gate, Origin) {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        if seen.field("x-held").is_some() {
            held.wait()?;
        }
        answering.reply(200, &[("cache-control", "no-store")], "x")
    });
    (gate, origin)
}

#[test]
fn a_key_that_brought_nothing_to_share_does_not_make_requests_wait_for_each_other() {
    let (gate, origin) = nothing_to_share();
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h")]);
    let slow = asked(&proxy, "/a", &[("x-held", "1")]);
    origin.wait_for(2);
    assert_eq!(proxy.get_with("/a", &[("host", "h")]).status, 200);
    gate.open();
    assert_eq!(answer_of(slow).status, 200);
}

#[test]
fn that_a_key_brought_nothing_to_share_is_forgotten_when_its_route_says_so() {
    let (gate, origin) = nothing_to_share();
    let proxy = Proxy::in_front_of(&origin, "cache = { hit_for_miss = \"10s\" }");
    proxy.get_with("/a", &[("host", "h")]);
    proxy.clock.advance(std::time::Duration::from_secs(11));
    let slow = asked(&proxy, "/a", &[("x-held", "1")]);
    origin.wait_for(2);
    let waiting = asked(&proxy, "/a", &[]);
    wait::until("one to wait for the other", || proxy.shared.fills.waiting() == 1);
    gate.open();
    assert_eq!((answer_of(slow).status, answer_of(waiting).status), (200, 200));
}

#[test]
fn a_leader_that_goes_away_leaves_the_fetch_to_its_followers() {
    let gate = Gate::default();
    let origin = held(&gate, FRESH);
    let proxy = Proxy::in_front_of(&origin, "");
    let (leader, followers) = crowd(&proxy, &origin, 3);
    drop(leader);
    gate.open();
    for follower in followers {
        assert_eq!(answer_of(follower).text(), "one");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_failed_fetch_is_not_an_answer_for_those_who_waited() {
    let gate = Gate::default();
    let (held, answers) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        if answers.fetch_add(1, Ordering::SeqCst) == 0 {
            return answering.close();
        }
        answering.reply(200, FRESH, "good")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let (leader, followers) = crowd(&proxy, &origin, 3);
    gate.open();
    assert_eq!(answer_of(leader).status, 502);
    for follower in followers {
        assert_eq!(answer_of(follower).text(), "good");
    }
}

#[test]
fn a_follower_whose_selecting_fields_differ_gets_its_own() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        let language = seen.field("accept-language").unwrap_or_default().to_owned();
        if language == "de" {
            held.wait()?;
        }
        answering.reply(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], &language)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let leader = asked(&proxy, "/a", &[("accept-language", "de")]);
    origin.wait_for(1);
    let follower = asked(&proxy, "/a", &[("accept-language", "fr")]);
    wait::until("the follower to wait", || proxy.shared.fills.waiting() == 1);
    gate.open();
    assert_eq!(answer_of(leader).text(), "de");
    assert_eq!(answer_of(follower).text(), "fr");
}

#[test]
fn a_body_that_ends_early_is_an_error_for_every_reader_and_is_not_stored() {
    let gate = Gate::default();
    let (held, answers) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        if answers.fetch_add(1, Ordering::SeqCst) > 0 {
            return answering.reply(200, FRESH, "0123456789");
        }
        answering.head(200, &[("cache-control", "max-age=60"), ("content-length", "10")])?;
        answering.send(b"01234")?;
        held.wait()?;
        answering.close()
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let mut clients = vec![asked(&proxy, "/a", &[])];
    let head = clients[0].head().unwrap();
    assert_eq!(head.field("content-length"), Some("10"));
    clients.push(asked(&proxy, "/a", &[]));
    clients[1].head().unwrap();
    gate.open();
    for mut client in clients {
        assert!(client.body("GET", &head).is_err(), "a cut body looks whole");
    }
    let whole = proxy.get_with("/a", &[("host", "h")]);
    assert_eq!(whole.text(), "0123456789");
    assert_status(&whole, STORED);
}

#[test]
fn variants_have_one_fetch_each() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        held.wait()?;
        let language = seen.field("accept-language").unwrap_or_default().to_owned();
        answering.reply(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], &language)
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let leader = asked(&proxy, "/a", &[("accept-language", "de")]);
    origin.wait_for(1);
    let followers: Vec<_> = (0..20)
        .map(|number| {
            let language = ["de", "fr"][number % 2];
            (language, asked(&proxy, "/a", &[("accept-language", language)]))
        })
        .collect();
    wait::until("the followers to wait", || proxy.shared.fills.waiting() == followers.len());
    gate.open();
    assert_eq!(answer_of(leader).text(), "de");
    for (language, follower) in followers {
        assert_eq!(answer_of(follower).text(), language);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn after_a_failure_one_of_those_who_waited_is_next() {
    let gates = [Gate::default(), Gate::default()];
    let (held, answers) = (gates.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_, answering| {
        let number = answers.fetch_add(1, Ordering::SeqCst);
        held[number.min(1)].wait()?;
        if number == 0 { answering.close() } else { answering.reply(200, FRESH, "good") }
    });
    let proxy = Proxy::in_front_of(&origin, "");
    let (leader, followers) = crowd(&proxy, &origin, 10);
    gates[0].open();
    assert_eq!(answer_of(leader).status, 502);
    wait::until("the rest to wait again", || proxy.shared.fills.waiting() == followers.len() - 1);
    gates[1].open();
    for follower in followers {
        assert_eq!(answer_of(follower).text(), "good");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn one_request_with_credentials_does_not_end_sharing_for_the_others() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen, answering| {
        if seen.field("authorization").is_none() {
            held.wait()?;
        }
        answering.reply(200, FRESH, "one")
    });
    let proxy = Proxy::in_front_of(&origin, "");
    proxy.get_with("/a", &[("host", "h"), ("authorization", "Basic eDp5")]);
    let leader = asked(&proxy, "/a", &[]);
    origin.wait_for(2);
    let follower = asked(&proxy, "/a", &[]);
    wait::until("the follower to wait", || proxy.shared.fills.waiting() == 1);
    gate.open();
    assert_eq!((answer_of(leader).text(), answer_of(follower).text()), ("one".to_owned(), "one".to_owned()));
    assert_eq!(origin.count(), 2);
}
