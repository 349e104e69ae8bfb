//! Method and path to endpoint. Few endpoints and short paths: a list from the most to the least specific.
//!
//! A literal segment wins over a variable one, from left to right. Paths are matched as they came and captures decoded
//! after: `%2F` never becomes a separator.

use std::cmp::Ordering;

use hyper::Method;

use crate::faults::Position;

const MAX_SEGMENTS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) method: Method,
    segments: Vec<Segment>,
    pub(crate) position: Position,
    /// As written.
    pub(crate) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Variable(String),
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    /// Sorted by [`specificity`].
    routes: Vec<(Vec<Segment>, Endpoints)>,
}

/// The endpoints of one path, by index in the catalogue.
type Endpoints = Vec<(Method, usize)>;

/// What a method and a path mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'p> {
    /// An endpoint, and the raw texts of its variables in order.
    Endpoint(usize, Vec<&'p str>),
    /// The path has endpoints for other methods: the value of `Allow`.
    OtherMethods(String),
    Nothing,
}

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

impl Route {
    /// Reads `GET /resources/{public_id}`. On failure: the byte in `text` that is to blame, and why.
    pub(crate) fn parse(text: &str, position: Position) -> Result<Self, (usize, String)> {
        let (method, path) = text.split_once(' ').unwrap_or((text, ""));
        let path = path.trim();
        let Some(method) = METHODS.iter().find(|known| known.as_str() == method) else {
            let why = format!(
                "method {method:?} is not GET, POST, PUT, PATCH or DELETE; write for example `GET /resources/{{id}}`"
            );
            return Err((0, why));
        };
        let path_offset = text.len() - path.len();
        let Some(rest) = path.strip_prefix('/') else {
            return Err((path_offset, format!("path {path:?} does not begin with `/`")));
        };
        let mut segments = Vec::new();
        let mut offset = path_offset + 1;
        for part in rest.split('/') {
            segments.push(segment(part).map_err(|why| (offset, why))?);
            offset += part.len() + 1;
        }
        if segments.len() > MAX_SEGMENTS {
            return Err((path_offset, format!("path has more than {MAX_SEGMENTS} segments")));
        }
        let route = Self { method: method.clone(), segments, position, path: path.to_owned() };
        for (index, name) in route.variables().enumerate() {
            if route.variables().skip(index + 1).any(|other| other == name) {
                return Err((path_offset, format!("two variables are called `{name}`")));
            }
        }
        Ok(route)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it is for the same requests, whatever the variables are called.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.method == other.method && specificity(&self.segments, &other.segments) == Ordering::Equal
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }
}

fn segment(part: &str) -> Result<Segment, String> {
    if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return if super::sql::is_name(name) {
            Ok(Segment::Variable(name.to_owned()))
        } else {
            Err(format!("`{{{name}}}` is not a variable: names are lower-case letters, digits and _"))
        };
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if part.is_empty() || !part.bytes().all(is_plain) {
        return Err(format!("segment {part:?} is neither plain text nor a variable such as `{{id}}`"));
    }
    if part == "-" {
        return Err("`/-/` is where the worker's own health and metrics are".to_owned());
    }
    Ok(Segment::Literal(part.to_owned()))
}

impl Router {
    /// On failure: the endpoint that takes the same requests.
    pub(super) fn add(&mut self, route: &Route, endpoint: usize) -> Result<(), usize> {
        let own = (route.method.clone(), endpoint);
        match self.routes.binary_search_by(|(segments, _)| specificity(segments, &route.segments)) {
            Ok(same) => {
                let Some((_, endpoints)) = self.routes.get_mut(same) else { return Ok(()) };
                if let Some((_, other)) = endpoints.iter().find(|(method, _)| *method == route.method) {
                    return Err(*other);
                }
                endpoints.push(own);
            }
            Err(place) => self.routes.insert(place, (route.segments.clone(), vec![own])),
        }
        Ok(())
    }

