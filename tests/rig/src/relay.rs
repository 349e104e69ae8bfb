//! A wire that can be cut: it passes bytes on between whoever connects to it and a server, until it is told not to.
//!
//! For what a server never says by itself: that the network is gone in the middle of an answer, or stands still.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CHUNK_BYTES: usize = 16 * 1024;

/// Passes on as long as it lives.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    /// Both ends of each that passes something on.
    wires: Mutex<Vec<Weak<[TcpStream; 2]>>>,
    is_holding: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Relay {
    /// To a server, which need not be there yet.
    pub fn start(server: SocketAddr) -> io::Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            wires: Mutex::default(),
            is_holding: Mutex::new(false),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let own = shared.clone();
        thread::spawn(move || own.accept(&listener));
        Ok(Relay { address, shared })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, in the middle of whatever they carry; says how many there were. New ones are taken.
    pub fn cut(&self) -> usize {
        let wires = std::mem::take(&mut *lock(&self.shared.wires));
        let wires: Vec<_> = wires.iter().filter_map(Weak::upgrade).collect();
        wires.iter().flat_map(|wire| wire.iter()).for_each(end);
        wires.len()
    }

    /// What the server says waits here from now on, without a word to anybody.
    pub fn hold(&self) {
        *lock(&self.shared.is_holding) = true;
    }

    /// What waits is passed on.
    pub fn release(&self) {
        *lock(&self.shared.is_holding) = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        drop(TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT));
        self.release();
        self.cut();
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            // A client whose server is not there is turned away; what else can fail here fails the client's connection.
            let Ok(client) = client else { continue };
            if self.connect(client).is_err() {
                continue;
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect_timeout(&self.server, CONNECT_TIMEOUT)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let wire = Arc::new([client, server]);
        let mut wires = lock(&self.wires);
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(&wire));
        drop(wires);
        for is_answer in [false, true] {
            let (own, wire) = (self.clone(), wire.clone());
            thread::spawn(move || own.pass(&wire, is_answer));
        }
        Ok(())
    }

    /// Ends with the connection, on either side.
    fn pass(&self, wire: &[TcpStream; 2], is_answer: bool) {
        let [client, server] = wire;
        let (mut from, mut to) = if is_answer { (server, client) } else { (client, server) };
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count) = from.read(&mut chunk) {
            if is_answer {
                let holding = lock(&self.is_holding);
                drop(self.changed.wait_while(holding, |is_holding| *is_holding));
            }
            if count == 0 || to.write_all(chunk.get(..count).unwrap_or_default()).is_err() {
                break;
            }
        }
        end(client);
        end(server);
    }
}

fn end(stream: &TcpStream) {
    // It may have ended already.
    drop(stream.shutdown(Shutdown::Both));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says everything twice.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[byte[0]; 2]).is_ok() {}
                });
            }
        });
        address
    }

    #[test]
    fn bytes_pass_until_the_wire_is_cut_and_pass_again_on_a_new_one() {
        let relay = Relay::start(echo()).unwrap();
        for _ in 0..2 {
            let mut client = TcpStream::connect(relay.address()).unwrap();
            client.set_read_timeout(Some(CONNECT_TIMEOUT)).unwrap();
            let mut twice = [0; 2];
            client.write_all(b"a").unwrap();
            client.read_exact(&mut twice).unwrap();
            assert_eq!(&twice, b"aa");
            relay.hold();
            client.write_all(b"b").unwrap();
            relay.release();
            client.read_exact(&mut twice).unwrap();
            assert_eq!(&twice, b"bb");
            assert_eq!(relay.cut(), 1);
            assert_eq!(client.read(&mut twice).unwrap_or(0), 0);
        }
    }
}
