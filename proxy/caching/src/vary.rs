//! Selecting header fields (RFC 9111 section 4.1): which stored response answers this request.
//!
//! How the values of a field are compared is a [`VaryMode`]; by default `Accept-Encoding` and `Accept-Language`
//! are compared by what they mean and everything else byte by byte. Must not know how variants are kept or
//! bounded: that is the proxy's `memory.rs`. Next: `storable.rs`.

use std::fmt;

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, VARY},
};

use crate::directives::list_members;

/// More selecting fields than this in one response, and it is not stored.
const MAX_SELECTING_FIELDS: usize = 16;

/// A value of more bytes or more members than this is compared as it is: an honest one is far shorter, and what a
/// hit costs must not be the client's choice.
const MAX_NORMALIZED_BYTES: usize = 512;
const MAX_MEMBERS: usize = 32;

/// How the values of one selecting field are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryMode {
    /// Byte by byte, all lines combined.
    Exact,
    /// In a normal form that has the same meaning. For `Accept-Encoding` and `Accept-Language`: letters in lower
    /// case, no blanks, weights in their shortest form, equal members once, in an order that does not depend on that
    /// of the request. For any other field nothing is known but that it is a list, which whoever configures this
    /// says: members are trimmed, empty ones dropped, and case and order stay; what has a quoted string stays as it is.
    Normalize,
    /// As [`VaryMode::Normalize`]; and where no stored response matches, one may be chosen by what the client
    /// prefers and what the stored response is (see [`select`]). For `Accept-Encoding` and `Accept-Language` alone.
    Negotiate,
    /// A response that varies on this field is not stored.
    Bypass,
}

/// The mode of each selecting field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaryRules(Box<[(HeaderName, VaryMode)]>);

impl Default for VaryRules {
    fn default() -> VaryRules {
        VaryRules::of([])
    }
}

impl VaryRules {
    /// The configured modes over the default ones. Of two for the same field the last counts.
    pub fn of(configured: impl IntoIterator<Item = (HeaderName, VaryMode)>) -> VaryRules {
        let mut rules = vec![(ACCEPT_ENCODING, VaryMode::Normalize), (ACCEPT_LANGUAGE, VaryMode::Normalize)];
        for (name, mode) in configured {
            match rules.iter_mut().find(|(known, _)| *known == name) {
                Some(rule) => rule.1 = mode,
                None => rules.push((name, mode)),
            }
        }
        VaryRules(rules.into())
    }

    /// What is not listed is compared exactly.
    pub fn mode(&self, name: &HeaderName) -> VaryMode {
        self.0.iter().find(|(known, _)| known == name).map_or(VaryMode::Exact, |(_, mode)| *mode)
    }
}

/// The fields that a response's `Vary` names, with the values that its request had, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectingFields(Box<[SelectingField]>);

/// A field's name, and its value if the request had it.
type SelectingField = (HeaderName, Option<Box<[u8]>>);

/// Why a response can never be selected by a later request. `as_str` is the `detail` of `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeverMatches {
    /// `Vary: *`.
    Star,
    /// `Vary` names what cannot be a field.
    Malformed,
    /// `Vary` names more fields than are kept.
    TooMany,
    /// `Vary` names a field whose mode is [`VaryMode::Bypass`].
    Bypass,
}

impl NeverMatches {
    pub const fn as_str(self) -> &'static str {
        match self {
            NeverMatches::Star => "vary-star",
            NeverMatches::Malformed => "vary-malformed",
            NeverMatches::TooMany => "vary-too-many",
            NeverMatches::Bypass => "vary-bypass",
        }
    }
}