    /// The endpoint for a request. Which path it is, is decided before the method is looked at: `POST /users/me` is never
    /// one for `POST /users/{id}` where there is a `GET /users/me`.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'p> {
        let Some(rest) = path.strip_prefix('/') else { return Found::Nothing };
        let parts: Vec<&str> = rest.splitn(MAX_SEGMENTS + 1, '/').collect();
        let found = self
            .routes
            .iter()
            .find_map(|(segments, endpoints)| Some((captures(segments, &parts)?, endpoints)));
        let Some((captures, endpoints)) = found else { return Found::Nothing };
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        match endpoints.iter().find(|(method, _)| method == wanted) {
            Some((_, endpoint)) => Found::Endpoint(*endpoint, captures),
            None => Found::OtherMethods(allow(endpoints)),
        }
    }
}

fn captures<'p>(segments: &[Segment], parts: &[&'p str]) -> Option<Vec<&'p str>> {
    if segments.len() != parts.len() {
        return None;
    }
    let mut captures = Vec::new();
    for (segment, part) in segments.iter().zip(parts) {
        match segment {
            Segment::Literal(literal) if literal == part => (),
            Segment::Variable(_) if !part.is_empty() => captures.push(*part),
            Segment::Literal(_) | Segment::Variable(_) => return None,
        }
    }
    Some(captures)
}

fn allow(endpoints: &[(Method, usize)]) -> String {
    let mut names = Vec::new();
    for method in METHODS.iter().filter(|method| endpoints.iter().any(|(own, _)| own == *method)) {
        names.push(method.as_str());
        if *method == Method::GET {
            names.push("HEAD");
        }
    }
    names.join(", ")
}

/// Equal for routes that match the same paths, whatever their variables are called.
fn specificity(a: &[Segment], b: &[Segment]) -> Ordering {
    let by_segment = a.iter().zip(b).map(|pair| match pair {
        (Segment::Literal(a), Segment::Literal(b)) => a.cmp(b),
        (Segment::Literal(_), Segment::Variable(_)) => Ordering::Less,
        (Segment::Variable(_), Segment::Literal(_)) => Ordering::Greater,
        (Segment::Variable(_), Segment::Variable(_)) => Ordering::Equal,
    });
    a.len().cmp(&b.len()).then_with(|| by_segment.fold(Ordering::Equal, Ordering::then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Route {
        Route::parse(text, Position { line: 1, column: 1 }).unwrap()
    }

    #[test]
    fn a_literal_wins_over_a_variable_and_lengths_differ() {
        let mut router = Router::default();
        for (index, text) in
            ["GET /users/{id}", "GET /users/me", "GET /users", "GET /users/{id}/teams"].iter().enumerate()
        {
            router.add(&route(text), index).unwrap();
        }
        let get = |path| router.find(&Method::GET, path);
        assert_eq!(get("/users/me"), Found::Endpoint(1, vec![]));
        assert_eq!(get("/users/u%2F1"), Found::Endpoint(0, vec!["u%2F1"]));
        assert_eq!(get("/users"), Found::Endpoint(2, vec![]));
        assert_eq!(get("/users/1/teams"), Found::Endpoint(3, vec!["1"]));
        for path in ["/", "", "/users/", "/users//teams", "/users/1/teams/", "*", "/Users"] {
            assert_eq!(get(path), Found::Nothing, "{path}");
        }
        assert_eq!(router.add(&route("GET /users/{name}"), 9), Err(0));
    }

    #[test]
    fn a_path_is_found_by_its_methods_or_says_which_it_has() {
        let mut router = Router::default();
        for (index, text) in
            ["DELETE /users/{id}", "GET /users/{name}", "GET /users/me", "POST /users"].iter().enumerate()
        {
            router.add(&route(text), index).unwrap();
        }
        assert_eq!(router.find(&Method::DELETE, "/users/1"), Found::Endpoint(0, vec!["1"]));
        assert_eq!(router.find(&Method::HEAD, "/users/1"), Found::Endpoint(1, vec!["1"]));
        assert_eq!(
            router.find(&Method::PUT, "/users/1"),
            Found::OtherMethods("GET, HEAD, DELETE".to_owned())
        );
        assert_eq!(router.find(&Method::DELETE, "/users/me"), Found::OtherMethods("GET, HEAD".to_owned()));
        assert_eq!(router.find(&Method::GET, "/users"), Found::OtherMethods("POST".to_owned()));
        assert_eq!(router.find(&Method::GET, "/none"), Found::Nothing);
    }
}
