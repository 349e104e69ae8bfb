//! As much of the Postgres protocol as it takes to run a statement and read what it gives, as text: simple queries of a
//! user who needs no password. So that the rig needs no client library and no `psql`.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use super::{PATIENCE, PostgresError};

const PROTOCOL: i32 = 196_608;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

/// Rows of values as Postgres writes them; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Runs one or more statements, and gives the rows of all of them.
pub fn query(url: &str, sql: &str) -> Result<Rows, PostgresError> {
    let (address, user, database) = parts(url).ok_or_else(|| PostgresError::Url(url.to_owned()))?;
    let broken = |source| PostgresError::Connection { address: address.to_owned(), source };
    let mut stream = BufReader::new(connect(address).map_err(broken)?);

    let mut startup = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", "larder-rig", ""] {
        startup.extend_from_slice(text.as_bytes());
        startup.push(0);
    }
    send(&mut stream, None, &startup).map_err(broken)?;
    until_ready(&mut stream, address, sql)?;
    let mut text = sql.as_bytes().to_vec();
    text.push(0);
    send(&mut stream, Some(b'Q'), &text).map_err(broken)?;
    let rows = until_ready(&mut stream, address, sql)?;
    // A farewell; the answer is here.
    drop(send(&mut stream, Some(b'X'), &[]));
    Ok(rows)
}

/// The first value of the first row; empty if there is none.
pub fn value(url: &str, sql: &str) -> Result<String, PostgresError> {
    let rows = query(url, sql)?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).unwrap_or_default())
}

/// Address, user, database.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let (user, rest) = rest.split_once('@')?;
    let (address, database) = rest.split_once('/')?;
    Some((address, user, database.split('?').next().unwrap_or(database)))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let resolved = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn send(stream: &mut BufReader<TcpStream>, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
    let length = i32::try_from(body.len() + 4).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    stream.get_mut().write_all(&message)
}

/// Reads up to the server's readiness for the next statement.
fn until_ready(stream: &mut BufReader<TcpStream>, address: &str, sql: &str) -> Result<Rows, PostgresError> {
    let broken = |source| PostgresError::Connection { address: address.to_owned(), source };
    let mut rows = Rows::new();
    let mut refused = None;
    loop {
        let (kind, body) = match receive(stream) {
            Ok(message) => message,
            // After an error that ends the session nothing follows.
            Err(error) => return Err(refused.unwrap_or_else(|| broken(error))),
        };
        match kind {
            b'R' if body.starts_with(&0_i32.to_be_bytes()) => (),
            b'R' => return Err(broken(io::Error::other("the server wants a password"))),
            b'D' => rows.push(row(&body).ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?),
            b'E' => refused = Some(refusal(&body, sql)),
            b'Z' => return refused.map_or(Ok(rows), Err),
            _ => (),
        }
    }
}

fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().and_then(|length| length.checked_sub(4));
    let length = length.filter(|length| *length <= MAX_MESSAGE_BYTES).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            values.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length)?;
        rest = after;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
    }
    Some(values)
}

fn refusal(body: &[u8], sql: &str) -> PostgresError {
    let (mut code, mut message) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', text)) => code = String::from_utf8_lossy(text).into_owned(),
            Some((b'M', text)) => message = String::from_utf8_lossy(text).into_owned(),
            Some(_) | None => (),
        }
    }
    PostgresError::Refused { code, message, sql: sql.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_three_parts() {
        assert_eq!(parts("postgres://u@h:1/d?x=y"), Some(("h:1", "u", "d")));
        assert_eq!(parts("postgresql://u@h:1/d"), Some(("h:1", "u", "d")));
        for bad in ["http://u@h/d", "postgres://h:1/d", "postgres://u@h:1"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_row_that_ends_early_is_none() {
        assert_eq!(row(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"), Some(vec![Some("a".to_owned()), None]));
        assert_eq!(row(b"\0\x02\0\0\0\x01a"), None);
        assert_eq!(row(b"\0\x01\0\0\0\x09a"), None);
        assert_eq!(row(b""), None);
    }
}
