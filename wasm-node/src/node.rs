//! The way to a running node from the page's side: questions are answered from what is known, wishes go to
//! the driver. Never waits for the driver to answer a question.

use std::{cell::RefCell, rc::Rc};

use chain::{
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    header::Header,
    reading::Reading,
};
use futures::channel::{mpsc, oneshot};
use sync::{
    Machine,
    seam::{AdoptError, ImportError, ImportPiece, RecordError},
};

use crate::{
    archive::ImportReply,
    arguments::DocumentError,
    bulletin::Notice,
    check::{self, Claim, Place},
    clock, config,
    net::{self, PeerId, PeerLink, RelayView as NetRelay},
    rehearsal::{self, Sent},
    storage::{Bodies, Health, Queue, StoreError},
    view::{
        BlockView, BranchView, CheckView, OwnReadingView, PeerView, ReadingView, RehearsalView,
        StatusView,
    },
};

/// What the driver keeps up to date and the page may look at. The driver holds it only while it works,
/// and tells the page nothing meanwhile.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) us: PeerId,
    pub(crate) machine: Machine<PeerId>,
    pub(crate) relays: Vec<NetRelay>,
    pub(crate) links: Vec<PeerLink>,
    pub(crate) hashes_per_second: Option<f64>,
    pub(crate) storage: Rc<Health>,
    pub(crate) switches: Switches,
}

/// What the page has switched in this tab, to see what happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Switches {
    /// Cut off from everybody.
    pub(crate) isolated: bool,
    /// So many hashes a second are tried at most.
    pub(crate) mining_limit: Option<u32>,
}

/// Where the answer to a `record()` goes: the reading's id, and its place in the author's count.
pub(crate) type RecordReply = oneshot::Sender<Result<(ReadingId, u64), RecordError>>;

/// Where the answer to readings of a closed tab goes: how many of them were new.
pub(crate) type AdoptReply = oneshot::Sender<Result<usize, AdoptError>>;

/// What the page wishes of the driver.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Record a heart rate.
    Record(Bpm, RecordReply),
    /// Take in a piece of a file.
    Import(Box<ImportPiece>, ImportReply),
    /// Be cut off from everybody, or no longer.
    Isolate(bool),
    /// Try so many hashes a second at most.
    LimitMining(Option<u32>),
    /// Take over readings of a closed tab.
    Adopt(Vec<Reading>, AdoptReply),
    /// Tell the page.
    Notice(Notice),
    /// See whether the node still runs.
    Look,
    /// The page is back from sleep.
    Woke,
    /// End.
    Stop,
}

/// Why the node did not do what the page wished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NodeError {
    /// It was stopped, or broke.
    #[error("this node has stopped; reload the page")]
    Stopped,
    /// It is behind.
    #[error("too much at once: {limit} wishes already wait; wait a moment and try again")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// Nothing was recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Blocks are counted upwards.
    #[error("blocks {from} to {to} cannot be read: {from} is above {to}")]
    Backwards {
        /// The first asked for.
        from: u64,
        /// The last asked for.
        to: u64,
    },
    /// More than one call may ask for.
    #[error("{asked} blocks are more than the {limit} that one call may ask for")]
    TooManyBlocks {
        /// How many were asked for.
        asked: u64,
        /// How many may be.
        limit: u64,
    },
    /// The chain changed under every try.
    #[error("blocks {from} to {to} are changing just now; try again")]
    Changing {
        /// The first asked for.
        from: u64,
        /// The last asked for.
        to: u64,
    },
    /// The disk garbled it; it is fetched again from a peer that has it.
    #[error(
        "block {index} was damaged on this computer's disk, and is fetched again from another tab; try again when one is connected"
    )]
    Damaged {
        /// Its height.
        index: u64,
    },
    /// Blocks that were to be written were left behind and deleted.
    #[error("the chain changed too much while it was written; export it again")]
    LeftBehind,
    /// What was to be written cannot be.
    #[error("the export could not be written: {0}")]
    NotWritten(String),
    /// What is to be imported is no document of this room.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What is imported breaks a rule.
    #[error("the import has ended, and what came before is kept: {0}")]
    Import(#[from] ImportError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way to a node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) known: Rc<RefCell<Known>>,
    pub(crate) wishes: mpsc::Sender<Wish>,
    pub(crate) store: Queue,
}

impl Known {
    /// `status()`
    pub(crate) fn status(&self) -> StatusView {
        StatusView::new(self)
    }

    /// `peers()`: the relays among them, with what the machine knows of the others.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        let known: Vec<_> = self.machine.peers().collect();
        let of = |peer: PeerId| known.iter().find(|view| view.peer == peer);
        self.links
            .iter()
            .map(|link| PeerView::new(link, of(link.peer)))
            .collect()
    }

    /// `pending()`
    pub(crate) fn pending(&self, limit: usize) -> Vec<ReadingView> {
        self.machine
            .pending()
            .take(limit)
            .map(|reading| self.reading(reading))
            .collect()
    }

    /// `ownReadings()`
    pub(crate) fn own_readings(&self, limit: usize) -> Vec<OwnReadingView> {
        let own = self.machine.own_readings(limit);
        own.into_iter().map(OwnReadingView::from).collect()
    }

    /// `branches()`
    pub(crate) fn branches(&self) -> Vec<BranchView> {
        let branches = self.machine.side_branches();
        branches.iter().map(BranchView::from).collect()
    }

    /// `check()`
    pub(crate) fn check(&self, claim: &Claim) -> CheckView {
        let header = &claim.header;
        let one_lower = self
            .machine
            .header(&header.prev_hash)
            .is_some_and(|parent| parent.index.checked_add(1) == Some(header.index));
        let below = header.index.checked_sub(1);
        let place = Place {
            parent: one_lower
                .then(|| self.machine.window_on(&header.prev_hash))
                .flatten(),
            below: below.and_then(|below| self.machine.best_hash(below)),
        };
        CheckView::from(&check::check(self.machine.room(), claim, &place))
    }

    /// `rehearse()`
    ///
    /// # Errors
    /// If the browser has no chance left to make a stranger of.
    pub(crate) fn rehearse(&self, sent: &Sent) -> Result<RehearsalView, getrandom::Error> {
        let stranger = net::stranger(clock::entropy()?);
        let copy = self.machine.clone();
        Ok(rehearsal::rehearse(copy, stranger, sent, clock::both()).into())
    }

    /// A reading, as JavaScript gets it.
    pub(crate) fn reading(&self, reading: &Reading) -> ReadingView {
        ReadingView::new(self.machine.room().id(), reading)
    }

    /// The best branch's blocks of these heights, as far as there are any.
    fn headers(&self, from: u64, to: u64) -> Vec<(BlockHash, Header)> {
        let hashes = (from..=to).map_while(|index| self.machine.best_hash(index));
        hashes
            .filter_map(|hash| Some((hash, self.machine.header(&hash)?)))
            .collect()
    }
}

