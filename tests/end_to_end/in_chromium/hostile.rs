//! A native peer in the room that lies: the tab drops it where it lied, and neither this tab nor another one
//! changes in anything.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use chain::{
    block::Block,
    bpm::Bpm,
    difficulty::Window,
    header::Header,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::{CompactTarget, Work},
};
use serde_json::Value;
use sync::message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response, StatusMessage};

use super::syncing::expect_bpms;
use crate::{
    harness::{Outcome, Stage, Tab, agreement, on_stage},
    native::{Answers, Stranger, frame},
};

pub(super) const ROOM: &str = "lies";

/// What a stranger does once it is in the room.
type Lie = Box<dyn FnOnce(&mut Stranger) -> Result<()>>;

#[tokio::test]
async fn whoever_gossips_lies_is_dropped_and_believed_by_nobody() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let room = room()?;
        let honest = block(&room, vec![reading(&room, 0, 80)?])?;
        let mut lies: Vec<(&str, Lie)> = Vec::new();
        let mut readings = |name, data: Vec<u8>| {
            lies.push((
                name,
                Box::new(move |it: &mut Stranger| it.publish("readings", data)),
            ));
        };
        readings("random bytes for a reading", noise(114));
        readings(
            "a truncated reading",
            reading(&room, 0, 80)?.to_bytes()[..113].to_vec(),
        );
        readings(
            "a reading and one byte",
            [&reading(&room, 0, 80)?.to_bytes()[..], &[0]].concat(),
        );
        readings(
            "a forged signature",
            Reading {
                bpm: 81,
                ..reading(&room, 0, 80)?
            }
            .to_bytes()
            .to_vec(),
        );
        readings(
            "bpm 0",
            Reading {
                bpm: 0,
                ..reading(&room, 0, 80)?
            }
            .to_bytes()
            .to_vec(),
        );
        readings(
            "bpm 65535",
            Reading {
                bpm: 65_535,
                ..reading(&room, 0, 80)?
            }
            .to_bytes()
            .to_vec(),
        );
        let elsewhere = Room::new(RoomParams::with_defaults(RoomName::new("elsewhere")?));
        readings(
            "a reading of another room",
            reading(&elsewhere, 0, 80)?.to_bytes().to_vec(),
        );

        let mut blocks = |name, data: Vec<u8>| {
            lies.push((
                name,
                Box::new(move |it: &mut Stranger| it.publish("blocks", data)),
            ));
        };
        blocks("random bytes for a block", noise(400));
        blocks("a truncated block", honest.encode()[..200].to_vec());
        blocks("a block without work", without_work(&honest)?.encode());
        let easy = Header {
            bits: CompactTarget::from_bits(0x207f_ffff),
            ..honest.header
        };
        blocks(
            "a block of an easier difficulty",
            mined(easy, honest.readings.clone())?.encode(),
        );
        let rooted = Block {
            readings: vec![reading(&room, 0, 90)?],
            ..honest.clone()
        };
        blocks("a block with other readings than its root", rooted.encode());
        let forged = Reading {
            bpm: 81,
            ..reading(&room, 0, 80)?
        };
        blocks(
            "a block with a forged signature",
            block(&room, vec![forged])?.encode(),
        );
        let no_bpm = Reading {
            bpm: 0,
            ..reading(&room, 0, 80)?
        };
        blocks("a block with bpm 0", block(&room, vec![no_bpm])?.encode());

        let tabs = tabs(stage).await?;
        for (name, lie) in lies {
            let mut stranger = meet(stage, &tabs[0], honest_answers(&room))
                .await
                .context(name)?;
            lie(&mut stranger).context(name)?;
            stranger.is_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }
        expect_alive(&tabs).await
    })
    .await
}

#[tokio::test]
async fn a_block_with_a_skipped_seq_is_refused_and_its_reading_waits() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let room = room()?;
        let tabs = tabs(stage).await?;
        let [a, b] = &tabs;
        let second = reading(&room, 1, 81)?;
        let mut liar = meet(stage, a, honest_answers(&room)).await?;
        liar.publish("blocks", block(&room, vec![second])?.encode())?;
        liar.is_dropped().await?;
        for tab in &tabs {
            ensure!(
                tab.status().await?["tip"]["index"] == 0,
                "{} believed it",
                tab.name()
            );
        }

        // The reading itself is no lie: once somebody brings the one before it, both get into the chain.
        let mut honest = meet(stage, b, honest_answers(&room)).await?;
        honest.publish("readings", reading(&room, 0, 80)?.to_bytes().to_vec())?;
        honest.publish("readings", second.to_bytes().to_vec())?;
        agree_with(&mut honest, &tabs, 2).await?;
        expect_bpms(a, &[80, 81]).await
    })
    .await
}

