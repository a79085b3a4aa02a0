//! Clocks, timers and random numbers of any platform. Contains no policy: callers decide how long to wait.

use std::{
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use futures_timer::Delay;
pub use heartchain_chain::time::millis;
use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use heartchain_sync::io::Now;
use web_time::{Instant, SystemTime};

/// The longest single wait. A timer stands still while the computer sleeps; an alarm that is set further ahead waits
/// several times, so that sleep cannot make it hours late.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The current time of both clocks, wall and monotonic.
pub fn both() -> Now {
    Now {
        wall: now(),
        monotonic: monotonic(),
    }
}

/// The time since this program first asked for it. Never goes backwards, and may stand still while the computer sleeps.
pub fn monotonic() -> MonotonicMillis {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed();
    MonotonicMillis::new(millis(passed))
}

/// The time of the wall clock, which a person or the operating system may set back or ahead at any moment. Use it for
/// times that are recorded or shown; measure durations by [`monotonic`]. A clock before 1970 reads 1970.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMillis::new(since.map_or(0, millis))
}

/// Waits for this long. In a hidden tab a browser may add a second, or a minute.
pub fn sleep(time: Duration) -> Delay {
    Delay::new(time)
}

/// Random bytes from the platform's cryptographic generator.
///
/// # Errors
/// If the platform has no generator.
pub fn entropy() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A random number for choices that need not be secret, such as which peer to dial or how long to wait. Zero if the
/// platform has no generator.
pub fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A future that completes at a time by [`monotonic`]. Can be set again and again; stays pending while it is not set.
#[derive(Debug, Default)]
pub struct Alarm {
    at: Option<MonotonicMillis>,
    delay: Option<Delay>,
}

impl Alarm {
    /// Sets the time, replacing any earlier one.
    pub fn set(&mut self, at: MonotonicMillis) {
        if self.at != Some(at) {
            self.at = Some(at);
            self.delay = None;
        }
    }
}

impl Future for &mut Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let alarm: &mut Alarm = &mut self;
        loop {
            let Some(at) = alarm.at else {
                return Poll::Pending;
            };
            let left = Duration::from_millis(at.since(monotonic()));
            if left.is_zero() {
                alarm.at = None;
                alarm.delay = None;
                return Poll::Ready(());
            }
            let delay = alarm
                .delay
                .get_or_insert_with(|| Delay::new(left.min(MAX_WAIT)));
            match delay.poll_unpin(context) {
                Poll::Pending => return Poll::Pending,
                // A finished delay must not be polled again.
                Poll::Ready(()) => alarm.delay = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{
        executor::block_on,
        future::{Either, select},
    };

    use super::*;

    #[test]
    fn alarm_fires_once_and_never_early() {
        block_on(async {
            let mut alarm = Alarm::default();
            let began = monotonic();
            alarm.set(began.saturating_add(40));
            (&mut alarm).await;
            assert!(monotonic().since(began) >= 40);
            assert!(matches!(
                select(&mut alarm, sleep(Duration::from_millis(50))).await,
                Either::Right(_)
            ));
        });
    }

    #[test]
    fn setting_alarm_again_replaces_earlier_time() {
        block_on(async {
            let mut alarm = Alarm::default();
            alarm.set(monotonic().saturating_add(10_000));
            assert!((&mut alarm).now_or_never().is_none());
            let began = monotonic();
            alarm.set(began.saturating_add(20));
            (&mut alarm).await;
            assert!(monotonic().since(began) < 5_000);
        });
    }

    #[test]
    fn random_values_differ() {
        assert_ne!(entropy().expect("a browser"), entropy().expect("a browser"));
        assert_ne!(random_u64(), random_u64());
    }
}
