//! What `globalThis.heartchain` gives to a script: enough to verify the chain without trusting the node.

use anyhow::{Context as _, Result, ensure};
use heartchain_chain::{
    content::ReadingForm,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    merkle::readings_root,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::CompactTarget,
};
use serde_json::Value;

use crate::harness::{Outcome, Tab, TestEnv, agreement, run_test};

#[tokio::test]
async fn chain_read_by_scripts_is_valid() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let [a, b] = env.tabs().await?;
        a.enter(72).await?;
        agreement(&[&a, &b], 1).await?;
        b.enter(73).await?;
        agreement(&[&a, &b], 2).await?;

        expect_valid_chain(&a).await?;
        Ok(())
    })
    .await
}

/// Recomputes everything: hashes, links, roots, work, signatures and IDs.
pub(super) async fn expect_valid_chain(tab: &Tab) -> Result<()> {
    let status = tab.status().await?;
    let room = status["room"].as_str().context("a room has a name")?;
    let room = Room::new(RoomParams::with_defaults(RoomName::new(room)?));
    // Reads again if the chain has changed meanwhile.
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
    for (height, block) in blocks.iter().enumerate() {
        let header = header(block)?;
        let readings = block["readings"].as_array().context("readings")?;
        let readings = readings.iter().map(reading).collect::<Result<Vec<_>>>()?;
        ensure!(
            header.hash().to_string() == block["hash"],
            "{block} has another hash"
        );
        if height == 0 {
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
        for (checked, fields) in readings
            .iter()
            .zip(block["readings"].as_array().into_iter().flatten())
        {
            checked.verify(room.id())?;
            ensure!(
                checked.id(room.id()).to_string() == fields["id"],
                "{fields} has another id"
            );
        }
        parent = header.hash();
    }
    Ok(())
}

/// Builds the header from a block's fields.
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

fn reading(fields: &Value) -> Result<Reading> {
    let bytes = [
        bytes(fields, "author")?,
        number(fields, "seq")?.to_le_bytes().to_vec(),
        number(fields, "time")?.to_le_bytes().to_vec(),
        u16::try_from(number(fields, "bpm")?)?
            .to_le_bytes()
            .to_vec(),
        bytes(fields, "signature")?,
    ];
    Ok(Reading::decode(ReadingForm::Open, &bytes.concat())?)
}

fn number(of: &Value, name: &str) -> Result<u64> {
    of[name]
        .as_u64()
        .with_context(|| format!("{name} is not a number in {of}"))
}

fn text<'a>(of: &'a Value, name: &str) -> Result<&'a str> {
    of[name]
        .as_str()
        .with_context(|| format!("{name} is not a string in {of}"))
}

fn bytes(of: &Value, name: &str) -> Result<Vec<u8>> {
    let hex = text(of, name)?;
    let digits = |at: usize| hex.get(at..at + 2).context("hex has two digits a byte");
    (0..hex.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?))
        .collect()
}
