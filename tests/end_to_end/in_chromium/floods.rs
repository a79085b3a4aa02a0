//! A neighbour that floods a tab with gossip: the tab drops it, stays responsive, and still serves its person and room.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep, timeout};

use super::hostile::{ROOM, connect, honest_responder, room};
use crate::{
    harness::{Outcome, Tab, TestEnv, agreement, run_test},
    native::frame,
};

/// RPCs in a flood, and subscriptions in half of them. A tab that handles all of them is busy for many seconds.
const RPCS: usize = 8_000;
const SUBSCRIPTIONS: usize = 250;
/// How long a tab may take to drop the sender of a flood. It needs a fraction of a second.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest task of a flooded tab that is not certain to be a fault, in ms. Others share this machine.
const LONGEST_TASK_MS: f64 = 1_000.0;

#[tokio::test]
async fn subscription_flood_gets_the_sender_dropped() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let room = room()?;
        let page = format!("{}#room={ROOM}", env.relay.page());
        let tabs: [Tab; 2] = env.tabs_at(&page).await?;
        let [flooded, other] = &tabs;
        flooded.until_peers(1).await?;
        let genesis = room.genesis_hash().to_string();
        let own_topic = [format!("heartchain/2/{genesis}/readings")];
        let other_topics: Vec<String> = (0..SUBSCRIPTIONS).map(|n| format!("t{n}")).collect();
        let subscriptions = [true, false].map(|subscribe| {
            [
                subscriptions(&own_topic, subscribe),
                subscriptions(&other_topics, subscribe),
            ]
            .concat()
        });
        let mut peer = connect(env, flooded, honest_responder(&room)).await?;
        observe_long_tasks(flooded).await?;

        let began = Instant::now();
        peer.send_raw_gossip(subscriptions.concat().repeat(RPCS / 4));
        let dropped = async {
            let dropped = timeout(DROP_TIMEOUT, peer.run_until_dropped()).await;
            println!("dropped after {:?}: {dropped:?}", began.elapsed());
            ensure!(dropped.is_ok(), "the sender of a flood stays connected");
            Ok(())
        };
        let recorded = async {
            sleep(Duration::from_millis(500)).await;
            let began = Instant::now();
            flooded.enter(72).await?;
            let in_chain = agreement(&[flooded, other], 1).await;
            println!("in both chains after {:?}", began.elapsed());
            in_chain.map(|_| ())
        };
        let (dropped, recorded) = tokio::join!(dropped, recorded);
        let longest = longest_task(flooded).await?;
        println!("the longest task took {longest} ms");
        dropped?;
        recorded?;
        ensure!(longest <= LONGEST_TASK_MS, "a task took {longest} ms");
        Ok(())
    })
    .await
}

/// A gossip RPC that subscribes to these topics, or unsubscribes from them.
fn subscriptions(topics: &[String], subscribe: bool) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let option = |topic: &String| {
        let topic = topic.as_bytes();
        let option = [&[0x08, u8::from(subscribe), 0x12, length(topic)], topic].concat();
        [&[0x0a, length(&option)], &option[..]].concat()
    };
    frame(&topics.iter().flat_map(option).collect::<Vec<u8>>())
}

pub(super) async fn observe_long_tasks(tab: &Tab) -> Result<()> {
    let observe = "globalThis.longestTask = 0;
        new PerformanceObserver((list) => {
            for (const { duration } of list.getEntries()) longestTask = Math.max(longestTask, duration);
        }).observe({ type: 'longtask' })";
    tab.evaluate(observe).await?;
    Ok(())
}

/// The longest task since the observation began, in ms; 0 if none was longer than 50 ms.
pub(super) async fn longest_task(tab: &Tab) -> Result<f64> {
    Ok(tab
        .evaluate("longestTask")
        .await?
        .as_f64()
        .unwrap_or_default())
}
