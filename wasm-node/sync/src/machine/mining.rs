//! Decides when to mine, and what.
//!
//! A peer mines its own readings after a short random wait, and those of others only if no other peer does, so
//! that a room of hundreds does not mine hundreds of rival blocks.

use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    block::{Block, max_block_readings},
    hash::BlockHash,
    header::Header,
    mining,
    reading::Reading,
    time::MonotonicMillis,
    validate::MAX_FUTURE_MS,
};
use rand_core::Rng;

use super::{context::Context, token_bucket::TokenBucket};
use crate::{
    config::{
        ACTIVE_BLOCKS, CATCH_UP_BUDGET, CATCH_UP_BUDGET_RATE, MAX_OWN_WAIT, MIN_CATCH_UP_WAIT,
        Millis, OTHERS_WAIT, OTHERS_WAIT_SPREAD, OWN_WAIT_PER_AUTHOR, TEMPLATE_INTERVAL,
    },
    io::{JobId, Output},
    message::GossipItem,
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
#[derive(Clone, Debug)]
pub(crate) struct Mining {
    template: Option<Template>,
    /// When to mine our own pending readings; `None` while there are no such readings.
    own_at: Option<MonotonicMillis>,
    /// When to mine other authors' pending readings; `None` while there are no such readings.
    others_at: Option<MonotonicMillis>,
    /// The random part of the wait for other authors, chosen again for each tip.
    others_spread: Option<Millis>,
    /// While mining waits for a catch-up: the time up to which the wait is paid for, and when it must end.
    waiting: Option<(MonotonicMillis, MonotonicMillis)>,
    /// How long peers may still keep mining waiting, in ms.
    catch_up_budget: TokenBucket,
}

impl Mining {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            template: None,
            own_at: None,
            others_at: None,
            others_spread: None,
            waiting: None,
            catch_up_budget: TokenBucket::full(CATCH_UP_BUDGET_RATE, CATCH_UP_BUDGET, now),
        }
    }

    pub(super) fn on_switch(&mut self) {
        self.others_spread = None;
    }

    /// The clock was set back, so the template may be ahead of it and is replaced.
    pub(super) fn on_clock_set_back(&mut self) {
        if let Some(template) = &mut self.template {
            template.made_at = MonotonicMillis::new(0);
        }
    }

    /// When to start, or to replace the template.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        if let Some((_, until)) = self.waiting {
            return Some(until);
        }
        match &self.template {
            Some(template) => Some(template.made_at.saturating_add(TEMPLATE_INTERVAL)),
            None => [self.own_at, self.others_at].into_iter().flatten().min(),
        }
    }

    /// Starts, replaces or stops the template. `catching_up` is until when a much longer branch is being fetched. A peer that
    /// cannot read the room never mines, because it could mine readings that no member can read.
    pub(super) fn poll<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        catching_up: Option<MonotonicMillis>,
    ) {
        if !ctx.config.mining || !ctx.tree.room().is_member() {
            return;
        }
        let now = ctx.now();
        if self.waits_for(catching_up, now) {
            self.own_at = None;
            self.others_at = None;
            return self.stop(ctx);
        }
        self.own_at = match (ctx.mempool.own_is_minable(), self.own_at) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => Some(now.saturating_add(own_wait(ctx))),
        };
        self.others_at = ctx.mempool.oldest_minable_of_others().map(|since| {
            let spread = self
                .others_spread
                .get_or_insert_with(|| ctx.rng.next_u64() % OTHERS_WAIT_SPREAD);
            since.saturating_add(OTHERS_WAIT + *spread)
        });
        let due = [self.own_at, self.others_at]
            .into_iter()
            .flatten()
            .any(|at| at <= now);
        if !due {
            return self.stop(ctx);
        }
        let tip = ctx.tree.tip().hash;
        let fresh = self.template.as_ref().is_some_and(|template| {
            template.tip == tip && now < template.made_at.saturating_add(TEMPLATE_INTERVAL)
        });
        if !fresh {
            self.start(ctx, tip);
        }
    }

    /// Whether mining waits because a much longer branch is being fetched. One budget covers all such waiting.
    /// A budget per peer would bound nothing, because peer IDs are free.
    fn waits_for(&mut self, catching_up: Option<MonotonicMillis>, now: MonotonicMillis) -> bool {
        let since = self.waiting.take().map(|(since, _)| since);
        let waited = since.map_or(0, |since| now.since(since));
        self.catch_up_budget.drain(waited, now);
        let Some(deadline) = catching_up else {
            return false;
        };
        let left = self.catch_up_budget.available(now);
        if left < MIN_CATCH_UP_WAIT {
            return false;
        }
        let until = now.saturating_add(left).min(deadline);
        self.waiting = Some((now, until));
        true
    }

    /// The miner found a nonce: the block is stored, published, and becomes the tip.
    pub(super) fn on_mined<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        job: JobId,
        nonce: u64,
    ) {
        let Some(template) = self.template.take_if(|template| template.job == job) else {
            return;
        };
        let header = Header {
            nonce,
            ..template.header
        };
        let hash = header.hash();
        if ctx.tree.insert_header(&header, ctx.clock.latest()).is_err() {
            // The nonce does not meet the target, or the clock moved meanwhile. The next template is as good.
            return;
        }
        let block = Block {
            header,
            readings: template.readings.clone(),
        };
        if let Ok(Some(operation)) = ctx.insert_body(&hash, template.readings) {
            ctx.write(alloc::vec![operation]);
            ctx.output(Output::Publish(GossipItem::Block(Box::new(block))));
            ctx.advance_with(&[hash], true);
        }
    }

    fn start<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>, tip: BlockHash) {
        let readings = ctx
            .mempool
            .template(max_block_readings(ctx.tree.room().form()));
        if readings.is_empty() {
            return self.stop(ctx);
        }
        let window = ctx.tree.tip_window();
        let time = ctx.clock.earliest().max(window.mtp().saturating_add(1));
        if time > ctx.clock.latest().saturating_add(MAX_FUTURE_MS) {
            // No peer would accept the block, nor would this one.
            return self.stop(ctx);
        }
        let header = Header {
            nonce: ctx.rng.next_u64(),
            ..mining::template(&window, tip, time, &readings)
        };
        let job = JobId(ctx.next_id());
        ctx.output(Output::Mine { job, header });
        self.template = Some(Template {
            job,
            header,
            readings,
            tip,
            made_at: ctx.now(),
        });
    }

    fn stop<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        if self.template.take().is_some() {
            ctx.output(Output::StopMining);
        }
    }
}

/// How long to wait before mining our own readings. In a calm room there is no wait.
fn own_wait<P: Copy + Ord + Debug>(ctx: &mut Context<P>) -> Millis {
    let authors = ctx.tree.distinct_authors(ACTIVE_BLOCKS) as u64;
    if authors <= 1 {
        return 0;
    }
    ctx.random_below((authors * OWN_WAIT_PER_AUTHOR).min(MAX_OWN_WAIT))
}
