//! A relay that is killed while it serves tabs, and started again at once: how long the tabs are without a reservation.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use crate::{
    arrivals::{arrive, print_times},
    process::{RelayProcess, Start, load_average},
    tab::Tab,
};

/// The target: all have a reservation again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How long the measurement waits for the last tab.
const PATIENCE: Duration = Duration::from_secs(60);
/// Waits before a lost relay is dialed again, as in tabs (`RELAY_REDIAL` of wasm-node), in milliseconds.
const REDIAL: [u64; 6] = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
/// The shortest wait, in thousandths of the one above. The longest is the same distance above it.
const SHORTEST: u64 = 750;

/// Measures, and prints the figures.
pub(crate) async fn measure(mut start: Start<'_>, rate: u32) -> Result<()> {
    println!("load average before: {}", load_average());
    let relay = RelayProcess::start(start).await?;
    let (report, mut reports) = unbounded_channel();
    let mut tabs = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    for number in 0..start.tabs {
        ticks.tick().await;
        let tab = Tab::new(&relay.target, Ipv4Addr::LOCALHOST)?;
        tabs.spawn(live(tab, number, report.clone()));
    }
    all(start.tabs, &mut reports)
        .await
        .context("not all tabs arrived")?;

    start.port = relay.port().context("the relay has a TCP port")?;
    let killed = Instant::now();
    relay.kill().await?;
    let relay = RelayProcess::start(start).await?;
    println!("started again after {} ms", killed.elapsed().as_millis());
    let back = all(start.tabs, &mut reports)
        .await
        .context("not all tabs came back")?;
    let waits: Vec<Duration> = back.iter().map(|at| at.duration_since(killed)).collect();
    let in_time = waits.iter().filter(|wait| **wait <= BACK_WITHIN).count();
    println!(
        "{in_time} of {} tabs have a reservation again within {BACK_WITHIN:?}",
        start.tabs
    );
    print_times("reserved again after the kill", waits);
    println!("load average: {}", load_average());
    drop(relay);
    Ok(())
}

/// When each of `count` tabs got a reservation. Each reports one.
async fn all(count: u32, reports: &mut UnboundedReceiver<Instant>) -> Result<Vec<Instant>> {
    let mut times = Vec::new();
    let complete = async {
        for _ in 0..count {
            times.push(reports.recv().await.context("a tab ended")?);
        }
        anyhow::Ok(())
    };
    let in_time = timeout(PATIENCE, complete).await;
    in_time.with_context(|| format!("{} of {count} within {PATIENCE:?}", times.len()))??;
    Ok(times)
}

/// Keeps a tab connected, as a page does, and reports each reservation.
async fn live(mut tab: Tab, number: u32, report: UnboundedSender<Instant>) {
    let mut failures = 0_usize;
    loop {
        if let Ok(waits) = arrive(&mut tab, number).await {
            failures = 0;
            let _ = report.send(waits.reserved_at);
            tab.stay().await;
        }
        let last = REDIAL.len().saturating_sub(1);
        let step = REDIAL.get(failures.min(last)).copied().unwrap_or_default();
        failures = failures.saturating_add(1);
        // Any spread will do, as long as the tabs do not come in step.
        let thousandths = SHORTEST + u64::from(number) * 7_919 % (2 * (1_000 - SHORTEST));
        sleep(Duration::from_millis(step * thousandths / 1_000)).await;
    }
}
