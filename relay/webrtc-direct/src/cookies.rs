//! The cookies by which a listener checks the addresses of its peers without keeping anything for them.
//!
//! A cookie is a code of the address, of the user name in its STUN request, and of the random bytes in its ClientHello. So
//! it is of no use to another address or handshake. It also becomes invalid with time: otherwise an attacker could collect
//! cookies of addresses that it has for a short while, and use them all at once.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hello::{ClientHello, Cookie};

/// A cookie is valid until the end of the period after its own.
const PERIOD: Duration = Duration::from_secs(30);

/// Makes and checks cookies.
pub(crate) struct Cookies {
    key: [u8; 64],
    since: Instant,
}

impl Cookies {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            key: rand::random(),
            since: now,
        }
    }

    /// The cookie for this handshake.
    pub(crate) fn make(
        &self,
        now: Instant,
        from: SocketAddr,
        user: u64,
        hello: &ClientHello<'_>,
    ) -> Cookie {
        self.mac(self.period(now), from, user, hello)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Returns the cookie in the ClientHello if it is the one for this handshake.
    pub(crate) fn check(
        &self,
        now: Instant,
        from: SocketAddr,
        user: u64,
        hello: &ClientHello<'_>,
    ) -> Option<Cookie> {
        let cookie = Cookie::try_from(hello.cookie).ok()?;
        let period = self.period(now);
        [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| {
                let mac = self.mac(period, from, user, hello);
                mac.verify_slice(&cookie).is_ok()
            })
            .then_some(cookie)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / PERIOD.as_secs()
    }

    fn mac(
        &self,
        period: u64,
        from: SocketAddr,
        user: u64,
        hello: &ClientHello<'_>,
    ) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        // Each part has a fixed length.
        mac.update(&match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        mac.update(&from.port().to_be_bytes());
        mac.update(&period.to_be_bytes());
        mac.update(&user.to_be_bytes());
        mac.update(hello.random);
        mac
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_valid_for_one_handshake_and_time() {
        let now = Instant::now();
        let cookies = Cookies::new(now);
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        let (random, other) = ([1; 32], [2; 32]);
        let hello = |random, cookie| ClientHello { random, cookie };
        let cookie = cookies.make(now, from, 1, &hello(&random, &[]));
        let echo = hello(&random, &cookie);
        assert_eq!(cookies.check(now, from, 1, &echo), Some(cookie));
        let last = now + PERIOD * 2 - Duration::from_secs(1);
        assert_eq!(cookies.check(last, from, 1, &echo), Some(cookie));
        let port = SocketAddr::from(([192, 0, 2, 1], 8));
        let ip = SocketAddr::from(([192, 0, 2, 2], 9));
        let rejected = [
            cookies.check(now + PERIOD * 2, from, 1, &echo),
            cookies.check(now, port, 1, &echo),
            cookies.check(now, ip, 1, &echo),
            cookies.check(now, from, 2, &echo),
            cookies.check(now, from, 1, &hello(&other, &cookie)),
            cookies.check(now, from, 1, &hello(&random, &[])),
            cookies.check(now, from, 1, &hello(&random, &[0; 32])),
            Cookies::new(now).check(now, from, 1, &echo),
        ];
        assert!(rejected.iter().all(Option::is_none), "{rejected:?}");
    }
}
