//! A connection to a server before a word of Postgres is said on it, for what `tokio_postgres` does not speak (replication): the
//! same addresses, the same TLS.
//!
//! Read next: `config/tls.rs`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};

use super::server_url::NOTICED_AFTER;
use super::tls::Tls;

/// Asks whether the server speaks TLS: a length and a number.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const DEFAULT_PORT: u16 = 5432;

pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

pub(crate) struct Socket {
    pub(crate) wire: Box<dyn Wire>,
    /// What a password's proof is bound to, inside TLS.
    pub(crate) server_end_point: Option<Vec<u8>>,
}

/// To the first of its hosts that can be reached.
pub(super) async fn dial(config: &tokio_postgres::Config, tls: &Tls, limit: Duration) -> io::Result<Socket> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut last = io::Error::other("the URL names no host");
    for index in 0..hosts.len().max(addresses.len()) {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        let host = hosts.get(index);
        let connecting = async {
            let address = addresses.get(index).map(|address| SocketAddr::new(*address, port));
            let name = match host {
                Some(Host::Unix(folder)) if address.is_none() => {
                    let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?;
                    return Ok(Socket { wire: Box::new(stream), server_end_point: None });
                }
                Some(Host::Tcp(name)) => Some(name.as_str()),
                Some(Host::Unix(_)) | None => None,
            };
            let stream = connect(address, name, port).await?;
            encrypt(stream, config, tls, name.unwrap_or_default()).await
        };
        match timeout(limit, connecting).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(e)) => last = e,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn connect(address: Option<SocketAddr>, name: Option<&str>, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = match (address, name) {
        (Some(address), _) => vec![address],
        (None, Some(name)) => lookup_host((name, port)).await?.collect(),
        (None, None) => Vec::new(),
    };
    let mut last = io::Error::other("the host has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(NOTICED_AFTER))?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(NOTICED_AFTER))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn encrypt(
    mut stream: TcpStream,
    config: &tokio_postgres::Config,
    tls: &Tls,
    host: &str,
) -> io::Result<Socket> {
    let mode = config.get_ssl_mode();
    if mode == SslMode::Disable {
        return Ok(Socket { wire: Box::new(stream), server_end_point: None });
    }
    if config.get_ssl_negotiation() == SslNegotiation::Postgres {
        stream.write_all(&SSL_REQUEST).await?;
        // One byte, so that nothing that belongs to the handshake is read.
        match (stream.read_u8().await?, mode) {
            (b'S', _) => (),
            (b'N', SslMode::Prefer) => return Ok(Socket { wire: Box::new(stream), server_end_point: None }),
            (b'N', _) => return Err(io::Error::other("the server does not speak TLS")),
            _ => return Err(io::Error::other("the server does not answer as Postgres does")),
        }
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)?;
    let encrypted = connect.connect(stream).await?;
    let server_end_point = encrypted.server_end_point();
    Ok(Socket { wire: Box::new(encrypted), server_end_point })
}
