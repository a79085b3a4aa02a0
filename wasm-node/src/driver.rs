//! The one loop: whatever happened goes into the machine, and what the machine puts out is done, in its
//! order. Decides nothing.

use std::{any::Any, cell::RefCell, collections::VecDeque, pin::pin, rc::Rc};

use chain::{hash::ReadingId, reading::Reading, time::UnixMillis};
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
    node::{Known, Node, RecordReply, Wish},
    storage::{Answer, Queue, Storage},
};

/// Who is told what the page may want to know.
pub(crate) trait Audience {
    /// Tells one item. What is known may be looked at, and does not change meanwhile.
    fn tell(&self, news: News<Reading>, known: &RefCell<Known>);
}

/// Everything that the loop moves.
pub(crate) struct Driver<A> {
    known: Rc<RefCell<Known>>,
    network: Network,
    store: Queue,
    answers: mpsc::Receiver<Answer>,
    /// Keeps others from the store.
    hold: Option<Box<dyn Any>>,
    /// Whether the page was told that the store fails.
    told_failing: bool,
    miner: Miner,
    alarm: Alarm,
    wishes: mpsc::Receiver<Wish>,
    /// Who waits for `record()`. The machine bounds how many.
    recording: LiteMap<Ticket, RecordReply>,
    /// Who waits for a piece of a file to be taken in. The machine bounds how many.
    importing: LiteMap<Ticket, ImportReply>,
    next_ticket: u64,
    inbox: VecDeque<Input<PeerId>>,
    bulletin: Bulletin<Reading>,
    audience: A,
    last_look: UnixMillis,
}

/// What one look around brings.
enum Step {
    Wish(Option<Wish>),
    Store(Answer),
    Miner(miner::Event),
    Network(net::Event),
    Alarm,
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
        store: Box<dyn Storage>,
        hold: Option<Box<dyn Any>>,
        miner: Miner,
        audience: A,
    ) -> (Self, Node) {
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
            hold,
            told_failing: false,
            miner,
            alarm: Alarm::default(),
            wishes,
            recording: LiteMap::new(),
            importing: LiteMap::new(),
            next_ticket: 0,
            inbox: VecDeque::new(),
            bulletin: Bulletin::default(),
            audience,
            last_look: clock::now(),
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
        let healed = self.known.borrow().storage.healed();
        if healed > 0 {
            self.bulletin
                .add(News::Notice(Notice::Healed { records: healed }));
        }
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
            self.tell();
        }
    }

    async fn step(&mut self) -> Step {
        let mut mined = pin!(self.miner.next().fuse());
        let mut happened = pin!(self.network.next().fuse());
        let mut alarm = pin!((&mut self.alarm).fuse());
        select_biased! {
            wish = self.wishes.next() => Step::Wish(wish),
            answer = self.answers.select_next_some() => Step::Store(answer),
            event = mined => Step::Miner(event),
            event = happened => Step::Network(event),
            () = alarm => Step::Alarm,
        }
    }

    fn take(&mut self, step: Step) -> Next {
        let now = clock::now();
        if now < self.last_look {
            // The clock was put back; what the machine waits for would come too late.
            self.feed(Input::Tick);
        }
        self.last_look = now;
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
        }
        Next::Go
    }

    fn take_answer(&mut self, answer: Answer) {
        if let Answer::Checked(lost) = &answer {
            self.bulletin.add(News::Status);
            if !lost.is_empty() {
                let records = lost.len();
                self.bulletin.add(News::Notice(Notice::Healed { records }));
            }
        }
        if let Some(input) = answered(answer) {
            self.feed(input);
        }
    }

    fn grant(&mut self, wish: Wish) -> Next {
        match wish {
            Wish::Record(bpm, reply) => {
                let ticket = self.ticket();
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
            Wish::Woke => {
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
            let outputs = self.known.borrow_mut().machine.handle(input, clock::now());
            for output in outputs {
                self.perform(output);
            }
        }
    }

    fn perform(&mut self, output: Output<PeerId>) {
        match output {
            Output::Write { id, batch } => {
                let failed = self.store.write(id, batch);
                self.inbox.extend(failed.and_then(answered));
            }
            Output::Read { id, hashes } => {
                let failed = self.store.read(id, hashes);
                self.inbox.extend(failed.and_then(answered));
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
            Event::Reading(reading) => self.bulletin.add(News::Reading(reading)),
            Event::Chain { from, to, reorg } => {
                self.bulletin.add(News::Chain { from, to, reorg });
                self.bulletin.add(News::Status);
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

    /// Has the page told when the store begins to fail, and when it no longer does.
    fn note_store(&mut self) {
        let failing = self.known.borrow().storage.failing();
        if failing != self.told_failing {
            self.told_failing = failing;
            self.bulletin.add(News::Status);
            if failing {
                self.bulletin.add(News::Notice(Notice::StorageFailing));
            }
        }
    }

    fn reply(&mut self, ticket: Ticket, result: Result<(ReadingId, u64), RecordError>) {
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
        Answer::WriteFailed(id) => Input::WriteFailed { id },
        Answer::Read(id, bodies) => Input::Read { id, bodies },
        Answer::ReadFailed(id) => Input::ReadFailed { id },
        Answer::Checked(hashes) if hashes.is_empty() => return None,
        Answer::Checked(hashes) => Input::Lost { hashes },
    })
}
