//! The browser's clocks, timers and random numbers. Contains no policy: callers decide how long to wait.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use futures_timer::Delay;
pub(crate) use heartchain_chain::time::millis;
use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use heartchain_sync::io::Now;
use wasm_bindgen::prelude::wasm_bindgen;

/// The longest single wait. A timer stands still while the computer sleeps; an alarm that is set further ahead waits
/// several times, so that sleep cannot make it hours late.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[wasm_bindgen]
extern "C" {
    /// `performance.now()`, which exists in pages and in workers.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The current time of both clocks, wall and monotonic.
pub(crate) fn both() -> Now {
    Now {
        wall: now(),
        monotonic: monotonic(),
    }
}

/// The time since the page was loaded. Never goes backwards, and may stand still while the computer sleeps.
pub(crate) fn monotonic() -> MonotonicMillis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; below 2^53"
    )]
    MonotonicMillis::new(performance_now() as u64)
}

/// The time of the wall clock, which a person or the operating system may set back or ahead at any moment. Use it for
/// times that are recorded or shown; measure durations by [`monotonic`].
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

/// A time in Unix ms as ISO 8601 in UTC. Empty if it is beyond JavaScript's dates.
pub(crate) fn iso(millis: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "above 2^53 there is no valid date anyway"
    )]
    let date = js_sys::Date::new(&(millis as f64).into());
    if date.get_time().is_nan() {
        return String::new();
    }
    date.to_iso_string().into()
}

/// A time in Unix ms in this computer's time zone, to the second, and the zone's offset from UTC: `2026-11-30 09:05:00` and
/// `+09:00`. Empty if it is beyond JavaScript's dates.
pub(crate) fn local(millis: u64) -> (String, String) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "above 2^53 there is no valid date anyway"
    )]
    let date = js_sys::Date::new(&(millis as f64).into());
    if date.get_time().is_nan() {
        return Default::default();
    }
    let ahead = -date.get_timezone_offset();
    let sign = if ahead < 0.0 { '-' } else { '+' };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "less than a day, in minutes"
    )]
    let minutes = ahead.abs() as u32;
    let zone = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    let local = format!(
        "{}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.get_full_year(),
        date.get_month().saturating_add(1),
        date.get_date(),
        date.get_hours(),
        date.get_minutes(),
        date.get_seconds()
    );
    (local, zone)
}

/// Waits for this long. In a hidden tab the browser may add a second, or a minute.
pub(crate) fn sleep(time: Duration) -> Delay {
    Delay::new(time)
}

/// Random bytes from the browser's cryptographic generator.
///
/// # Errors
/// If the browser has no generator.
pub(crate) fn entropy() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A random number for choices that need not be secret, such as which peer to dial or how long to wait. Zero if the
/// browser has no generator.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A future that completes at a time by [`monotonic`]. Can be set again and again; stays pending while it is not set.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Option<MonotonicMillis>,
    delay: Option<Delay>,
}

impl Alarm {
    /// Sets the time, replacing any earlier one.
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
    async fn alarm_fires_once_and_never_early() {
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
    async fn setting_alarm_again_replaces_earlier_time() {
        let mut alarm = Alarm::default();
        alarm.set(monotonic().saturating_add(10_000));
        assert!((&mut alarm).now_or_never().is_none());
        let began = monotonic();
        alarm.set(began.saturating_add(20));
        (&mut alarm).await;
        assert!(monotonic().since(began) < 5_000);
    }

    #[test]
    fn random_values_differ() {
        assert_ne!(entropy().expect("a browser"), entropy().expect("a browser"));
        assert_ne!(random_u64(), random_u64());
    }
}
