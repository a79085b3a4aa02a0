//! The one loop: whatever happened goes into the machine, and what the machine puts out is done, in its
//! order. Decides nothing.

use std::{any::Any, cell::RefCell, collections::VecDeque, pin::pin, rc::Rc};

use chain::{hash::ReadingId, reading::Reading, time::MonotonicMillis};
use futures::{FutureExt, StreamExt, channel::mpsc, select_biased};
use litemap::LiteMap;
use sync::{
    Event, Input, Output,
    seam::{RecordError, Ticket},
};

use crate::{
    archive::ImportReply,
    bulletin::{Bulletin, News, Notice},
    clock::{self, Alarm},
    config,
    miner::{self, Miner},
    net::{self, Network, PeerId},
    node::{AdoptReply, Known, Node, RecordReply, Wish},
    patience::Patience,
    storage::{Answer, Failing, Loss, Mirror, Queue, Storage},
};

/// Who is told what the page may want to know.
pub(crate) trait Audience {
    /// Tells one item. What is known may be looked at, and does not change meanwhile.
    fn tell(&self, news: News<Reading>, known: &RefCell<Known>);
}

/// Where a tab keeps things.
pub(crate) struct Kept {
    pub(crate) store: Box<dyn Storage>,
    /// A copy of what no peer could give back.
    pub(crate) mirror: Option<Rc<Mirror>>,
    /// Keeps others from the store.
    pub(crate) hold: Option<Box<dyn Any>>,
}

/// Everything that the loop moves.
pub(crate) struct Driver<A> {
    known: Rc<RefCell<Known>>,
    network: Network,
    store: Queue,
    answers: mpsc::Receiver<Answer>,
    mirror: Option<Rc<Mirror>>,
    hold: Option<Box<dyn Any>>,
    /// What waits for the store.
    patience: Patience,
    /// When it, or the copy of the journal, has to be looked at.
    look: Alarm,
    /// When the copy of the journal is brought up to date, if the chain changed since.
    mirror_due: Option<MonotonicMillis>,
    /// Why the store fails, as the page was told.
    told_failing: Option<Failing>,
    miner: Miner,
    alarm: Alarm,
    wishes: mpsc::Receiver<Wish>,
    /// Who waits for `record()`. The machine bounds how many.
    recording: LiteMap<Ticket, RecordReply>,
    /// Who waits for a piece of a file to be taken in. The machine bounds how many.
    importing: LiteMap<Ticket, ImportReply>,
    /// Who waits for readings of a closed tab to be taken over. One caller, one part at a time.
    adopting: LiteMap<Ticket, AdoptReply>,
    next_ticket: u64,
    inbox: VecDeque<Input<PeerId>>,
    bulletin: Bulletin<Reading>,
    audience: A,
}

/// What one look around brings.
enum Step {
    Wish(Option<Wish>),
    Store(Answer),
    Miner(miner::Event),
    Network(net::Event),
    Alarm,
    /// Something may have waited for too long.
    Look,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    End,
}

impl<A: Audience> Driver<A> {
    /// A driver, and the way to the node that it drives.
    pub(crate) fn new(
        known: Known,
        network: Network,
        kept: Kept,
        miner: Miner,
        audience: A,
    ) -> (Self, Node) {
        let Kept {
            store,
            mirror,
            hold,
        } = kept;
        let (wish, wishes) = mpsc::channel(config::MAX_WAITING_COMMANDS);
        let (store, answers) = Queue::new(store, known.storage.clone());
        let known = Rc::new(RefCell::new(known));
        let node = Node {
            known: known.clone(),
            wishes: wish,
            store: store.clone(),
        };
        let driver = Self {
            known,
            network,
            store,
            answers,
            mirror,
            hold,
            patience: Patience::default(),
            look: Alarm::default(),
            mirror_due: None,
            told_failing: None,
            miner,
            alarm: Alarm::default(),
            wishes,
            recording: LiteMap::new(),
            importing: LiteMap::new(),
            adopting: LiteMap::new(),
            next_ticket: 0,
            inbox: VecDeque::new(),
            bulletin: Bulletin::default(),
            audience,
        };
        (driver, node)
    }

