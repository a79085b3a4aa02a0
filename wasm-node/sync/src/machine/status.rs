//! Keeps the peers' Status up to date: asks peers that have been silent, and announces a new tip.

use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, time::MonotonicMillis};
use litemap::LiteMap;

use super::{context::Context, peers::Peer, requests::RequestKind};
use crate::{
    config::{ANNOUNCE_INTERVAL, STATUS_BEHIND, STATUS_IDLE},
    message::Request,
};

/// When to exchange Status with each peer.
#[derive(Clone, Debug)]
pub(crate) struct StatusSync<P> {
    peers: LiteMap<P, Exchange>,
    /// Whether a tip that was not learned by gossip has yet to be announced.
    announce: bool,
    announced_at: MonotonicMillis,
    /// When the next peer is asked.
    ask_at: Option<MonotonicMillis>,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    /// Whether to send it our Status and ask for its own.
    is_wanted: bool,
    /// When its Status last arrived or was requested.
    last_at: MonotonicMillis,
}

impl Exchange {
    /// When to ask for a peer's Status again: soon while its tip differs from ours, otherwise rarely.
    fn due(&self, peer: &Peer, tip: &BlockHash) -> MonotonicMillis {
        let level = peer.status().is_some_and(|status| status.tip == *tip);
        let interval = if level { STATUS_IDLE } else { STATUS_BEHIND };
        self.last_at.saturating_add(interval)
    }
}

impl<P: Copy + Ord + Debug> StatusSync<P> {
    pub(super) const fn new(now: MonotonicMillis) -> Self {
        Self {
            peers: LiteMap::new(),
            announce: false,
            announced_at: now,
            ask_at: None,
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P, now: MonotonicMillis) {
        let exchange = Exchange {
            is_wanted: true,
            last_at: now,
        };
        self.peers.insert(peer, exchange);
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    /// A peer's Status arrived.
    pub(super) fn on_status(&mut self, peer: &P, now: MonotonicMillis) {
        if let Some(exchange) = self.peers.get_mut(peer) {
            exchange.last_at = now;
        }
    }

    /// Asks every peer for its Status.
    pub(super) fn ask_all(&mut self) {
        for (_, exchange) in &mut self.peers {
            exchange.is_wanted = true;
        }
    }

    /// Announces the tip by Status. Gossip does not tell peers about it.
    pub(super) fn announce(&mut self) {
        self.announce = true;
    }

    fn announce_at(&self) -> Option<MonotonicMillis> {
        let at = self.announced_at.saturating_add(ANNOUNCE_INTERVAL);
        self.announce.then_some(at)
    }

    pub(super) fn poll(&mut self, ctx: &mut Context<P>) {
        let now = ctx.now();
        let tip = ctx.tree.tip().hash;
        let announce = self.announce_at().is_some_and(|at| at <= now);
        if announce {
            self.announce = false;
            self.announced_at = now;
        }
        self.ask_at = None;
        for (peer, state) in ctx.peers.iter() {
            let Some(exchange) = self.peers.get_mut(&peer) else {
                continue;
            };
            if exchange.due(state, &tip) <= now {
                exchange.last_at = now;
                exchange.is_wanted = true;
            }
            let lacks_tip = state.status().is_none_or(|status| status.tip != tip);
            exchange.is_wanted |= announce && lacks_tip;
            let due = exchange.due(state, &tip);
            self.ask_at = Some(self.ask_at.map_or(due, |at| at.min(due)));
        }
        for peer in ctx.peers.ids() {
            self.send(ctx, peer);
        }
    }

    fn send(&mut self, ctx: &mut Context<P>, peer: P) {
        let has_slot = ctx.peers.get(&peer).is_some_and(Peer::has_request_slot);
        let exchange = self.peers.get_mut(&peer).filter(|_| has_slot);
        if let Some(exchange) = exchange.filter(|exchange| exchange.is_wanted) {
            exchange.is_wanted = false;
            let request = Request::Status(ctx.own_status());
            ctx.request(peer, request, RequestKind::Status);
        }
    }

    /// When to ask or to announce next.
    pub(super) fn next_deadline(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let next = [self.announce_at(), self.ask_at, ctx.strangers_due()];
        let next = next.into_iter().flatten().min();
        next.filter(|_| !ctx.peers.is_empty())
    }
}