#[tokio::test]
async fn whoever_asks_or_answers_badly_is_dropped() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let room = room()?;
        let tabs = tabs(stage).await?;
        let requests = [
            ("random bytes for a request", frame(&noise(100))),
            ("an empty request", frame(&[])),
            ("an oversize request", frame(&noise(MAX_REQUEST_LEN + 1))),
            ("a request whose length is no varint", vec![0xff; 64]),
        ];
        for (name, raw) in requests {
            let mut stranger = meet(stage, &tabs[0], honest_answers(&room))
                .await
                .context(name)?;
            stranger.ask(raw);
            stranger.is_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }

        let answers: [(&str, Answers); 6] = [
            (
                "random bytes for an answer",
                Box::new(|_| Some(frame(&noise(100)))),
            ),
            (
                "an oversize answer",
                Box::new(|_| Some(frame(&noise(MAX_RESPONSE_LEN + 1)))),
            ),
            (
                "an answer to another question",
                Box::new(|_| Some(frame(&Response::Readings(Vec::new()).encode()))),
            ),
            (
                "headers without work",
                claiming(&room, |room| Response::Headers(vec![loose_header(room)])),
            ),
            (
                "headers that do not link",
                claiming(&room, |room| {
                    let unlinked = Header {
                        index: 7,
                        ..loose_header(room)
                    };
                    Response::Headers(vec![*room.genesis(), unlinked])
                }),
            ),
            (
                "a claim with nothing behind it",
                claiming(&room, |_| Response::Headers(Vec::new())),
            ),
        ];
        for (name, answers) in answers {
            let mut stranger = meet(stage, &tabs[0], answers).await.context(name)?;
            stranger.is_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }
        expect_alive(&tabs).await
    })
    .await
}

#[tokio::test]
async fn what_may_be_honest_is_borne_and_answered() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let room = room()?;
        let tabs = tabs(stage).await?;
        let mut stranger = meet(stage, &tabs[0], honest_answers(&room)).await?;

        // A stream that ends in the middle: anybody's network does that.
        stranger.ask(frame(&noise(100))[..50].to_vec());
        // A block whose parent nobody has may be of a branch that is yet to come. This one is another room's.
        let elsewhere = Room::new(RoomParams::with_defaults(RoomName::new("elsewhere")?));
        let block = block(&elsewhere, vec![reading(&elsewhere, 0, 99)?])?;
        stranger.publish("blocks", block.encode())?;
        // A reading ahead of its turn waits; it is nobody's lie.
        stranger.publish("readings", reading(&room, 3, 80)?.to_bytes().to_vec())?;
        stranger.ask(frame(&status(&room).encode()));
        let answer = Response::decode(&stranger.answer().await?)?;
        let Response::Status(status) = answer else {
            bail!("no status: {answer:?}")
        };
        ensure!(
            status.tip == room.genesis_hash() && status.index == 0,
            "found {status:?}"
        );

        // And once its turn has come, both are in the chain.
        for seq in 0..3 {
            stranger.publish("readings", reading(&room, seq, 80)?.to_bytes().to_vec())?;
        }
        agree_with(&mut stranger, &tabs, 4).await?;
        for tab in &tabs {
            expect_bpms(tab, &[80; 4]).await?;
        }
        Ok(())
    })
    .await
}

/// The tabs agree while the stranger takes part, and bear it all the time.
async fn agree_with(stranger: &mut Stranger, [a, b]: &[Tab; 2], count: usize) -> Result<()> {
    let tabs = [a, b];
    tokio::select! {
        seen = agreement(&tabs, count) => seen.map(|_| ()),
        end = stranger.linger() => end.and_then(|()| bail!("an honest peer was dropped")),
    }
}

async fn tabs(stage: &mut Stage) -> Result<[Tab; 2]> {
    let page = format!("{}#room={ROOM}", stage.relay.page());
    stage.tabs_at(&page).await
}

pub(super) async fn meet(stage: &Stage, tab: &Tab, answers: Answers) -> Result<Stranger> {
    let genesis = tab.status().await?["genesis"].clone();
    let genesis = genesis.as_str().context("genesis is hex")?;
    Stranger::meet(
        stage.relay.websocket()?,
        genesis,
        &tab.peer_id().await?,
        answers,
    )
    .await
}

