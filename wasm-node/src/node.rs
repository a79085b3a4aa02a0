//! The page's handle to a running node: getters read the shared [`NodeState`], and changes are sent to the driver as
//! [`Command`]s. A getter never waits for the driver.

use std::{cell::RefCell, rc::Rc};

use futures::{
    channel::{mpsc, oneshot},
    future::Shared,
    lock::Mutex,
};
use heartchain_chain::{
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    header::Header,
    profile::ProfileName,
    reading::{Reading, ReadingError},
};
use heartchain_peer::net::{self, PeerId};
use heartchain_sync::{
    io::{AdoptError, ImportError, ImportPiece, Imported, NameError, RecordError},
    message::GossipItem,
    verification::{VerifiedBodies, verify_each},
};

use crate::{
    arguments::DocumentError,
    check::{self, BlockClaim, ParentContext},
    clock, dry_run,
    event_buffer::Notice,
    failure,
    next_task::Pauses,
    node_state::NodeState,
    storage::{Bodies, Queue, StoreError},
    verifier::VerifierScript,
    view::{
        BranchView, CheckView, DryRunView, NameView, OwnReadingView, PeerView, ReadingView,
        StatusView,
    },
};

/// Blocks that one call of `blocks()` may ask for: a few screens, and one message of bodies.
const MAX_BLOCKS_PER_CALL: u64 = 512;
/// Commands of the page that may wait for the driver. A person enters one at a time, a heart-rate strap one per second.
pub(crate) const MAX_WAITING_COMMANDS: usize = 1_024;
/// Readings that `check()` verifies without a pause: some milliseconds.
const CHECKED_READINGS: usize = 64;
/// Attempts of `blocks()` before it gives up because the chain changed during each of them.
const BLOCKS_READ_ATTEMPTS: usize = 3;

/// Receives the result of `record()`: the reading's id and sequence number.
pub(crate) type RecordReply = oneshot::Sender<Result<(ReadingId, u64), RecordError>>;

/// A block of the best branch, as it was read.
pub(crate) type StoredBlock = (BlockHash, Header, Vec<Reading>);

/// Receives the result of adopting a closed tab's readings: how many of them were new.
pub(crate) type AdoptReply = oneshot::Sender<Result<usize, AdoptError>>;

/// Receives the result of importing one piece.
pub(crate) type ImportReply = oneshot::Sender<Result<Imported, ImportError>>;

/// Receives the result of `setName()`.
pub(crate) type NameReply = oneshot::Sender<Result<(), NameError>>;

/// A request from the page to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Record a heart rate.
    Record(Bpm, RecordReply),
    /// Change the name that others see.
    SetName(ProfileName, NameReply),
    /// Import a piece of a file, with the proof that its signatures are valid if they were verified.
    Import(Box<ImportPiece>, Option<VerifiedBodies>, ImportReply),
    /// Disconnect from all peers and relays, or reconnect.
    Isolate(bool),
    /// Try at most this many hashes per second; `None` is unlimited.
    LimitMining(Option<u32>),
    /// Adopt readings of a closed tab.
    Adopt(Vec<Reading>, AdoptReply),
    /// Deliver a notice to the page.
    Notice(Notice),
    /// Deliver the status to the page.
    StatusChanged,
    /// Does nothing: sending it shows whether the driver still runs.
    Ping,
    /// The page was resumed after it was hidden, frozen or offline.
    Resumed,
    /// Stop the node: the event loop ends.
    Stop,
}

/// Why the node did not do what the page asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NodeError {
    /// The node was stopped, or it panicked.
    #[error("this node has stopped; start another one")]
    Stopped,
    /// The queue of commands is full.
    #[error("too much at once: {limit} commands already wait; wait a moment and try again")]
    Busy {
        /// The queue's capacity.
        limit: usize,
    },
    /// The reading was not recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The name was not changed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The range of blocks is reversed.
    #[error("blocks {from} to {to} cannot be read: {from} is above {to}")]
    Backwards {
        /// The first height of the range.
        from: u64,
        /// The last height of the range.
        to: u64,
    },
    /// The range of blocks is longer than one call may ask for.
    #[error("{asked} blocks are more than the {limit} that one call may ask for")]
    TooManyBlocks {
        /// The length of the range.
        asked: u64,
        /// The longest range that is allowed.
        limit: u64,
    },
    /// The chain changed during every attempt to read the range.
    #[error("blocks {from} to {to} are changing just now; try again")]
    Changing {
        /// The first height of the range.
        from: u64,
        /// The last height of the range.
        to: u64,
    },
    /// The block's body on disk is corrupt. It is fetched again from a peer that has it.
    #[error(
        "block {index} was damaged on this computer's disk, and is fetched again from another tab; try again when one is connected"
    )]
    Damaged {
        /// The block's height.
        index: u64,
    },
    /// Blocks of the export left the best branch and were deleted before they were read.
    #[error("the chain changed too much while it was written; export it again")]
    LeftBehind,
    /// Part of the export cannot be serialized.
    #[error("the export could not be written: {0}")]
    NotWritten(String),
    /// The imported file is not a document of this room.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A block or reading of the import breaks a rule.
    #[error("the import has ended, and what came before is kept: {0}")]
    Import(#[from] ImportError),
    /// Readings of others were not kept.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The store failed, or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A cheap handle of a running node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) state: Rc<RefCell<NodeState>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) store: Queue,
    /// The worker that reads long files.
    pub(crate) verifier_script: VerifierScript,
    /// Resolves once the driver has ended.
    pub(crate) ended: Shared<oneshot::Receiver<()>>,
    /// Imports run one after another: the machine follows the branch of one import at a time.
    pub(crate) import_turn: Rc<Mutex<()>>,
}

