//! The loop of a running keeper: passes commands, answers of the store, nonces, events of the network and timers to the
//! machine, whose outputs [`driver::step`] performs. Makes no decisions of its own.

use std::{ops::ControlFlow, time::Duration};

use heartchain_chain::{block::Block, hash::BlockHash, time::MonotonicMillis};
use heartchain_peer::clock::{self, Alarm};
use heartchain_sync::{
    Event, Input, Machine, Now,
    driver::{self, Driver, Miner as _, StoreAnswer},
    io::JobId,
};
use tokio::{sync::mpsc, time::sleep};

use super::{
    events::{EventSender, KeeperEvent, ShownBlock},
    handle::{Command, KeeperStatus, Snapshot},
    replies::Replies,
};
use crate::{
    miner::Miner,
    network::{Network, NetworkEvent},
    room_lock::RoomLock,
    store::{Answer, Job, Queue, StoreLost},
};

/// Blocks of one change that are shown one by one: a person reads no more. The rest is one line.
pub const MAX_SHOWN_BLOCKS: u64 = 64;
/// How long a session that stops waits for the disk.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Why a session ended although no one stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store cannot be used any more.
    #[error(transparent)]
    Store(#[from] StoreLost),
    /// The disk did not answer.
    #[error(
        "the disk did not answer for {} s, so the last changes may not be on it; every reading that was reported is",
        STOP_PATIENCE.as_secs()
    )]
    DiskStuck,
}

/// A keeper of one room: the machine and everything that it needs.
#[derive(Debug)]
pub struct Session<N: Network> {
    pub(crate) machine: Machine<N::Peer>,
    pub(crate) network: N,
    pub(crate) queue: Queue,
    pub(crate) miner: Miner,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: EventSender,
    /// Fires when the machine wants to be woken.
    pub(crate) alarm: Alarm,
    pub(crate) replies: Replies,
    /// How many peers were connected when that was last told.
    pub(crate) known_peers: usize,
    /// Why the disk refused the last write.
    pub(crate) failing: Option<String>,
    /// Released after the store is closed.
    pub(crate) lock: RoomLock,
}

/// What woke the loop.
enum Wakeup<P> {
    Store(Result<Answer, StoreLost>),
    /// `None`: all handles are gone.
    Command(Option<Command>),
    Mined(JobId, u64),
    Timer,
    Network(NetworkEvent<P>),
}

impl<N: Network> Session<N> {
    /// Runs until a handle stops it, or all handles are gone. Then waits until everything is on disk, and closes the store.
    ///
    /// # Errors
    /// If the store is lost, or the disk does not answer.
    pub async fn run(mut self) -> Result<(), SessionError> {
        self.step(Input::Tick);
        loop {
            let wakeup = self.next_wakeup().await;
            if self.on_wakeup(wakeup)?.is_break() {
                break;
            }
        }
        let saved = self.save().await;
        let Self { queue, lock, .. } = self;
        // The next keeper of this room finds the store closed.
        drop(queue);
        drop(lock);
        saved
    }

    /// Waits until the disk has done all that it was asked.
    async fn save(&mut self) -> Result<(), SessionError> {
        self.miner.stop();
        let mut patience = Box::pin(sleep(STOP_PATIENCE));
        while !(self.queue.is_idle() && self.replies.is_empty()) {
            tokio::select! {
                answer = self.queue.next() => self.on_answer(answer?),
                () = &mut patience => return Err(SessionError::DiskStuck),
            }
        }
        Ok(())
    }

    async fn next_wakeup(&mut self) -> Wakeup<N::Peer> {
        tokio::select! {
            biased;
            answer = self.queue.next() => Wakeup::Store(answer),
            command = self.commands.recv() => Wakeup::Command(command),
            (job, nonce) = self.miner.next() => Wakeup::Mined(job, nonce),
            () = &mut self.alarm => Wakeup::Timer,
            event = self.network.next() => Wakeup::Network(event),
        }
    }

