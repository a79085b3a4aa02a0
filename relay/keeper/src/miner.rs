//! Searches nonces at a low share of one processor core: a keeper that sleeps between its slices lets tabs mine most
//! blocks, and leaves the computer to its people. The machine chooses what to mine.

use std::time::Duration;

use heartchain_chain::{header::Header, mining};
use heartchain_sync::{driver, io::JobId};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

/// Tries of one slice: some ms of work, after which a newer template takes its place.
const SLICE_TRIES: u32 = 1 << 16;

/// The share of one core that a keeper mines with, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiningShare(u8);

/// The share is not within 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share of {0} percent is not within 1 to 100; to mine nothing, use --no-mine")]
pub struct ShareError(u8);

impl MiningShare {
    /// A tenth of a core, which finds a block of a quiet room within seconds.
    pub const DEFAULT: Self = Self(10);

    /// A share of 1 to 100 percent.
    ///
    /// # Errors
    /// If it is 0 or more than 100.
    pub const fn new(percent: u8) -> Result<Self, ShareError> {
        match percent {
            1..=100 => Ok(Self(percent)),
            _ => Err(ShareError(percent)),
        }
    }

    /// The share of each of several rooms; at least 1 percent.
    pub(crate) fn divided(self, rooms: usize) -> Self {
        let rooms = u8::try_from(rooms).unwrap_or(u8::MAX).max(1);
        Self((self.0 / rooms).max(1))
    }

    /// How long to rest after this much work.
    fn rest_after(self, work: Duration) -> Duration {
        let share = u32::from(self.0);
        work.saturating_mul(100 - share) / share
    }
}

impl core::str::FromStr for MiningShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.parse();
        let percent = percent.map_err(|_| format!("{text:?} is not a number of percent"))?;
        Self::new(percent).map_err(|error| error.to_string())
    }
}

/// The result of a slice: the nonce if there is one, and how long the search took.
type Slice = (Option<u64>, Duration);

/// The search for nonces.
#[derive(Debug)]
pub(crate) struct Miner {
    share: MiningShare,
    job: Option<(JobId, Header)>,
    /// The slice that runs, with the job that it belongs to.
    running: Option<(JobId, JoinHandle<Slice>)>,
    rests_until: Option<Instant>,
}

impl Miner {
    pub(crate) const fn new(share: MiningShare) -> Self {
        Self {
            share,
            job: None,
            running: None,
            rests_until: None,
        }
    }

    /// Waits for the next nonce. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> (JobId, u64) {
        loop {
            if let Some((id, slice)) = &mut self.running {
                let id = *id;
                let ended = slice.await;
                self.running = None;
                // A slice cannot fail: a panic would only cost this one.
                let (nonce, took) = ended.unwrap_or_default();
                self.rests_until = Some(Instant::now() + self.share.rest_after(took));
                if let (Some(nonce), Some((job, _))) = (nonce, self.job)
                    && job == id
                {
                    self.job = None;
                    return (id, nonce);
                }
            }
            if let Some(until) = self.rests_until {
                sleep_until(until).await;
                self.rests_until = None;
            }
            let Some((id, header)) = &mut self.job else {
                return std::future::pending().await;
            };
            let template = *header;
            header.nonce = header.nonce.wrapping_add(SLICE_TRIES.into());
            self.running = Some((*id, spawn_blocking(move || search(&template))));
        }
    }
}

impl driver::Miner for Miner {
    fn mine(&mut self, job: JobId, header: Header) {
        self.job = Some((job, header));
    }

    /// The slice that runs goes on.
    fn stop(&mut self) {
        self.job = None;
    }
}

fn search(header: &Header) -> Slice {
    let began = std::time::Instant::now();
    let target = header.bits.target().ok();
    let nonce = target
        .and_then(|target| mining::Job::new(header, target).search(header.nonce, SLICE_TRIES));
    (nonce, began.elapsed())
}

#[cfg(test)]
mod tests {
    use heartchain_sync::driver::Miner as _;
    use heartchain_test_support as support;

    use super::*;

    #[test]
    fn share_bounds_the_work() {
        let rest = |percent| {
            MiningShare::new(percent)
                .expect("a share")
                .rest_after(Duration::from_millis(10))
        };
        assert_eq!(rest(100), Duration::ZERO);
        assert_eq!(rest(50), Duration::from_millis(10));
        assert_eq!(rest(10), Duration::from_millis(90));
        let divided = |rooms| MiningShare::DEFAULT.divided(rooms);
        assert_eq!(
            [1, 3, 100, 1_000, 0].map(divided).map(|share| share.0),
            [10, 3, 1, 1, 10]
        );
        for wrong in ["0", "101", "256", "ten", "-1"] {
            assert!(wrong.parse::<MiningShare>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn newer_template_takes_the_place_of_an_older() {
        let mut miner = Miner::new(MiningShare::new(100).expect("a share"));
        let header = *support::room().genesis();
        miner.mine(JobId(1), header);
        let (id, nonce) = miner.next().await;
        assert_eq!(id, JobId(1));
        let mined = Header { nonce, ..header };
        let target = header.bits.target().expect("a target");
        assert!(target.is_met_by(&mined.hash()));

        miner.mine(JobId(2), header);
        // The slice of the second job begins.
        let waited = tokio::time::timeout(Duration::ZERO, miner.next()).await;
        miner.mine(JobId(3), header);
        let (id, _) = match waited {
            Ok(_) => return,
            Err(_) => miner.next().await,
        };
        assert_eq!(id, JobId(3));
        miner.stop();
        let idle = tokio::time::timeout(Duration::from_millis(50), miner.next()).await;
        assert!(idle.is_err());
    }
}
