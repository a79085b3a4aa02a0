//! Time and chance, as the browser gives them: now, a wait, random bytes. Never decides when or what.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use chain::time::{MonotonicMillis, UnixMillis};
use futures::FutureExt;
use futures_timer::Delay;
use sync::seam::Now;
use wasm_bindgen::prelude::wasm_bindgen;

/// The longest single wait: an alarm set further ahead waits again, so that a timer that stood still while the computer slept
/// cannot make it hours late.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[wasm_bindgen]
extern "C" {
    /// The page's and a worker's own.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// What both clocks of this computer show.
pub(crate) fn both() -> Now {
    Now {
        wall: now(),
        monotonic: monotonic(),
    }
}

/// The time since the page was loaded. It never goes back, and may stand still while the computer sleeps.
pub(crate) fn monotonic() -> MonotonicMillis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; below 2^53"
    )]
    MonotonicMillis::new(performance_now() as u64)
}

/// The time by this computer's wall clock, which a person or the network may set back or ahead at any moment. For times that
/// are recorded or shown; how long something takes is measured by [`monotonic`].
pub(crate) fn now() -> UnixMillis {
    let millis = js_sys::Date::now();
    // Rust's float conversion saturates, so a clock before 1970 reads 1970.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; whole ms below 2^53"
    )]
    UnixMillis::new(millis as u64)
}

/// A time in Unix ms by ISO 8601, in UTC; empty if no calendar has it.
pub(crate) fn iso(millis: u64) -> String {
    // Above 2^53 it is no calendar's anyway.
    #[expect(clippy::cast_precision_loss, reason = "beyond every date there is")]
    let date = js_sys::Date::new(&(millis as f64).into());
    if date.get_time().is_nan() {
        return String::new();
    }
    date.to_iso_string().into()
}

/// Waits. In a hidden tab the browser may make it a second, or a minute, longer.
pub(crate) fn sleep(time: Duration) -> Delay {
    Delay::new(time)
}

/// The time in ms.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes from the browser's own generator.
///
/// # Errors
/// If the browser has none.
pub(crate) fn entropy() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A random number for what need not be secret: who to call, how long to wait. Zero if the browser has none.
pub(crate) fn chance() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// Rings at a time by [`monotonic`], again and again as it is set. Never rings while it is not set.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Option<MonotonicMillis>,
    delay: Option<Delay>,
}

impl Alarm {
    /// Sets it, in place of any earlier time.
    pub(crate) fn set(&mut self, at: MonotonicMillis) {
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
    use futures::future::{Either, select};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    async fn an_alarm_rings_once_and_not_before_its_time() {
        let mut alarm = Alarm::default();
        let began = monotonic();
        alarm.set(began.saturating_add(40));
        (&mut alarm).await;
        assert!(monotonic().since(began) >= 40);
        assert!(matches!(
            select(&mut alarm, sleep(Duration::from_millis(50))).await,
            Either::Right(_)
        ));
    }

    #[test]
    async fn setting_an_alarm_again_replaces_the_earlier_time() {
        let mut alarm = Alarm::default();
        alarm.set(monotonic().saturating_add(10_000));
        assert!((&mut alarm).now_or_never().is_none());
        let began = monotonic();
        alarm.set(began.saturating_add(20));
        (&mut alarm).await;
        assert!(monotonic().since(began) < 5_000);
    }

    #[test]
    fn chance_is_never_the_same_twice() {
        assert_ne!(entropy().expect("a browser"), entropy().expect("a browser"));
        assert_ne!(chance(), chance());
    }
}
