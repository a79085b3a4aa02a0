//! The event loop of a running node: passes commands, network events, storage answers and timers to the sync
//! machine as inputs. [`driver::step`] performs the machine's outputs. Makes no protocol decisions of its own.

use std::{any::Any, cell::RefCell, ops::ControlFlow, pin::pin, rc::Rc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::select,
    select_biased,
};
use heartchain_chain::{hash::ReadingId, reading::Reading, time::MonotonicMillis};
use heartchain_peer::net::{Network, NetworkEvent, PeerId};
use heartchain_sync::{
    Event, Input, Machine, Now, Output, driver,
    input_queue::InputQueue,
    io::{NameError, RecordError, Ticket},
    verification::VerifiedBodies,
};
use litemap::LiteMap;

use crate::{
    clock::{self, Alarm},
    event_buffer::{EventBuffer, NodeEvent, Notice},
    miner::{self, Miner},
    next_task::Pauses,
    node::{AdoptReply, Command, ImportReply, MAX_WAITING_COMMANDS, NameReply, Node, RecordReply},
    node_state::NodeState,
    slow_writes::SlowWriteMonitor,
    storage::{Answer, Failing, Loss, MAX_MIRRORED_ENTRIES, Mirror, Queue, Released, Storage},
    trace,
    transport::TabWebrtc,
    verifier::{self, Verifier},
    watched_queue::WatchedQueue,
};

/// Inputs that are handled before the page gets their events: a burst becomes a few events, and no event waits for more
/// than a few milliseconds of work.
const MAX_INPUTS_PER_TURN: usize = 64;
/// Readings of one input whose signatures are verified by the worker: some 10 ms of work.
const MIN_VERIFIED_READINGS: usize = 256;
/// In ms. Time between two changes of the chain that the page is told of during an import. It reads the new blocks each time.
const IMPORT_PROGRESS_MS: u64 = 1_000;
/// In ms. Time between two updates of the mirror, in which confirmed entries leave it.
const MIRROR_INTERVAL_MS: u64 = 5_000;
/// How long a node that stops waits for its last writes.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Delivers events to the page.
pub(crate) trait EventSink {
    /// Delivers one event. Listeners may read the state, which does not change during the call.
    fn emit(&self, event: NodeEvent<Reading>, state: &RefCell<NodeState>);
}

/// What [`crate::storage::open`] returned that lives as long as the driver.
pub(crate) struct StorageHandles {
    pub(crate) store: Box<dyn Storage>,
    /// A second copy of this tab's unconfirmed readings, which no peer could restore.
    pub(crate) mirror: Option<Rc<Mirror>>,
    /// The lock that keeps other tabs out of this tab's store.
    pub(crate) hold: Option<Box<dyn Any>>,
    /// Resolves once that lock is free again.
    pub(crate) released: Option<Released>,
}

/// The event loop and everything it owns.
pub(crate) struct Driver<A> {
    state: Rc<RefCell<NodeState>>,
    network: Network<TabWebrtc>,
    store: WatchedQueue,
    answers: mpsc::Receiver<Answer>,
    mirror: Option<Rc<Mirror>>,
    hold: Option<Box<dyn Any>>,
    released: Option<Released>,
    /// Fires when a write becomes slow, or when the mirror is due.
    housekeeping_alarm: Alarm,
    /// When to update the mirror; `None` if the chain has not changed since the last update.
    mirror_due: Option<MonotonicMillis>,
    /// The storage failure that was last reported to the page.
    reported_failure: Option<Failing>,
    miner: Miner,
    verifier: Verifier,
    /// What peers sent and pages import, on its way to the machine.
    input_queue: InputQueue<PeerId>,
    /// Fires when the verifier is late.
    verifier_alarm: Alarm,
    /// Fires when the machine asked to be woken.
    machine_alarm: Alarm,
    commands: mpsc::Receiver<Command>,
    /// Pending `record()` calls. The machine bounds how many.
    record_replies: LiteMap<Ticket, RecordReply>,
    /// Pending `setName()` calls. The machine bounds how many.
    name_replies: LiteMap<Ticket, NameReply>,
    /// Pending pieces of imports. The machine bounds how many.
    import_replies: LiteMap<Ticket, ImportReply>,
    /// Pending adoptions of a closed tab's readings: one caller, one batch at a time.
    adopt_replies: LiteMap<Ticket, AdoptReply>,
    /// Tells the node's handles that the driver has ended.
    end: Option<oneshot::Sender<()>>,
    next_ticket: u64,
    event_buffer: EventBuffer<Reading>,
    /// When the page was told of the last change of the chain.
    chain_told_at: MonotonicMillis,
    event_sink: A,
}

