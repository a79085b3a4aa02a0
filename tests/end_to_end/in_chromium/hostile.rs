//! A native peer that sends invalid data: the tab disconnects it, and neither this tab nor another changes its state.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    content::ReadingForm,
    difficulty::Window,
    header::Header,
    key::SecretKey,
    mining,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::{CompactTarget, Work},
};
use heartchain_sync::message::{
    MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response, StatusMessage,
};
use heartchain_test_support::{Branch, Tampering as _};
use serde_json::Value;

use super::syncing::expect_bpms;
use crate::{
    harness::{Outcome, Tab, TestEnv, agreement, run_test},
    native::{Responder, ScriptedPeer, frame},
};

pub(super) const ROOM: &str = "lies";

/// What the peer does once it is in the room.
type Offence = Box<dyn FnOnce(&mut ScriptedPeer) -> Result<()>>;

#[tokio::test]
async fn invalid_gossip_gets_the_sender_dropped() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = room()?;
        let honest = block(&room, vec![reading(&room, 0, 80)?]);
        let mut offences: Vec<(&str, Offence)> = Vec::new();
        let mut readings = |name, data: Vec<u8>| {
            offences.push((
                name,
                Box::new(move |it: &mut ScriptedPeer| it.publish("readings", data)),
            ));
        };
        readings("random bytes for a reading", random_bytes(114));
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
            reading(&room, 0, 80)?.with_bpm(81).to_bytes().to_vec(),
        );
        readings(
            "bpm 0",
            reading(&room, 0, 80)?.with_bpm(0).to_bytes().to_vec(),
        );
        readings(
            "bpm 65535",
            reading(&room, 0, 80)?.with_bpm(65_535).to_bytes().to_vec(),
        );
        let elsewhere = Room::new(RoomParams::with_defaults(RoomName::new("elsewhere")?));
        readings(
            "a reading of another room",
            reading(&elsewhere, 0, 80)?.to_bytes().to_vec(),
        );

        let mut blocks = |name, data: Vec<u8>| {
            offences.push((
                name,
                Box::new(move |it: &mut ScriptedPeer| it.publish("blocks", data)),
            ));
        };
        blocks("random bytes for a block", random_bytes(400));
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
        let wrong_root = Block {
            readings: vec![reading(&room, 0, 90)?],
            ..honest.clone()
        };
        blocks(
            "a block with other readings than its root",
            wrong_root.encode(),
        );
        let forged = reading(&room, 0, 80)?.with_bpm(81);
        blocks(
            "a block with a forged signature",
            block(&room, vec![forged]).encode(),
        );
        let no_bpm = reading(&room, 0, 80)?.with_bpm(0);
        blocks("a block with bpm 0", block(&room, vec![no_bpm]).encode());

        let tabs = tabs(env).await?;
        for (name, offence) in offences {
            let mut peer = connect(env, &tabs[0], honest_responder(&room))
                .await
                .context(name)?;
            offence(&mut peer).context(name)?;
            peer.wait_until_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }
        expect_alive(&tabs).await
    })
    .await
}

#[tokio::test]
async fn block_with_a_skipped_seq_is_refused() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = room()?;
        let tabs = tabs(env).await?;
        let [a, b] = &tabs;
        let second = reading(&room, 1, 81)?;
        let mut attacker = connect(env, a, honest_responder(&room)).await?;
        attacker.publish("blocks", block(&room, vec![second]).encode())?;
        attacker.wait_until_dropped().await?;
        for tab in &tabs {
            ensure!(
                tab.status().await?["tip"]["index"] == 0,
                "{} believed it",
                tab.name()
            );
        }

        // The reading itself is valid: once a peer sends the one before it, both get into the chain.
        let mut honest = connect(env, b, honest_responder(&room)).await?;
        honest.publish("readings", reading(&room, 0, 80)?.to_bytes().to_vec())?;
        honest.publish("readings", second.to_bytes().to_vec())?;
        agreement_with_peer(&mut honest, &tabs, 2).await?;
        expect_bpms(a, &[80, 81]).await
    })
    .await
}

#[tokio::test]
async fn invalid_requests_and_responses_get_dropped() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = room()?;
        let tabs = tabs(env).await?;
        let requests = [
            ("random bytes for a request", frame(&random_bytes(100))),
            ("an empty request", frame(&[])),
            (
                "an oversize request",
                frame(&random_bytes(MAX_REQUEST_LEN + 1)),
            ),
            ("a request whose length is no varint", vec![0xff; 64]),
        ];
        for (name, raw) in requests {
            let mut peer = connect(env, &tabs[0], honest_responder(&room))
                .await
                .context(name)?;
            peer.send_request(raw);
            peer.wait_until_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }

        let responders: [(&str, Responder); 6] = [
            (
                "random bytes for a response",
                Box::new(|_| Some(frame(&random_bytes(100)))),
            ),
            (
                "an oversize response",
                Box::new(|_| Some(frame(&random_bytes(MAX_RESPONSE_LEN + 1)))),
            ),
            (
                "a response to another request",
                Box::new(|_| Some(frame(&Response::Readings(Vec::new()).encode()))),
            ),
            (
                "headers without work",
                claims_heavy_chain(&room, |room| {
                    Response::Headers(vec![header_without_work(room)])
                }),
            ),
            (
                "headers that do not link",
                claims_heavy_chain(&room, |room| {
                    let unlinked = Header {
                        index: 7,
                        ..header_without_work(room)
                    };
                    Response::Headers(vec![*room.genesis(), unlinked])
                }),
            ),
            (
                "a claim with nothing behind it",
                claims_heavy_chain(&room, |_| Response::Headers(Vec::new())),
            ),
        ];
        for (name, responder) in responders {
            let mut peer = connect(env, &tabs[0], responder).await.context(name)?;
            peer.wait_until_dropped().await.context(name)?;
            expect_untouched(&tabs).await.context(name)?;
        }
        expect_alive(&tabs).await
    })
    .await
}

