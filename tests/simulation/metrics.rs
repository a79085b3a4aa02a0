//! Per-peer measurements for the invariants: disk reads, CPU time, mining activity and sync state.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use heartchain_chain::{hash::BlockHash, key::Author};
use heartchain_sync::{Input, Output, io::ReadId};

use crate::id::Id;

/// What a peer's machine read from disk for itself since `from`.
#[derive(Debug, Default)]
pub(crate) struct ReadStats {
    pub(crate) from: u64,
    /// Bodies that the machine read for itself, not to answer peers.
    pub(crate) bodies: u64,
    /// Readings in those bodies.
    pub(crate) readings: u64,
}

/// Measurements of one peer.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    own_reads: HashSet<ReadId>,
    /// When it last started or woke.
    pub(crate) started_at: u64,
    pub(crate) read_stats: ReadStats,
    /// Real time that the machine took since `cpu_from`.
    pub(crate) cpu: Duration,
    pub(crate) cpu_from: u64,
    /// Inputs and outputs since `cpu_from`.
    pub(crate) steps: u64,
    /// Bytes of responses since `cpu_from`.
    pub(crate) answered: u64,
    /// Cached result of `Node::has_minable`, with the tip and the mempool size that it holds for.
    pub(crate) minable: Option<(BlockHash, usize, bool)>,
    /// Since when it has had something to mine but no job.
    pub(crate) minable_since: Option<u64>,
    /// Time in which it should have mined, ms.
    pub(crate) due: u64,
    /// Time in which it mined, ms.
    pub(crate) mined: u64,
    /// Nonces found in a row that led to no block.
    pub(crate) wasted: u64,
    found: bool,
    /// When it forwarded profiles of each author: as many as count for the next one.
    pub(crate) forwarded_profiles: BTreeMap<Author, Vec<u64>>,
    /// Since when it has been behind peers that it can reach.
    pub(crate) behind_since: Option<u64>,
    /// Since when its machine and its network disagree on whether a peer is connected.
    pub(crate) disagree_since: BTreeMap<Id, u64>,
    /// Since when a neighbour could have sent it the first block, which its deleted database lacks.
    pub(crate) supplied_since: Option<u64>,
}

impl Metrics {
    /// The peer starts or wakes: forgets everything that was in progress.
    pub(crate) fn note_start(&mut self, now: u64) {
        self.started_at = now;
        self.own_reads.clear();
        self.forwarded_profiles.clear();
        self.minable_since = None;
        self.behind_since = None;
        self.supplied_since = None;
        self.disagree_since.clear();
    }

    pub(crate) fn note_input(&mut self, input: &Input<Id>) {
        self.steps += 1;
        self.found = matches!(input, Input::Mined { .. });
        if let Input::Read { id, bodies } = input
            && self.own_reads.remove(id)
        {
            self.read_stats.bodies += bodies.len() as u64;
            let readings = bodies.iter().flatten().map(|body| body.len() as u64);
            self.read_stats.readings += readings.sum::<u64>();
        }
    }

    /// Counts outputs; `asked` means that a peer's request caused them.
    pub(crate) fn note_outputs(&mut self, outputs: &[Output<Id>], asked: bool, took: Duration) {
        self.steps += outputs.len() as u64;
        self.cpu += took;
        let published = |output: &Output<Id>| matches!(output, Output::Publish { .. });
        if core::mem::take(&mut self.found) {
            let counted = self.wasted + 1;
            self.wasted = if outputs.iter().any(published) {
                0
            } else {
                counted
            };
        }
        for output in outputs {
            if let (Output::Read { id, .. }, false) = (output, asked) {
                self.own_reads.insert(*id);
            }
            if let Output::Respond { response, .. } = output {
                self.answered += response.encoded_len() as u64;
            }
        }
    }
}