/// The one of several stored responses that answers a request. They come newest first. `content` is the header
/// section of a stored response; it is looked at only where a field is negotiated.
pub fn select<'s, T: 's>(
    stored: impl IntoIterator<Item = &'s T>,
    selecting: impl Fn(&T) -> &SelectingFields,
    content: impl Fn(&T) -> &HeaderMap,
    request: &HeaderMap,
    rules: &VaryRules,
) -> Option<&'s T> {
    let mut without_vary = None;
    let mut negotiated = None;
    for response in stored {
        let fields = selecting(response);
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# When a cache has multiple stored responses
        //# for a target URI and one or more omits the Vary header field, the
        //# cache SHOULD choose the most recent (see Section 4.2.3) stored
        //# response with a valid Vary field value.
        if fields.0.is_empty() {
            without_vary = without_vary.or(Some(response));
        } else if fields.matches(request, rules) {
            return Some(response);
        } else if negotiated.is_none() && fields.is_preferred(|| content(response), request, rules) {
            // Each that gets here has the highest weight of all, so none is better than the newest.
            negotiated = Some(response);
        }
    }
    negotiated.or(without_vary)
}

/// For an operator: the fields, and the values of those that say nothing of a person.
impl fmt::Display for SelectingFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            match value {
                Some(value) if [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) => {
                    write!(formatter, "{separator}{name}: {:?}", String::from_utf8_lossy(value))?;
                }
                Some(_) => write!(formatter, "{separator}{name}: present")?,
                None => write!(formatter, "{separator}{name}: absent")?,
            }
        }
        Ok(())
    }
}

impl SelectingFields {
    /// Reads `Vary` of the response and the named fields of its request.
    pub fn of(
        response: &HeaderMap,
        request: &HeaderMap,
        rules: &VaryRules,
    ) -> Result<SelectingFields, NeverMatches> {
        let mut selecting: Vec<SelectingField> = Vec::new();
        for member in response.get_all(VARY).iter().flat_map(|line| list_members(line.as_bytes())) {
            //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
            //# A stored response with a Vary header field value containing a member
            //# "*" always fails to match.
            if member == b"*" {
                return Err(NeverMatches::Star);
            }
            let name = HeaderName::from_bytes(member).map_err(|_| NeverMatches::Malformed)?;
            if selecting.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if selecting.len() == MAX_SELECTING_FIELDS {
                return Err(NeverMatches::TooMany);
            }
            let mode = rules.mode(&name);
            if mode == VaryMode::Bypass {
                return Err(NeverMatches::Bypass);
            }
            let value = NormalForm::of(request, &name, mode).map(|form| form.to_bytes());
            selecting.push((name, value));
        }
        selecting.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        Ok(SelectingFields(selecting.into()))
    }

    /// Whether each field of the other ones is among these.
    pub fn covers(&self, others: &SelectingFields) -> bool {
        others.0.iter().all(|(name, _)| self.names(name))
    }

    /// Whether a request selects the response these fields belong to. Allocates nothing.
    pub fn matches(&self, request: &HeaderMap, rules: &VaryRules) -> bool {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# the cache MUST NOT use that stored response without revalidation
        //# unless all the presented request header fields nominated by that
        //# Vary field value match those fields in the original request
        self.0.iter().all(|(name, value)| matches_field(request, name, value.as_deref(), rules.mode(name)))
    }

    /// Whether a request that does not select the response would choose it all the same: every field that does
    /// not match is negotiated, and what the response is, is what the client prefers.
    fn is_preferred<'c>(
        &self,
        content: impl Fn() -> &'c HeaderMap,
        request: &HeaderMap,
        rules: &VaryRules,
    ) -> bool {
        self.0.iter().all(|(name, value)| {
            let mode = rules.mode(name);
            matches_field(request, name, value.as_deref(), mode)
                || (mode == VaryMode::Negotiate && prefers(request, name, content()))
        })
    }

    /// Appends what of this request would select a response with the same `Vary`, each part with its length: equal
    /// for requests that select the same one.
    pub fn append_values(&self, request: &HeaderMap, rules: &VaryRules, buffer: &mut Vec<u8>) {
        for (name, _) in &self.0 {
            match NormalForm::of(request, name, rules.mode(name)) {
                Some(form) => {
                    buffer.push(1);
                    let length_at = buffer.len();
                    buffer.extend_from_slice(&0usize.to_le_bytes());
                    let value_at = buffer.len();
                    form.append_to(buffer);
                    let length = (buffer.len() - value_at).to_le_bytes();
                    buffer[length_at..value_at].copy_from_slice(&length);
                }
                None => buffer.push(0),
            }
        }
    }

    /// Whether this field is one of them.
    pub fn names(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub fn size_bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |v| v.len()) + 48)
            .sum()
    }
}