    /// Runs until the page wishes it to stop.
    pub(crate) async fn run(mut self) {
        self.run_on().await;
        // Another node may take its place once all is written.
        if let Some(hold) = self.hold.take() {
            self.store.release(hold);
        }
    }

    async fn run_on(&mut self) {
        self.miner.prepare();
        self.feed(Input::Tick);
        self.tell_of_the_start();
        self.mirror_due = Some(clock::monotonic());
        loop {
            let step = self.step().await;
            if self.take(step) == Next::End {
                return;
            }
            // What is ready by now belongs to the same turn, so that a burst becomes a few events.
            for _ in 1..config::MAX_INPUTS_A_TURN {
                let Some(step) = self.step().now_or_never() else {
                    break;
                };
                if self.take(step) == Next::End {
                    return;
                }
            }
            self.look_around();
            self.tell();
        }
    }

    /// Says what was found when the store was opened.
    fn tell_of_the_start(&mut self) {
        let (healed, loss) = {
            let known = self.known.borrow();
            (known.storage.healed(), known.storage.loss())
        };
        if healed > 0 {
            let records = healed;
            self.bulletin.add(News::Notice(Notice::Healed { records }));
        }
        if let Some(Loss { saved, lost }) = loss {
            let readings = lost;
            self.bulletin
                .add(News::Notice(Notice::StorageLost { readings, saved }));
        }
    }

    /// Notes what has waited for long, and brings the copy of the journal up to date.
    fn look_around(&mut self) {
        let now = clock::monotonic();
        let (saving, stuck) = (self.patience.saving(now), self.patience.is_stuck(now));
        if self.known.borrow().storage.note_waiting(saving, stuck) {
            self.bulletin.add(News::Status);
            self.note_store();
        }
        if self.mirror_due.is_some_and(|due| due <= now) {
            self.mirror_due = None;
            self.update_mirror();
        }
        let due = self.patience.due(now).into_iter().chain(self.mirror_due);
        if let Some(due) = due.min() {
            self.look.set(due);
        }
    }

    /// Keeps in the copy of the journal what is not confirmed yet, and nothing else.
    fn update_mirror(&self) {
        if let Some(mirror) = &self.mirror {
            let known = self.known.borrow();
            let limit = config::MAX_MIRRORED_ENTRIES.saturating_add(1);
            let unconfirmed = known.machine.unsettled_own(limit);
            mirror.keep_unconfirmed(known.machine.journal_len(), &unconfirmed);
        }
    }

    async fn step(&mut self) -> Step {
        let mut mined = pin!(self.miner.next().fuse());
        let mut happened = pin!(self.network.next().fuse());
        let mut alarm = pin!((&mut self.alarm).fuse());
        let mut look = pin!((&mut self.look).fuse());
        select_biased! {
            wish = self.wishes.next() => Step::Wish(wish),
            answer = self.answers.select_next_some() => Step::Store(answer),
            event = mined => Step::Miner(event),
            event = happened => Step::Network(event),
            () = alarm => Step::Alarm,
            () = look => Step::Look,
        }
    }

    fn take(&mut self, step: Step) -> Next {
        match step {
            Step::Wish(Some(wish)) => return self.grant(wish),
            Step::Wish(None) => return Next::End,
            Step::Store(answer) => {
                self.note_store();
                self.take_answer(answer);
            }
            Step::Miner(miner::Event::Found(job, nonce)) => self.feed(Input::Mined { job, nonce }),
            Step::Miner(miner::Event::Speed(speed)) => {
                self.known.borrow_mut().hashes_per_second = speed;
                self.bulletin.add(News::Status);
            }
            Step::Network(event) => self.hear(event),
            Step::Alarm => self.feed(Input::Tick),
            // After each turn.
            Step::Look => {}
        }
        Next::Go
    }

