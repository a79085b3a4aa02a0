//! Fuzz target of the whole sync machine under arbitrary inputs from arbitrary peers: it never panics, never exceeds a
//! bound, gives every request one response and every gossip item one verdict, and never loses a recorded reading.

use heartchain_chain::{
    block::Block, bpm::Bpm, mining, reading::Reading, time::UnixMillis, work::Work,
};
use heartchain_sync::{
    Input,
    io::{ImportPiece, JobId, RequestFailure, RequestId, Topic, WriteId},
    message::{Request, Response, StatusMessage},
};
use heartchain_test_support::{Branch, Driver as _};

use crate::{
    harness::{Harness, restore},
    name_steps::NameStep,
    pool::{Pool, key, pool, private_pool},
    restart::restart_loses_nothing,
    steps::{ClaimedStatus, PEERS, Payload, PeerRequest, PeerResponse, Step, all_of},
};

/// The most steps of one input; the simulation covers longer runs.
const MAX_STEPS: usize = 300;

/// Runs the steps that the bytes describe in an open room and in a private one, restarts on the resulting disk, lets everything settle, and checks that
/// nothing was lost.
pub fn machine(data: &[u8]) {
    for pool in [pool(), private_pool()] {
        machine_in(pool, data);
    }
}

fn machine_in(pool: &'static Pool, data: &[u8]) {
    let mut harness = Harness::new(pool);
    let mut name_steps = NameStep::all_of(data);
    for step in all_of(data, MAX_STEPS) {
        run_step(&mut harness, step);
        if let Some(step) = name_steps.next() {
            step.run(&mut harness);
        }
    }
    let valid_clock = harness.latest_valid_clock();
    restart_loses_nothing(pool, &harness.state.disk, valid_clock, data);
    harness.settle();
    harness.check_nothing_lost();
    let (now, again) = (
        harness.machine.status(),
        restore(&pool.room, &harness.state.disk, 0, harness.now()),
    );
    let again = again.status();
    // Bodies that were unreadable before the restart may be readable after it.
    assert!(
        again.tip == now.tip || harness.has_unreadable_bodies && again.total_work >= now.total_work,
        "the disk has another branch: {again:?}, not {now:?}"
    );
}

fn run_step(harness: &mut Harness, step: Step) {
    match step {
        Step::Connect(peer) => harness.connect(peer % PEERS),
        Step::Disconnect(peer) => harness.disconnect(peer % PEERS),
        Step::Gossip {
            from,
            blocks,
            payload,
        } => {
            let topic = if blocks {
                Topic::Blocks
            } else {
                Topic::Readings
            };
            let data = payload_bytes(harness, &payload);
            harness.gossip(from % PEERS, topic, data);
        }
        Step::Request { from, request } => {
            let data = request_bytes(harness, request);
            harness.ask(from % PEERS, data);
        }
        Step::Response { which, response } => {
            if let Some((id, (peer, request))) = open_request(harness, which) {
                let data = response_bytes(harness, &request, &response);
                harness.respond(peer, id, data);
            }
        }
        Step::Fail { which, how } => {
            if let Some((id, (peer, _))) = open_request(harness, which) {
                let failure = [
                    RequestFailure::Timeout,
                    RequestFailure::Unsupported,
                    RequestFailure::Closed,
                    RequestFailure::Oversize,
                ][usize::from(how % 4)];
                harness.fail(peer, id, failure);
            }
        }
        Step::Unsolicited { from, id, response } => {
            let request = Request::MempoolIds { after: None };
            let data = response_bytes(harness, &request, &response);
            let (peer, id) = (from % PEERS, RequestId(id.into()));
            // An open request is answered by a peer that it was not sent to.
            if harness
                .state
                .open_requests
                .get(&id)
                .is_none_or(|(to, _)| *to != peer)
            {
                harness.respond(peer, id, data);
            }
        }
        Step::Disk { fails } => {
            harness.disk(fails);
        }
        Step::CorruptRead(blocks) => {
            let pool = harness.pool;
            let body = |number: &u8| {
                number
                    .is_multiple_of(2)
                    .then(|| pool.block(*number).readings.clone())
            };
            harness.corrupt_read(blocks.iter().map(body).collect());
        }
        // An ID that the machine has not assigned yet.
        Step::PhantomWrite(number) => harness.feed(Input::Written {
            id: WriteId(u64::MAX - u64::from(number)),
        }),
        Step::Mine => harness.mine(),
        Step::Nonce(job, nonce) => harness.feed(Input::Mined {
            job: JobId(job.into()),
            nonce,
        }),
        Step::Record(bpm) => {
            let bpm = Bpm::new(20 + u16::from(bpm)).expect("20 to 275");
            harness.record(bpm);
        }
        Step::Import(blocks, readings, ends) => {
            let pool = harness.pool;
            let profiles = readings.iter().map(|number| pool.profile(*number).clone());
            harness.import(ImportPiece {
                blocks: blocks
                    .iter()
                    .map(|number| pool.block(*number).clone())
                    .collect(),
                readings: readings
                    .iter()
                    .map(|number| pool.reading(*number))
                    .collect(),
                // A forged one ends the import, so most pieces have none.
                profiles: profiles.filter(|_| ends).collect(),
                is_last: ends,
            });
        }
        Step::Pass(ms) => harness.advance(ms.into()),
        Step::SetClock(seconds) => harness.set_clock(seconds),
        Step::Resumed => harness.feed(Input::Resumed),
        Step::Crash => harness.crash(0),
        Step::Reopen(seconds) => harness.crash(seconds),
        Step::Full => {
            harness.disk_full();
        }
        Step::Reset => harness.reset(),
        Step::Adopt(readings) => {
            let pool = harness.pool;
            harness.adopt(
                readings
                    .iter()
                    .map(|number| pool.reading(*number))
                    .collect(),
            );
        }
    }
}