    fn on_wakeup(&mut self, wakeup: Wakeup<N::Peer>) -> Result<ControlFlow<()>, StoreLost> {
        match wakeup {
            Wakeup::Store(answer) => self.on_answer(answer?),
            Wakeup::Command(Some(Command::Stop) | None) => return Ok(ControlFlow::Break(())),
            Wakeup::Command(Some(command)) => self.on_command(command),
            Wakeup::Mined(job, nonce) => self.step(Input::Mined { job, nonce }),
            Wakeup::Timer => self.step(Input::Tick),
            Wakeup::Network(NetworkEvent::Input(input)) => self.step(input),
            Wakeup::Network(NetworkEvent::Changed) => {}
            Wakeup::Network(NetworkEvent::Listening(address)) => {
                self.events.send(KeeperEvent::Listening { address });
            }
            Wakeup::Network(NetworkEvent::Fault(reason)) => {
                self.events.send(KeeperEvent::NetworkFault { reason });
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Record(bpm, reply) => {
                let ticket = self.replies.record(reply);
                self.step(Input::Record { ticket, bpm });
            }
            Command::Import(piece, reply) => {
                let ticket = self.replies.import(reply);
                let piece = *piece;
                self.step(Input::Import { ticket, piece });
            }
            Command::Adopt(readings, reply) => {
                let ticket = self.replies.adopt(reply);
                self.step(Input::Adopt { ticket, readings });
            }
            // Callers may have stopped waiting.
            Command::Places(readings, reply) => {
                drop(reply.send(self.machine.places(&readings)));
            }
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Snapshot(reply) => drop(reply.send(self.snapshot())),
            // The loop ends before it comes here.
            Command::Stop => {}
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Machine(answer) => {
                let is_written = matches!(answer, StoreAnswer::Written(_));
                if is_written && self.failing.take().is_some() {
                    self.events.send(KeeperEvent::StorageRecovered);
                }
                self.step(answer.into());
            }
            Answer::WriteFailed(answer, reason) => {
                if self.failing.as_ref() != Some(&reason) {
                    self.failing = Some(reason.clone());
                    self.events.send(KeeperEvent::StorageFailing { reason });
                }
                self.step(answer.into());
            }
            Answer::Shown(blocks) => {
                for (hash, block) in blocks {
                    let shown = ShownBlock::new(self.machine.room(), hash, &block);
                    self.events.send(KeeperEvent::Block(shown));
                }
            }
            Answer::Nothing => {}
        }
    }

    fn step(&mut self, input: Input<N::Peer>) {
        driver::step(self, input, None);
    }

    /// Tells how many peers are connected, if that has changed.
    fn on_peers(&mut self) {
        let peers = self.machine.peers().count();
        if peers != self.known_peers {
            self.known_peers = peers;
            self.events.send(KeeperEvent::Peers { connected: peers });
        }
    }

    /// Shows the newest of the blocks that joined the best branch. Their bodies may only be on disk.
    fn on_chain(&mut self, from: u64, to: u64, reorg: bool) {
        if !self.events.has_reader() {
            return;
        }
        if reorg {
            self.events.send(KeeperEvent::Reorganised { from });
        }
        let first = first_shown(from, to);
        if first > from {
            let to = first - 1;
            self.events.send(KeeperEvent::Blocks { from, to });
        }
        let blocks = (first..=to).filter_map(|index| {
            let hash = self.machine.best_hash(index)?;
            let header = self.machine.header(&hash)?;
            let body = self.machine.unwritten_body(&hash);
            Some((hash, header, body.map(<[_]>::to_vec)))
        });
        let blocks = blocks.collect();
        self.queue.push(Job::Show(blocks));
    }

    fn status(&self) -> KeeperStatus {
        KeeperStatus {
            room: self.machine.room().clone(),
            author: self.machine.author(),
            machine: self.machine.status(),
            peers: self.machine.peers().count(),
            storage_failing: self.failing.clone(),
        }
    }

    /// What an export contains now. The view of the blocks on disk is taken after the writes that were asked for before.
    fn snapshot(&mut self) -> Snapshot {
        let (reply, blocks) = tokio::sync::oneshot::channel();
        self.queue.push(Job::Snapshot(reply));
        let status = self.machine.status();
        let hashes = (1..=status.index).map_while(|index| self.machine.best_hash(index));
        let hashes: Vec<BlockHash> = hashes.collect();
        let unwritten = hashes.iter().filter_map(|hash| {
            let readings = self.machine.unwritten_body(hash)?.to_vec();
            let header = self.machine.header(hash)?;
            Some((*hash, Block { header, readings }))
        });
        Snapshot {
            room: self.machine.room().clone(),
            tip: (status.index, status.tip),
            total_work: status.total_work.to_string(),
            unwritten: unwritten.collect(),
            waiting: self.machine.waiting(),
            profiles: self.machine.profiles().cloned().collect(),
            hashes,
            blocks,
        }
    }
}

impl<N: Network> Driver for Session<N> {
    type Peer = N::Peer;

    fn now(&self) -> Now {
        clock::both()
    }

    fn with_machine<T>(&mut self, function: impl FnOnce(&mut Machine<N::Peer>) -> T) -> T {
        function(&mut self.machine)
    }

    fn network(&mut self) -> &mut impl driver::Network<Peer = N::Peer> {
        self.network.outputs()
    }

    fn store(&mut self) -> &mut impl driver::Store {
        &mut self.queue
    }

    fn miner(&mut self) -> &mut impl driver::Miner {
        &mut self.miner
    }

    fn wake_at(&mut self, at: MonotonicMillis) {
        self.alarm.set(at);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum may grow; other events change the status, which is read when it is asked for"
    )]
    fn on_event(&mut self, event: &Event) {
        if self.replies.on_event(event) {
            return;
        }
        match *event {
            Event::Chain { from, to, reorg } => self.on_chain(from, to, reorg),
            Event::Peers => self.on_peers(),
            Event::KeyReplaced { author } => self.events.send(KeeperEvent::KeyReplaced { author }),
            Event::Equivocation { author, seq } => {
                self.events.send(KeeperEvent::Equivocation { author, seq });
            }
            Event::ClockSetBack { .. } | Event::ClockSetAhead { .. } => {
                self.events.send(KeeperEvent::ClockMoved);
            }
            _ => {}
        }
    }
}

/// The first height that is shown of those from `from` to `to`.
const fn first_shown(from: u64, to: u64) -> u64 {
    let last_ones = to.saturating_sub(MAX_SHOWN_BLOCKS - 1);
    if last_ones > from { last_ones } else { from }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_blocks_are_shown_one_by_one() {
        assert_eq!(first_shown(1, 1), 1);
        assert_eq!(first_shown(1, MAX_SHOWN_BLOCKS), 1);
        assert_eq!(first_shown(1, MAX_SHOWN_BLOCKS + 1), 2);
        assert_eq!(first_shown(500, 1_000), 1_001 - MAX_SHOWN_BLOCKS);
    }
}
