//! Tabs arrive at a constant rate, stay, and leave: how long they wait, and what they cost the relay.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use libp2p::rendezvous::Namespace;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    process::{RelayProcess, load_average},
    tab::Tab,
    target::Target,
};

/// Tabs of one room: a school class.
const TABS_OF_A_ROOM: u32 = 30;

/// How many tabs arrive, how fast, and how long they stay.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tabs: u32,
    pub(crate) rate: u32,
    /// Where all of them dial from.
    pub(crate) from: Ipv4Addr,
    pub(crate) stay: u64,
    pub(crate) after: u64,
}

/// How long one tab waited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    connected: Duration,
    reserved: Duration,
    pub(crate) reserved_at: Instant,
    met: Duration,
}

/// Measures, and prints the figures.
pub(crate) async fn measure(relay: &RelayProcess, target: &Target, plan: &Plan) -> Result<()> {
    println!("load average before: {}", load_average());
    let (memory, files) = (relay.memory()?, relay.files()?);
    println!(
        "at the start: {} MiB ({} KiB without the program), {files} files",
        memory / 1024,
        relay.allocated()?
    );

    let (leave, leaving) = watch::channel(false);
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let mut tabs = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / plan.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let start = Instant::now();
    for number in 0..plan.tabs {
        ticks.tick().await;
        let (target, leaving, report) = (target.clone(), leaving.clone(), report.clone());
        let from = plan.from;
        tabs.spawn(async move {
            let mut tab = match Tab::new(&target, from) {
                Ok(tab) => tab,
                Err(error) => {
                    let _ = report.send(Err(error));
                    return;
                }
            };
            let arrived = arrive(&mut tab, number).await;
            let is_there = arrived.is_ok();
            let _ = report.send(arrived);
            if is_there {
                stay(tab, leaving).await;
            }
        });
    }
    drop(report);
    let (mut waits, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..plan.tabs {
        match reports.recv().await {
            Some(Ok(tab)) => waits.push(tab),
            Some(Err(error)) => failures.push(error),
            None => break,
        }
    }
    println!(
        "{} of {} tabs have a reservation after {:.1} s",
        waits.len(),
        plan.tabs,
        start.elapsed().as_secs_f32()
    );
    if let Some(error) = failures.first() {
        println!("the first of {} failures: {error:#}", failures.len());
    }
    print_times("connected", waits.iter().map(|tab| tab.connected).collect());
    print_times("reserved", waits.iter().map(|tab| tab.reserved).collect());
    print_times(
        "registered and informed",
        waits.iter().map(|tab| tab.met).collect(),
    );

    sleep(Duration::from_secs(plan.stay)).await;
    let used = relay.memory()?.saturating_sub(memory);
    let count = u64::try_from(waits.len().max(1))?;
    println!(
        "with {count} tabs: {} MiB more, {} KiB for each",
        used / 1024,
        used / count
    );
    println!("load average: {}", load_average());

    leave.send(true)?;
    while tabs.join_next().await.is_some() {}
    sleep(Duration::from_secs(plan.after)).await;
    let (after, files) = (relay.memory()?, relay.files()?);
    println!(
        "{} s after they left: {} MiB ({:+.0} %, {} KiB without the program), {files} files",
        plan.after,
        after / 1024,
        (percent(after) / percent(memory) - 1.0) * 100.0,
        relay.allocated()?
    );
    Ok(())
}

/// Connects, reserves, and meets the others of the room for tabs of this number.
pub(crate) async fn arrive(tab: &mut Tab, number: u32) -> Result<Waits> {
    let start = Instant::now();
    let connected = tab.connect().await?;
    tab.reserve().await?;
    let reserved_at = Instant::now();
    let room = Namespace::new(format!("room {}", number / TABS_OF_A_ROOM))?;
    // js-libp2p's relay has no rendezvous.
    let _ = tab.meet(&room).await;
    Ok(Waits {
        connected,
        reserved: reserved_at.duration_since(start),
        reserved_at,
        met: start.elapsed(),
    })
}

async fn stay(mut tab: Tab, mut leaving: watch::Receiver<bool>) {
    tokio::select! {
        () = tab.stay() => {}
        _ = leaving.wait_for(|leave| *leave) => {}
    }
}

#[allow(clippy::cast_precision_loss)] // Memory in KiB is far below 2^53.
fn percent(count: u64) -> f64 {
    count as f64
}

/// Prints the median, the 95th percentile and the maximum.
pub(crate) fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| {
        let index = times.len().saturating_sub(1).saturating_mul(share) / 100;
        times.get(index).copied().unwrap_or_default().as_millis()
    };
    println!(
        "{what}: median {} ms, p95 {} ms, max {} ms",
        at(50),
        at(95),
        at(100)
    );
}
