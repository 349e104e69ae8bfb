//! Connections to one server, and the idle ones among them that may be used again.
//!
//! A connection is used again only if it is ready at this moment and silent: one that is still busy with the body of
//! an earlier request would make its next one wait for a stranger, and one that has bytes waiting would give them to
//! its next request as the answer.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    mem::MaybeUninit,
    os::fd::AsFd as _,
    rc::{Rc, Weak},
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::{net::TcpStream, task::AbortHandle};

use super::RequestBody;
use crate::clock::Stopwatch;

/// Idle connections to one server, and how many there are in all.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    open: Rc<Cell<usize>>,
}

struct Idle {
    connection: Connection,
    since: Stopwatch,
}

/// One connection that may send a request.
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    /// It has answered before: its server may have closed it at the moment at which it is used again.
    pub(super) is_reused: bool,
    /// A second handle of the socket, to look into it. Weak: it is closed when hyper closes its own.
    socket: Weak<Socket>,
    /// Ended with it: left to itself, hyper first writes what it has, and a server that reads nothing would keep it,
    /// and the client's body with it, for as long as it likes.
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Takes over a stream that is connected. Its task ends with it.
    pub(super) async fn start(stream: TcpStream, open: OpenGuard) -> io::Result<Connection> {
        let socket = Rc::new(Socket::from(stream.as_fd().try_clone_to_owned()?));
        let handle = Rc::downgrade(&socket);
        let (sender, serving) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            // Its end is told to whoever reads from it; here is nothing to add.
            let _ = serving.with_upgrades().await;
            drop((socket, open));
        });
        Ok(Connection { sender, is_reused: false, socket: handle, task: task.abort_handle() })
    }

    /// Open, and without a byte that nobody has asked for.
    fn is_silent(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        let mut byte = [MaybeUninit::uninit()];
        socket.peek(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Pool {
    /// The connection used last: it is the least likely to have been closed.
    pub(super) async fn take(&self, idle_timeout: Duration) -> Option<Connection> {
        loop {
            let mut connection = self.newest(idle_timeout)?;
            if !connection.sender.is_ready() {
                // Its own task may have yet to notice that the last exchange is over.
                tokio::task::yield_now().await;
            }
            if connection.sender.is_ready() && connection.is_silent() {
                connection.is_reused = true;
                return Some(connection);
            }
        }
    }

    fn newest(&self, idle_timeout: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|oldest| oldest.since.elapsed() > idle_timeout) {
            idle.pop_front();
        }
        idle.pop_back().map(|newest| newest.connection)
    }

    pub(super) fn keep(&self, connection: Connection, max_idle: usize) {
        let mut idle = self.idle.borrow_mut();
        if !connection.sender.is_closed() && idle.len() < max_idle {
            idle.push_back(Idle { connection, since: Stopwatch::start() });
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    pub(super) fn one_more(&self) -> OpenGuard {
        self.open.set(self.open.get() + 1);
        OpenGuard(Rc::clone(&self.open))
    }
}

/// Counts one open connection for as long as it lives.
#[derive(Debug)]
pub struct OpenGuard(Rc<Cell<usize>>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
