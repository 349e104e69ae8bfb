//! Takes a policy that keeps faulting out for a while: a call that will fail all the same costs its whole deadline.
//!
//! One for each loaded policy, shared by all workers. The time is handed in. While all is well it costs one relaxed load to
//! ask and two to report.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many faults with no decision between them, and it is out.
const IN_A_ROW_MAX: u32 = 5;
/// So many faults within [`WINDOW_MS`], whatever is between them.
const IN_WINDOW_MAX: u32 = 20;
const WINDOW_MS: u64 = 10_000;
/// How long it is out at first; twice as long each time that it fails again.
const FIRST_PAUSE_MS: u64 = 10_000;
const LONGEST_PAUSE_MS: u64 = 300_000;
/// For how long nobody else tries while one does.
const TRIAL_MS: u64 = 1_000;

/// See above.
#[derive(Debug, Default)]
pub struct Breaker {
    faults_in_a_row: AtomicU32,
    window_began_ms: AtomicU64,
    faults_in_window: AtomicU32,
    /// 0: it is in. Otherwise when it may be tried again.
    out_until_ms: AtomicU64,
    /// The pause of the last time; 0 since it was last well.
    pause_ms: AtomicU64,
}

/// What a fault came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// The policy is out from now on.
    Now,
    /// It was out, was tried, and is out for longer.
    Already,
    No,
}

impl Breaker {
    pub fn new() -> Breaker {
        Breaker::default()
    }

    /// Whether the policy may be called. While it is out one call is let through from time to time: who gets a yes then
    /// has to report what came of it.
    pub fn allows(&self, now_ms: u64) -> bool {
        let out_until = self.out_until_ms.load(Relaxed);
        if out_until == 0 {
            return true;
        }
        let next = now_ms.saturating_add(TRIAL_MS);
        now_ms >= out_until && self.out_until_ms.compare_exchange(out_until, next, Relaxed, Relaxed).is_ok()
    }

    /// Whether it is out, without taking the place of one who tries.
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.out_until_ms.load(Relaxed) > now_ms
    }

    /// It decided.
    pub fn succeeded(&self) {
        if self.faults_in_a_row.load(Relaxed) == 0 && self.out_until_ms.load(Relaxed) == 0 {
            return;
        }
        self.faults_in_a_row.store(0, Relaxed);
        if self.out_until_ms.swap(0, Relaxed) != 0 {
            self.faults_in_window.store(0, Relaxed);
            self.pause_ms.store(0, Relaxed);
        }
    }

    /// It gave no decision.
    pub fn faulted(&self, now_ms: u64) -> Tripped {
        let in_a_row = self.faults_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if now_ms.saturating_sub(self.window_began_ms.load(Relaxed)) > WINDOW_MS {
            self.window_began_ms.store(now_ms, Relaxed);
            self.faults_in_window.store(0, Relaxed);
        }
        let in_window = self.faults_in_window.fetch_add(1, Relaxed).saturating_add(1);
        let was_out = self.out_until_ms.load(Relaxed) != 0;
        if !was_out && in_a_row < IN_A_ROW_MAX && in_window < IN_WINDOW_MAX {
            return Tripped::No;
        }
        let pause = match self.pause_ms.load(Relaxed) {
            0 => FIRST_PAUSE_MS,
            // Of several calls that were under way when it went out, one counts.
            last if was_out && self.is_just_out(now_ms, last) => return Tripped::Already,
            last => last.saturating_mul(2).min(LONGEST_PAUSE_MS),
        };
        self.pause_ms.store(pause, Relaxed);
        self.out_until_ms.store(now_ms.saturating_add(pause).max(1), Relaxed);
        if was_out { Tripped::Already } else { Tripped::Now }
    }

    /// Whether the pause under way began a moment ago, and nobody has tried since.
    fn is_just_out(&self, now_ms: u64, pause_ms: u64) -> bool {
        let left_ms = self.out_until_ms.load(Relaxed).saturating_sub(now_ms);
        left_ms > TRIAL_MS && left_ms <= pause_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn out() -> Breaker {
        let breaker = Breaker::new();
        for _ in 1..IN_A_ROW_MAX {
            assert_eq!(breaker.faulted(NOW), Tripped::No);
        }
        assert_eq!(breaker.faulted(NOW), Tripped::Now);
        breaker
    }

    #[test]
    fn faults_in_a_row_take_it_out_for_a_while() {
        let breaker = out();
        assert!(breaker.is_open(NOW) && !breaker.allows(NOW));
        assert!(!breaker.allows(NOW + FIRST_PAUSE_MS - 1));
        // One tries, the others wait for what comes of it.
        let again = NOW + FIRST_PAUSE_MS;
        assert!(breaker.allows(again) && !breaker.allows(again));
        breaker.succeeded();
        assert!(breaker.allows(again) && !breaker.is_open(again));
    }

    #[test]
    fn who_fails_again_is_out_for_twice_as_long_up_to_a_bound() {
        let breaker = out();
        let (mut now, mut pause) = (NOW, FIRST_PAUSE_MS);
        for _ in 0..10 {
            now += pause;
            assert!(breaker.allows(now));
            assert_eq!(breaker.faulted(now), Tripped::Already);
            pause = (pause * 2).min(LONGEST_PAUSE_MS);
            assert!(!breaker.allows(now + pause - 1));
        }
        assert_eq!(pause, LONGEST_PAUSE_MS);
        now += pause;
        assert!(breaker.allows(now));
        breaker.succeeded();
        // It begins anew.
        for _ in 0..IN_A_ROW_MAX {
            breaker.faulted(now);
        }
        assert!(breaker.allows(now + FIRST_PAUSE_MS));
    }

    #[test]
    fn calls_that_were_under_way_when_it_went_out_do_not_lengthen_it() {
        let breaker = out();
        for _ in 0..8 {
            assert_eq!(breaker.faulted(NOW + 1), Tripped::Already);
        }
        assert!(breaker.allows(NOW + FIRST_PAUSE_MS));
    }

    #[test]
    fn a_decision_between_two_faults_counts_but_not_against_many() {
        let breaker = Breaker::new();
        for _ in 1..IN_WINDOW_MAX {
            assert_eq!(breaker.faulted(NOW), Tripped::No);
            breaker.succeeded();
        }
        assert_eq!(breaker.faulted(NOW), Tripped::Now);
    }

    #[test]
    fn few_faults_over_a_long_time_are_borne() {
        let breaker = Breaker::new();
        for number in 0..200 {
            assert_eq!(breaker.faulted(NOW + number * WINDOW_MS / 10), Tripped::No);
            breaker.succeeded();
        }
    }

    #[test]
    fn a_trial_that_nobody_reports_is_followed_by_another() {
        let breaker = out();
        let again = NOW + FIRST_PAUSE_MS;
        assert!(breaker.allows(again));
        assert!(!breaker.allows(again + TRIAL_MS - 1));
        assert!(breaker.allows(again + TRIAL_MS));
    }
}