impl NodeState {
    /// Implements `status()`.
    pub(crate) fn status(&self) -> StatusView {
        StatusView::new(self)
    }

    /// Implements `peers()`: all connected peers and relays, with what the machine knows of the peers.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        let machine_peers: Vec<_> = self.machine.peers().collect();
        let find = |peer: PeerId| machine_peers.iter().find(|view| view.peer == peer);
        self.links
            .iter()
            .map(|link| PeerView::new(link, find(link.peer)))
            .collect()
    }

    /// Implements `pending()`.
    pub(crate) fn pending(&self, limit: usize) -> Vec<ReadingView> {
        self.machine
            .pending()
            .take(limit)
            .map(|reading| self.reading(reading))
            .collect()
    }

    /// Implements `ownReadings()`.
    pub(crate) fn own_readings(&self, limit: usize) -> Vec<OwnReadingView> {
        let own = self.machine.own_readings(limit);
        own.into_iter().map(OwnReadingView::from).collect()
    }

    /// Implements `names()`.
    pub(crate) fn names(&self) -> Vec<NameView> {
        self.machine.names().map(NameView::from).collect()
    }

    /// Implements `branches()`.
    pub(crate) fn branches(&self) -> Vec<BranchView> {
        let branches = self.machine.side_branches();
        branches.iter().map(BranchView::from).collect()
    }

    /// The check of a block whose readings are verified.
    fn check(&self, claim: &BlockClaim, verified: Vec<Result<(), ReadingError>>) -> CheckView {
        let header = &claim.header;
        let parent_is_one_lower = self
            .machine
            .header(&header.prev_hash)
            .is_some_and(|parent| parent.index.checked_add(1) == Some(header.index));
        let below = header.index.checked_sub(1);
        let context = ParentContext {
            parent: parent_is_one_lower
                .then(|| self.machine.header_window(&header.prev_hash))
                .flatten(),
            below: below.and_then(|below| self.machine.best_hash(below)),
        };
        let check = check::check(self.machine.room(), claim, &context, verified);
        CheckView::from(&check)
    }

    /// Implements `dryRun()`.
    ///
    /// # Errors
    /// If the browser gives no random bytes for the fictitious sender's peer ID.
    pub(crate) fn dry_run(&self, candidate: &GossipItem) -> Result<DryRunView, getrandom::Error> {
        let stranger = net::peer_id_from_seed(clock::entropy()?);
        let copy = self.machine.clone();
        Ok(dry_run::dry_run(copy, stranger, candidate, clock::both()).into())
    }

    /// Converts a reading for JavaScript.
    pub(crate) fn reading(&self, reading: &Reading) -> ReadingView {
        ReadingView::new(self.machine.room(), reading)
    }

    /// The headers of the best branch from one height to another; heights above the tip are left out.
    fn headers(&self, from: u64, to: u64) -> Vec<(BlockHash, Header)> {
        let hashes = (from..=to).map_while(|index| self.machine.best_hash(index));
        hashes
            .filter_map(|hash| Some((hash, self.machine.header(&hash)?)))
            .collect()
    }
}

impl Node {
    /// Reads the state.
    ///
    /// # Errors
    /// If the driver panicked while it changed the state, which is then incomplete and stays borrowed.
    pub(crate) fn with_state<T>(&self, read: impl FnOnce(&NodeState) -> T) -> Result<T, NodeError> {
        self.state
            .try_borrow()
            .map(|state| read(&state))
            .map_err(|_| NodeError::Stopped)
    }

