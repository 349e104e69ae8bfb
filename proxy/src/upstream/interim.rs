//! Interim responses (1xx) of one exchange: counted where hyper meets them, passed on by who waits for the final one.
//!
//! hyper calls back from the connection's task, and wants what it calls to be `Send`; a client's connection belongs to
//! its worker. So they pass through here. None of them is stored, and nothing of them gets into the final response.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use crate::accept::InterimSink;

/// Of one exchange. An upstream sends one or two; a hundred lines saying "still at it" are a fault.
const MAX_RESPONSES: usize = 32;
/// Of all their fields. Early hints repeat links of the final head, so what is enough for a head is enough for them.
const MAX_BYTES: usize = 64 * 1024;
/// A line has a colon, a space and an end; an empty field must not be free.
const LINE_BYTES: usize = 4;

/// More interim responses than an exchange may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood;

#[derive(Debug, Default)]
pub(super) struct Interims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(StatusCode, HeaderMap)>,
    responses: usize,
    bytes: usize,
}

impl Interims {
    /// Makes hyper tell of those that answer this request.
    pub(super) fn listen<B>(&self, request: &mut http::Request<B>) {
        let shared = Arc::clone(&self.0);
        hyper::ext::on_informational(request, move |response| {
            shared.add(response.status(), response.headers());
        });
    }

    /// Passes on what comes. Ends only when it is too much.
    pub(super) async fn pass_on(&self, to: Option<&InterimSink>) -> Flood {
        loop {
            let waiting = match self.0.take() {
                Ok(waiting) => waiting,
                Err(flood) => return flood,
            };
            if let Some(client) = to {
                waiting.into_iter().for_each(|(status, fields)| client.send(status, fields));
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Shared {
    fn add(&self, status: StatusCode, fields: &HeaderMap) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
        state.responses += 1;
        state.bytes = state.bytes.saturating_add(bytes.sum());
        //= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
        //# A proxy MUST forward 1xx responses unless the proxy itself requested
        //# the generation of the 1xx response.
        // Except 100: hyper says it for us when we want the client's body, so what the upstream says of the body has
        // been said already, or was not asked for. A 101 never comes here: it is final.
        if status != StatusCode::CONTINUE && !state.is_flood() {
            state.waiting.push((status, fields.clone()));
        }
        drop(state);
        self.arrived.notify_one();
    }

    fn take(&self) -> Result<Vec<(StatusCode, HeaderMap)>, Flood> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_flood() { Err(Flood) } else { Ok(std::mem::take(&mut state.waiting)) }
    }
}

impl State {
    fn is_flood(&self) -> bool {
        self.responses > MAX_RESPONSES || self.bytes > MAX_BYTES
    }
}