/// What woke the event loop.
enum Wakeup {
    /// `None`: every sender was dropped.
    Command(Option<Command>),
    Storage(Answer),
    Miner(miner::Event),
    Verifier(verifier::Event),
    VerifierAlarm,
    Network(Box<NetworkEvent>),
    MachineAlarm,
    HousekeepingAlarm,
}

impl<A: EventSink> Driver<A> {
    /// Creates a driver and the handle of the node that it drives.
    pub(crate) fn new(
        state: NodeState,
        network: Network<TabWebrtc>,
        storage: StorageHandles,
        (miner, verifier): (Miner, Verifier),
        event_sink: A,
    ) -> (Self, Node) {
        let StorageHandles {
            store,
            mirror,
            hold,
            released,
        } = storage;
        let (end, ended) = oneshot::channel();
        let (command, commands) = mpsc::channel(MAX_WAITING_COMMANDS);
        let (queue, answers) = Queue::new(store, state.storage.clone());
        let state = Rc::new(RefCell::new(state));
        let node = Node {
            state: state.clone(),
            commands: command,
            store: queue.clone(),
            verifier_script: verifier.script().clone(),
            import_turn: Rc::default(),
            ended: ended.shared(),
        };
        let driver = Self {
            state,
            network,
            store: WatchedQueue {
                queue,
                slow_writes: SlowWriteMonitor::default(),
            },
            answers,
            mirror,
            hold,
            released,
            end: Some(end),
            housekeeping_alarm: Alarm::default(),
            mirror_due: None,
            reported_failure: None,
            miner,
            verifier,
            input_queue: InputQueue::new(MIN_VERIFIED_READINGS),
            verifier_alarm: Alarm::default(),
            machine_alarm: Alarm::default(),
            commands,
            record_replies: LiteMap::new(),
            name_replies: LiteMap::new(),
            import_replies: LiteMap::new(),
            adopt_replies: LiteMap::new(),
            next_ticket: 0,
            event_buffer: EventBuffer::default(),
            chain_told_at: MonotonicMillis::new(0),
            event_sink,
        };
        (driver, node)
    }

    /// Runs until the page stops the node. Then closes all connections, and waits until the store's lock is free.
    pub(crate) async fn run(mut self) {
        self.run_until_stopped().await;
        self.note_stopped();
        let Self {
            network,
            miner,
            verifier,
            mut store,
            hold,
            released,
            end,
            commands,
            ..
        } = self;
        drop((network, miner, verifier, commands));
        // The lock is released after the last write, so that the next tab in this slot finds everything on disk.
        if let Some(hold) = hold {
            store.queue.release(hold);
        }
        if let Some(released) = released {
            // A disk that does not answer keeps the lock; the page must not wait for it.
            select(released, clock::sleep(RELEASE_TIMEOUT)).await;
        }
        if let Some(end) = end {
            // No one may be waiting.
            let _ = end.send(());
        }
    }

    /// Tells the page that nothing is connected any more.
    fn note_stopped(&mut self) {
        self.state.borrow_mut().note_stopped();
        self.event_buffer.add(NodeEvent::Peers);
        self.event_buffer.add(NodeEvent::Status);
        self.flush_events();
    }

