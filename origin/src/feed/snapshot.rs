//! What the primary shows, `pg_current_snapshot()`, and what follows from it for transactions.

/// `xmin:xmax:xip,...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) xmin: u64,
    pub(super) xmax: u64,
    in_progress: Vec<u64>,
}

impl Snapshot {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse().ok();
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next()?;
        if parts.next().is_some() {
            return None;
        }
        let list = list.split(',').filter(|xid| !xid.is_empty());
        let mut in_progress = list.map(|xid| xid.parse().ok()).collect::<Option<Vec<u64>>>()?;
        in_progress.sort_unstable();
        (xmin <= xmax).then_some(Self { xmin, xmax, in_progress })
    }

    /// Whether a transaction had ended when it was taken.
    pub(super) fn has_ended(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_has_not_ended() {
        let snapshot = Snapshot::parse("738:741:738,740").unwrap();
        let ended: Vec<u64> = (736..743).filter(|xid| snapshot.has_ended(*xid)).collect();
        assert_eq!(ended, [736, 737, 739]);
        assert!(Snapshot::parse("5:5:").is_some());
        for text in ["", "5", "5:5", "5:5::", "5:4:", "a:b:", "1:9:x", "-1:5:"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }
}
