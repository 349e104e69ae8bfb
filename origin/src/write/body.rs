//! The body of a request, read as a whole and no further than it may be.
//!
//! Three bounds: on one body, on the time it takes, and on all bodies that a worker holds at once, since many clients that
//! send slowly are as heavy as one that sends much.
//! Knows nothing of what is in it. Read next: `json.rs`.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::Error;

/// Of one request.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Of one request that carries rows.
pub(crate) const MAX_ROWS_BYTES: usize = 8 * 1024 * 1024;
/// Of all requests of a worker.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// From the head to the last byte: eight mebibytes over a slow line.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Of a body that is too large, only to be thrown away.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of all bodies may still come.
#[derive(Debug)]
pub(crate) struct Room(Semaphore);

/// A body, and its share of the room.
#[derive(Debug, Default)]
pub(crate) struct Held<'r> {
    pub(crate) bytes: Vec<u8>,
    _share: Option<SemaphorePermit<'r>>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(MAX_HELD_BYTES))
    }
}

/// Whether the head says that there is a body, before anything of it came.
pub(crate) fn is_empty<B: Body>(body: &B) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// # Errors
/// 415, 413, 408, 503, and 400 for a body that breaks off.
pub(crate) async fn read<'r, B>(
    fields: &HeaderMap,
    body: B,
    most: usize,
    room: &'r Room,
) -> Result<Held<'r>, Error>
where
    B: Body<Data = Bytes>,
{
    if !is_json(fields) {
        return Err(Error::ContentType("the body has to be `application/json`, in UTF-8 and not compressed"));
    }
    // hyper has seen to it that there is only one, and that it is a number.
    let length = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_announced = length.is_some_and(|length| length > u64::try_from(most).unwrap_or(u64::MAX));
    let mut body = pin!(body);
    let held = if is_announced {
        Err(Error::BodyTooLarge(most))
    } else {
        within(TIMEOUT, collect(body.as_mut(), most, room)).await
    };
    if let Err(Error::BodyTooLarge(_)) = held {
        // A client that still sends when the connection is closed loses the answer with it.
        let _ = timeout(DRAIN_TIMEOUT, drain(body)).await;
    }
    held
}

async fn drain<B: Body<Data = Bytes>>(mut body: Pin<&mut B>) {
    let mut left = MAX_DRAINED_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

async fn within<'r>(
    limit: Duration,
    reading: impl Future<Output = Result<Held<'r>, Error>>,
) -> Result<Held<'r>, Error> {
    timeout(limit, reading).await.unwrap_or(Err(Error::BodyTimeout))
}

async fn collect<'r, B>(mut body: Pin<&mut B>, most: usize, room: &'r Room) -> Result<Held<'r>, Error>
where
    B: Body<Data = Bytes>,
{
    let mut held = Held::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::BadRequest("the body broke off"))?;
        // Trailers say nothing here.
        let Ok(mut data) = frame.into_data() else { continue };
        let length = data.remaining();
        if held.bytes.len() + length > most {
            return Err(Error::BodyTooLarge(most));
        }
        let share = u32::try_from(length).ok().and_then(|length| room.0.try_acquire_many(length).ok());
        let share = share.ok_or(Error::BodiesBusy)?;
        match &mut held._share {
            Some(all) => all.merge(share),
            none => *none = Some(share),
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            held.bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(held)
}

/// `application/json`, alone or with `charset=utf-8`.
fn is_json(fields: &HeaderMap) -> bool {
    let is_plain = fields
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    let mut types = fields.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let Ok(text) = one.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    is_plain
        && parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
        && parts.filter(|part| !part.is_empty()).all(|part| {
            part.split_once('=').is_none_or(|(name, value)| {
                !name.trim().eq_ignore_ascii_case("charset")
                    || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn fields(all: &[(HeaderName, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_json_is_taken_for_json() {
        for (kind, is_one) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\";", true),
            ("application/json; charset=latin1", false),
            ("application/json5", false),
            ("application/merge-patch+json", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json(&fields(&[(CONTENT_TYPE, kind)])), is_one, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
        assert!(!is_json(&fields(&[(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")])));
    }

    #[tokio::test]
    async fn a_body_is_read_no_further_than_it_may_be() {
        let json = fields(&[(CONTENT_TYPE, "application/json")]);
        let room = Room::default();
        let full = |length: usize| Full::new(Bytes::from(vec![b' '; length]));
        assert_eq!(read(&json, full(10), 10, &room).await.unwrap().bytes.len(), 10);
        assert!(matches!(read(&json, full(11), 10, &room).await, Err(Error::BodyTooLarge(10))));
        let announced = fields(&[(CONTENT_TYPE, "application/json"), (CONTENT_LENGTH, "99999999999")]);
        assert!(matches!(read(&announced, full(0), 10, &room).await, Err(Error::BodyTooLarge(10))));

        // Chunks that say nothing of their sum.
        let chunk = || Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"[1, ")));
        let chunks = StreamBody::new(futures_util::stream::repeat_with(chunk));
        assert!(matches!(read(&json, chunks, 1000, &room).await, Err(Error::BodyTooLarge(1000))));
        let broken = [chunk(), Err(std::io::Error::other("reset"))];
        let broken = StreamBody::new(futures_util::stream::iter(broken));
        assert!(matches!(read(&json, broken, 1000, &room).await, Err(Error::BadRequest(_))));
        assert_eq!(room.0.available_permits(), MAX_HELD_BYTES);
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_bound_and_give_back_their_room() {
        let json = fields(&[(CONTENT_TYPE, "application/json")]);
        let room = Room(Semaphore::new(100));
        let full = |length: usize| Full::new(Bytes::from(vec![b' '; length]));
        let first = read(&json, full(80), 1000, &room).await.unwrap();
        assert!(matches!(read(&json, full(21), 1000, &room).await, Err(Error::BodiesBusy)));
        drop(first);
        assert!(read(&json, full(100), 1000, &room).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let silent = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let room = Room::default();
        let silent = pin!(silent);
        let reading = collect(silent, 10, &room);
        assert!(matches!(within(Duration::ZERO, reading).await, Err(Error::BodyTimeout)));
    }
}
