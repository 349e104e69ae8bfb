//! How long a client may take to send a head, with one timer for all heads of its connection.
//!
//! hyper asks for a timer with each head and drops it when the head is there. To set one in the runtime and take it back costs
//! more than to look a response up; so what is given to hyper is a moment alone, and the connection's one timer is set anew
//! only after it went off. Read next: `accept.rs`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// hyper's timers may be sent between threads; this one never is, and nobody waits for its lock.
type Alarm = Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>;

pub(super) struct HeadTimer(Alarm);

struct WaitForHead {
    alarm: Alarm,
    deadline: tokio::time::Instant,
}

impl HeadTimer {
    /// For one connection: the task that waits for a head is always the same.
    pub(super) fn new() -> HeadTimer {
        HeadTimer(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(Duration::ZERO)))))
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(WaitForHead { alarm: Arc::clone(&self.0), deadline: deadline.into() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for WaitForHead {}

impl Future for WaitForHead {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if alarm.deadline() > self.deadline {
            alarm.as_mut().reset(self.deadline);
        }
        // One that is set for the head before this one goes off too early, once, and is then set for this one.
        ready!(alarm.as_mut().poll(context));
        if alarm.deadline() < self.deadline {
            alarm.as_mut().reset(self.deadline);
            return alarm.as_mut().poll(context);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn is_over(wait: &mut Pin<Box<dyn Sleep>>) -> bool {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn a_head_is_given_its_time_and_not_more() {
        run(async {
            let timer = HeadTimer::new();
            let began = timer.now();
            let mut wait = timer.sleep(PATIENCE);
            assert!(!is_over(&mut wait));
            poll_fn(|context| wait.as_mut().poll(context)).await;
            assert!(timer.now() - began >= PATIENCE);
        });
    }

    #[test]
    fn a_head_is_given_the_same_time_as_those_before_it() {
        run(async {
            let timer = HeadTimer::new();
            // A head that came in time has left the timer set.
            let mut first = timer.sleep(PATIENCE);
            assert!(!is_over(&mut first));
            drop(first);
            let began = timer.now();
            let mut second = timer.sleep(2 * PATIENCE);
            poll_fn(|context| second.as_mut().poll(context)).await;
            assert!(timer.now() - began >= 2 * PATIENCE);
            // And one that is to be waited for less is waited for less.
            let mut third = timer.sleep(1000 * PATIENCE);
            assert!(!is_over(&mut third));
            let mut fourth = timer.sleep(PATIENCE);
            poll_fn(|context| fourth.as_mut().poll(context)).await;
            assert!(!is_over(&mut third));
        });
    }
}
