//! Bytes from one tab to another through the relay: how fast they are, and what they cost the relay.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future::try_join};
use libp2p::StreamProtocol;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    process::{RelayProcess, load_average, processor_time},
    tab::Tab,
    target::Target,
};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/heartchain/load/1");
/// How long one round may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of one write.
const PIECE: usize = 16 * 1024;
const MIB: usize = 1024 * 1024;

/// Measures, and prints the figures. Each round has tabs and a circuit of its own.
pub(crate) async fn measure(relay: &RelayProcess, mib: usize, rounds: usize) -> Result<()> {
    println!("load average before: {}", load_average());
    for _ in 0..rounds {
        let before = processor_time(relay.id()?)?;
        let elapsed = timeout(PATIENCE, carry(&relay.target, mib))
            .await
            .context("the circuit is too slow")??;
        let used = processor_time(relay.id()?)?.saturating_sub(before);
        println!(
            "{mib} MiB: {} KiB/s, {used} hundredths of a second of the relay's processor time",
            u128::from(u64::try_from(mib)?) * 1024 * 1000 / elapsed.as_millis().max(1)
        );
    }
    println!("load average: {}", load_average());
    Ok(())
}

/// Sends bytes through a new circuit. Returns how long that took, until the receiver has all.
async fn carry(target: &Target, mib: usize) -> Result<Duration> {
    let mut receiver = Tab::new(target, Ipv4Addr::LOCALHOST)?;
    let mut streams = receiver
        .swarm
        .behaviour()
        .streams
        .new_control()
        .accept(PROTOCOL)?;
    receiver.connect().await?;
    receiver.reserve().await?;
    let peer = *receiver.swarm.local_peer_id();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { receiver.stay().await });

    let mut sender = Tab::new(target, Ipv4Addr::LOCALHOST)?;
    sender.connect().await?;
    sender.open_circuit(peer).await?;
    let mut control = sender.swarm.behaviour().streams.new_control();
    tasks.spawn(async move { sender.stay().await });

    let receiving = async {
        let (_, mut stream) = streams.next().await.context("no stream")?;
        let mut buffer = vec![0; PIECE];
        let mut missing = mib * MIB;
        while missing > 0 {
            let count = stream.read(&mut buffer).await?;
            anyhow::ensure!(count > 0, "{missing} bytes are missing");
            missing = missing.saturating_sub(count);
        }
        stream.write_all(&[1]).await?;
        stream.flush().await?;
        // Open until the sender has read the answer.
        let _ = stream.read(&mut buffer).await;
        anyhow::Ok(())
    };
    let sending = async {
        let mut stream = control.open_stream(peer, PROTOCOL).await?;
        let piece = vec![7; PIECE];
        let start = Instant::now();
        for _ in 0..mib * MIB / PIECE {
            stream.write_all(&piece).await?;
        }
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
        let elapsed = start.elapsed();
        stream.close().await?;
        anyhow::Ok(elapsed)
    };
    let (elapsed, ()) = try_join(sending, receiving).await?;
    tasks.shutdown().await;
    Ok(elapsed)
}