    /// Records a heart rate. Returns the reading's id and sequence number once the reading is stored.
    ///
    /// # Errors
    /// If the reading was not recorded.
    pub(crate) async fn record(&self, bpm: Bpm) -> Result<(ReadingId, u64), NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Record(bpm, reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    /// Changes the name that others see, once it is stored.
    ///
    /// # Errors
    /// If the name was not changed.
    pub(crate) async fn set_name(&self, name: ProfileName) -> Result<(), NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::SetName(name, reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    /// The best branch's blocks from one height to another, both included; heights above the tip are left out.
    ///
    /// # Errors
    /// If the range is reversed or too long, a block is corrupt on disk, the chain changes too often meanwhile, or
    /// storage fails.
    pub(crate) async fn blocks(&self, from: u64, to: u64) -> Result<Vec<StoredBlock>, NodeError> {
        let asked = to
            .checked_sub(from)
            .ok_or(NodeError::Backwards { from, to })?
            .saturating_add(1);
        if asked > MAX_BLOCKS_PER_CALL {
            return Err(NodeError::TooManyBlocks {
                asked,
                limit: MAX_BLOCKS_PER_CALL,
            });
        }
        let mut failure = NodeError::Changing { from, to };
        for _ in 0..BLOCKS_READ_ATTEMPTS {
            match self.try_blocks(from, to).await? {
                Ok(blocks) => return Ok(blocks),
                Err(block) => failure = self.missing_body_error(block, failure)?,
            }
        }
        Err(failure)
    }

    /// Implements `check()`.
    ///
    /// `seed` must be unpredictable to the authors.
    ///
    /// # Errors
    /// If the node panicked.
    pub(crate) async fn check(
        &self,
        claim: &BlockClaim,
        seed: [u8; 32],
    ) -> Result<CheckView, NodeError> {
        let room = self.with_state(|state| state.machine.room().id())?;
        let mut verified = Vec::new();
        let mut pauses = Pauses::new();
        for readings in claim.bodies().chunks(CHECKED_READINGS) {
            pauses.pause_if_due().await;
            verified.extend(verify_each(room, readings, seed));
        }
        self.with_state(|state| state.check(claim, verified))
    }

    /// Asks the browser to keep this tab's data even when the disk gets full. Returns whether it will.
    ///
    /// # Errors
    /// If the node panicked.
    pub(crate) async fn request_persistence(&self) -> Result<bool, NodeError> {
        let health = self.with_state(|state| state.storage.clone())?;
        Ok(health.request_persistence().await)
    }

    /// Sends a command to the driver.
    ///
    /// # Errors
    /// If the driver has stopped, or its queue of commands is full.
    pub(crate) fn command(&self, command: Command) -> Result<(), NodeError> {
        self.commands.clone().try_send(command).map_err(|error| {
            if error.is_full() {
                NodeError::Busy {
                    limit: MAX_WAITING_COMMANDS,
                }
            } else {
                NodeError::Stopped
            }
        })
    }

    /// Keeps readings of others until they are confirmed. Returns how many were new, once they are stored.
    ///
    /// # Errors
    /// If they were not kept.
    pub(crate) async fn adopt(&self, readings: Vec<Reading>) -> Result<usize, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Adopt(readings, reply))?;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    /// Stops the node. The future resolves once all connections are closed and the store's lock is free.
    pub(crate) fn stop(&self) -> impl Future<Output = ()> + use<> {
        // This fails if the node has stopped already.
        drop(self.command(Command::Stop));
        let ended = self.ended.clone();
        async move {
            // After a panic no driver is left that could end.
            if !failure::has_panicked() {
                let _ = ended.await;
            }
        }
    }

    /// The bodies of blocks, whether they are on disk or still on their way there. `None`: the body was deleted after
    /// its block left the best branch, or it is corrupt on disk.
    pub(crate) async fn bodies(&self, hashes: Vec<BlockHash>) -> Result<Bodies, NodeError> {
        // Memory is read before the disk: a body that has left memory by then is already on disk.
        let unwritten = self.with_state(|state| {
            let body = |hash| state.machine.unwritten_body(hash).map(<[Reading]>::to_vec);
            hashes.iter().map(body).collect::<Vec<_>>()
        })?;
        let stored = self.store.clone().bodies(hashes).await?;
        let each = stored.into_iter().zip(unwritten);
        Ok(each.map(|(stored, waiting)| stored.or(waiting)).collect())
    }

    /// Why a block has no body: the body is corrupt if the block is still on the best branch; else it is `otherwise`.
    pub(crate) fn missing_body_error(
        &self,
        (index, hash): (u64, BlockHash),
        otherwise: NodeError,
    ) -> Result<NodeError, NodeError> {
        let on_best_branch =
            self.with_state(|state| state.machine.best_hash(index) == Some(hash))?;
        Ok(if on_best_branch {
            NodeError::Damaged { index }
        } else {
            otherwise
        })
    }

    /// The blocks; or the first block without a body, which may have been deleted between the two reads.
    async fn try_blocks(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Result<Vec<StoredBlock>, (u64, BlockHash)>, NodeError> {
        let (genesis, headers) = self.with_state(|state| {
            let genesis = state.machine.room().genesis_hash();
            (genesis, state.headers(from, to))
        })?;
        let hashes = headers.iter().map(|(hash, _)| *hash).collect();
        let bodies = self.bodies(hashes).await?;
        let blocks = headers.into_iter().zip(bodies);
        let blocks = blocks.map(|((hash, header), body)| {
            // Genesis follows from the room's parameters and is never stored.
            let body = body.or_else(|| (hash == genesis).then(Vec::new));
            let body = body.ok_or((header.index, hash))?;
            Ok((hash, header, body))
        });
        Ok(blocks.collect())
    }
}
