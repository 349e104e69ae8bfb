//! Tries to reach the network.

use std::net::TcpStream;

use larder_policy::{Inputs, NoSettings, Pass, Policy, Request, RequestDecision, RequestPolicy};

struct OpensSocket;

impl Policy for OpensSocket {
    const NAME: &'static str = "opens-socket";
    const VERSION: &'static str = "1.0.0";
    type Settings = NoSettings;

    fn configure(_: NoSettings, _: &mut Inputs) -> Result<Self, String> {
        Ok(Self)
    }
}

impl RequestPolicy for OpensSocket {
    fn on_request(&self, _: &Request<'_>) -> RequestDecision {
        match TcpStream::connect("127.0.0.1:80") {
            Ok(_) => Pass::because("connected").into(),
            Err(error) => Pass::because(error.to_string()).into(),
        }
    }
}

larder_policy::export!(OpensSocket: request);
