//! One request from head to answer: the table of contents of the worker.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tracing::{debug, error};

use crate::answer::{self, AnswerBody, stream};
use crate::catalogue::Found;
use crate::clock::Stopwatch;
use crate::cursor::Key;
use crate::database::{Attempts, Database, LaneKind, MinVersion, Target};
use crate::error::{Error, chain};
use crate::feed::{self, Feed};
use crate::live::{Live, Served};
use crate::metrics::Metrics;
use crate::params::{self, Given};
use crate::status::Status;
use crate::status::pool::Pools;
use crate::write::{self, Room};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Read once for each request, which ends with what it began with. Read next: `live.rs`, `reload.rs`.
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) cursor_key: Key,
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
    /// `None`: there is none.
    pub(crate) feed: Option<Arc<Feed>>,
    pub(crate) targets: Vec<Arc<Target>>,
    /// One for each worker, set when it is ready.
    pub(crate) databases: Vec<OnceLock<Arc<Database>>>,
}

impl Shared {
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Database> + Clone {
        self.databases.iter().filter_map(OnceLock::get).map(|database| &**database)
    }

    /// How full the connections of all workers are.
    pub(crate) fn pools(&self) -> Pools {
        Pools::of(self.ready())
    }

    fn metrics_page(&self) -> String {
        let mut text = self.metrics.text(self.ready());
        let servers: Vec<&str> = self.targets.iter().map(|target| &*target.name).collect();
        self.status.text(&mut text, &self.metrics, &self.pools(), &servers);
        self.feed.iter().for_each(|feed| feed.text(&mut text));
        text.0
    }

    fn status_page(&self) -> String {
        let mut status = self.status.json(&self.metrics, &self.pools());
        if let (Some(feed), Some(all)) = (&self.feed, status.as_object_mut()) {
            all.insert("feed".to_owned(), feed.json());
        }
        format!("{status:#}\n")
    }
}

/// The page has no script and loads nothing.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What one worker answers with.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) database: Arc<Database>,
    /// For the bodies of writes.
    pub(crate) bodies: Room,
}

impl Worker {
    pub(crate) async fn serve<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes>,
    {
        let live = self.shared.live.load_full();
        if let Some(own) = self.own_page(&live, &request) {
            return own.map(Either::Left);
        }
        let (head, body) = request.into_parts();
        if head.uri.path() == "/feed"
            && let Some(feed) = &self.shared.feed
        {
            return feed::answer(feed, &head);
        }
        let watch = Stopwatch::start();
        let mut served = None;
        let response = match self.answer(&live, &head, body, &mut served).await {
            Ok(response) => response,
            Err(error) => {
                let name = served.map_or("", |served: &Served| served.endpoint.name.as_str());
                // That servers are gone is said once, by those who connect to them, and not for each request.
                if error.status().is_server_error()
                    && !matches!(error, Error::NoServer | Error::NoPrimary | Error::NotYet)
                {
                    error!(
                        endpoint.name = name,
                        status = error.status().as_u16(),
                        "endpoint `{name}`: {}",
                        chain(&error)
                    );
                } else {
                    debug!(endpoint.name = name, status = error.status().as_u16(), "{}", chain(&error));
                }
                error.response().map(Either::Left)
            }
        };
        let metrics = served.map(|served| &*served.metrics);
        self.shared.metrics.request(metrics, response.status(), watch.elapsed());
        response
    }

