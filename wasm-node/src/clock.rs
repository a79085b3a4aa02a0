//! The browser's clocks, timers and random numbers, and times as people read them.

pub(crate) use heartchain_peer::clock::*;

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