impl Node {
    /// Looks at what is known.
    ///
    /// # Errors
    /// If the node broke while it was at work, and left half-done what is known.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Known) -> T) -> Result<T, NodeError> {
        self.known
            .try_borrow()
            .map(|known| at(&known))
            .map_err(|_| NodeError::Stopped)
    }

    /// Records a heart rate: the reading's id and its place in the author's count, once it is kept.
    ///
    /// # Errors
    /// If it was not recorded.
    pub(crate) async fn record(&self, bpm: Bpm) -> Result<(ReadingId, u64), NodeError> {
        let (reply, answer) = oneshot::channel();
        self.wish(Wish::Record(bpm, reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    /// The best branch's blocks from one height to another, both included, as far as there are any.
    ///
    /// # Errors
    /// If that is backwards or too many, or storage fails.
    pub(crate) async fn blocks(&self, from: u64, to: u64) -> Result<Vec<BlockView>, NodeError> {
        let asked = to
            .checked_sub(from)
            .ok_or(NodeError::Backwards { from, to })?
            .saturating_add(1);
        if asked > config::MAX_BLOCKS_A_CALL {
            return Err(NodeError::TooManyBlocks {
                asked,
                limit: config::MAX_BLOCKS_A_CALL,
            });
        }
        let mut changing = NodeError::Changing { from, to };
        for _ in 0..config::BLOCKS_READ_TRIES {
            match self.try_blocks(from, to).await? {
                Ok(blocks) => return Ok(blocks),
                Err(index) => changing = self.missing(index, changing)?,
            }
        }
        Err(changing)
    }

    /// Asks the browser to keep what this tab stores even when its disk gets full. Returns whether it will.
    ///
    /// # Errors
    /// If the node broke.
    pub(crate) async fn request_persistence(&self) -> Result<bool, NodeError> {
        let health = self.look(|known| known.storage.clone())?;
        Ok(health.request_persistence().await)
    }

    /// Sends a wish to the driver.
    ///
    /// # Errors
    /// If the driver is gone, or behind.
    pub(crate) fn wish(&self, wish: Wish) -> Result<(), NodeError> {
        self.wishes.clone().try_send(wish).map_err(|error| {
            if error.is_full() {
                NodeError::Busy {
                    limit: config::MAX_WAITING_COMMANDS,
                }
            } else {
                NodeError::Stopped
            }
        })
    }

    /// Blocks' readings, of those that are not on disk yet, too. `None`: it was deleted since it was on a branch, or the disk
    /// garbled it.
    pub(crate) async fn bodies(&self, hashes: Vec<BlockHash>) -> Result<Bodies, NodeError> {
        // What is no more on its way when it is looked for is on disk when the store is asked.
        let unwritten = self.look(|known| {
            let body = |hash| known.machine.unwritten_body(hash).map(<[Reading]>::to_vec);
            hashes.iter().map(body).collect::<Vec<_>>()
        })?;
        let stored = self.store.clone().bodies(hashes).await?;
        let each = stored.into_iter().zip(unwritten);
        Ok(each.map(|(stored, waiting)| stored.or(waiting)).collect())
    }

    /// Why there is no body for a block that was on the best branch: the disk garbled it, or else what is `otherwise`.
    pub(crate) fn missing(
        &self,
        (index, hash): (u64, BlockHash),
        otherwise: NodeError,
    ) -> Result<NodeError, NodeError> {
        let stands = self.look(|known| known.machine.best_hash(index) == Some(hash))?;
        Ok(if stands {
            NodeError::Damaged { index }
        } else {
            otherwise
        })
    }

    /// The blocks; or the first one whose body is not there, which may have been deleted between looking and reading.
    async fn try_blocks(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Result<Vec<BlockView>, (u64, BlockHash)>, NodeError> {
        let (room, genesis, headers) = self.look(|known| {
            let room = known.machine.room();
            (room.id(), room.genesis_hash(), known.headers(from, to))
        })?;
        let hashes = headers.iter().map(|(hash, _)| *hash).collect();
        let bodies = self.bodies(hashes).await?;
        let blocks = headers.iter().zip(bodies).map(|((hash, header), body)| {
            // Genesis is known from the room's name, and nobody stores it.
            let body = if *hash == genesis {
                Some(Vec::new())
            } else {
                body
            };
            let body = body.ok_or((header.index, *hash))?;
            Ok(BlockView::new(room, *hash, header, &body))
        });
        Ok(blocks.collect())
    }
}