fn matches_field(request: &HeaderMap, name: &HeaderName, stored: Option<&[u8]>, mode: VaryMode) -> bool {
    // Stored before the configuration said so.
    if mode == VaryMode::Bypass {
        return false;
    }
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next(), stored) {
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# If (after any normalization that might take place) a header field is
        //# absent from a request, it can only match another request if it is
        //# also absent there.
        (None, _, stored) => stored.is_none(),
        (Some(_), _, None) => false,
        // The usual request has one line of a field, and a normal form is its own normal form.
        (Some(line), None, Some(stored)) if line.as_bytes().trim_ascii() == stored => true,
        (Some(_), None, Some(_)) if mode == VaryMode::Exact => false,
        (Some(_), _, Some(stored)) => {
            NormalForm::of(request, name, mode).is_some_and(|form| form.is_equal_to(stored))
        }
    }
}

/// The lines of one field.
#[derive(Clone, Copy)]
struct Lines<'r> {
    fields: &'r HeaderMap,
    name: &'r HeaderName,
}

impl<'r> Lines<'r> {
    fn iter(self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.fields.get_all(self.name).iter().map(|line| line.as_bytes().trim_ascii())
    }

    /// Trimmed members, empty ones left out. Right only for lines without quoted strings.
    fn members(self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    fn is_short(self) -> bool {
        self.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_NORMALIZED_BYTES
    }
}

/// All lines of a field as one value, in the form in which it is compared.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one comparison, which is to allocate nothing"
)]
enum NormalForm<'r> {
    Exact(Lines<'r>),
    List(Lines<'r>),
    Weighted(Weighted<'r>),
}

impl<'r> NormalForm<'r> {
    /// `None` if the request does not have the field. A value that does not parse stays as it is.
    fn of(request: &'r HeaderMap, name: &'r HeaderName, mode: VaryMode) -> Option<NormalForm<'r>> {
        let lines = Lines { fields: request, name };
        lines.iter().next()?;
        if matches!(mode, VaryMode::Exact | VaryMode::Bypass) {
            return Some(NormalForm::Exact(lines));
        }
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
        //# normalizing both header field values in a way that is known to
        //# have identical semantics, according to the header field's
        //# specification (e.g., reordering field values when order is not
        //# significant; case-normalization, where values are defined to be
        //# case-insensitive)
        let form = match Preferences::of(name) {
            Some(preferences) => Weighted::of(lines, preferences).map(NormalForm::Weighted),
            None => {
                let is_plain = lines.iter().all(|line| !line.contains(&b'"'));
                (is_plain && lines.is_short()).then_some(NormalForm::List(lines))
            }
        };
        Some(form.unwrap_or(NormalForm::Exact(lines)))
    }

    fn is_equal_to(&self, stored: &[u8]) -> bool {
        let stored = stored.iter().copied();
        match self {
            NormalForm::Exact(lines) => exact_bytes(*lines).eq(stored),
            NormalForm::List(lines) => list_bytes(*lines).eq(stored),
            NormalForm::Weighted(members) => members.bytes().eq(stored),
        }
    }

    fn append_to(&self, buffer: &mut Vec<u8>) {
        match self {
            NormalForm::Exact(lines) => buffer.extend(exact_bytes(*lines)),
            NormalForm::List(lines) => buffer.extend(list_bytes(*lines)),
            NormalForm::Weighted(members) => buffer.extend(members.bytes()),
        }
    }

    fn to_bytes(&self) -> Box<[u8]> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes.into()
    }
}

/// The lines of a field, combined (RFC 9110 section 5.2).
fn exact_bytes(lines: Lines<'_>) -> impl Iterator<Item = u8> {
    joined(b", ", lines.iter())
}

fn list_bytes(lines: Lines<'_>) -> impl Iterator<Item = u8> {
    joined(b",", lines.members())
}

