//! Takes a policy that keeps faulting out for a while: a call that will fail all the same costs its whole deadline.
//!
//! One for each loaded policy, shared by all workers. The time is handed in. While all is well it costs one relaxed load to
//! ask and one to report; what goes wrong is counted under a lock, since a fault costs a thousand times as much.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

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
    /// 0: it is in. Otherwise when it may be tried again. Changed under the lock of `faults` alone.
    out_until_ms: AtomicU64,
    /// Whether a decision ends a row of faults.
    has_row: AtomicBool,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    in_a_row: u32,
    window_began_ms: u64,
    in_window: u32,
    /// The pause of the last time; 0 since it was last well.
    pause_ms: u64,
}

/// Whether a policy may be called, to be handed back with what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Granted,
    /// It is out, and this call shows whether it is well again: to be made, whatever is remembered.
    Trial,
    Refused,
}

/// What a fault came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripped {
    /// The policy is out from now on.
    Now,
    /// It was out already.
    Already,
    No,
}

impl Breaker {
    pub fn new() -> Breaker {
        Breaker::default()
    }

    /// Whether the policy may be called. While it is out one call is let through from time to time.
    pub fn permission(&self, now_ms: u64) -> Permission {
        if self.is_in() {
            return Permission::Granted;
        }
        if self.is_open(now_ms) {
            return Permission::Refused;
        }
        let _faults = self.faults();
        if self.is_in() {
            return Permission::Granted;
        }
        if self.is_open(now_ms) {
            return Permission::Refused;
        }
        self.out_until_ms.store(now_ms.saturating_add(TRIAL_MS), Relaxed);
        Permission::Trial
    }

    /// Whether all is well: then nobody needs to know what time it is.
    pub fn is_in(&self) -> bool {
        self.out_until_ms.load(Relaxed) == 0
    }

    /// Whether it is out, without taking the place of one who tries. A clock that was set back keeps it out no longer than
    /// the longest pause is.
    pub fn is_open(&self, now_ms: u64) -> bool {
        let left_ms = self.out_until_ms.load(Relaxed).saturating_sub(now_ms);
        left_ms > 0 && left_ms <= LONGEST_PAUSE_MS
    }

    /// It decided. Once it is out, a call that was under way before is no sign that it is well: a trial is.
    pub fn succeeded(&self, permission: Permission) {
        if permission != Permission::Trial && !self.has_row.load(Relaxed) {
            return;
        }
        let mut faults = self.faults();
        let is_out = !self.is_in();
        match (permission, is_out) {
            (Permission::Trial, true) => {
                *faults = Faults::default();
                self.out_until_ms.store(0, Relaxed);
            }
            (_, true) => return,
            (_, false) => faults.in_a_row = 0,
        }
        self.has_row.store(false, Relaxed);
    }

    /// It gave no decision.
    pub fn faulted(&self, permission: Permission, now_ms: u64) -> Tripped {
        let mut faults = self.faults();
        if !self.is_in() {
            // Of several calls that were under way when it went out, none counts.
            if permission == Permission::Trial {
                faults.pause_ms = faults.pause_ms.saturating_mul(2).min(LONGEST_PAUSE_MS);
                self.take_out(now_ms, faults.pause_ms);
            }
            return Tripped::Already;
        }
        if now_ms.abs_diff(faults.window_began_ms) > WINDOW_MS {
            faults.window_began_ms = now_ms;
            faults.in_window = 0;
        }
        faults.in_a_row = faults.in_a_row.saturating_add(1);
        faults.in_window = faults.in_window.saturating_add(1);
        self.has_row.store(true, Relaxed);
        if faults.in_a_row < IN_A_ROW_MAX && faults.in_window < IN_WINDOW_MAX {
            return Tripped::No;
        }
        faults.pause_ms = FIRST_PAUSE_MS;
        self.take_out(now_ms, FIRST_PAUSE_MS);
        Tripped::Now
    }

    fn take_out(&self, now_ms: u64, pause_ms: u64) {
        self.out_until_ms.store(now_ms.saturating_add(pause_ms).max(1), Relaxed);
    }

