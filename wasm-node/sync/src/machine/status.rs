//! Keeps the peers' Status up to date: asks peers that have been silent, and announces a new tip.

use core::fmt::Debug;

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

use super::{context::Context, peers::Peer, requests::RequestKind};
use crate::{
    config::{ANNOUNCE_INTERVAL, STATUS_BEHIND, STATUS_BEHIND_PAUSE, STATUS_IDLE},
    message::Request,
};

/// When to exchange Status with each peer.
#[derive(Clone, Debug)]
pub(crate) struct StatusSync<P> {
    peers: LiteMap<P, Exchange>,
    /// Whether a tip that was not learned by gossip has yet to be announced.
    announce: bool,
    announced_at: MonotonicMillis,
    /// When the next of the peers without our tip that claim no more work is asked at the earliest.
    behind_at: MonotonicMillis,
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

/// How the tip of a peer compares with ours, by its last Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its best tip is the same block as ours.
    Level,
    /// It has another tip, and claims no more work. In an active room that is most peers, because their Status is a block old.
    Behind,
    /// It claims more work, or what it claims is not known.
    Ahead,
}

impl Standing {
    fn of<P: Copy + Ord + Debug>(peer: &Peer, ctx: &Context<P>) -> Self {
        match peer.status() {
            Some(status) if status.tip == ctx.tree.tip().hash => Self::Level,
            Some(status) if !ctx.is_better(&status) => Self::Behind,
            Some(_) | None => Self::Ahead,
        }
    }
}

impl Exchange {
    /// When to ask for a peer's Status again: soon while it may have a better tip than ours, otherwise rarely.
    const fn due(&self, standing: Standing) -> MonotonicMillis {
        let interval = match standing {
            Standing::Level | Standing::Behind => STATUS_IDLE,
            Standing::Ahead => STATUS_BEHIND,
        };
        self.last_at.saturating_add(interval)
    }

    /// Asks for the peer's Status.
    const fn ask(&mut self, now: MonotonicMillis) {
        self.last_at = now;
        self.is_wanted = true;
    }
}

impl<P: Copy + Ord + Debug> StatusSync<P> {
    pub(super) const fn new(now: MonotonicMillis) -> Self {
        Self {
            peers: LiteMap::new(),
            announce: false,
            announced_at: now,
            behind_at: now,
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
        for (peer, state) in ctx.peers.iter() {
            let Some(exchange) = self.peers.get_mut(&peer) else {
                continue;
            };
            if exchange.due(Standing::of(state, ctx)) <= now {
                exchange.ask(now);
            }
            let lacks_tip = state.status().is_none_or(|status| status.tip != tip);
            exchange.is_wanted |= announce && lacks_tip;
        }
        self.ask_one_behind(ctx);
        self.ask_at = self.next_question(ctx);
        for peer in ctx.peers.ids() {
            self.send(ctx, peer);
        }
    }

    /// Asks the peer behind us whose Status is the oldest, if that is due.
    fn ask_one_behind(&mut self, ctx: &Context<P>) {
        let now = ctx.now();
        let oldest = self.oldest_behind(ctx).filter(|(due, _)| *due <= now);
        if let Some(exchange) = oldest.and_then(|(_, peer)| self.peers.get_mut(&peer)) {
            exchange.ask(now);
            self.behind_at = now.saturating_add(STATUS_BEHIND_PAUSE);
        }
    }

    /// The peer behind us whose Status is the oldest, and when it is asked.
    fn oldest_behind(&self, ctx: &Context<P>) -> Option<(MonotonicMillis, P)> {
        let behind = self.standings(ctx);
        let behind = behind.filter(|(_, _, standing)| *standing == Standing::Behind);
        let oldest = behind.min_by_key(|(peer, exchange, _)| (exchange.last_at, *peer));
        oldest.map(|(peer, exchange, _)| {
            let due = exchange.last_at.saturating_add(STATUS_BEHIND);
            (due.max(self.behind_at), peer)
        })
    }

    /// When the next peer is asked.
    fn next_question(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let all = self.standings(ctx);
        let due = all.map(|(_, exchange, standing)| exchange.due(standing));
        due.chain(self.oldest_behind(ctx).map(|(due, _)| due)).min()
    }

    fn standings<'a>(
        &'a self,
        ctx: &'a Context<P>,
    ) -> impl Iterator<Item = (P, &'a Exchange, Standing)> + 'a {
        ctx.peers.iter().filter_map(|(peer, state)| {
            Some((peer, self.peers.get(&peer)?, Standing::of(state, ctx)))
        })
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
