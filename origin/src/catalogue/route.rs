//! Method and path to endpoint. Few endpoints and short paths: a list from the most to the least specific.
//!
//! A literal segment wins over a variable one, from left to right. Paths are matched as they came and captures decoded
//! after: `%2F` never becomes a separator.

use std::cmp::Ordering;

use crate::faults::Position;

const MAX_SEGMENTS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    segments: Vec<Segment>,
    pub(crate) position: Position,
    /// As written.
    pub(crate) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(String),
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    /// Sorted by [`specificity`]; with the index of the endpoint.
    routes: Vec<(Vec<Segment>, usize)>,
}

impl Route {
    /// Reads `GET /resources/{public_id}`. On failure: the byte in `text` that is to blame, and why.
    pub(super) fn parse(text: &str, position: Position) -> Result<Self, (usize, String)> {
        let (method, path) = text.split_once(' ').unwrap_or((text, ""));
        let path = path.trim();
        if method != "GET" {
            return Err((
                0,
                format!("method {method:?}: endpoints read, so it is GET, as in `GET /resources/{{id}}`"),
            ));
        }
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
        let route = Self { segments, position, path: path.to_owned() };
        for (index, name) in route.variables().enumerate() {
            if route.variables().skip(index + 1).any(|other| other == name) {
                return Err((path_offset, format!("two variables are called `{name}`")));
            }
        }
        Ok(route)
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
        match self.routes.binary_search_by(|(segments, _)| specificity(segments, &route.segments)) {
            Ok(same) => Err(self.routes.get(same).map_or(endpoint, |(_, other)| *other)),
            Err(place) => {
                self.routes.insert(place, (route.segments.clone(), endpoint));
                Ok(())
            }
        }
    }

    /// The endpoint for a path, and the raw texts of its variables in order.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(usize, Vec<&'p str>)> {
        let parts: Vec<&str> = path.strip_prefix('/')?.splitn(MAX_SEGMENTS + 1, '/').collect();
        self.routes.iter().find_map(|(segments, endpoint)| {
            if segments.len() != parts.len() {
                return None;
            }
            let mut captures = Vec::new();
            for (segment, part) in segments.iter().zip(&parts) {
                match segment {
                    Segment::Literal(literal) if literal == part => (),
                    Segment::Variable(_) if !part.is_empty() => captures.push(*part),
                    Segment::Literal(_) | Segment::Variable(_) => return None,
                }
            }
            Some((*endpoint, captures))
        })
    }
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
        assert_eq!(router.find("/users/me"), Some((1, vec![])));
        assert_eq!(router.find("/users/u%2F1"), Some((0, vec!["u%2F1"])));
        assert_eq!(router.find("/users"), Some((2, vec![])));
        assert_eq!(router.find("/users/1/teams"), Some((3, vec!["1"])));
        for path in ["/", "", "/users/", "/users//teams", "/users/1/teams/", "*", "/Users"] {
            assert_eq!(router.find(path), None, "{path}");
        }
        assert_eq!(router.add(&route("GET /users/{name}"), 9), Err(0));
    }
}
