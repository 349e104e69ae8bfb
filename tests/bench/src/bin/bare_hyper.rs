//! The least that a server on hyper does: one thread, one response made beforehand, sent again and again.
//!
//! `bare_hyper BODY_BYTES ["name: value" ...]`. Says `serving address=...` when it listens on a free port of loopback.

#![expect(clippy::print_stdout, reason = "who started it reads the address")]

use std::{convert::Infallible, process::ExitCode};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response,
    header::{HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare_hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let body_bytes = arguments.next().ok_or("BODY_BYTES is missing")?.parse::<usize>()?;
    let body = Bytes::from("x".repeat(body_bytes));
    let mut fields = HeaderMap::new();
    for field in arguments {
        let (name, value) = field.split_once(": ").ok_or("a field is `name: value`")?;
        fields.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("serving address={}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (fields, body) = (fields.clone(), body.clone());
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = fields.clone();
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // A connection that breaks off is the load's affair.
            tokio::task::spawn_local(async move { drop(serving.await) });
        }
    })
}
