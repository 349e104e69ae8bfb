//! What an unsafe request ends of what is stored (RFC 9111 section 4.4, RFC 9875 section 3). Must not know how the
//! request is sent, nor what becomes of its body: that is `store.rs`.

use caching::{
    groups,
    invalidation::{further_targets, invalidates_target},
    method::is_safe,
};
use http::{HeaderMap, StatusCode};

use super::judge::Judged;
use crate::{
    fetch::Fetched,
    invalidations::{Mark, Purge, Scope, Sequence, Subject},
    request::Request,
    worker::Worker,
};

/// Ends what is stored for the target of an unsafe request, unless its answer says that nothing was done. No answer,
/// because the client went away or the upstream broke off, says no such thing.
pub(super) struct InvalidateUnlessRefused<'a> {
    worker: &'a Worker,
    request: &'a Request,
}

impl<'a> InvalidateUnlessRefused<'a> {
    pub(super) fn new(worker: &'a Worker, request: &'a Request) -> InvalidateUnlessRefused<'a> {
        InvalidateUnlessRefused { worker, request }
    }

    /// The request has reached nobody.
    pub(super) fn nothing_done(self) {
        std::mem::forget(self);
    }

    pub(super) fn answered(self, status: StatusCode, fields: &HeaderMap) {
        if invalidates_target(&self.request.method, status) {
            self.invalidate_others(fields);
        } else {
            self.nothing_done();
        }
    }

    /// The answer is itself what later requests for the target get, if no purge has reached it meanwhile.
    pub(super) fn answered_and_kept(
        self,
        mut kept: Judged,
        fetched: &Fetched,
        began: Sequence,
    ) -> Option<Judged> {
        // One that answers more queries than its own is not spared by the purge of these.
        let target = &self.request.target;
        let is_of_get =
            self.worker.proxy.normalised(target.clone()).path_and_query() == target.path_and_query();
        if !invalidates_target(&self.request.method, fetched.status)
            || kept.search.is_some()
            || !is_of_get
            || self.request.as_written.is_some()
        {
            self.answered(fetched.status, &fetched.fields);
            return None;
        }
        self.invalidate_others(&fetched.fields);
        let invalidations = &self.worker.proxy.invalidations;
        let (host, path) = (target.host(), target.path());
        invalidations.purge(Subject::Searched { host, path }, Purge::Hard);
        let url = Subject::Url { host, target: target.path_and_query().as_str() };
        let seen = kept.stored.seen.map_or(Mark::END, |seen| seen.mark);
        let purged = invalidations.purge_own(url, &kept.key, &kept.stored.cells, began, seen);
        std::mem::forget(self);
        kept.stored.filled = purged?;
        Some(kept)
    }

    fn invalidate_others(&self, fields: &HeaderMap) {
        let invalidations = &self.worker.proxy.invalidations;
        let host = self.request.target.host();
        let own = self.request.target.path_and_query().as_str();
        further_targets(fields, host, self.request.target.path(), |target| {
            // The request's own is purged in any case, and its answer may be stored for it.
            if target != own {
                self.worker.proxy.purge_url(host, target, Purge::Hard);
            }
        });
        //= https://www.rfc-editor.org/rfc/rfc9875#section-3
        //# A cache that receives a Cache-Group-Invalidation header field on a
        //# response to an unsafe request MAY invalidate any stored responses
        //# that share groups (per Section 2.2) with any of the listed groups.
        let invalidated = groups::invalidated_groups(fields, is_safe(&self.request.method), |name| {
            invalidations.purge(Subject::Group { host, name: name.as_bytes() }, Purge::Hard);
        });
        if invalidated.is_err() {
            // More than are looked at: rather too much than too little.
            invalidations.purge_scope(Scope::Prefix { host: host.into(), prefix: "".into() }, Purge::Hard);
        }
    }
}

impl Drop for InvalidateUnlessRefused<'_> {
    fn drop(&mut self) {
        let target = &self.request.target;
        for target in std::iter::once(target).chain(&self.request.as_written) {
            self.worker.proxy.purge_url(target.host(), target.path_and_query().as_str(), Purge::Hard);
        }
    }
}
