//! A connection for replication: the start of a session, simple statements, and the stream in both directions, which
//! `tokio_postgres` does not speak. Messages, SCRAM and its binding to the certificate are those of `postgres_protocol`, TLS is
//! that of `config/socket.rs`: as the worker's other connections have them.
//!
//! Knows nothing of what is in the stream. Read next: `feed/decode.rs`.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::{backend, frontend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_postgres::config::ChannelBinding;

use super::position::Position;
use crate::clock;
use crate::config::{ServerUrl, Socket};

/// Of a message. A row may be longer, and then nobody wants all of it.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// What is kept of a longer one: enough to know the table.
const KEPT_BYTES: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// Of a statement of ours.
const MAX_ROWS: usize = 10_000;
/// Neither a server that never reads may hold us for ever, nor one that begins a session and says no more.
const PATIENCE: Duration = Duration::from_secs(10);

const COPY_BOTH_TAG: u8 = b'W';

#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("{message} [SQLSTATE {code}]")]
    Refused { code: String, message: String },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("closed by the server")]
    Closed,
    #[error("no answer in time")]
    Silent,
    #[error("the server says what is not in the protocol: {0}")]
    Protocol(&'static str),
    #[error("{0}")]
    Authentication(&'static str),
}

impl WireError {
    /// Empty where the server did not say one.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Connect(_)
            | Self::Broken(_)
            | Self::Closed
            | Self::Silent
            | Self::Protocol(_)
            | Self::Authentication(_) => "",
        }
    }
}

/// A message of the server.
#[derive(Debug)]
pub(super) struct Received {
    tag: u8,
    /// With its head.
    bytes: BytesMut,
    /// Whether this is only its beginning.
    is_cut: bool,
}

/// What the stream brought.
#[derive(Debug)]
pub(super) enum Streamed {
    Copy { bytes: Bytes, is_cut: bool },
    End,
}

pub(super) type Rows = Vec<Vec<Option<String>>>;

pub(super) struct Connection {
    socket: Socket,
    input: BytesMut,
    output: BytesMut,
    /// Bytes still to come of a message that was cut.
    skip: usize,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the messages of a server, few have a place in each step, and all others are alike"
)]
impl Connection {
    /// A session of a walsender for the URL's database.
    pub(super) async fn open(url: &ServerUrl, limit: Duration) -> Result<Self, WireError> {
        let socket = url.dial(limit).await.map_err(WireError::Connect)?;
        let (input, output) = (BytesMut::with_capacity(READ_BYTES), BytesMut::new());
        let mut connection = Self { socket, input, output, skip: 0 };
        let starting = connection.start(url.parameters());
        timeout(PATIENCE.max(limit), starting).await.unwrap_or(Err(WireError::Silent))?;
        Ok(connection)
    }

    async fn start(&mut self, url: &tokio_postgres::Config) -> Result<(), WireError> {
        let user = url.get_user().unwrap_or_default();
        let mut parameters = vec![
            ("user", user),
            ("database", url.get_dbname().unwrap_or(user)),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", url.get_application_name().unwrap_or("larder-origin")),
        ];
        parameters.extend(url.get_options().map(|options| ("options", options)));
        let written = frontend::startup_message(parameters, &mut self.output);
        written.map_err(|_| WireError::Protocol("a parameter with a zero byte"))?;
        self.flush().await?;
        self.authenticate(url, user).await?;
        loop {
            match self.message().await? {
                backend::Message::ReadyForQuery(_) => return Ok(()),
                backend::Message::ErrorResponse(body) => return Err(refused(&body)),
                _ => (),
            }
        }
    }

