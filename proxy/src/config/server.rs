//! One server of an upstream, from a URL such as `http://127.0.0.1:3000`.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::BadValue;
use super::units::quoted;

/// Where to connect, and what to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name in lower case or an address; IPv6 without brackets, as resolvers want it.
    pub host: Box<str>,
    pub port: u16,
    /// `host:port` as a `Host` field has it: IPv6 in brackets, no `:80`. A valid field value.
    pub authority: Box<str>,
}

impl FromStr for Server {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(BadValue::new(format!(
                "{} is not the URL of a server; write for example {:?}",
                quoted(text),
                if looks_like_authority(text) {
                    format!("http://{text}")
                } else {
                    "http://127.0.0.1:3000".into()
                }
            )));
        };
        if scheme.eq_ignore_ascii_case("https") {
            return Err(BadValue::new(format!(
                "{}: TLS to an upstream is not supported yet; write \"http://...\", \
                 or put a TLS-speaking proxy on this machine in between",
                quoted(text)
            )));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(BadValue::new(format!(
                "{}: unknown scheme {}; write \"http://...\"",
                quoted(text),
                quoted(scheme)
            )));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(BadValue::at(
                text.len() - path.len(),
                format!(
                    "{}: a server has no path: requests keep the one they came with; write \"http://{authority}\"",
                    quoted(text)
                ),
            ));
        }
        if authority.contains('@') {
            return Err(BadValue::new("a server has no user name or password in its URL"));
        }
        Self::of_authority(authority)
            .map_err(|why| BadValue::new(format!("{} is not the URL of a server: {why}", quoted(text))))
    }
}

impl Server {
    fn of_authority(text: &str) -> Result<Self, &'static str> {
        const DEFAULT_PORT: u16 = 80;
        let uri: Uri = format!("http://{text}/").parse().map_err(|_| "the host is malformed")?;
        let bracketed =
            uri.host().filter(|host| !host.is_empty()).ok_or("it has no host")?.to_ascii_lowercase();
        let port = match text.strip_prefix(uri.host().unwrap_or_default()) {
            Some("") => DEFAULT_PORT,
            Some(port) => {
                // `parse` alone would take "+80".
                let digits =
                    port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
                port.ok_or("the port is not a number from 1 to 65535")?
            }
            None => return Err("the host is malformed"),
        };
        let host = match bracketed.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').ok_or("the host is malformed")?;
                address.parse::<std::net::Ipv6Addr>().map_err(|_| "the IPv6 address is malformed")?;
                address
            }
            None => host_name(&bracketed)?,
        };
        let authority = if port == DEFAULT_PORT { bracketed.clone() } else { format!("{bracketed}:{port}") };
        Ok(Self { host: host.into(), port, authority: authority.into() })
    }
}

fn host_name(text: &str) -> Result<&str, &'static str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() > 253 || !text.split('.').all(is_label) {
        return Err("the host is malformed");
    }
    // `1.2.3` and `999.1.1.1` are names to no one.
    if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
        && text.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err("the IPv4 address is malformed");
    }
    Ok(text)
}

fn looks_like_authority(text: &str) -> bool {
    text.contains(['.', ':', '_']) && Server::of_authority(text).is_ok()
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, authority: &str) {
        let expected = Server { host: host.into(), port, authority: authority.into() };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }

    #[test]
    fn servers_are_read() {
        check("http://127.0.0.1:3000", "127.0.0.1", 3000, "127.0.0.1:3000");
        check("http://127.0.0.1:3000/", "127.0.0.1", 3000, "127.0.0.1:3000");
        check("HTTP://App.Internal", "app.internal", 80, "app.internal");
        check("http://app_1:80", "app_1", 80, "app_1");
        check("http://[::1]:3000", "::1", 3000, "[::1]:3000");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (text, part) in [
            ("", "is not the URL"),
            ("127.0.0.1:3000", "\"http://127.0.0.1:3000\""),
            ("localhost", "http://127.0.0.1:3000"),
            ("https://app", "TLS"),
            ("ftp://app", "scheme"),
            ("http://", "host"),
            ("http://:3000", "host"),
            ("http://app:0", "port"),
            ("http://app:", "port"),
            ("http://app:65536", "port"),
            ("http://app:+80", "port"),
            ("http://app:80:80", ""),
            ("http://a b", "host"),
            ("http://a..b", "host"),
            ("http://999.1.1.1", "IPv4"),
            ("http://[::1", "host"),
            ("http://[zz]", ""),
            ("http://::1", ""),
            ("http://app/v1", "no path"),
            ("http://app?x", "no path"),
            ("http://me:pw@app", "user name"),
            ("http://app\r\nX: y", ""),
        ] {
            let message = text.parse::<Server>().unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