    /// Counts are whole after every statement, so a panic elsewhere does not spoil them.
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Permission::{Granted, Refused, Trial},
        *,
    };

    const NOW: u64 = 1_000_000;

    fn out() -> Breaker {
        let breaker = Breaker::new();
        for _ in 1..IN_A_ROW_MAX {
            assert_eq!(breaker.faulted(Granted, NOW), Tripped::No);
        }
        assert_eq!(breaker.faulted(Granted, NOW), Tripped::Now);
        breaker
    }

    #[test]
    fn faults_in_a_row_take_it_out_for_a_while() {
        let breaker = out();
        assert!(breaker.is_open(NOW) && breaker.permission(NOW) == Refused);
        assert_eq!(breaker.permission(NOW + FIRST_PAUSE_MS - 1), Refused);
        // One tries, the others wait for what comes of it.
        let again = NOW + FIRST_PAUSE_MS;
        assert_eq!((breaker.permission(again), breaker.permission(again)), (Trial, Refused));
        breaker.succeeded(Trial);
        assert!(breaker.permission(again) == Granted && !breaker.is_open(again));
    }

    #[test]
    fn who_fails_again_is_out_for_twice_as_long_up_to_a_bound() {
        let breaker = out();
        let (mut now, mut pause) = (NOW, FIRST_PAUSE_MS);
        for _ in 0..10 {
            now += pause;
            assert_eq!(breaker.permission(now), Trial);
            assert_eq!(breaker.faulted(Trial, now), Tripped::Already);
            pause = (pause * 2).min(LONGEST_PAUSE_MS);
            assert_eq!(breaker.permission(now + pause - 1), Refused);
        }
        assert_eq!(pause, LONGEST_PAUSE_MS);
        now += pause;
        assert_eq!(breaker.permission(now), Trial);
        breaker.succeeded(Trial);
        // It begins anew.
        for _ in 0..IN_A_ROW_MAX {
            breaker.faulted(Granted, now);
        }
        assert_eq!(breaker.permission(now + FIRST_PAUSE_MS), Trial);
    }

    #[test]
    fn calls_that_were_under_way_when_it_went_out_do_not_lengthen_it() {
        let breaker = out();
        for later in [1, FIRST_PAUSE_MS - TRIAL_MS, FIRST_PAUSE_MS] {
            assert_eq!(breaker.faulted(Granted, NOW + later), Tripped::Already);
        }
        assert_eq!(breaker.permission(NOW + FIRST_PAUSE_MS), Trial);
    }

    #[test]
    fn calls_that_were_under_way_when_it_went_out_do_not_bring_it_back() {
        let breaker = out();
        breaker.succeeded(Granted);
        assert_eq!(breaker.permission(NOW + 1), Refused);
        // Nor do they while another one tries.
        let again = NOW + FIRST_PAUSE_MS;
        assert_eq!(breaker.permission(again), Trial);
        breaker.succeeded(Granted);
        assert_eq!(breaker.permission(again), Refused);
        assert_eq!(breaker.faulted(Trial, again), Tripped::Already);
        assert_eq!(breaker.permission(again + 2 * FIRST_PAUSE_MS - 1), Refused);
    }

    #[test]
    fn of_many_that_fail_at_once_one_takes_it_out_and_one_is_on_trial() {
        for _ in 0..50 {
            let breaker = Breaker::new();
            let count = |wanted: &(dyn Fn(&Breaker) -> bool + Sync)| {
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| wanted(&breaker))).collect();
                    threads.into_iter().map(|thread| u32::from(thread.join().unwrap())).sum::<u32>()
                })
            };
            assert_eq!(count(&|breaker| breaker.faulted(Granted, NOW) == Tripped::Now), 1);
            let again = NOW + FIRST_PAUSE_MS;
            assert_eq!(count(&|breaker| breaker.permission(again) == Trial), 1);
        }
    }

    #[test]
    fn a_decision_between_two_faults_counts_but_not_against_many() {
        let breaker = Breaker::new();
        for _ in 1..IN_WINDOW_MAX {
            assert_eq!(breaker.faulted(Granted, NOW), Tripped::No);
            breaker.succeeded(Granted);
        }
        assert_eq!(breaker.faulted(Granted, NOW), Tripped::Now);
    }

    #[test]
    fn few_faults_over_a_long_time_are_borne() {
        let breaker = Breaker::new();
        for number in 0..200 {
            assert_eq!(breaker.faulted(Granted, NOW + number * WINDOW_MS / 10), Tripped::No);
            breaker.succeeded(Granted);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_out() {
        const EARLIER: u64 = NOW - LONGEST_PAUSE_MS;
        let breaker = out();
        assert!(!breaker.is_open(EARLIER) && !breaker.is_in());
        assert_eq!(breaker.permission(EARLIER), Trial);
        assert_eq!(breaker.faulted(Trial, EARLIER), Tripped::Already);
        assert_eq!(breaker.permission(EARLIER + 2 * FIRST_PAUSE_MS - 1), Refused);
        // Nor does a window that has not begun yet count on.
        let breaker = Breaker::new();
        for number in 0..40 {
            assert_eq!(breaker.faulted(Granted, NOW - number * 2 * WINDOW_MS), Tripped::No);
            breaker.succeeded(Granted);
        }
    }

    #[test]
    fn a_trial_that_nobody_reports_is_followed_by_another() {
        let breaker = out();
        let again = NOW + FIRST_PAUSE_MS;
        assert_eq!(breaker.permission(again), Trial);
        assert_eq!(breaker.permission(again + TRIAL_MS - 1), Refused);
        assert_eq!(breaker.permission(again + TRIAL_MS), Trial);
    }
}
