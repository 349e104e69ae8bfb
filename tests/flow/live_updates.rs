//! Live updates as a subscriber reads them: server-sent events over a real socket, told by hand.

use caching::version::{Position, Timeline};
use flow_tests::{Origin, Proxy, proxy::config, wait};
use larder::subscriptions::EventId;
use rig::http::{Client, head};

/// A feed that is not there; what it would say is said by hand.
const LIVE: &str = "[feed]\nservers = [\"http://127.0.0.1:9\"]\n\
    [[route]]\nname = \"live\"\nmatch = { path = \"/live\" }\nlive = true\n";

fn started(more: &str) -> Proxy {
    let origin = Origin::fixed(200, &[], "an app");
    let proxy = Proxy::with_config(&config(&origin, &format!("{LIVE}{more}\n")));
    proxy.shared.subscriptions.begin(EventId {
        timeline: Timeline::FIRST,
        position: Position::new(0x64),
        account: 0,
    });
    proxy
}

/// A change that everyone can see.
fn change(proxy: &Proxy, position: u64, tag: &str) {
    let position = Position::new(position);
    proxy.shared.subscriptions.changed(position, &[Box::from(tag)].into());
    proxy.shared.subscriptions.shown(position);
}

/// The stream of a subscriber, behind its head.
#[track_caller]
fn subscribed(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> Client {
    let mut client = proxy.client();
    client.send(&head("GET", target, "h", fields, b"")).expect("the proxy reads");
    let answer = client.head().expect("the proxy answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    client
}

#[track_caller]
fn event(client: &mut Client) -> String {
    let event = client.chunk().expect("the stream is whole").expect("the stream goes on");
    String::from_utf8(event).expect("events are text").replace('\n', " ")
}

#[test]
fn a_subscriber_hears_of_its_tags_and_of_no_others() {
    let proxy = started("");
    let mut chat = subscribed(&proxy, "/live?tags=chat:abc,user:7", &[]);
    let mut other = subscribed(&proxy, "/live?tags=chat:x&tags=chat:y", &[]);
    assert_eq!(event(&mut chat), "event: ready id: 1-0/64 data: {\"tags\":[]}  ");
    assert_eq!(event(&mut other), "event: ready id: 1-0/64 data: {\"tags\":[]}  ");
    change(&proxy, 0x70, "chat:abc");
    change(&proxy, 0x80, "chat:y");
    assert_eq!(event(&mut chat), "event: change id: 1-0/70 data: {\"tags\":[\"chat:abc\"]}  ");
    assert_eq!(event(&mut other), "event: change id: 1-0/80 data: {\"tags\":[\"chat:y\"]}  ");
}

#[test]
fn who_comes_back_with_its_id_hears_what_it_missed() {
    let proxy = started("");
    change(&proxy, 0x70, "chat:abc");
    change(&proxy, 0x80, "chat:abc");
    for (target, fields) in [
        ("/live?tags=chat:abc", &[("last-event-id", "1-0/70")][..]),
        ("/live?tags=chat%3Aabc&last_event_id=1-0/70", &[]),
    ] {
        let mut client = subscribed(&proxy, target, fields);
        assert_eq!(event(&mut client), "event: change id: 1-0/80 data: {\"tags\":[\"chat:abc\"]}  ");
    }
    let mut client = subscribed(&proxy, "/live?tags=chat:abc", &[("last-event-id", "1-0/10")]);
    assert_eq!(event(&mut client), "event: reset id: 1-0/80 data: {\"tags\":[]}  ");
}

#[test]
fn what_is_no_subscription_is_refused_and_leaves_nothing_behind() {
    let proxy = started("");
    let many: Vec<String> = (0..=64).map(|nth| format!("t{nth}")).collect();
    for (target, id) in [
        ("/live", None),
        ("/live?tags=", None),
        ("/live?tags=a%20b", None),
        ("/live?tags=a&last_event_id=7", None),
        ("/live?tags=a", Some("x")),
        (&format!("/live?tags={}", many.join(",")), None),
    ] {
        let fields: Vec<(&str, &str)> = id.map(|id| ("last-event-id", id)).into_iter().collect();
        let refused = proxy.get_with(target, &fields);
        assert_eq!(refused.status, 400, "{target}: {refused:?}");
        assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    }
    let posted = proxy.client().call("POST", "/live?tags=a", &[], b"").unwrap();
    assert_eq!(posted.status, 405);
    let client = subscribed(&proxy, "/live?tags=a", &[]);
    assert_eq!(proxy.shared.subscriptions.numbers().subscribers, 1);
    drop(client);
    wait::until("the subscriber to be gone", || proxy.shared.subscriptions.numbers().subscribers == 0);
}

#[test]
fn a_policy_has_a_say_in_who_hears_of_what() {
    let folder = rig::policies::build().unwrap_or_else(|error| panic!("{error}"));
    let keys =
        "keys = { k = { hex = \"3031323334353637383961626364656630313233343536373839616263646566\" } }";
    let policy = format!(
        "policy = {{ component = \"{}\", on_fault = \"fail\", settings = {{ url = {{ {keys} }} }} }}",
        folder.join("access.wasm").display()
    );
    let proxy = started(&policy);
    assert_eq!(proxy.get("/live?tags=chat:abc").status, 403);
    assert_eq!(proxy.shared.subscriptions.numbers().subscribers, 0);
}

#[test]
fn an_end_of_the_proxy_is_an_end_of_its_streams() {
    let mut proxy = started("");
    let mut client = subscribed(&proxy, "/live?tags=a", &[]);
    event(&mut client);
    proxy.stop();
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn a_reader_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let proxy = started("");
    // It never reads: what fits into the sockets' buffers and its queue is all it gets.
    let _slow = subscribed(&proxy, "/live?tags=a", &[]);
    let mut quick = subscribed(&proxy, "/live?tags=a,b", &[]);
    event(&mut quick);
    for nth in 1.. {
        change(&proxy, 0x100 + nth, "a");
        assert!(event(&mut quick).starts_with("event: change"));
        if proxy.shared.subscriptions.numbers().cut_off == 1 {
            break;
        }
        assert!(nth < 1_000_000, "nobody was cut off");
    }
    assert_eq!(proxy.shared.subscriptions.numbers().subscribers, 1);
}