fn joined<'b>(separator: &'static [u8], parts: impl Iterator<Item = &'b [u8]>) -> impl Iterator<Item = u8> {
    parts.enumerate().flat_map(move |(at, part)| {
        let separator = if at == 0 { &[] } else { separator };
        separator.iter().chain(part).copied()
    })
}

/// A field whose members have weights and whose grammar is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preferences {
    Encodings,
    Languages,
}

impl Preferences {
    fn of(name: &HeaderName) -> Option<Preferences> {
        if *name == ACCEPT_ENCODING {
            Some(Preferences::Encodings)
        } else if *name == ACCEPT_LANGUAGE {
            Some(Preferences::Languages)
        } else {
            None
        }
    }
}

/// The members of such a field, in their normal order.
struct Weighted<'r> {
    members: [Member<'r>; MAX_MEMBERS],
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member<'r> {
    /// In the case it was written in.
    name: &'r [u8],
    /// In thousandths.
    weight: u16,
}

impl<'r> Weighted<'r> {
    /// `None` for what the grammar does not have, for what is long, and for a member with two weights: which
    /// of them counts is not said anywhere.
    fn of(lines: Lines<'r>, preferences: Preferences) -> Option<Weighted<'r>> {
        if !lines.is_short() {
            return None;
        }
        let mut list = Weighted { members: [Member::default(); MAX_MEMBERS], count: 0 };
        for text in lines.members() {
            let mut member = Member::of(text)?;
            if preferences == Preferences::Encodings {
                member.name = coding(member.name);
            }
            let known = list.as_slice().iter().find(|known| known.name.eq_ignore_ascii_case(member.name));
            match known {
                Some(known) if known.weight == member.weight => (),
                Some(_) => return None,
                None => {
                    *list.members.get_mut(list.count)? = member;
                    list.count += 1;
                }
            }
        }
        let members = &mut list.members[..list.count];
        match preferences {
            // Which one a server takes of equal weight is its own choice, whatever their order.
            Preferences::Encodings => members.sort_unstable_by(|a, b| lower(a.name).cmp(lower(b.name))),
            //= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4
            //# Note that some recipients treat the order in which language tags are
            //# listed as an indication of descending priority, particularly for tags
            //# that are assigned equal quality values (no value is the same as q=1).
            //# However, this behavior cannot be relied upon.
            //
            // Clients that mean an order say so by weights, as browsers do. An upstream that takes the order of equal
            // ones for more has to be compared by `VaryMode::Exact`.
            Preferences::Languages => members.sort_unstable_by(|a, b| {
                b.weight.cmp(&a.weight).then_with(|| lower(a.name).cmp(lower(b.name)))
            }),
        }
        Some(list)
    }

    fn as_slice(&self) -> &[Member<'r>] {
        &self.members[..self.count]
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.as_slice().iter().enumerate().flat_map(|(at, member)| {
            let comma = (at > 0).then_some(b',');
            comma.into_iter().chain(lower(member.name)).chain(weight_text(member.weight))
        })
    }

    fn highest_weight(&self) -> u16 {
        self.as_slice().iter().map(|member| member.weight).max().unwrap_or(0)
    }
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

impl<'r> Member<'r> {
    /// `name [ OWS ";" OWS "q=" qvalue ]` (RFC 9110 section 12.4.2).
    fn of(text: &'r [u8]) -> Option<Member<'r>> {
        let mut parts = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next()?;
        let is_token = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
        let weight = match (parts.next(), parts.next()) {
            (None, _) => Some(1000),
            (Some([b'q' | b'Q', b'=', value @ ..]), None) => qvalue(value),
            _ => None,
        };
        weight.filter(|_| is_token).map(|weight| Member { name, weight })
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// `0`, `0.25`, `1.000`: in thousandths.
fn qvalue(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] => (*whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths =
        (0..3).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |digit| u16::from(digit - b'0')));
    let weight = u16::from(whole - b'0') * 1000 + thousandths;
    (weight <= 1000).then_some(weight)
}

/// The shortest way to write a weight; nothing for 1, which is what no weight means.
fn weight_text(weight: u16) -> impl Iterator<Item = u8> {
    let digits = [weight / 100 % 10, weight / 10 % 10, weight % 10];
    let count = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
    let fraction = digits.into_iter().take(count).map(|digit| b'0' + digit.to_le_bytes()[0]);
    let start: &[u8] = match (weight, count) {
        (1000.., _) => b"",
        (_, 0) => b";q=0",
        _ => b";q=0.",
    };
    start.iter().copied().chain(fraction)
}

/// The one name of a content coding that has two.
fn coding(name: &[u8]) -> &[u8] {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.3
    //# A recipient SHOULD consider "x-gzip" to be equivalent to "gzip".
    if name.eq_ignore_ascii_case(b"x-gzip") {
        return b"gzip";
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.1
    //# A recipient SHOULD consider "x-compress" to be equivalent to "compress".
    if name.eq_ignore_ascii_case(b"x-compress") {
        return b"compress";
    }
    name
}

/// Whether what a stored response is, has the highest weight that the client gives to anything.
fn prefers(request: &HeaderMap, name: &HeaderName, content: &HeaderMap) -> bool {
    let Some(preferences) = Preferences::of(name) else { return false };
    let lines = Lines { fields: request, name };
    // A client that says nothing prefers nothing, and the one that asked for this response did say something.
    if lines.iter().next().is_none() {
        return false;
    }
    let Some(accepted) = Weighted::of(lines, preferences) else { return false };
    let weight = match preferences {
        Preferences::Encodings => only_member(content, &CONTENT_ENCODING)
            .and_then(|found| encoding_weight(&accepted, coding(found.unwrap_or(b"identity")))),
        Preferences::Languages => {
            only_member(content, &CONTENT_LANGUAGE).and_then(|found| language_weight(&accepted, found?))
        }
    };
    weight.is_some_and(|weight| weight == accepted.highest_weight())
}

/// The one member of a field of a response: `None` if there are several, `Some(None)` if there is none.
fn only_member<'c>(content: &'c HeaderMap, name: &'c HeaderName) -> Option<Option<&'c [u8]>> {
    let mut found = Lines { fields: content, name }.members();
    match (found.next(), found.next()) {
        (only, None) => Some(only),
        (_, Some(_)) => None,
    }
}

/// What weight a client gives to a content coding; `None` if it does not accept it.
fn encoding_weight(accepted: &Weighted<'_>, coding: &[u8]) -> Option<u16> {
    let listed =
        |name: &[u8]| accepted.as_slice().iter().find(|member| member.name.eq_ignore_ascii_case(name));
    //= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
    //# The asterisk "*" symbol in an Accept-Encoding field
    //# matches any available content coding not explicitly listed in the
    //# field.
    if let Some(member) = listed(coding).or_else(|| listed(b"*")) {
        return Some(member.weight).filter(|weight| *weight > 0);
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
    //# If the representation has no content coding, then it is
    //# acceptable by default unless specifically excluded by the Accept-
    //# Encoding header field stating either "identity;q=0" or "*;q=0"
    //# without a more specific entry for "identity".
    //
    // By default, but after everything that the client names.
    coding.eq_ignore_ascii_case(b"identity").then_some(0)
}

/// What weight a client gives to a language; `None` if no range but `*` matches it.
fn language_weight(accepted: &Weighted<'_>, tag: &[u8]) -> Option<u16> {
    // Of several ranges the longest speaks of this language most exactly: `en, en-gb;q=0` is not for en-gb.
    let matching = accepted.as_slice().iter().filter(|range| is_matched_by(tag, range.name));
    let longest = matching.max_by_key(|range| range.name.len())?;
    Some(longest.weight).filter(|weight| *weight > 0)
}

/// Basic filtering.
fn is_matched_by(tag: &[u8], range: &[u8]) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc4647#section-3.3.1
    //# A language range matches a
    //# particular language tag if, in a case-insensitive comparison, it
    //# exactly equals the tag, or if it exactly equals a prefix of the tag
    //# such that the first character following the prefix is "-".
    match tag.split_at_checked(range.len()) {
        Some((prefix, rest)) => prefix.eq_ignore_ascii_case(range) && matches!(rest, [] | [b'-', ..]),
        None => false,
    }
}