    async fn answer<'l, B>(
        &self,
        live: &'l Live,
        head: &Parts,
        body: B,
        found: &mut Option<&'l Served>,
    ) -> Result<Response<AnswerBody>, Error>
    where
        B: Body<Data = Bytes>,
    {
        accept(head)?;
        let (index, captures) = match live.catalogue.router.find(&head.method, head.uri.path()) {
            Found::Endpoint(index, captures) => (index, captures),
            Found::OtherMethods(allow) => return Err(Error::Method { allow }),
            Found::Nothing => return Err(Error::NoEndpoint),
        };
        let served = live.served.get(index).ok_or(Error::NoEndpoint)?;
        *found = Some(served);
        let endpoint = &*served.endpoint;
        if !endpoint.is_read() {
            let response = write::respond(self, served, &captures, head, body).await?;
            return Ok(response.map(Either::Left));
        }
        if !body.is_end_stream() {
            return Err(Error::BadRequest("a request that reads has no body"));
        }
        let query = head.uri.query().unwrap_or_default();
        let key = &self.shared.cursor_key;
        let given = params::read(endpoint, &captures, query, key)?;
        let min = MinVersion::of(&head.headers)?;
        let watch = Stopwatch::start();
        if endpoint.is_streamed() {
            return self.streamed(served, &given, min, watch).await;
        }
        let answered = self.database.run(served, &given, min).await;
        self.shared.metrics.statement(&served.metrics, watch.elapsed());
        let answered = answered?;
        let layout = &answered.prepared.layout;
        let response = answer::response(endpoint, layout, &given, &answered, &head.headers, key)?;
        Ok(response.map(Either::Left))
    }

    /// As long as nothing was sent, another server can say it all.
    async fn streamed(
        &self,
        served: &Served,
        given: &Given,
        min: Option<MinVersion>,
        watch: Stopwatch,
    ) -> Result<Response<AnswerBody>, Error> {
        let mut attempts = Attempts::new(min);
        loop {
            let streaming = self.database.stream(served, given, &mut attempts).await;
            self.shared.metrics.statement(&served.metrics, watch.elapsed());
            let streaming = streaming?;
            let session = streaming.session().clone();
            match stream::response(&served.endpoint, given, streaming).await {
                Err(Error::NoServer) => attempts.cut_off(&session).await?,
                response => return Ok(response?.map(Either::Right)),
            }
        }
    }

    /// Health, metrics, and what the catalogue says of itself. Query files cannot have routes below `/-/`; the other names of these pages are theirs to take.
    fn own_page<B>(&self, live: &Live, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        let is_free = || matches!(live.catalogue.router.find(request.method(), path), Found::Nothing);
        let page = match path {
            "/metrics" if is_free() => "metrics",
            "/api/status" if is_free() => "status",
            "/openapi.json" if is_free() => "openapi.json",
            _ => path.strip_prefix("/-/")?,
        };
        let databases = self.shared.databases.iter();
        let (status, text) = match page {
            "healthz" => (StatusCode::OK, Bytes::from_static(b"ok\n")),
            "readyz" => {
                let is_ready = |database: &Arc<Database>| {
                    database.servers.iter().any(|server| {
                        server.lanes(LaneKind::Fast).iter().any(|lane| lane.session().is_some())
                    })
                };
                if databases.clone().all(|database| database.get().is_some_and(is_ready)) {
                    (StatusCode::OK, Bytes::from_static(b"ready\n"))
                } else {
                    let why = b"no database server can be reached\n";
                    (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(why))
                }
            }
            "metrics" => (StatusCode::OK, self.shared.metrics_page().into()),
            "status" => (StatusCode::OK, self.shared.status_page().into()),
            "openapi.json" | "docs" => return Some(self.described(live, request, page)),
            _ => return Some(Error::NoEndpoint.response()),
        };
        if !is_get(request.method()) {
            return Some(not_get());
        }
        let mut response = Response::new(Full::new(text));
        *response.status_mut() = status;
        let kind = match page {
            "status" => "application/json",
            _ => "text/plain; version=0.0.4; charset=utf-8",
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    /// What the catalogue says of itself changes with the query files, and is validated at each use.
    fn described<B>(&self, live: &Live, request: &Request<B>, page: &str) -> Response<Full<Bytes>> {
        if !is_get(request.method()) {
            return not_get();
        }
        let documents = live.documents(self.shared.ready().flat_map(Database::sessions));
        let (document, kind) = match page {
            "docs" => (&documents.page, "text/html; charset=utf-8"),
            _ => (&documents.openapi, "application/json"),
        };
        let is_known = answer::is_known(request.headers(), &document.etag);
        let body = if is_known { Bytes::new() } else { document.text.clone() };
        let mut response = Response::new(Full::new(body));
        let fields = response.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::from_str(&document.etag) {
            fields.insert(ETAG, etag);
        }
        if page == "docs" {
            fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        response
    }
}

fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn not_get() -> Response<Full<Bytes>> {
    Error::Method { allow: "GET, HEAD".to_owned() }.response()
}

/// What hyper lets through and no endpoint wants.
fn accept(head: &Parts) -> Result<(), Error> {
    let fields = &head.headers;
    let hosts = fields.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Error::BadRequest("the request needs exactly one Host"));
    }
    Ok(())
}