    async fn authenticate(&mut self, url: &tokio_postgres::Config, user: &str) -> Result<(), WireError> {
        let password = || url.get_password().ok_or(WireError::Authentication("the URL has no password"));
        let must_bind = url.get_channel_binding() == ChannelBinding::Require;
        let unbound = || match must_bind {
            true => {
                Err(WireError::Authentication("the server does not bind the password to its certificate"))
            }
            false => Ok(()),
        };
        loop {
            match self.message().await? {
                backend::Message::AuthenticationOk => return unbound(),
                backend::Message::AuthenticationCleartextPassword => {
                    unbound()?;
                    self.password(password()?).await?;
                }
                backend::Message::AuthenticationMd5Password(body) => {
                    unbound()?;
                    let hash = md5_hash(user.as_bytes(), password()?, body.salt());
                    self.password(hash.as_bytes()).await?;
                }
                backend::Message::AuthenticationSasl(body) => {
                    return self.scram(&body, password()?, url.get_channel_binding()).await;
                }
                backend::Message::ErrorResponse(body) => return Err(refused(&body)),
                backend::Message::NoticeResponse(_) => (),
                _ => return Err(WireError::Authentication("the server wants another kind of proof")),
            }
        }
    }

    async fn password(&mut self, password: &[u8]) -> Result<(), WireError> {
        let written = frontend::password_message(password, &mut self.output);
        written.map_err(|_| WireError::Authentication("the password has a zero byte"))?;
        self.flush().await
    }

