//! Stopping: what is under way finishes, nothing new begins.

use std::net::TcpStream;

use flow_tests::{Gate, Origin, Proxy, wait};

#[test]
fn requests_under_way_finish_and_new_ones_are_refused() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, answering| {
        held.wait()?;
        answering.reply(200, &[], "finished")
    });
    let mut proxy = Proxy::in_front_of(&origin, "");
    let address = proxy.address;
    let mut idle = proxy.client();
    let mut under_way = proxy.client();
    under_way.send(&rig::http::head("GET", "/a", "h", &[], b"")).unwrap();
    origin.wait_for(1);
    let stopping = std::thread::spawn(move || proxy.stop());
    wait::until("the port to close", || TcpStream::connect(address).is_err());
    assert!(idle.rest().unwrap().is_empty(), "an idle connection is closed");
    gate.open();
    let answer = under_way.response("GET").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "finished"));
    assert_eq!(under_way.rest().unwrap(), b"");
    stopping.join().unwrap();
}
