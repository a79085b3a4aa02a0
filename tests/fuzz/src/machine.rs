//! The machine as a whole under arbitrary inputs from arbitrary peers: it never panics, never exceeds a bound, answers
//! and judges once what it is asked, and never loses what was recorded.

use chain::{
    block::Block, bpm::Bpm, difficulty::Window, hash::BlockHash, header::Header, mining,
    reading::Reading, time::UnixMillis, work::Work,
};
use sync::{
    Input,
    message::{Request, Response, StatusMessage},
    seam::{ImportPiece, JobId, RequestFailure, RequestId, Topic, WriteId},
};

use crate::{
    pool::{Branch, key, pool, room},
    shrinking::start_never_shrinks,
    stage::Stage,
    steps::{Answer, Claim, Material, PEERS, Question, Step, all_of},
};

/// So many steps at the most: what takes more is found by the simulation.
const MAX_STEPS: usize = 300;

/// Lets happen what the bytes say, starts on what that leaves, lets everything come to rest, and looks at what was lost.
pub fn machine(data: &[u8]) {
    let mut stage = Stage::new();
    for step in all_of(data, MAX_STEPS) {
        take(&mut stage, step);
    }
    start_never_shrinks(&stage.disk, stage.right_clock(), data);
    stage.settle();
    stage.check_kept();
    let (now, again) = (stage.machine.status(), stage.disk.restore(0, stage.now()));
    let again = again.status();
    // What could not be read before the start may be read after it.
    assert!(
        again.tip == now.tip || stage.rotten && again.total_work >= now.total_work,
        "what is on disk is the branch: {again:?}, not {now:?}"
    );
}

fn take(stage: &mut Stage, step: Step) {
    match step {
        Step::Connect(peer) => stage.connect(peer % PEERS),
        Step::Disconnect(peer) => stage.disconnect(peer % PEERS),
        Step::Gossip {
            from,
            blocks,
            material,
        } => {
            let topic = if blocks {
                Topic::Blocks
            } else {
                Topic::Readings
            };
            let data = bytes_of(stage, &material);
            stage.gossip(from % PEERS, topic, data);
        }
        Step::Ask { from, question } => {
            let data = question_of(stage, question);
            stage.ask(from % PEERS, data);
        }
        Step::Answer { which, answer } => {
            if let Some((id, (peer, request))) = open(stage, which) {
                stage.asked.remove(&id);
                let data = answer_of(stage, &request, &answer);
                stage.give(Input::Response { peer, id, data });
            }
        }
        Step::Fail { which, how } => {
            if let Some((id, (peer, _))) = open(stage, which) {
                stage.asked.remove(&id);
                let failure = [
                    RequestFailure::Timeout,
                    RequestFailure::Unsupported,
                    RequestFailure::Closed,
                    RequestFailure::Oversize,
                ][usize::from(how % 4)];
                stage.give(Input::RequestFailed { peer, id, failure });
            }
        }
        Step::Unasked { from, id, answer } => {
            let request = Request::MempoolIds { after: None };
            let data = answer_of(stage, &request, &answer);
            let (peer, id) = (from % PEERS, RequestId(id.into()));
            // One that is open is answered by whoever it was not put to.
            if stage.asked.get(&id).is_none_or(|(asked, _)| *asked != peer) {
                stage.give(Input::Response { peer, id, data });
            }
        }
        Step::Disk { fails } => {
            stage.disk(fails);
        }
        Step::Rot(blocks) => {
            let body = |number: &u8| {
                number
                    .is_multiple_of(2)
                    .then(|| block(*number).readings.clone())
            };
            stage.rot(blocks.iter().map(body).collect());
        }
        // A number that the machine has not come to.
        Step::Phantom(number) => stage.give(Input::Written {
            id: WriteId(u64::MAX - u64::from(number)),
        }),
        Step::Mine => stage.mine(),
        Step::Nonce(job, nonce) => stage.give(Input::Mined {
            job: JobId(job.into()),
            nonce,
        }),
        Step::Record(bpm) => {
            let bpm = Bpm::new(20 + u16::from(bpm)).expect("20 to 275");
            stage.record(bpm);
        }
        Step::Import(blocks, readings, ends) => stage.import(ImportPiece {
            blocks: blocks.iter().map(|number| block(*number).clone()).collect(),
            readings: readings.iter().map(|number| reading(*number)).collect(),
            ends,
        }),
        Step::Pass(ms) => stage.pass(ms.into()),
        Step::SetClock(seconds) => stage.set_clock(seconds),
        Step::Woke => stage.give(Input::Woke),
        Step::Crash => stage.crash(0),
        Step::Reopen(seconds) => stage.crash(seconds),
        Step::Full => {
            stage.disk_full();
        }
        Step::Reset => stage.reset(),
        Step::Adopt(readings) => {
            stage.adopt(readings.iter().map(|number| reading(*number)).collect());
        }
    }
}

fn open(stage: &Stage, which: u8) -> Option<(RequestId, (u8, Request))> {
    let at = usize::from(which).checked_rem(stage.asked.len())?;
    let (id, asked) = stage.asked.iter().nth(at)?;
    Some((*id, asked.clone()))
}

fn block(number: u8) -> &'static Block {
    let blocks = &pool().blocks;
    &blocks[usize::from(number) % blocks.len()]
}

fn hash(number: &u8) -> BlockHash {
    let hashes = &pool().hashes;
    hashes[usize::from(*number) % hashes.len()]
}