#[tokio::test]
async fn possibly_honest_messages_are_tolerated() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = room()?;
        let tabs = tabs(env).await?;
        let mut peer = connect(env, &tabs[0], honest_responder(&room)).await?;

        // A stream may end early on any network.
        peer.send_request(frame(&random_bytes(100))[..50].to_vec());
        // A block with an unknown parent may belong to a branch that arrives later. This one belongs to another room.
        let elsewhere = Room::new(RoomParams::with_defaults(RoomName::new("elsewhere")?));
        let block = block(&elsewhere, vec![reading(&elsewhere, 0, 99)?]);
        peer.publish("blocks", block.encode())?;
        // A reading whose predecessors are missing waits; that is not an offence.
        peer.publish("readings", reading(&room, 3, 80)?.to_bytes().to_vec())?;
        peer.send_request(frame(&status(&room).encode()));
        let response = Response::decode(ReadingForm::Open, &peer.next_response().await?)?;
        let Response::Status(status) = response else {
            bail!("no status: {response:?}")
        };
        ensure!(
            status.tip == room.genesis_hash() && status.index == 0,
            "found {status:?}"
        );

        // Once its predecessors arrive, all are in the chain.
        for seq in 0..3 {
            peer.publish("readings", reading(&room, seq, 80)?.to_bytes().to_vec())?;
        }
        agreement_with_peer(&mut peer, &tabs, 4).await?;
        for tab in &tabs {
            expect_bpms(tab, &[80; 4]).await?;
        }
        Ok(())
    })
    .await
}

/// Waits until the tabs agree; fails if the tab disconnects the peer before.
async fn agreement_with_peer(
    peer: &mut ScriptedPeer,
    [a, b]: &[Tab; 2],
    count: usize,
) -> Result<()> {
    let tabs = [a, b];
    tokio::select! {
        seen = agreement(&tabs, count) => seen.map(|_| ()),
        end = peer.run_until_dropped() => end.and_then(|()| bail!("disconnected an honest peer")),
    }
}

async fn tabs(env: &mut TestEnv) -> Result<[Tab; 2]> {
    let page = format!("{}#room={ROOM}", env.relay.page());
    env.tabs_at(&page).await
}

pub(super) async fn connect(
    env: &TestEnv,
    tab: &Tab,
    responder: Responder,
) -> Result<ScriptedPeer> {
    let genesis = tab.status().await?["genesis"].clone();
    let genesis = genesis.as_str().context("genesis is hex")?;
    ScriptedPeer::connect(
        env.relay.websocket()?,
        genesis,
        &tab.peer_id().await?,
        responder,
    )
    .await
}

/// Both tabs are unchanged: an empty chain, an empty mempool, and no peer but each other.
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

/// Both tabs still record and sync.
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

/// Pseudo-random bytes, the same in every run.
fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] | 0x80
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// A valid reading of the peer's author.
fn reading(room: &Room, seq: u64, bpm: u16) -> Result<Reading> {
    let key = SecretKey::from_seed([7; 32]);
    Ok(key.sign(room.id(), seq, now(), Bpm::new(bpm)?))
}

/// The room's first block with these readings, valid in all other respects.
fn block(room: &Room, readings: Vec<Reading>) -> Block {
    Branch::in_room(room).mine_next(readings, now().get())
}

fn mined(header: Header, readings: Vec<Reading>) -> Result<Block> {
    let header = mining::mine(header, u32::MAX).context("no nonce")?;
    Ok(Block { header, readings })
}

/// The same block with a nonce that does not meet the target.
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

/// A header after genesis with the right bits but without work.
fn header_without_work(room: &Room) -> Header {
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

pub(super) fn status(room: &Room) -> Request {
    Request::Status(honest_status(room))
}

/// The status of a peer that has nothing.
fn honest_status(room: &Room) -> StatusMessage {
    Branch::in_room(room).status_at(now().get())
}

/// Responds like a peer that has just joined and has nothing.
pub(super) fn honest_responder(room: &Room) -> Responder {
    let room = room.clone();
    Box::new(move |request| Some(frame(&honest_response(&room, request)?.encode())))
}

fn honest_response(room: &Room, request: &[u8]) -> Option<Response> {
    let request = Request::decode(room.form(), request).ok()?;
    Some(Branch::in_room(room).answer(&request, now().get()))
}

/// Responds like a peer that claims a chain with much work and sends these headers for it.
fn claims_heavy_chain(
    room: &Room,
    headers: impl Fn(&Room) -> Response + Send + 'static,
) -> Responder {
    let room = room.clone();
    Box::new(move |request| {
        let response = match Request::decode(room.form(), request).ok()? {
            Request::Status(_) => Response::Status(StatusMessage {
                tip: header_without_work(&room).hash(),
                index: 1_000,
                total_work: Work::from_le_bytes([1; 32]),
                now: now(),
                binding: None,
            }),
            Request::Headers { .. } => headers(&room),
            Request::Bodies { .. }
            | Request::MempoolIds { .. }
            | Request::Readings { .. }
            | Request::Profiles { .. } => honest_response(&room, request)?,
        };
        Some(frame(&response.encode()))
    })
}
