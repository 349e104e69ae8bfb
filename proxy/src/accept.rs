//! Workers, listeners, connections, and how they end.
//!
//! One worker per core: a thread with its own single-threaded runtime and its own listening socket on the same
//! address (SO_REUSEPORT), so that the kernel deals out connections and no lock is shared. What one request
//! needs is in `serve.rs`.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::LocalOptions,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

mod head_timer;
mod link;
mod stream;

pub use link::{InterimSink, Link};

use head_timer::HeadTimer;
use stream::ClientStream;

use crate::{config::Limits, live::Proxy, serve::serve, upgrade, worker::Worker};

const BACKLOG: i32 = 4096;
/// After a failed accept (no file descriptors left, most likely), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Workers that serve until they are told to stop.
#[derive(Debug)]
pub struct Workers {
    pub addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Why the program could not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("start a worker: {0}")]
    Worker(io::Error),
}

impl Workers {
    /// Opens all sockets first, so that a taken port is an error here and not in a thread.
    pub fn start(proxy: &Arc<Proxy>) -> Result<Workers, StartError> {
        let live = proxy.live();
        let count = live.config.workers.get();
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<std::net::TcpListener>> =
            std::iter::repeat_with(Vec::new).take(count).collect();
        for wanted in &live.config.listen {
            let mut address = *wanted;
            for of_worker in &mut sockets {
                let failed = |source| StartError::Listen { address: *wanted, source };
                let socket = listen(address).map_err(failed)?;
                // Port 0 becomes a real one with the first socket; the others share that.
                address = socket.local_addr().map_err(failed)?;
                of_worker.push(socket);
            }
            addresses.push(address);
        }
        let (stop, stopping) = watch::channel(false);
        let threads = sockets
            .into_iter()
            .enumerate()
            .map(|(number, sockets)| {
                let (proxy, stopping) = (Arc::clone(proxy), stopping.clone());
                std::thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn(move || work(proxy, sockets, stopping))
                    .map_err(StartError::Worker)
            })
            .collect::<Result<_, _>>()?;
        Ok(Workers { addresses, stop, threads })
    }

    /// Stops accepting, lets requests under way finish within the configured time, and waits for that.
    pub fn drain(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn work(proxy: Arc<Proxy>, sockets: Vec<std::net::TcpListener>, stopping: watch::Receiver<bool>) {
    let built =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("start a worker's runtime: {error}");
            return;
        }
    };
    runtime.block_on(async move {
        let limits = proxy.live().config.limits.clone();
        let worker = Worker::new(proxy);
        let permits = Arc::new(Semaphore::new(limits.max_connections));
        let mut acceptors = JoinSet::new();
        for socket in sockets {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    let accepting = accept(
                        Rc::clone(&worker),
                        listener,
                        limits.clone(),
                        Arc::clone(&permits),
                        stopping.clone(),
                    );
                    acceptors.spawn_local(accepting);
                }
                Err(error) => tracing::error!("listen: {error}"),
            }
        }
        while acceptors.join_next().await.is_some() {}
        // They would go on for as long as they are read.
        worker.proxy.subscriptions.end_all();
        // Every connection holds a permit: when all are back, all have ended.
        let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(limits.drain_timeout, permits.acquire_many(all)).await.is_err() {
            let left = worker.metrics.connections.load(Ordering::Relaxed);
            tracing::warn!(connections = left, "connections were cut off at the end of the drain timeout");
        }
    });
}

async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    limits: Limits,
    permits: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    let serve_one = |stream, client: SocketAddr, permit: OwnedSemaphorePermit, stopping| {
        let (worker, limits) = (Rc::clone(&worker), limits.clone());
        tokio::task::spawn_local(async move {
            connection(worker, stream, client, limits, stopping).await;
            drop(permit);
        });
    };
    loop {
        // With no permit left, new connections wait in the kernel's queue.
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, client))) => serve_one(stream, client, permit, stopping.clone()),
            (_, Err(error)) => {
                tracing::warn!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_closed), Ok(_)) => return,
        }
    }
    // Those whose connection the kernel has made already were told that they are heard.
    while let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
        let waiting = std::future::poll_fn(|context| match listener.poll_accept(context) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        });
        let Some((stream, client)) = waiting.await else { break };
        serve_one(stream, client, permit, stopping.clone());
    }
}

async fn connection(
    worker: Rc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("set TCP_NODELAY: {error}");
    }
    worker.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let task = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let link = Link::new(task);
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        if request.extensions().get::<OnUpgrade>().is_some() {
            link.somebody_asks_to_switch();
        }
        serve(&worker, request, client.ip(), &link)
    });
    let mut serving = http1::Builder::new()
        .timer(HeadTimer::new())
        // From the end of one answer to the end of the next head: it bounds idling and slow heads alike.
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.max_head_bytes.max(8 * 1024))
        .max_headers(limits.max_fields)
        // `pipeline_flush` stays off. With it, hyper 1.12 closes without having written its last answer when bytes of
        // the client follow the request, and copies whole bodies into a buffer without bound for slow readers.
        .serve_connection(ClientStream::new(stream, limits.idle_timeout, &worker.joined, &link), service);
    let ended_itself = {
        let changes = stopping.clone();
        let mut is_heard = false;
        // Heard at the first poll for sure, however much this task has done in its turn.
        let mut stop = pin!(tokio::task::unconstrained(stopping.wait_for(|stop| *stop)));
        std::future::poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut serving).poll(context) {
                return Poll::Ready(Some(ended));
            }
            // Once it is heard, it wakes this task: to look whether it has costs less than to ask it at each step.
            if is_heard && matches!(changes.has_changed(), Ok(false)) {
                return Poll::Pending;
            }
            is_heard = true;
            stop.as_mut().poll(context).map(|_| None)
        })
        .await
    };
    let mut ended = match ended_itself {
        Some(ended) => ended,
        None => {
            Pin::new(&mut serving).graceful_shutdown();
            (&mut serving).await
        }
    };
    if ended.is_ok() && link.may_end_early() {
        // hyper 1.12 reports a connection on which a switch was asked for as switched, made or not, and leaves out the
        // last flush and the shutdown. Polled once more, it does both.
        ended = (&mut serving).await;
    }
    match (ended, link.take_tunnel()) {
        (Ok(()), Some(tunnel)) => {
            let parts = serving.into_parts();
            worker.metrics.tunnels.fetch_add(1, Ordering::Relaxed);
            let joined = upgrade::join(TokioIo::new(parts.io), parts.read_buf, *tunnel, limits.idle_timeout);
            let ended = tokio::select! {
                ended = joined => ended,
                // Only its two ends know when it would be finished.
                _ = stopping.wait_for(|stop| *stop) => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!("tunnel of a client: {error}");
            }
            worker.metrics.tunnels.fetch_sub(1, Ordering::Relaxed);
        }
        (Ok(()), None) => (),
        (Err(error), _) => tracing::debug!("connection of a client: {error}"),
    }
    worker.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}