    async fn run_until_stopped(&mut self) {
        self.miner.prepare();
        self.step_machine(Input::Tick);
        self.report_startup_damage();
        self.mirror_due = Some(clock::monotonic());
        let mut pauses = Pauses::new();
        loop {
            let wakeup = self.next_wakeup().await;
            // What woke the driver may have used the task up.
            pauses.pause_if_due().await;
            if self.on_wakeup(wakeup).is_break() {
                return;
            }
            // Everything that is ready by now joins this turn, so that a burst becomes a few events.
            for _ in 1..MAX_INPUTS_PER_TURN {
                if pauses.is_due() {
                    break;
                }
                let Some(wakeup) = self.next_wakeup().now_or_never() else {
                    break;
                };
                if self.on_wakeup(wakeup).is_break() {
                    return;
                }
            }
            self.housekeeping();
            self.flush_events();
        }
    }

    /// Reports damage that was found when the store was opened.
    fn report_startup_damage(&mut self) {
        let (repaired, loss) = {
            let state = self.state.borrow();
            (state.storage.repaired(), state.storage.loss())
        };
        if repaired > 0 {
            let records = repaired;
            self.event_buffer
                .add(NodeEvent::Notice(Notice::Repaired { records }));
        }
        if let Some(Loss { saved, lost }) = loss {
            let readings = lost;
            self.event_buffer
                .add(NodeEvent::Notice(Notice::StorageLost { readings, saved }));
        }
    }

    /// Reports slow writes and updates the mirror if it is due. Runs after each turn.
    fn housekeeping(&mut self) {
        let now = clock::monotonic();
        let (saving, stuck) = (
            self.store.slow_writes.slow_readings(now),
            self.store.slow_writes.is_stuck(now),
        );
        if self.state.borrow().storage.note_waiting(saving, stuck) {
            self.event_buffer.add(NodeEvent::Status);
            self.report_storage_failure();
        }
        if self.mirror_due.is_some_and(|due| due <= now) {
            self.mirror_due = None;
            self.update_mirror();
        }
        let due = self
            .store
            .slow_writes
            .next_change(now)
            .into_iter()
            .chain(self.mirror_due);
        if let Some(due) = due.min() {
            self.housekeeping_alarm.set(due);
        }
    }

    /// Keeps exactly the unconfirmed entries of the journal in the mirror.
    fn update_mirror(&self) {
        if let Some(mirror) = &self.mirror {
            let state = self.state.borrow();
            let limit = MAX_MIRRORED_ENTRIES.saturating_add(1);
            let unconfirmed = state.machine.unconfirmed_own_entries(limit);
            mirror.keep_unconfirmed(state.machine.journal_len(), &unconfirmed);
        }
    }

    async fn next_wakeup(&mut self) -> Wakeup {
        let mut miner = pin!(self.miner.next().fuse());
        let mut verifier = pin!(self.verifier.next().fuse());
        let mut verifier_alarm = pin!((&mut self.verifier_alarm).fuse());
        let mut network = pin!(self.network.next().fuse());
        let mut machine_alarm = pin!((&mut self.machine_alarm).fuse());
        let mut housekeeping_alarm = pin!((&mut self.housekeeping_alarm).fuse());
        select_biased! {
            command = self.commands.next() => Wakeup::Command(command),
            answer = self.answers.select_next_some() => Wakeup::Storage(answer),
            event = miner => Wakeup::Miner(event),
            event = verifier => Wakeup::Verifier(event),
            () = verifier_alarm => Wakeup::VerifierAlarm,
            event = network => Wakeup::Network(Box::new(event)),
            () = machine_alarm => Wakeup::MachineAlarm,
            () = housekeeping_alarm => Wakeup::HousekeepingAlarm,
        }
    }

