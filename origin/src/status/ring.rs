//! A stretch of time that moves along: what counters were at its beginning. Fixed memory, no work where things are counted.

use std::collections::VecDeque;
use std::time::Duration;

/// Parts that the stretch is made of: it is too long by at most one of them.
pub(crate) const PARTS: u32 = 60;

#[derive(Debug)]
pub(crate) struct Ring<T> {
    length: Duration,
    /// Oldest first; at most [`PARTS`] and two.
    looks: VecDeque<(Duration, T)>,
}

impl<T> Ring<T> {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, looks: VecDeque::with_capacity(PARTS as usize + 2) }
    }

    /// Takes in what counters are now. Looks that come too close together are left out.
    pub(crate) fn look(&mut self, now: Duration, counters: T) {
        let part = self.length / PARTS;
        // A tick that comes a little early is still the next one.
        if self.looks.back().is_some_and(|(last, _)| now < *last + part - part / 4) {
            return;
        }
        // The newest of those that are old enough stays: the stretch begins there.
        while self.looks.get(1).is_some_and(|(second, _)| *second + self.length <= now)
            || self.looks.len() > PARTS as usize + 1
        {
            self.looks.pop_front();
        }
        self.looks.push_back((now, counters));
    }

    /// What counters were when the stretch began; `None` if nobody has looked yet.
    pub(crate) fn beginning(&self) -> Option<&T> {
        self.looks.front().map(|(_, counters)| counters)
    }

    /// For counters that began anew.
    pub(crate) fn clear(&mut self) {
        self.looks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_moves_along() {
        let mut ring = Ring::new(Duration::from_secs(60));
        assert_eq!(ring.beginning(), None);
        for second in 0..1000 {
            ring.look(Duration::from_secs(second), second);
            assert_eq!(ring.beginning(), Some(&second.saturating_sub(60)));
            // Another one at the same time changes nothing.
            ring.look(Duration::from_secs(second), 5000);
            assert!(ring.looks.len() <= PARTS as usize + 2);
        }
        ring.clear();
        assert_eq!(ring.beginning(), None);
    }

    #[test]
    fn after_a_gap_it_begins_with_the_last_look_before_it() {
        let mut ring = Ring::new(Duration::from_secs(60));
        ring.look(Duration::from_secs(0), 0);
        ring.look(Duration::from_secs(10), 1);
        ring.look(Duration::from_secs(1000), 2);
        assert_eq!(ring.beginning(), Some(&1));
        ring.look(Duration::from_secs(1060), 3);
        assert_eq!(ring.beginning(), Some(&2));
    }
}
