//! When to give up on a body of the best branch that the disk lost and that peers lack.
//!
//! Some time after a peer first says that it lacks the body, all peers are asked one last time.

use alloc::vec::Vec;

use heartchain_chain::{hash::BlockHash, time::MonotonicMillis};

use crate::config::{
    LAST_ROUND_TIMEOUT, MAX_MISSING_BODY_PATIENCE, MISSING_BODY_PATIENCE,
    MISSING_BODY_PATIENCE_PER_BLOCK, Millis,
};

/// The lowest missing body on the best branch, once a peer has said that it lacks it.
#[derive(Clone, Debug)]
pub(super) struct LastRound<P> {
    unavailable: Option<UnavailableBody<P>>,
}

/// A missing body that at least one peer lacks.
#[derive(Clone, Debug)]
struct UnavailableBody<P> {
    hash: BlockHash,
    /// When the last round begins; during the last round, when it ends.
    deadline: MonotonicMillis,
    /// When a peer was last connected.
    last_peer_at: MonotonicMillis,
    /// Peers that lack it in the last round, once that has begun.
    last_round: Option<Vec<P>>,
}

/// What to do about the lowest missing body on the best branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Wait,
    StartLastRound,
    GiveUp,
}

impl<P: Copy + Ord> LastRound<P> {
    pub(super) const fn new() -> Self {
        Self { unavailable: None }
    }

    /// Decides what to do about `first`, the lowest missing body on the best branch. `peers` says for each
    /// connected peer whether it lacks it.
    pub(super) fn next_action(
        &mut self,
        first: BlockHash,
        peers: &[(P, bool)],
        patience: Millis,
        now: MonotonicMillis,
    ) -> Action {
        // After a long time alone, other peers get time to come back as well.
        let is_outdated = |unavailable: &UnavailableBody<P>| {
            unavailable.hash != first
                || unavailable
                    .last_peer_at
                    .saturating_add(MISSING_BODY_PATIENCE)
                    < now
        };
        if self.unavailable.as_ref().is_some_and(is_outdated) {
            self.unavailable = None;
        }
        let is_lacked = peers.iter().any(|(_, lacks)| *lacks);
        if peers.is_empty() || (self.unavailable.is_none() && !is_lacked) {
            return Action::Wait;
        }
        let unavailable = self.unavailable.get_or_insert_with(|| UnavailableBody {
            hash: first,
            deadline: now.saturating_add(patience),
            last_peer_at: now,
            last_round: None,
        });
        unavailable.last_peer_at = now;
        let is_over = unavailable.deadline <= now;
        let Some(lacking) = &mut unavailable.last_round else {
            if !is_over {
                return Action::Wait;
            }
            unavailable.deadline = now.saturating_add(LAST_ROUND_TIMEOUT);
            unavailable.last_round = Some(Vec::new());
            return Action::StartLastRound;
        };
        lacking.retain(|peer| peers.iter().any(|(here, _)| here == peer));
        for (peer, lacks) in peers {
            if *lacks && !lacking.contains(peer) {
                lacking.push(*peer);
            }
        }
        if is_over || lacking.len() == peers.len() {
            self.unavailable = None;
            return Action::GiveUp;
        }
        Action::Wait
    }
}

/// How long to wait for a body that a peer lacks. The more blocks would be abandoned above it, the longer.
pub(super) fn patience(above: u64) -> Millis {
    MISSING_BODY_PATIENCE
        .saturating_add(above.saturating_mul(MISSING_BODY_PATIENCE_PER_BLOCK))
        .min(MAX_MISSING_BODY_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_up_to_a_limit() {
        assert_eq!([0, 1, 60].map(patience), [60_000, 61_000, 120_000]);
        assert_eq!(
            [10_000, u64::MAX].map(patience),
            [MAX_MISSING_BODY_PATIENCE; 2]
        );
    }

    #[test]
    fn departed_peers_do_not_count_as_lacking() {
        let mut missing = LastRound::new();
        let hash = BlockHash::new([1; 32]);
        let at = MonotonicMillis::new;
        assert_eq!(
            missing.next_action(hash, &[(1_u64, false)], 50, at(0)),
            Action::Wait
        );
        assert_eq!(
            missing.next_action(hash, &[(1, true)], 50, at(0)),
            Action::Wait
        );
        assert_eq!(
            missing.next_action(hash, &[(1, true)], 50, at(50)),
            Action::StartLastRound
        );
        for peer in 0..100 {
            let peers = [(peer, true), (1_000, false)];
            assert_eq!(missing.next_action(hash, &peers, 50, at(51)), Action::Wait);
            let unavailable = missing.unavailable.as_ref().expect("a peer lacks it");
            assert_eq!(unavailable.last_round, Some(alloc::vec![peer]));
        }
        let mut other = missing.clone();
        assert_eq!(
            missing.next_action(hash, &[(1_000, true)], 50, at(52)),
            Action::GiveUp
        );
        // A silent peer is waited for until the end of the round.
        let silent = [(1_000, false)];
        let end = 50 + LAST_ROUND_TIMEOUT;
        assert_eq!(
            other.next_action(hash, &silent, 50, at(end - 1)),
            Action::Wait
        );
        assert_eq!(
            other.next_action(hash, &silent, 50, at(end)),
            Action::GiveUp
        );
    }
}
