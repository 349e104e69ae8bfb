//! One request after the other on a connection that is kept as long as it is good, and what is read of the answers of worker and
//! proxy.

use std::net::SocketAddr;

use rig::http::{Client, Response};
use serde_json::Value;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A connection to one address, which is made when it is needed.
#[derive(Debug)]
pub(crate) struct Caller {
    address: SocketAddr,
    client: Option<Client>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Caller {
        Caller { address, client: None }
    }

    pub(crate) fn get(&mut self, target: &str) -> std::io::Result<Response> {
        self.call("GET", target, "")
    }

    /// A body is JSON.
    pub(crate) fn call(&mut self, method: &str, target: &str, body: &str) -> std::io::Result<Response> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.address)?,
        };
        let fields: &[_] = if body.is_empty() { &[] } else { &JSON };
        let answer = client.call(method, target, fields, body.as_bytes())?;
        let closes = answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes {
            self.client = Some(client);
        }
        Ok(answer)
    }
}

/// What a proxy answered from what it keeps.
pub(crate) fn is_hit(answer: &Response) -> bool {
    answer.field("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// What a proxy says besides of what it did with the request.
pub(crate) fn detail(answer: &Response) -> Option<&str> {
    let rest = answer.field("cache-status")?.split("detail=").nth(1)?;
    Some(rest.split(';').next()?.trim())
}

/// Of one resource, or of what a change of it answers.
pub(crate) fn score(answer: &Response) -> Option<u64> {
    serde_json::from_slice::<Value>(&answer.body).ok()?["score"].as_u64()
}

/// Where the WAL was when a write was acknowledged: its commit is before it.
pub(crate) fn committed(answer: &Response) -> Option<u64> {
    position(answer.field("larder-commit")?)
}

/// Up to where a proxy has heard of all that was committed, by its admin listener. `None`: it hears nothing.
pub(crate) fn heard(admin: &mut Caller) -> Option<u64> {
    let status = admin.get("/api/status").ok()?;
    position(serde_json::from_slice::<Value>(&status.body).ok()?["feed"]["position"].as_str()?)
}

/// Of `16/B374D848`, alone or as `lsn=16/B374D848; timeline=1`.
pub(crate) fn position(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches("lsn=");
    let text = text.split(';').next()?.trim();
    let (high, low) = text.split_once('/')?;
    let half = |text| u64::from_str_radix(text, 16).ok().filter(|half| *half <= u64::from(u32::MAX));
    Some(half(high)? << 32 | half(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_postgres_writes_them() {
        assert_eq!(position("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(position("lsn=0/A; timeline=3"), Some(10));
        assert_eq!(position("none"), None);
    }
}
