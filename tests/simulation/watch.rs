//! What the invariants note of one peer: what it reads from disk for itself, how long it computes, whether it mines.

use std::{collections::HashSet, time::Duration};

use chain::hash::BlockHash;
use sync::{Input, Output, seam::ReadId};

use crate::world::Id;

/// What a peer did in a stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    pub(crate) from: u64,
    /// Bodies that its machine read for itself, not for peers.
    pub(crate) bodies: u64,
    /// Readings in these.
    pub(crate) readings: u64,
}

/// The notes.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    own_reads: HashSet<ReadId>,
    /// When it last started or woke.
    pub(crate) started_at: u64,
    pub(crate) effort: Effort,
    /// Real time that its machine took since `cpu_from`.
    pub(crate) cpu: Duration,
    pub(crate) cpu_from: u64,
    /// Inputs and outputs since then.
    pub(crate) steps: u64,
    /// Bytes that it answered since then.
    pub(crate) answered: u64,
    /// Whether it had something to mine, and its tip and how many readings waited then.
    pub(crate) minable: Option<(BlockHash, usize, bool)>,
    /// Since when it has something to mine and no job.
    pub(crate) minable_since: Option<u64>,
    /// Time in which it should mine, and in which it did, ms.
    pub(crate) due: u64,
    pub(crate) mined: u64,
    /// Nonces found in a row that became no block.
    pub(crate) wasted: u64,
    found: bool,
    /// Since when it is behind peers that it can reach.
    pub(crate) behind_since: Option<u64>,
    /// Since when a neighbour can give it the first block, which its deleted database lacks.
    pub(crate) supplied_since: Option<u64>,
}

impl Watch {
    /// It starts or wakes: what was under way means nothing now.
    pub(crate) fn note_start(&mut self, now: u64) {
        self.started_at = now;
        self.own_reads.clear();
        self.minable_since = None;
        self.behind_since = None;
        self.supplied_since = None;
    }

    pub(crate) fn note_input(&mut self, input: &Input<Id>) {
        self.steps += 1;
        self.found = matches!(input, Input::Mined { .. });
        if let Input::Read { id, bodies } = input
            && self.own_reads.remove(id)
        {
            self.effort.bodies += bodies.len() as u64;
            let readings = bodies.iter().flatten().map(|body| body.len() as u64);
            self.effort.readings += readings.sum::<u64>();
        }
    }

    /// `asked`: a peer's request led to them.
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
            if let Output::Respond { data, .. } = output {
                self.answered += data.len() as u64;
            }
        }
    }
}
