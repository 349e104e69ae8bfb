//! Where something is sent over HTTP. Shown without its path, always: paths of webhooks are secrets.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    host: String,
    port: u16,
    /// With the query.
    path: String,
}

impl HttpUrl {
    /// For the Host field and for connecting.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Another path on the same server.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    /// Never repeats the text: it may have a secret in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
        match uri.scheme_str() {
            Some("http") => (),
            Some("https") => {
                return Err(
                    "https is not supported here; send to a relay on this machine over http".to_owned()
                );
            }
            Some(_) | None => return Err("not a URL that begins with `http://`".to_owned()),
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL has a user in it, which is not supported".to_owned());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { host: authority.host().to_owned(), port, path: path.to_owned() })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_their_paths_never_shown() {
        let url: HttpUrl = "http://hooks.example:8080/T0/s3cret?key=s3cret".parse().unwrap();
        assert_eq!((url.authority().as_str(), url.path()), ("hooks.example:8080", "/T0/s3cret?key=s3cret"));
        assert_eq!(format!("{url} {url:?}"), "http://hooks.example:8080 http://hooks.example:8080");
        let url: HttpUrl = "http://[::1]".parse().unwrap();
        assert_eq!((url.authority().as_str(), url.path()), ("[::1]:80", "/"));
        assert_eq!(url.with_path("/metrics").path(), "/metrics");
        for bad in [
            "",
            "s3cret",
            "/s3cret",
            "ftp://h/s3cret",
            "https://h/s3cret",
            "http://u:s3cret@h/",
            "http:///s3cret",
        ] {
            let why = bad.parse::<HttpUrl>().unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