fn reading(number: u8) -> Reading {
    let readings = &pool().readings;
    readings[usize::from(number) % readings.len()]
}

fn branch(number: u8) -> &'static Branch {
    let branches = &pool().branches;
    &branches[usize::from(number) % branches.len()]
}

/// What a peer or a file shows.
pub fn bytes_of(stage: &Stage, material: &Material) -> Vec<u8> {
    match material {
        Material::Raw(bytes) => bytes.clone(),
        Material::Block(number) => block(*number).encode(),
        Material::Reading(number) => reading(*number).to_bytes().to_vec(),
        Material::Bent(number, at, by) if number % 2 == 0 => {
            bent(block(number / 2).encode(), *at, *by)
        }
        Material::Bent(number, at, by) => bent(reading(number / 2).to_bytes().to_vec(), *at, *by),
        Material::Fresh(readings, seconds) => {
            let readings = readings
                .iter()
                .take(8)
                .map(|number| reading(*number))
                .collect();
            fresh(stage, readings, *seconds).encode()
        }
    }
}

/// A block on the machine's own tip: valid, unless its readings are not.
fn fresh(stage: &Stage, readings: Vec<Reading>, seconds: u8) -> Block {
    let machine = &stage.machine;
    let tip = machine.status();
    let first = tip
        .index
        .saturating_sub(chain::difficulty::WINDOW_HEADERS as u64);
    let headers: Vec<Header> = (first..=tip.index)
        .filter_map(|index| machine.header(&machine.best_hash(index)?))
        .collect();
    let parent = headers.last().map_or(0, |header| header.time.get());
    let window = Window::from_headers(room(), headers);
    let time = stage
        .wall
        .max(parent)
        .saturating_add(u64::from(seconds) * 1_000);
    let time = UnixMillis::new(time.max(window.mtp().get().saturating_add(1)));
    let template = mining::template(&window, tip.tip, time, &readings);
    let header = mining::mine(template, 1 << 14).unwrap_or(template);
    Block { header, readings }
}

fn bent(mut bytes: Vec<u8>, at: u16, by: u8) -> Vec<u8> {
    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
        bytes[at] ^= by;
    }
    bytes
}

fn question_of(stage: &Stage, question: Question) -> Vec<u8> {
    let request = match question {
        Question::Status(claim) => Request::Status(claimed(stage, &claim)),
        Question::Headers(blocks) => Request::Headers {
            locator: blocks.iter().map(hash).collect(),
        },
        Question::Bodies(blocks) => Request::Bodies {
            hashes: blocks.iter().map(hash).collect(),
        },
        Question::MempoolIds(after) => Request::MempoolIds {
            after: after.map(|(author, seq)| (key(author).author(), seq.into())),
        },
        Question::Readings(readings) => Request::Readings {
            ids: readings
                .iter()
                .map(|number| {
                    let ids = &pool().ids;
                    ids[usize::from(*number) % ids.len()]
                })
                .collect(),
        },
        Question::Raw(bytes) => return bytes,
    };
    request.encode()
}

fn claimed(stage: &Stage, claim: &Claim) -> StatusMessage {
    match claim {
        Claim::Branch(number, seconds) => {
            let now = stage
                .wall
                .saturating_add_signed(i64::from(*seconds) * 1_000);
            branch(*number).status(now)
        }
        Claim::Any(tip, index, work, seconds) => {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&work.to_le_bytes());
            let now = stage
                .wall
                .saturating_add_signed(i64::from(*seconds) * 1_000);
            StatusMessage {
                tip: hash(tip),
                index: *index,
                total_work: Work::from_le_bytes(bytes),
                now: UnixMillis::new(now),
            }
        }
    }
}

fn answer_of(stage: &Stage, request: &Request, answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Honest(number) => honest(stage, request, branch(*number), usize::MAX).encode(),
        Answer::Short(number, items) => {
            honest(stage, request, branch(*number), (*items).into()).encode()
        }
        Answer::Bent(number, at, by) => bent(
            honest(stage, request, branch(*number), usize::MAX).encode(),
            *at,
            *by,
        ),
        Answer::Claim(claim) => Response::Status(claimed(stage, claim)).encode(),
        Answer::Other(material) => bytes_of(stage, material),
    }
}

fn honest(stage: &Stage, request: &Request, branch: &Branch, items: usize) -> Response {
    let pool = pool();
    match request {
        Request::Status(_) => Response::Status(branch.status(stage.wall)),
        Request::Headers { locator } => {
            let height = |hash: &BlockHash| branch.block(hash).map(|block| block.header.index);
            let next = locator.iter().find_map(height).unwrap_or(0);
            let next = usize::try_from(next).unwrap_or(usize::MAX);
            let headers = branch.blocks.iter().skip(next).take(items);
            Response::Headers(headers.map(|block| block.header).collect())
        }
        Request::Bodies { hashes } => {
            let body = |hash| branch.block(hash).map(|block| block.readings.clone());
            Response::Bodies(hashes.iter().take(items).map(body).collect())
        }
        Request::MempoolIds { after } => {
            let mut rows = pool.rows.clone();
            rows.retain(|row| Some((row.author, row.seq)) > *after);
            rows.truncate(items);
            Response::MempoolIds(rows)
        }
        Request::Readings { ids } => {
            let known = pool.readings.iter().zip(&pool.ids);
            let known = known.filter(|(_, id)| ids.contains(id));
            Response::Readings(known.take(items).map(|(reading, _)| *reading).collect())
        }
    }
}