    async fn scram(
        &mut self,
        offer: &backend::AuthenticationSaslBody,
        password: &[u8],
        wanted: ChannelBinding,
    ) -> Result<(), WireError> {
        let offered: Vec<String> =
            offer.mechanisms().map(|name| Ok(name.to_owned())).collect().map_err(broken)?;
        let offers = |name: &str| offered.iter().any(|offered| offered == name);
        let bound = self.socket.server_end_point.clone().filter(|_| wanted != ChannelBinding::Disable);
        let (binding, mechanism) = match bound {
            Some(end_point) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                (sasl::ChannelBinding::tls_server_end_point(end_point), sasl::SCRAM_SHA_256_PLUS)
            }
            _ if !offers(sasl::SCRAM_SHA_256) => {
                return Err(WireError::Authentication("the server wants another kind of proof"));
            }
            // We could, and say so: if the server could too, someone has changed its offer.
            Some(_) => (sasl::ChannelBinding::unrequested(), sasl::SCRAM_SHA_256),
            None => (sasl::ChannelBinding::unsupported(), sasl::SCRAM_SHA_256),
        };
        if wanted == ChannelBinding::Require && mechanism != sasl::SCRAM_SHA_256_PLUS {
            return Err(WireError::Authentication(
                "the server does not bind the password to its certificate",
            ));
        }
        let mut scram = sasl::ScramSha256::new(password, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.output).map_err(broken)?;
        self.flush().await?;
        match self.message().await? {
            backend::Message::AuthenticationSaslContinue(body) => {
                scram.update(body.data()).map_err(broken)?;
            }
            backend::Message::ErrorResponse(body) => return Err(refused(&body)),
            _ => return Err(WireError::Protocol("no answer to a proof")),
        }
        frontend::sasl_response(scram.message(), &mut self.output).map_err(broken)?;
        self.flush().await?;
        match self.message().await? {
            backend::Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(broken)?,
            backend::Message::ErrorResponse(body) => return Err(refused(&body)),
            _ => return Err(WireError::Protocol("no answer to a proof")),
        }
        match self.message().await? {
            backend::Message::AuthenticationOk => Ok(()),
            backend::Message::ErrorResponse(body) => Err(refused(&body)),
            _ => Err(WireError::Protocol("no answer to a proof")),
        }
    }

    /// Runs a statement, or a command of the replication protocol, and gives its rows.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, WireError> {
        self.send_query(sql).await?;
        let mut rows = Rows::new();
        let mut refusal = None;
        loop {
            match self.message().await? {
                backend::Message::DataRow(body) if rows.len() < MAX_ROWS => {
                    let buffer = body.buffer();
                    let text = |range: Option<std::ops::Range<usize>>| {
                        let bytes = range.map(|range| buffer.get(range).unwrap_or_default());
                        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                    };
                    rows.push(body.ranges().map(text).collect().map_err(broken)?);
                }
                backend::Message::DataRow(_) => {
                    return Err(WireError::Protocol("more rows than anyone asked for"));
                }
                backend::Message::ErrorResponse(body) => refusal = Some(refused(&body)),
                backend::Message::ReadyForQuery(_) => return refusal.map_or(Ok(rows), Err),
                _ => (),
            }
        }
    }

    /// Begins the stream.
    pub(super) async fn copy_both(&mut self, sql: &str) -> Result<(), WireError> {
        self.send_query(sql).await?;
        loop {
            let received = self.receive().await?;
            match received.tag {
                COPY_BOTH_TAG => return Ok(()),
                backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG => (),
                _ => match parse(received)? {
                    backend::Message::ErrorResponse(body) => return Err(refused(&body)),
                    _ => return Err(WireError::Protocol("no stream where one should begin")),
                },
            }
        }
    }

    /// The next piece of the stream. Nothing is lost if this is dropped before it is done.
    pub(super) async fn next(&mut self) -> Result<Streamed, WireError> {
        loop {
            let received = self.receive().await?;
            match received.tag {
                backend::COPY_DATA_TAG => {
                    let mut bytes = received.bytes;
                    bytes.advance(5);
                    return Ok(Streamed::Copy { bytes: bytes.freeze(), is_cut: received.is_cut });
                }
                backend::COPY_DONE_TAG => return Ok(Streamed::End),
                backend::ERROR_RESPONSE_TAG => match parse(received)? {
                    backend::Message::ErrorResponse(body) => return Err(refused(&body)),
                    _ => return Err(WireError::Protocol("an error that is none")),
                },
                backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG => (),
                _ => return Err(WireError::Protocol("a message that has no place in a stream")),
            }
        }
    }

    /// Says how far all was taken; the server need not keep what is before. It answers where it is, if that is asked for.
    pub(super) async fn confirm(&mut self, position: Position, asks: bool) -> Result<(), WireError> {
        self.output.put_u8(backend::COPY_DATA_TAG);
        self.output.put_u32(4 + 34);
        self.output.put_u8(b'r');
        // Written, flushed, applied.
        for _ in 0..3 {
            self.output.put_u64(position.0);
        }
        // What time it is here.
        self.output.put_u64(clock::since(0));
        self.output.put_u8(u8::from(asks));
        self.flush().await
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, &mut self.output).map_err(broken)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        let output = self.output.split();
        let writing = async {
            self.socket.wire.write_all(&output).await?;
            self.socket.wire.flush().await
        };
        timeout(PATIENCE, writing).await.map_err(|_| WireError::Silent)?.map_err(broken)
    }

    async fn message(&mut self) -> Result<backend::Message, WireError> {
        parse(self.receive().await?)
    }

    async fn receive(&mut self) -> Result<Received, WireError> {
        loop {
            let skipped = self.skip.min(self.input.len());
            self.input.advance(skipped);
            self.skip -= skipped;
            if self.skip == 0
                && let Some(received) = self.take()?
            {
                return Ok(received);
            }
            self.input.reserve(READ_BYTES);
            if self.socket.wire.read_buf(&mut self.input).await.map_err(broken)? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// A message of which enough is there.
    fn take(&mut self) -> Result<Option<Received>, WireError> {
        let Some((&[tag, ref length @ ..], _)) = self.input.split_first_chunk::<5>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if !(4..=usize::try_from(i32::MAX).unwrap_or(usize::MAX)).contains(&length) {
            return Err(WireError::Protocol("a message of no possible length"));
        }
        let whole = length + 1;
        let kept = if whole > MAX_MESSAGE_BYTES { KEPT_BYTES } else { whole };
        if self.input.len() < kept {
            return Ok(None);
        }
        self.skip = whole - kept;
        Ok(Some(Received { tag, bytes: self.input.split_to(kept), is_cut: kept < whole }))
    }
}

fn parse(mut received: Received) -> Result<backend::Message, WireError> {
    if received.is_cut {
        return Err(WireError::Protocol("a message that is too long"));
    }
    let parsed = backend::Message::parse(&mut received.bytes).map_err(broken)?;
    parsed.ok_or(WireError::Protocol("a message that is not whole"))
}

fn broken(error: io::Error) -> WireError {
    WireError::Broken(error)
}

fn refused(body: &backend::ErrorResponseBody) -> WireError {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = text(),
            b'M' => message = text(),
            _ => (),
        }
    }
    WireError::Refused { code, message }
}