    fn on_wakeup(&mut self, wakeup: Wakeup) -> ControlFlow<()> {
        match wakeup {
            Wakeup::Command(Some(command)) => return self.on_command(command),
            Wakeup::Command(None) => return ControlFlow::Break(()),
            Wakeup::Storage(answer) => {
                self.report_storage_failure();
                self.on_storage_answer(answer);
            }
            Wakeup::Miner(miner::Event::Found(job, nonce)) => {
                self.step_machine(Input::Mined { job, nonce });
            }
            Wakeup::Miner(miner::Event::Speed(speed)) => {
                self.state.borrow_mut().hashes_per_second = Some(speed);
                self.event_buffer.add(NodeEvent::Status);
            }
            Wakeup::Miner(miner::Event::Fault(fault)) => {
                let mut state = self.state.borrow_mut();
                if fault.is_some() {
                    state.hashes_per_second = None;
                }
                state.miner_fault = fault;
                self.event_buffer.add(NodeEvent::Status);
            }
            Wakeup::Verifier(verifier::Event::Verified(task, verified)) => {
                self.input_queue
                    .on_verified(task, verified, clock::monotonic());
                self.step_ready();
            }
            Wakeup::Verifier(verifier::Event::Failed) => self.give_up_verifier(),
            Wakeup::VerifierAlarm => {
                let deadline = self.input_queue.deadline();
                if deadline.is_some_and(|deadline| deadline <= clock::monotonic()) {
                    self.give_up_verifier();
                }
            }
            Wakeup::Network(event) => self.on_network_event(*event),
            Wakeup::MachineAlarm => self.step_machine(Input::Tick),
            // Housekeeping runs after each turn anyway.
            Wakeup::HousekeepingAlarm => {}
        }
        ControlFlow::Continue(())
    }

    fn on_storage_answer(&mut self, answer: Answer) {
        match &answer {
            Answer::Machine(_) => self.store.slow_writes.answered(clock::monotonic()),
            Answer::Checked(lost) => {
                self.event_buffer.add(NodeEvent::Status);
                if !lost.is_empty() {
                    let records = lost.len();
                    self.event_buffer
                        .add(NodeEvent::Notice(Notice::Repaired { records }));
                }
            }
            Answer::Closed => self.event_buffer.add(NodeEvent::Status),
            Answer::ReopenFailed => {
                let failing = self.state.borrow().storage.reason();
                if failing != self.reported_failure {
                    self.set_reported_failure(failing);
                }
            }
            Answer::Reopened => self.report_reopened(None),
            Answer::Reset(epoch) => {
                self.store.queue.enter(*epoch);
                let readings = self.state.borrow().machine.journal_len();
                self.report_reopened(Some(readings));
            }
        }
        if let Some(input) = machine_input(answer) {
            self.step_machine(input);
        }
    }

    fn report_reopened(&mut self, readings: Option<u64>) {
        self.event_buffer.add(NodeEvent::Status);
        self.event_buffer
            .add(NodeEvent::Notice(Notice::StorageReopened { readings }));
    }

    fn on_command(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Record(bpm, reply) => {
                let ticket = self.new_ticket();
                self.store
                    .slow_writes
                    .reading_started(ticket, clock::monotonic());
                self.record_replies.insert(ticket, reply);
                self.step_machine(Input::Record { ticket, bpm });
            }
            Command::SetName(name, reply) => {
                let ticket = self.new_ticket();
                self.name_replies.insert(ticket, reply);
                self.step_machine(Input::SetName { ticket, name });
            }
            Command::Import(piece, verified, reply) => {
                let ticket = self.new_ticket();
                self.import_replies.insert(ticket, reply);
                let piece = *piece;
                self.queue_input(Input::Import { ticket, piece }, verified);
            }
            Command::Isolate(on) => {
                self.network.isolate(on);
                self.state.borrow_mut().settings.isolated = on;
                self.event_buffer.add(NodeEvent::Status);
            }
            Command::LimitMining(limit) => {
                self.miner.limit(limit);
                self.state.borrow_mut().settings.mining_limit = limit;
                self.event_buffer.add(NodeEvent::Status);
            }
            Command::Adopt(readings, reply) => {
                let ticket = self.new_ticket();
                self.adopt_replies.insert(ticket, reply);
                self.step_machine(Input::Adopt { ticket, readings });
            }
            Command::Notice(notice) => self.event_buffer.add(NodeEvent::Notice(notice)),
            Command::Ping => {}
            Command::StatusChanged => self.event_buffer.add(NodeEvent::Status),
            Command::Resumed => {
                self.store.slow_writes.restart_deadline(clock::monotonic());
                self.network.resumed();
                self.step_machine(Input::Resumed);
            }
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn new_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        ticket
    }