    fn take_answer(&mut self, answer: Answer) {
        match &answer {
            Answer::Written(_)
            | Answer::WriteFailed { .. }
            | Answer::Read(..)
            | Answer::ReadFailed(_) => self.patience.answered(clock::monotonic()),
            Answer::Checked(lost) => {
                self.bulletin.add(News::Status);
                if !lost.is_empty() {
                    let records = lost.len();
                    self.bulletin.add(News::Notice(Notice::Healed { records }));
                }
            }
            Answer::Closed => self.bulletin.add(News::Status),
            Answer::StaysClosed => {
                let failing = self.known.borrow().storage.reason();
                if failing != self.told_failing {
                    self.note_failing(failing);
                }
            }
            Answer::Reopened => self.note_reopened(None),
            Answer::Reset(epoch) => {
                self.store.enter(*epoch);
                let readings = self.known.borrow().machine.journal_len();
                self.note_reopened(Some(readings));
            }
        }
        if let Some(input) = answered(answer) {
            self.feed(input);
        }
    }

    fn note_reopened(&mut self, readings: Option<u64>) {
        self.bulletin.add(News::Status);
        self.bulletin
            .add(News::Notice(Notice::StorageReopened { readings }));
    }

    fn grant(&mut self, wish: Wish) -> Next {
        match wish {
            Wish::Record(bpm, reply) => {
                let ticket = self.ticket();
                self.patience.recording(ticket, clock::monotonic());
                self.recording.insert(ticket, reply);
                self.feed(Input::Record { ticket, bpm });
            }
            Wish::Import(piece, reply) => {
                let ticket = self.ticket();
                self.importing.insert(ticket, reply);
                let piece = *piece;
                self.feed(Input::Import { ticket, piece });
            }
            Wish::Isolate(on) => {
                self.network.isolate(on);
                self.known.borrow_mut().switches.isolated = on;
                self.bulletin.add(News::Status);
            }
            Wish::LimitMining(limit) => {
                self.miner.limit(limit);
                self.known.borrow_mut().switches.mining_limit = limit;
                self.bulletin.add(News::Status);
            }
            Wish::Adopt(readings, reply) => {
                let ticket = self.ticket();
                self.adopting.insert(ticket, reply);
                self.feed(Input::Adopt { ticket, readings });
            }
            Wish::Notice(notice) => self.bulletin.add(News::Notice(notice)),
            Wish::Look => {}
            Wish::Woke => {
                self.patience.excuse(clock::monotonic());
                self.network.woke();
                self.feed(Input::Woke);
            }
            Wish::Stop => return Next::End,
        }
        Next::Go
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        ticket
    }

    fn hear(&mut self, event: net::Event) {
        let input = match event {
            net::Event::PeerConnected(peer) => Input::PeerConnected { peer },
            net::Event::PeerDisconnected(peer) => Input::PeerDisconnected { peer },
            net::Event::Gossip {
                from,
                id,
                topic,
                data,
            } => Input::Gossip {
                from,
                id,
                topic,
                data,
            },
            net::Event::Request { from, id, data } => Input::Request { from, id, data },
            net::Event::Response { peer, id, data } => Input::Response { peer, id, data },
            net::Event::RequestFailed { peer, id, failure } => {
                Input::RequestFailed { peer, id, failure }
            }
            net::Event::Changed => {
                let mut known = self.known.borrow_mut();
                known.relays = self.network.relay_views();
                known.links = self.network.peer_links();
                self.bulletin.add(News::Status);
                self.bulletin.add(News::Peers);
                return;
            }
        };
        self.feed(input);
    }

    /// Gives the machine an input, does what it puts out, and so on with what came back at once.
    fn feed(&mut self, input: Input<PeerId>) {
        self.inbox.push_back(input);
        while let Some(input) = self.inbox.pop_front() {
            let outputs = self.known.borrow_mut().machine.handle(input, clock::both());
            for output in outputs {
                self.perform(output);
            }
        }
    }

    fn perform(&mut self, output: Output<PeerId>) {
        match output {
            Output::Write { id, batch } => {
                let failed = self.store.write(id, batch);
                self.note_order(failed);
            }
            Output::Read { id, hashes } => {
                let failed = self.store.read(id, hashes);
                self.note_order(failed);
            }
            Output::Request {
                peer,
                id,
                data,
                deadline,
            } => self.network.request(peer, id, data, deadline),
            Output::Respond { id, data } => self.network.respond(id, data),
            Output::Refuse { id } => self.network.refuse(id),
            Output::Publish { topic, data } => self.network.publish(topic, data),
            Output::Judge { id, from, verdict } => self.network.judge(id, &from, verdict),
            Output::Mine { job, header } => self.miner.mine(job, header),
            Output::StopMining => self.miner.stop(),
            Output::WakeAt(at) => self.alarm.set(at),
            Output::Tell(event) => self.note(&event),
            Output::Drop { peer, until, .. } => self.network.drop_peer(peer, until),
        }
    }

