//! Decides when to mine, and what.
//!
//! A peer mines its own readings after a short random wait, and those of others only if no other peer does, so
//! that a room of hundreds does not mine hundreds of rival blocks.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    block::{Block, MAX_BLOCK_READINGS},
    hash::BlockHash,
    header::Header,
    mining,
    reading::Reading,
    time::MonotonicMillis,
    validate::MAX_FUTURE_MS,
};
use rand_core::Rng;

use super::Machine;
use crate::{
    config::{
        ACTIVE_BLOCKS, MAX_OWN_WAIT, MIN_CATCH_UP_WAIT, Millis, OTHERS_WAIT, OTHERS_WAIT_SPREAD,
        OWN_WAIT_PER_AUTHOR, TEMPLATE_INTERVAL,
    },
    io::{JobId, Output, Topic},
};

/// The template being mined.
#[derive(Clone, Debug)]
struct Template {
    job: JobId,
    header: Header,
    readings: Vec<Reading>,
    tip: BlockHash,
    made_at: MonotonicMillis,
}

/// When to mine, and the template being mined.
#[derive(Clone, Debug, Default)]
pub(super) struct Mining {
    template: Option<Template>,
    /// When to mine our own pending readings; `None` while there are no such readings.
    own_at: Option<MonotonicMillis>,
    /// When to mine other authors' pending readings; `None` while there are no such readings.
    others_at: Option<MonotonicMillis>,
    /// The random part of the wait for other authors, chosen again for each tip.
    others_spread: Option<Millis>,
    /// While mining waits for a catch-up: the time up to which the wait is paid for, and when it must end.
    waiting: Option<(MonotonicMillis, MonotonicMillis)>,
}

impl Mining {
    pub(super) fn tip_changed(&mut self) {
        self.others_spread = None;
    }

    /// The clock was set back, so the template may be ahead of it and is replaced.
    pub(super) fn clock_set_back(&mut self) {
        if let Some(template) = &mut self.template {
            template.made_at = MonotonicMillis::new(0);
        }
    }

    pub(super) fn next_due(&self) -> Option<MonotonicMillis> {
        if let Some((_, until)) = self.waiting {
            return Some(until);
        }
        match &self.template {
            Some(template) => Some(template.made_at.saturating_add(TEMPLATE_INTERVAL)),
            None => [self.own_at, self.others_at].into_iter().flatten().min(),
        }
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn update_mining(&mut self) {
        if !self.config.mining {
            return;
        }
        if self.waits_for_catch_up() {
            self.mining.own_at = None;
            self.mining.others_at = None;
            return self.stop_mining();
        }
        self.mining.own_at = match (self.mempool.own_is_minable(), self.mining.own_at) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => Some(self.now.saturating_add(self.own_wait())),
        };
        self.mining.others_at = self.mempool.oldest_minable_of_others().map(|since| {
            let spread = self
                .mining
                .others_spread
                .unwrap_or_else(|| self.rng.next_u64() % OTHERS_WAIT_SPREAD);
            self.mining.others_spread = Some(spread);
            since.saturating_add(OTHERS_WAIT + spread)
        });
        let due = [self.mining.own_at, self.mining.others_at]
            .into_iter()
            .flatten()
            .any(|at| at <= self.now);
        if !due {
            return self.stop_mining();
        }
        let tip = self.tree.tip().hash;
        let fresh = self.mining.template.as_ref().is_some_and(|template| {
            template.tip == tip && self.now < template.made_at.saturating_add(TEMPLATE_INTERVAL)
        });
        if !fresh {
            self.start_mining(tip);
        }
    }

    /// Whether mining waits because a much longer branch is being fetched. One budget covers all such waiting.
    /// A budget per peer would bound nothing, because peer IDs are free.
    fn waits_for_catch_up(&mut self) -> bool {
        let since = self.mining.waiting.take().map(|(since, _)| since);
        if !self.is_catching_up() {
            if let Some(since) = since {
                self.catch_up_budget.drain(self.now.since(since), self.now);
            }
            return false;
        }
        let waited = since.map_or(0, |since| self.now.since(since));
        self.catch_up_budget.drain(waited, self.now);
        let left = self.catch_up_budget.available(self.now);
        if left < MIN_CATCH_UP_WAIT {
            return false;
        }
        let until = self
            .now
            .saturating_add(left)
            .min(self.download.catch_up_deadline());
        self.mining.waiting = Some((self.now, until));
        true
    }

    pub(super) fn on_mined(&mut self, job: JobId, nonce: u64) {
        let Some(template) = self.mining.template.take_if(|template| template.job == job) else {
            return;
        };
        let header = Header {
            nonce,
            ..template.header
        };
        let hash = header.hash();
        let now = self.latest_now();
        if self.tree.insert_header(&header, now).is_err() {
            // The nonce does not meet the target, or the clock moved meanwhile. The next template is as good.
            return;
        }
        let block = Block {
            header,
            readings: template.readings,
        };
        let data = block.encode();
        if let Ok(Some(operation)) = self.insert_body(&hash, block.readings) {
            self.write(alloc::vec![operation], false);
            self.outputs.push(Output::Publish {
                topic: Topic::Blocks,
                data,
            });
            self.advance_after_gossip(&hash);
        }
    }

    /// How long to wait before mining our own readings. In a calm room there is no wait.
    fn own_wait(&mut self) -> Millis {
        let authors = self.tree.distinct_authors(ACTIVE_BLOCKS) as u64;
        if authors <= 1 {
            return 0;
        }
        self.random_below((authors * OWN_WAIT_PER_AUTHOR).min(MAX_OWN_WAIT))
    }

    fn start_mining(&mut self, tip: BlockHash) {
        let readings = self.mempool.template(MAX_BLOCK_READINGS);
        if readings.is_empty() {
            return self.stop_mining();
        }
        let window = self.tree.tip_window();
        let time = self.earliest_now().max(window.mtp().saturating_add(1));
        if time > self.latest_now().saturating_add(MAX_FUTURE_MS) {
            // No peer would accept the block, nor would this one.
            return self.stop_mining();
        }
        let header = Header {
            nonce: self.rng.next_u64(),
            ..mining::template(&window, tip, time, &readings)
        };
        let job = JobId(self.next_handle());
        self.outputs.push(Output::Mine { job, header });
        self.mining.template = Some(Template {
            job,
            header,
            readings,
            tip,
            made_at: self.now,
        });
    }

    fn stop_mining(&mut self) {
        if self.mining.template.take().is_some() {
            self.outputs.push(Output::StopMining);
        }
    }
}
