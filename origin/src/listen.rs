//! From a configuration to running workers, and their end. One worker for each core: its own thread, runtime, listener (the
//! kernel shares connections out, SO_REUSEPORT) and database connections. So a request meets no lock that another core holds.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::cursor::Key;
use crate::database::{self, Database, Target};
use crate::feed::Feed;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::serve::{Shared, Worker};
use crate::status::Status;
use crate::write::{self, Room};

/// For a head to arrive, and for a connection to be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_FIELDS: usize = 100;
/// Of each worker.
const MAX_CONNECTIONS: usize = 4096;
const BACKLOG: i32 = 1024;
/// Requests that still run when the worker is told to stop have this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The workers of a run.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// For who watches.
    pub(crate) shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts all workers; returns when each has tried its servers and listens.
pub(crate) fn start(config: &Config, catalogue: Arc<Catalogue>) -> io::Result<Running> {
    let cursor_key = match &config.cursor_key {
        Some(secret) => Key::new(secret.0.as_bytes()),
        None => Key::random().map_err(io::Error::other)?,
    };
    let metrics = Metrics::new(&config.monitoring);
    let feed = config.feed.as_ref().map(|config| Feed::new(config, &catalogue.mapping()));
    let live = Live::first(catalogue, &metrics);
    let targets = Target::all(&config.database);
    let shared = Arc::new(Shared {
        cursor_key,
        feed,
        live: Arc::new(ArcSwap::from_pointee(live)),
        status: Status::new(&config.monitoring, &metrics, targets.len()),
        metrics,
        targets,
        databases: (0..config.workers.get()).map(|_| OnceLock::new()).collect(),
    });
    // Shared among us; with anyone else it would take requests away from them without a word.
    if config.listen.port() != 0 {
        drop(bind(config.listen, Sharing::Refused)?);
    }
    let first = bind(config.listen, Sharing::Allowed)?;
    let address = first.local_addr()?.as_socket().unwrap_or(config.listen);
    let mut sockets = vec![first];
    for _ in 1..config.workers.get() {
        sockets.push(bind(address, Sharing::Allowed)?);
    }
    for target in &shared.targets {
        // Ends with the runtime that all workers are started from.
        Handle::current().spawn(database::watch(target.clone(), config.database.clone()));
    }
    let (stop, stopped) = watch::channel(false);
    let (ready, mut all_ready) = mpsc::channel::<io::Result<()>>(sockets.len());
    let mut threads = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let (config, shared, stopped, ready) =
            (config.clone(), shared.clone(), stopped.clone(), ready.clone());
        threads.push(
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run(index, socket, &config, &shared, stopped, &ready))?,
        );
    }
    drop(ready);
    for _ in 0..threads.len() {
        all_ready
            .blocking_recv()
            .unwrap_or_else(|| Err(io::Error::other("a worker ended before it was ready")))?;
    }
    Ok(Running { address, shared, stop, threads })
}

impl Running {
    /// Lets running requests finish.
    pub(crate) fn stop(self) {
        // Who listens would listen for ever.
        self.shared.feed.iter().for_each(|feed| feed.stop());
        // Workers that are gone need not be told.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                warn!("a worker ended in a panic");
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Allowed,
    Refused,
}

/// Bound, not yet listening.
fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Allowed)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn run(
    index: usize,
    socket: Socket,
    config: &Config,
    shared: &Arc<Shared>,
    stopped: watch::Receiver<bool>,
    ready: &mpsc::Sender<io::Result<()>>,
) {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
        runtime.block_on(async {
            let database = Arc::new(
                Database::start(&shared.targets, &config.database, &shared.live, config.workers.get()).await,
            );
            if let Some(place) = shared.databases.get(index) {
                // Set once: each worker has its own place.
                let _ = place.set(database.clone());
            }
            // One of the workers is enough.
            if index == 0 {
                tokio::spawn(write::remove_old_keys(database.clone(), shared.live.clone()));
            }
            // Nobody connects before all is ready.
            socket.listen(BACKLOG)?;
            let listener = TcpListener::from_std(socket.into())?;
            // The starting thread waits for this.
            let _ = ready.send(Ok(())).await;
            accept(
                listener,
                Arc::new(Worker { shared: shared.clone(), database, bodies: Room::default() }),
                stopped,
            )
            .await;
            Ok(())
        })
    });
    if let Err(e) | Ok(Err(e)) = started {
        let _ = ready.blocking_send(Err(e));
    }
}

async fn accept(listener: TcpListener, worker: Arc<Worker>, mut stopped: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            // Waiting here leaves further connections in the backlog.
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => match accepted {
                Some((Ok((stream, _)), permit)) => (stream, permit),
                Some((Err(e), _)) => {
                    // Most often too many open files: other connections have to end first.
                    warn!("cannot accept a connection: {e}");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                None => break,
            },
            () = told(&mut stopped) => break,
        };
        let (worker, stopped) = (worker.clone(), stopped.clone());
        tokio::spawn(async move {
            serve_connection(stream, worker, stopped).await;
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    if timeout(DRAIN_TIMEOUT, permits.acquire_many(all)).await.is_err() {
        warn!("requests still ran after {DRAIN_TIMEOUT:?} and were cut off");
    }
}

/// Returns when the workers are told to stop, or when nobody is left to tell them.
async fn told(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|is_stopped| *is_stopped).await);
}

async fn serve_connection(stream: TcpStream, worker: Arc<Worker>, mut stopped: watch::Receiver<bool>) {
    // Without it small answers wait; the connection works either way.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let worker = worker.clone();
        async move { Ok::<_, Infallible>(worker.serve(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD_BYTES)
        // `pipeline_flush` stays off: with it, hyper 1.12 closes without having written its last answer when bytes of
        // the client follow the request.
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = end {
        debug!("connection ended: {e}");
    }
}
