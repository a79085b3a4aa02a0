//! What `globalThis.heartchain` gives to a script: enough to check the chain without trusting the node.

use anyhow::{Context as _, Result, ensure};
use chain::{
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    merkle::readings_root,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::CompactTarget,
};
use serde_json::Value;

use crate::harness::{Outcome, Stage, Tab, agreement, on_stage};

#[tokio::test]
async fn what_scripts_read_is_what_was_hashed_and_signed() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let [a, b] = stage.tabs().await?;
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        b.enter(73).await?;
        agreement(&[&a, &b], 2).await?;

        expect_valid_chain(&a).await?;
        Ok(())
    })
    .await
}

/// Does every sum again: hashes, links, roots, work, signatures, ids.
pub(super) async fn expect_valid_chain(tab: &Tab) -> Result<()> {
    let status = tab.status().await?;
    let room = status["room"].as_str().context("a room has a name")?;
    let room = Room::new(RoomParams::with_defaults(RoomName::new(room)?));
    // The chain may change while it is read.
    let blocks = loop {
        let tip = tab.tip().await?;
        let blocks = tab.blocks().await?;
        let last = blocks.last().context("genesis at least")?;
        if last["hash"] == tip.as_str() || tab.tip().await? == tip {
            ensure!(last["hash"] == tip.as_str(), "the tip is the last block");
            break blocks;
        }
    };
    let mut parent = BlockHash::new([0; 32]);
    for (place, block) in blocks.iter().enumerate() {
        let header = header(block)?;
        let readings = block["readings"].as_array().context("readings")?;
        let readings = readings.iter().map(reading).collect::<Result<Vec<_>>>()?;
        ensure!(
            header.hash().to_string() == block["hash"],
            "{block} has another hash"
        );
        if place == 0 {
            ensure!(header == *room.genesis(), "another genesis: {block}");
        } else {
            ensure!(header.prev_hash == parent, "{block} does not link");
            ensure!(
                header.readings_root == readings_root(&readings),
                "{block} has another root"
            );
            ensure!(
                header.bits.target()?.is_met_by(&header.hash()),
                "{block} has no work"
            );
        }
        for (checked, said) in readings
            .iter()
            .zip(block["readings"].as_array().into_iter().flatten())
        {
            checked.verify(room.id())?;
            ensure!(
                checked.id(room.id()).to_string() == said["id"],
                "{said} has another id"
            );
        }
        parent = header.hash();
    }
    Ok(())
}

/// The header that a block's fields stand for.
fn header(block: &Value) -> Result<Header> {
    Ok(Header {
        version: HEADER_VERSION,
        index: number(block, "index")?,
        time: UnixMillis::new(number(block, "time")?),
        prev_hash: text(block, "prevHash")?.parse()?,
        readings_root: text(block, "readingsRoot")?.parse()?,
        bits: CompactTarget::from_bits(number(block, "bits")?.try_into()?),
        nonce: text(block, "nonce")?.parse()?,
    })
}

fn reading(said: &Value) -> Result<Reading> {
    let bytes = [
        bytes(said, "author")?,
        number(said, "seq")?.to_le_bytes().to_vec(),
        number(said, "time")?.to_le_bytes().to_vec(),
        u16::try_from(number(said, "bpm")?)?.to_le_bytes().to_vec(),
        bytes(said, "signature")?,
    ];
    Ok(Reading::decode(&bytes.concat())?)
}

fn number(of: &Value, name: &str) -> Result<u64> {
    of[name]
        .as_u64()
        .with_context(|| format!("{name} is no number in {of}"))
}

fn text<'a>(of: &'a Value, name: &str) -> Result<&'a str> {
    of[name]
        .as_str()
        .with_context(|| format!("{name} is no text in {of}"))
}

fn bytes(of: &Value, name: &str) -> Result<Vec<u8>> {
    let hex = text(of, name)?;
    let digits = |at: usize| hex.get(at..at + 2).context("hex has two digits a byte");
    (0..hex.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?))
        .collect()
}