fn open_request(harness: &Harness, which: u8) -> Option<(RequestId, (u8, Request))> {
    let at = usize::from(which).checked_rem(harness.state.open_requests.len())?;
    let (id, request) = harness.state.open_requests.iter().nth(at)?;
    Some((*id, request.clone()))
}

/// The bytes of a payload.
pub fn payload_bytes(harness: &Harness, payload: &Payload) -> Vec<u8> {
    let pool = harness.pool;
    match payload {
        Payload::Raw(bytes) => bytes.clone(),
        Payload::Block(number) => pool.block(*number).encode(),
        Payload::Reading(number) => pool.reading(*number).to_bytes().to_vec(),
        Payload::Mutated(number, at, by) if number % 2 == 0 => {
            mutate(pool.block(number / 2).encode(), *at, *by)
        }
        Payload::Mutated(number, at, by) => {
            mutate(pool.reading(number / 2).to_bytes().to_vec(), *at, *by)
        }
        Payload::NewBlock(readings, seconds) => {
            let readings = readings
                .iter()
                .take(8)
                .map(|number| pool.reading(*number))
                .collect();
            new_block(harness, readings, *seconds).encode()
        }
    }
}

/// A new block on the machine's tip: valid if its readings are.
fn new_block(harness: &Harness, readings: Vec<Reading>, seconds: u8) -> Block {
    let machine = &harness.machine;
    let tip = machine.status().tip;
    let window = machine.header_window(&tip).expect("the tip is known");
    let parent = machine.header(&tip).map_or(0, |header| header.time.get());
    let time = harness
        .wall
        .max(parent)
        .saturating_add(u64::from(seconds) * 1_000);
    let time = UnixMillis::new(time.max(window.mtp().get().saturating_add(1)));
    let template = mining::template(&window, tip, time, &readings);
    let header = mining::mine(template, 1 << 14).unwrap_or(template);
    Block { header, readings }
}

pub(crate) fn mutate(mut bytes: Vec<u8>, at: u16, by: u8) -> Vec<u8> {
    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
        bytes[at] ^= by;
    }
    bytes
}

fn request_bytes(harness: &Harness, request: PeerRequest) -> Vec<u8> {
    let pool = harness.pool;
    let hash = |number: &u8| pool.hash(*number);
    let request = match request {
        PeerRequest::Status(claim) => Request::Status(claimed_status(harness, &claim)),
        PeerRequest::Headers(blocks) => Request::Headers {
            locator: blocks.iter().map(hash).collect(),
        },
        PeerRequest::Bodies(blocks) => Request::Bodies {
            hashes: blocks.iter().map(hash).collect(),
        },
        PeerRequest::MempoolIds(after) => Request::MempoolIds {
            after: after.map(|(author, seq)| (key(author).author(), seq.into())),
        },
        PeerRequest::Readings(readings) => Request::Readings {
            ids: readings
                .iter()
                .map(|number| pool.ids[usize::from(*number) % pool.ids.len()])
                .collect(),
        },
        PeerRequest::Raw(bytes) => return bytes,
    };
    request.encode()
}

fn claimed_status(harness: &Harness, claim: &ClaimedStatus) -> StatusMessage {
    match claim {
        ClaimedStatus::Branch(number, seconds) => {
            let now = harness
                .wall
                .saturating_add_signed(i64::from(*seconds) * 1_000);
            harness.pool.branch(*number).status_at(now)
        }
        ClaimedStatus::Any(tip, index, work, seconds) => {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&work.to_le_bytes());
            let now = harness
                .wall
                .saturating_add_signed(i64::from(*seconds) * 1_000);
            StatusMessage {
                tip: harness.pool.hash(*tip),
                index: *index,
                total_work: Work::from_le_bytes(bytes),
                now: UnixMillis::new(now),
                binding: None,
            }
        }
    }
}

fn response_bytes(harness: &Harness, request: &Request, response: &PeerResponse) -> Vec<u8> {
    match response {
        PeerResponse::Honest(number) => {
            honest_response(harness, request, harness.pool.branch(*number), usize::MAX).encode()
        }
        PeerResponse::Short(number, items) => honest_response(
            harness,
            request,
            harness.pool.branch(*number),
            (*items).into(),
        )
        .encode(),
        PeerResponse::Mutated(number, at, by) => mutate(
            honest_response(harness, request, harness.pool.branch(*number), usize::MAX).encode(),
            *at,
            *by,
        ),
        PeerResponse::Status(claim) => Response::Status(claimed_status(harness, claim)).encode(),
        PeerResponse::Other(payload) => payload_bytes(harness, payload),
    }
}

fn honest_response(
    harness: &Harness,
    request: &Request,
    branch: &Branch,
    items: usize,
) -> Response {
    let pool = harness.pool;
    let mut response = branch.answer(request, harness.wall);
    match (&mut response, request) {
        (Response::Headers(headers), _) => headers.truncate(items),
        (Response::Bodies(bodies), _) => bodies.truncate(items),
        (Response::MempoolIds(rows), Request::MempoolIds { after }) => {
            let left = pool.rows.iter();
            let left = left.filter(|row| Some((row.author, row.seq)) > *after);
            rows.extend(left.take(items));
        }
        (Response::Readings(readings), Request::Readings { ids }) => {
            let known = pool.readings.iter().zip(&pool.ids);
            let known = known.filter(|(_, id)| ids.contains(id));
            readings.extend(known.take(items).map(|(reading, _)| reading));
        }
        _ => {}
    }
    response
}