    /// An order was given; if too many wait, its answer is here already.
    fn note_order(&mut self, failed: Option<Answer>) {
        match failed {
            Some(answer) => self.inbox.extend(answered(answer)),
            None => self.patience.ordered(clock::monotonic()),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "events may be added; whatever they say, the page looks again"
    )]
    fn note(&mut self, event: &Event) {
        match *event {
            Event::Recorded { ticket, id, seq } => self.reply(ticket, Ok((id, seq))),
            Event::RecordFailed { ticket, reason } => self.reply(ticket, Err(reason)),
            Event::Imported { ticket, ref result } => {
                if let Some(reply) = self.importing.remove(&ticket) {
                    // The page may have stopped waiting.
                    let _ = reply.send(result.clone());
                }
            }
            Event::Adopted { ticket, result } => {
                if let Some(reply) = self.adopting.remove(&ticket) {
                    // The node may have stopped.
                    let _ = reply.send(result);
                }
            }
            Event::ClockSetBack { by } => {
                self.bulletin.add(News::Notice(Notice::ClockSetBack { by }));
                self.bulletin.add(News::Status);
            }
            Event::ClockSetAhead { by } => {
                self.bulletin
                    .add(News::Notice(Notice::ClockSetAhead { by }));
                self.bulletin.add(News::Status);
            }
            Event::Reading(reading) => self.bulletin.add(News::Reading(reading)),
            Event::Chain { from, to, reorg } => {
                self.bulletin.add(News::Chain { from, to, reorg });
                self.bulletin.add(News::Status);
                if self.mirror_due.is_none() {
                    let now = clock::monotonic();
                    self.mirror_due = Some(now.saturating_add(config::MIRROR_INTERVAL_MS));
                }
            }
            Event::Peers => self.bulletin.add(News::Peers),
            Event::Equivocation { author, seq } => {
                self.bulletin
                    .add(News::Notice(Notice::Equivocation { author, seq }));
            }
            Event::KeyReplaced { author } => {
                self.bulletin
                    .add(News::Notice(Notice::KeyReplaced { author }));
                self.bulletin.add(News::Status);
            }
            _ => self.bulletin.add(News::Status),
        }
    }

    /// Has the page told when the store begins to fail, and when it no longer does. A store that was closed is told of when
    /// it does not open again.
    fn note_store(&mut self) {
        let failing = self.known.borrow().storage.reason();
        if failing != self.told_failing && failing != Some(Failing::Closed) {
            self.note_failing(failing);
        }
    }

    fn note_failing(&mut self, failing: Option<Failing>) {
        self.told_failing = failing;
        self.bulletin.add(News::Status);
        if let Some(failing) = failing {
            let reason = failing.name();
            self.bulletin
                .add(News::Notice(Notice::StorageFailing { reason }));
        }
    }

    fn reply(&mut self, ticket: Ticket, result: Result<(ReadingId, u64), RecordError>) {
        self.patience.recorded(ticket);
        if let Some(reply) = self.recording.remove(&ticket) {
            // The page may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    fn tell(&mut self) {
        for news in self.bulletin.take() {
            self.audience.tell(news, &self.known);
        }
    }
}

/// What the machine is told of it, if anything.
fn answered(answer: Answer) -> Option<Input<PeerId>> {
    Some(match answer {
        Answer::Written(id) => Input::Written { id },
        Answer::WriteFailed { id, full } => Input::WriteFailed { id, full },
        Answer::Read(id, bodies) => Input::Read { id, bodies },
        Answer::ReadFailed(id) => Input::ReadFailed { id },
        Answer::Checked(hashes) if hashes.is_empty() => return None,
        Answer::Checked(hashes) => Input::Lost { hashes },
        Answer::Reset(_) => Input::StoreReset,
        Answer::Closed | Answer::StaysClosed | Answer::Reopened => return None,
    })
}