/// Both tabs are as they were: nothing on the chain, nothing waiting, each other's only peer.
async fn expect_untouched(tabs: &[Tab; 2]) -> Result<()> {
    for tab in tabs {
        tab.until_peers(1).await?;
        let Value::Object(status) = tab.status().await? else {
            bail!("no status")
        };
        ensure!(
            status["tip"]["index"] == 0 && status["mempool"] == 0,
            "{} believed it: {status:?}",
            tab.name()
        );
    }
    Ok(())
}

/// Both tabs go on as if nothing had been.
async fn expect_alive(tabs: &[Tab; 2]) -> Result<()> {
    let [a, b] = tabs;
    a.enter(72).await?;
    agreement(&[a, b], 1).await?;
    b.enter(73).await?;
    agreement(&[a, b], 2).await?;
    expect_bpms(a, &[72, 73]).await
}

pub(super) fn room() -> Result<Room> {
    Ok(Room::new(RoomParams::with_defaults(RoomName::new(ROOM)?)))
}

fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Bytes that mean nothing; always the same ones.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] | 0x80
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// A good reading of the stranger's author.
fn reading(room: &Room, seq: u64, bpm: u16) -> Result<Reading> {
    let key = SecretKey::from_seed([7; 32]);
    Ok(key.sign(room.id(), seq, now(), Bpm::new(bpm)?))
}

/// The room's first block with these readings, right in all else.
fn block(room: &Room, readings: Vec<Reading>) -> Result<Block> {
    let time = now();
    let window = Window::genesis(room);
    let header = mining::template(&window, room.genesis_hash(), time, &readings);
    mined(header, readings)
}

fn mined(header: Header, readings: Vec<Reading>) -> Result<Block> {
    let header = mining::mine(header, u32::MAX).context("no nonce")?;
    Ok(Block { header, readings })
}

/// The same block with a nonce that is none.
fn without_work(block: &Block) -> Result<Block> {
    let target = block.header.bits.target()?;
    let with = |nonce| Header {
        nonce,
        ..block.header
    };
    let nonce = (0..).find(|nonce| !target.is_met_by(&with(*nonce).hash()));
    let header = with(nonce.context("every nonce is good")?);
    Ok(Block {
        header,
        ..block.clone()
    })
}

/// A header after genesis with the right bits, and no work.
fn loose_header(room: &Room) -> Header {
    let time = now();
    Header {
        index: 1,
        time,
        prev_hash: room.genesis_hash(),
        bits: Window::genesis(room).next_bits(time),
        nonce: 1,
        ..*room.genesis()
    }
}

fn status(room: &Room) -> Request {
    Request::Status(honest_status(room))
}

fn honest_status(room: &Room) -> StatusMessage {
    StatusMessage {
        tip: room.genesis_hash(),
        index: 0,
        total_work: Work::ZERO,
        now: now(),
    }
}

/// Answers like a peer that has just come and has nothing.
pub(super) fn honest_answers(room: &Room) -> Answers {
    let room = room.clone();
    Box::new(move |request| Some(frame(&honest_answer(&room, request)?.encode())))
}

fn honest_answer(room: &Room, request: &[u8]) -> Option<Response> {
    Some(match Request::decode(request).ok()? {
        Request::Status(_) => Response::Status(honest_status(room)),
        Request::Headers { .. } => Response::Headers(Vec::new()),
        Request::Bodies { hashes } => Response::Bodies(vec![None; hashes.len()]),
        Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
        Request::Readings { .. } => Response::Readings(Vec::new()),
    })
}

/// Answers like a peer that claims a heavy chain, and shows these headers for it.
fn claiming(room: &Room, headers: impl Fn(&Room) -> Response + Send + 'static) -> Answers {
    let room = room.clone();
    Box::new(move |request| {
        let answer = match Request::decode(request).ok()? {
            Request::Status(_) => Response::Status(StatusMessage {
                tip: loose_header(&room).hash(),
                index: 1_000,
                total_work: Work::from_le_bytes([1; 32]),
                now: now(),
            }),
            Request::Headers { .. } => headers(&room),
            Request::Bodies { .. } | Request::MempoolIds { .. } | Request::Readings { .. } => {
                honest_answer(&room, request)?
            }
        };
        Some(frame(&answer.encode()))
    })
}