    fn on_network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Input(input) => self.queue_input(input, None),
            // A tab does not listen.
            NetworkEvent::Listening(_) | NetworkEvent::ListeningFailed(_) => {}
            NetworkEvent::Changed => {
                let mut state = self.state.borrow_mut();
                state.relays = self.network.relay_views();
                state.links = self.network.peer_links();
                self.event_buffer.add(NodeEvent::Status);
                self.event_buffer.add(NodeEvent::Peers);
            }
        }
    }

    /// Passes an input to the machine, once the worker has verified its signatures if there are many, and after what came
    /// before it from the same peer. `verified`: that was done already.
    fn queue_input(&mut self, input: Input<PeerId>, verified: Option<VerifiedBodies>) {
        if self.input_queue.is_empty() && (verified.is_some() || !self.verifier.is_available()) {
            return self.step_verified(input, verified);
        }
        let now = clock::monotonic();
        let task = match verified {
            Some(verified) => {
                self.input_queue.push_verified(input, verified, now);
                None
            }
            None => self.input_queue.push(input, now),
        };
        if task.is_some_and(|task| !self.verifier.verify(&task)) {
            self.input_queue.give_up();
        }
        self.step_ready();
    }

    /// The worker failed or is late: what waits for it is verified here.
    fn give_up_verifier(&mut self) {
        self.verifier.end();
        self.input_queue.give_up();
        self.step_ready();
    }

    fn step_ready(&mut self) {
        while let Some((input, verified)) = self.input_queue.take_next() {
            self.step_verified(input, verified);
        }
        if let Some(deadline) = self.input_queue.deadline() {
            self.verifier_alarm.set(deadline);
        }
    }

    fn step_machine(&mut self, input: Input<PeerId>) {
        self.step_verified(input, None);
    }

    fn step_verified(&mut self, input: Input<PeerId>, verified: Option<VerifiedBodies>) {
        driver::step(self, input, verified);
    }

    /// Reports when the store starts to fail, and when it recovers. A store that the browser closed is reported only if
    /// it cannot be reopened.
    fn report_storage_failure(&mut self) {
        let failing = self.state.borrow().storage.reason();
        if failing != self.reported_failure && failing != Some(Failing::Closed) {
            self.set_reported_failure(failing);
        }
    }

    fn set_reported_failure(&mut self, failing: Option<Failing>) {
        self.reported_failure = failing;
        self.event_buffer.add(NodeEvent::Status);
        if let Some(failing) = failing {
            let reason = failing.name();
            self.event_buffer
                .add(NodeEvent::Notice(Notice::StorageFailing { reason }));
        }
    }

    fn reply_to_record(&mut self, ticket: Ticket, result: Result<(ReadingId, u64), RecordError>) {
        self.store.slow_writes.reading_finished(ticket);
        if let Some(reply) = self.record_replies.remove(&ticket) {
            // The page may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    fn reply_to_set_name(&mut self, ticket: Ticket, result: Result<(), NameError>) {
        if let Some(reply) = self.name_replies.remove(&ticket) {
            // The page may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    fn flush_events(&mut self) {
        let now = clock::monotonic();
        // The turn in which the import ends tells the page of the rest.
        let keeps_chain = !self.import_replies.is_empty()
            && now < self.chain_told_at.saturating_add(IMPORT_PROGRESS_MS);
        for event in self.event_buffer.take(keeps_chain) {
            if let NodeEvent::Chain { .. } = event {
                self.chain_told_at = now;
            }
            self.event_sink.emit(event, &self.state);
        }
    }
}

impl<A: EventSink> driver::Driver for Driver<A> {
    type Peer = PeerId;

    fn now(&self) -> Now {
        clock::both()
    }

    fn with_machine<T>(&mut self, function: impl FnOnce(&mut Machine<PeerId>) -> T) -> T {
        function(&mut self.state.borrow_mut().machine)
    }

    fn network(&mut self) -> &mut impl driver::Network<Peer = PeerId> {
        &mut self.network
    }

    fn store(&mut self) -> &mut impl driver::Store {
        &mut self.store
    }

    fn miner(&mut self) -> &mut impl driver::Miner {
        &mut self.miner
    }

    fn wake_at(&mut self, at: MonotonicMillis) {
        self.machine_alarm.set(at);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum may grow; after any other event the page reads the status again"
    )]
    fn on_event(&mut self, event: &Event) {
        match *event {
            Event::Recorded { ticket, id, seq } => self.reply_to_record(ticket, Ok((id, seq))),
            Event::RecordFailed { ticket, reason } => self.reply_to_record(ticket, Err(reason)),
            Event::NameSet { ticket } => self.reply_to_set_name(ticket, Ok(())),
            Event::NameFailed { ticket, reason } => self.reply_to_set_name(ticket, Err(reason)),
            Event::Names => self.event_buffer.add(NodeEvent::Names),
            Event::Imported { ticket, ref result } => {
                if let Some(reply) = self.import_replies.remove(&ticket) {
                    // The page may have stopped waiting.
                    let _ = reply.send(result.clone());
                }
            }
            Event::Adopted { ticket, result } => {
                if let Some(reply) = self.adopt_replies.remove(&ticket) {
                    // The node may have stopped.
                    let _ = reply.send(result);
                }
            }
            Event::ClockSetBack { by } => {
                self.event_buffer
                    .add(NodeEvent::Notice(Notice::ClockSetBack { by }));
                self.event_buffer.add(NodeEvent::Status);
            }
            Event::ClockSetAhead { by } => {
                self.event_buffer
                    .add(NodeEvent::Notice(Notice::ClockSetAhead { by }));
                self.event_buffer.add(NodeEvent::Status);
            }
            Event::Reading(reading) => self.event_buffer.add(NodeEvent::Reading(reading)),
            Event::Chain { from, to, reorg } => {
                self.event_buffer.add(NodeEvent::Chain { from, to, reorg });
                self.event_buffer.add(NodeEvent::Status);
                if self.mirror_due.is_none() {
                    let now = clock::monotonic();
                    self.mirror_due = Some(now.saturating_add(MIRROR_INTERVAL_MS));
                }
            }
            Event::Peers => self.event_buffer.add(NodeEvent::Peers),
            Event::Equivocation { author, seq } => {
                self.event_buffer
                    .add(NodeEvent::Notice(Notice::Equivocation { author, seq }));
            }
            Event::KeyReplaced { author } => {
                self.event_buffer
                    .add(NodeEvent::Notice(Notice::KeyReplaced { author }));
                self.event_buffer.add(NodeEvent::Status);
            }
            _ => self.event_buffer.add(NodeEvent::Status),
        }
    }

    fn trace_input(&self, input: &Input<PeerId>) {
        trace::input(input);
    }

    fn trace_output(&self, output: &Output<PeerId>) {
        trace::output(output);
    }
}

/// The machine's input for a storage answer, if the machine needs to know of it.
fn machine_input(answer: Answer) -> Option<Input<PeerId>> {
    Some(match answer {
        Answer::Machine(answer) => answer.into(),
        Answer::Checked(hashes) if hashes.is_empty() => return None,
        Answer::Checked(hashes) => Input::BodiesMissing { hashes },
        Answer::Reset(_) => Input::StoreReset,
        Answer::Closed | Answer::ReopenFailed | Answer::Reopened => return None,
    })
}

#[cfg(test)]
mod tests;
